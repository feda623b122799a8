"""Refusals that will not change: an engine that does not know an architecture need not be asked again at every wake.

Kept on the cache volume, under the identity that the engine's adapter gives an attempt (version, weights, flags). Only
what is as sure as `Unsupported` is kept; memory or a crash may end otherwise next time.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from pydantic import ValidationError

from dormouse_api.conditions import Reason
from dormouse_api.runtime import Passed

SURE = (Reason.UNSUPPORTED,)
MOST = 64
"""Refusals that are kept; the oldest goes first."""
AGAIN = "(known from an earlier start)"


class Memory:
    """Refusals by identity."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "refused"

    def recall(self, identity: str) -> Passed | None:
        """The refusal of an earlier start, which takes no time now."""
        try:
            passed = Passed.model_validate_json(self._path(identity).read_text())
        except (OSError, ValidationError, UnicodeDecodeError):
            return None
        return passed.model_copy(update={"seconds": 0.0, "message": f"{passed.message} {AGAIN}"})

    def keep(self, identity: str, passed: Passed) -> None:
        """Remember a refusal that is sure. A volume that cannot be written to is no reason to stop."""
        if passed.reason not in SURE:
            return
        path = self._path(identity)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch = path.with_suffix(".part")
            scratch.write_text(passed.model_dump_json())
            scratch.rename(path)
            for old in sorted(self._folder.glob("*.json"), key=lambda one: one.stat().st_mtime)[:-MOST]:
                old.unlink()

    def _path(self, identity: str) -> Path:
        return self._folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.json"
