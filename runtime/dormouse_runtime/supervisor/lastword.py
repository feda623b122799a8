"""The last word of a runtime pod: its state as the container's termination message, within the kubelet's bound."""

from __future__ import annotations

import logging
from pathlib import Path

from dormouse_api.results import MAX_MESSAGE
from dormouse_api.runtime import RuntimeState

log = logging.getLogger(__name__)


def write_last_word(state: RuntimeState, path: Path) -> None:
    """The state as the termination message: at most MAX_MESSAGE bytes, oldest timeline entries dropped first."""
    state = state.model_copy(update={"input_schema": None})
    while len(text := state.model_dump_json(exclude_none=True)) > MAX_MESSAGE or len(text.encode()) > MAX_MESSAGE:
        if state.timeline:
            state = state.model_copy(update={"timeline": state.timeline[1:]})
        elif state.passed:
            state = state.model_copy(update={"passed": state.passed[1:]})
        else:
            break
    try:
        path.write_text(text)
    except OSError as error:
        log.warning("cannot write the termination message to %s: %s", path, error)
