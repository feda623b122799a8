"""The marker of a whole model folder: written last, atomically, and on the disk before anybody may trust it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from dormouse_api.names import MARKER
from dormouse_api.results import Marker, MarkerFile


def read(folder: Path) -> Marker | None:
    """The marker, or None when there is none that can be read."""
    try:
        return Marker.model_validate_json((folder / MARKER).read_text())
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def write(folder: Path, marker: Marker) -> None:
    """Put the marker into place; it is there whole or not at all, also after a power cut."""
    scratch = folder / f"{MARKER}.part"
    with scratch.open("w") as file:
        file.write(marker.model_dump_json(exclude_none=True, indent=1))
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(folder / MARKER)
    sync_folder(folder)


def whole(folder: Path, marker: Marker) -> bool:
    """Whether every file the marker names is there in its size."""
    return all(_size(folder / file.path) == file.size for file in marker.files)


def digest(files: Iterable[MarkerFile]) -> str:
    """sha256 over the sorted `path size sha256` lines."""
    lines = sorted(f"{file.path} {file.size} {file.sha256}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames in the folder last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
