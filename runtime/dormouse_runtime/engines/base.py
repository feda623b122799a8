"""What the supervisor needs to know of an engine: how to start it, and what its log lines say about the start.

Every engine serves OpenAI HTTP on the serving port with `GET /health` (200 once it serves) and `GET /load`
(`{"server_load": n}`, requests in flight). Imports no engine library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dormouse_api.runtime import Attempt, Stage

STAGE_MARK = "[dormouse] stage "
"""Our own launchers print `[dormouse] stage <stage>`; other engines' lines are read by their adapter."""


@dataclass(frozen=True)
class Command:
    """A process to start."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Laid over the supervisor's own environment."""
    files: Mapping[Path, str] = field(default_factory=dict)
    """Written before the start."""
    preload: tuple[Path, ...] = ()
    """Files to read into the page cache while the engine imports its libraries."""
    cache: Path | None = None
    """The folder of what it compiles, beside those of other weights, flags and versions."""
    maker: str = ""
    """The engine's name and version: of another one no cache is ever read again."""


@dataclass(frozen=True)
class Adapter:
    """One engine: all functions are pure."""

    command: Callable[[Attempt], Command]
    stage_of: Callable[[str], Stage | None]
    identity: Callable[[Attempt], str]
    """Everything that decides whether the engine can serve the attempt: version, weights, flags."""
    needed: tuple[str, ...] = ("config.json",)
    """Files of the folder without which there is nothing to serve."""
    schema_path: str | None = None
    """Where the engine tells what its input is, if it does."""


def marked_stage(line: str) -> Stage | None:
    """The stage our own launchers announce on a line, if any."""
    if not line.startswith(STAGE_MARK):
        return None
    word = line.removeprefix(STAGE_MARK).strip()
    return next((stage for stage in Stage if stage.value == word), None)


def announce(stage: Stage) -> None:
    """Say the stage on standard output, for the supervisor to read."""
    print(f"{STAGE_MARK}{stage.value}", flush=True)  # noqa: T201 - the line is the message
