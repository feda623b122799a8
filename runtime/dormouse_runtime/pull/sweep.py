"""Removes folders from a model's volume that nobody needs any more. Knows no hub; what must stay it is told.

Only for volumes that Dormouse made: all below the models folder is ours there. Each folder loses its marker first, so
one that is half gone never counts as whole.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from dormouse_api.conditions import Reason
from dormouse_api.names import MARKER, MODELS_DIR
from dormouse_api.results import SweepResult
from dormouse_runtime.pull import marker, space
from dormouse_runtime.pull.errors import PullError

FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names of folders that Dormouse makes; a file system's own, such as lost+found, is none."""
TOLD = 16
LONGEST = 128


def sweep(environ: Mapping[str, str]) -> SweepResult:
    """Remove every folder but those of DORMOUSE_KEEP (names, separated by commas). Raises PullError."""
    keep = frozenset(name for name in environ.get("DORMOUSE_KEEP", "").split(",") if name)
    if not keep or not all(FOLDER.fullmatch(name) for name in keep):
        raise PullError(
            Reason.UNSUPPORTED,
            "DORMOUSE_KEEP names no folders to keep: the image does not belong to this operator's version",
        )
    models = Path(environ.get("DORMOUSE_MODELS_DIR") or MODELS_DIR)
    before = space.free_bytes(models)
    gone = []
    for folder in sorted(models.iterdir()):
        if folder.name not in keep and FOLDER.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            remove(folder)
            gone.append(folder.name[:LONGEST])
    free = space.free_bytes(models)
    return SweepResult(removed=tuple(gone[:TOLD]), freed_bytes=max(0, free - before), free_bytes=free)


def remove(folder: Path) -> None:
    """Remove a folder of ours, its marker first. Raises PullError, or OSError where the volume is not at fault."""
    try:
        (folder / MARKER).unlink(missing_ok=True)
        marker.sync_folder(folder)
        shutil.rmtree(folder)
        marker.sync_folder(folder.parent)
    except OSError as error:
        other = PullError(
            Reason.STORAGE_FAILED,
            f"{folder.name} cannot be removed from the volume ({os.strerror(error.errno or 0)}): remove it by hand, "
            "or delete the claim while its models sleep, and the weights are pulled into a new one",
        )
        raise (space.unwritable(error) or other) from error
