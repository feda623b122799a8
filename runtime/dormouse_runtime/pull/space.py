"""Whether the volume can hold what is to come."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from dormouse_api.conditions import Reason
from dormouse_runtime.pull.errors import PullError

SPARE = 1 << 20  # bytes for folders, the marker and the file system's own rounding
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def free_bytes(folder: Path) -> int:
    """Bytes an ordinary user may still write there."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def require(folder: Path, needed: int) -> None:
    """Raise NoSpace when `needed` more bytes do not fit."""
    free = free_bytes(folder)
    if needed and needed + SPARE > free:
        raise no_space(needed, free)


def no_space(needed: int, free: int) -> PullError:
    """The failure, with both figures and the way out."""
    return PullError(
        Reason.NO_SPACE,
        f"the volume is too small: {needed} more bytes are needed ({needed / 2**30:.2f} GiB), {free} are free: "
        "raise spec.storage.size, or remove old revisions from the volume",
    )


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of room."""
    return error.errno in FULL
