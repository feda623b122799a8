"""The source of callers whose keys are files: read at the start, and again when they change."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from dormouse_router.access.gate import KNOWN_SECONDS, Found
from dormouse_router.access.keyfiles import FileKey, Read, read_keys, signature
from dormouse_router.access.settings import AccessSettings

log = structlog.get_logger()
LOOK_SECONDS = 5.0


class MountedKeys:
    """`gate.Source`. `changed` is called when a key came, went or means something else."""

    def __init__(self, settings: AccessSettings, changed: Callable[[], None] = lambda: None) -> None:
        self._settings, self._folder = settings, Path(settings.keys)
        self.changed = changed
        self._keys: dict[bytes, FileKey] = {}
        self._signature: tuple[object, ...] | None = None
        self._faults: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._keys)

    def at_once(self, looked_up: bytes, now: float) -> Found | None:
        key = self._keys.get(looked_up)
        if key is None or (key.expires is not None and key.expires <= now):
            return None
        until = now + KNOWN_SECONDS
        return Found(key.caller, until if key.expires is None else min(until, key.expires))

    async def find(self, _shown: bytes, _looked_up: bytes, _now: float) -> None:
        """Never more than at once."""
        return

    async def look(self) -> None:
        """Read the files again if they have changed."""
        self._take(await asyncio.to_thread(self._read))

    async def watch(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except OSError as error:
                log.error("the folder of the keys cannot be read", folder=str(self._folder), error=str(error))

    def _read(self) -> tuple[tuple[object, ...], Read] | None:
        # looked at before it is read: what changes meanwhile is another look's
        found = signature(self._folder)
        return None if found == self._signature else (found, read_keys(self._folder, self._settings))

    def _take(self, news: tuple[tuple[object, ...], Read] | None) -> None:
        if news is None:
            return
        self._signature, read = news
        for fault in read.faults:
            if fault not in self._faults:
                log.error(fault)
        self._faults = read.faults
        if read.keys != self._keys:
            self._keys = read.keys
            log.info("keys read", folder=str(self._folder), keys=len(read.keys))
            self.changed()
