"""Where the uv program is: the one that `make venv` keeps in the cache, else one on the machine.

Standard library only, like its callers. Knows nothing of what is installed with it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dev import cache


class UvError(Exception):
    """There is no usable uv; the message says what to do."""


def program() -> Path:
    """The program itself, never a launcher script: only the program runs inside an image. Raises UvError."""
    kept = sorted((cache.root() / "tools").glob("uv*/bin/uv"), key=lambda path: path.stat().st_mtime)
    named = os.environ.get("UV") or (str(kept[-1]) if kept else shutil.which("uv"))
    if not named or not Path(named).exists():
        raise UvError("no uv found: run `make venv`, which installs it")
    with Path(named).open("rb") as opened:
        if opened.read(4) == b"\x7fELF":
            return Path(named)
    raise UvError(f"{named} is a script around uv: run `make venv`, which installs the program")
