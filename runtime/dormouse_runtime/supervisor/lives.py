"""What a container that was killed leaves to the next one of the same pod: which settings it was trying.

Where a container goes over its memory limit the kernel kills all of it, the supervisor too, and nobody is left to say
so. /tmp outlives a container but not its pod, so a record there that nobody has ended tells the next container that
the last one was killed. An orderly end removes it; another boot of the node voids it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from pydantic import ValidationError

from dormouse_api.base import Message
from dormouse_api.conditions import Reason
from dormouse_api.model import Engine
from dormouse_api.runtime import Adaptation, Passed

BOOT = Path("/proc/sys/kernel/random/boot_id")
KILLED = "the container was killed, most likely for using more memory than its limit"


class Life(Message):
    """What was being tried when this was written."""

    boot: str
    commit: str
    engine: Engine
    adapted: tuple[Adaptation, ...]


class Lives:
    """The record of this pod."""

    def __init__(self, scratch: Path, commit: str, boot: Path = BOOT) -> None:
        self._path = scratch / "life.json"
        self._commit = commit
        try:
            self._boot = boot.read_text().strip()
        except OSError:
            self._boot = ""

    def ended(self) -> Life | None:
        """The life before this one, if it was cut off; told once."""
        try:
            life = Life.model_validate_json(self._path.read_text())
        except (OSError, ValidationError, UnicodeDecodeError):
            return None
        self.close()
        return life if (life.boot, life.commit) == (self._boot, self._commit) else None

    def begin(self, engine: Engine, adapted: tuple[Adaptation, ...]) -> None:
        """`engine` is being started so. A folder that cannot be written to is no reason to stop."""
        life = Life(boot=self._boot, commit=self._commit, engine=engine, adapted=adapted)
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            scratch = self._path.with_suffix(".part")
            scratch.write_text(life.model_dump_json())
            scratch.rename(self._path)

    def close(self) -> None:
        """An orderly end."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def killed(engine: Engine) -> Passed:
    """How a life that was cut off ended."""
    return Passed(engine=engine.value, reason=Reason.OUT_OF_MEMORY, message=KILLED, seconds=0)
