"""Keeps the engine's LoRA adapters as the list on the volume has them. Owns when; the engine loads.

The list is read before a start counts as ready and every second after that, so that an adapter comes and goes without
a restart, and a pod that starts while no operator runs has them all the same.
"""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

from pydantic import ValidationError

from dormouse_api.adapters import ADAPTERS_DIR, AdapterEntry, AdapterList, AdapterState
from dormouse_api.model import Engine
from dormouse_api.runtime import Attempt, RuntimeConfig
from dormouse_runtime.supervisor import choose, http
from dormouse_runtime.supervisor.timeline import Timeline

log = logging.getLogger(__name__)

LOAD_SECONDS = 120.0
EVERY_SECONDS = 1.0
AGAIN_ROUNDS = 60
"""Rounds until an adapter that could not be loaded is tried again."""


class Loras:
    """One per process."""

    def __init__(self, config: RuntimeConfig, address: str, timeline: Timeline) -> None:
        self._config, self._address, self._timeline = config, address, timeline
        self._loaded: dict[str, str] = {}
        """Commit by name, as the engine has them."""
        self._failed: dict[tuple[str, str], tuple[str, int]] = {}
        """(name, commit): why, and rounds until the next try."""

    async def begin(self, attempt: Attempt) -> None:
        """A new engine is up and has none yet: load what the list names."""
        self._loaded, self._failed = {}, {}
        await self._round(attempt)

    async def keep(self, attempt: Attempt) -> None:
        """Follow the list for ever; returns at once where the model has no adapters."""
        while self._config.lora is not None:
            await asyncio.sleep(EVERY_SECONDS)
            await self._round(attempt)

    async def _round(self, attempt: Attempt) -> None:
        if self._config.lora is None:
            return
        folder = Path(attempt.model_dir).parent / ADAPTERS_DIR
        wanted = _read(folder / f"{self._config.lora.list}.json")
        if wanted is None:
            return  # there is none yet, or the volume does not answer: nothing is unloaded for that
        if attempt.engine is not Engine.VLLM:
            words = (
                f"the {attempt.engine.value} engine serves no adapters, and vllm could not be used: see status.engine"
            )
            self._tell([AdapterState(name=e.name, commit=e.commit, loaded=False, message=words) for e in wanted])
            return
        for name in set(self._loaded) - {entry.name for entry in wanted}:
            await self._unload(name)
        self._tell([await self._have(entry, folder) for entry in wanted])

    async def _have(self, entry: AdapterEntry, folder: Path) -> AdapterState:
        """The adapter loaded, or why not."""
        state = AdapterState(name=entry.name, commit=entry.commit, loaded=True)
        if self._loaded.get(entry.name) == entry.commit:
            return state
        key = (entry.name, entry.commit)
        why, left = self._failed.get(key, ("", 0))
        if left > 0:
            self._failed[key] = (why, left - 1)
            return state.model_copy(update={"loaded": False, "message": why})
        body = {"lora_name": self._called(entry.name), "lora_path": str(folder / entry.commit), "load_inplace": True}
        problem = await self._ask("/v1/load_lora_adapter", body)
        if problem is not None:
            log.warning("adapter %s at %s is not loaded: %s", *key, problem)
            self._failed[key] = (problem, AGAIN_ROUNDS)
            return state.model_copy(update={"loaded": False, "message": problem})
        log.info("adapter %s is loaded at %s", *key)
        self._loaded[entry.name] = entry.commit
        return state

    async def _unload(self, name: str) -> None:
        problem = await self._ask("/v1/unload_lora_adapter", {"lora_name": self._called(name)})
        if problem is None:
            log.info("adapter %s is unloaded", name)
            del self._loaded[name]
        else:
            log.warning("adapter %s is not unloaded: %s", name, problem)

    def _called(self, name: str) -> str:
        """The name that the engine knows it by: what clients call, once the router has found the model."""
        return f"{self._config.model}:{name}"

    async def _ask(self, path: str, body: dict[str, object]) -> str | None:
        """None where the engine did it, else its words."""
        answer = await http.post(self._config.serving_port, path, json.dumps(body), LOAD_SECONDS, self._address)
        if answer is None:
            return "the engine did not answer"
        return None if answer.status == 200 else choose.shorten(_words(answer.body))

    def _tell(self, states: list[AdapterState]) -> None:
        if tuple(states) != self._timeline.state.adapters:
            self._timeline.adapted(tuple(states))


def _read(path: Path) -> tuple[AdapterEntry, ...] | None:
    try:
        return AdapterList.model_validate_json(path.read_text()).adapters
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def _words(body: bytes) -> str:
    """What the engine complains of: OpenAI's error object, or its whole answer."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        return text
    error = found.get("error", found) if isinstance(found, dict) else {}
    return str(error.get("message", text)) if isinstance(error, dict) else text
