"""Whether the volume can hold what is to come."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from dormouse_api.conditions import Reason
from dormouse_runtime.pull.errors import PullError

SPARE = 1 << 20  # bytes for folders, the marker and the file system's own rounding
UNWRITABLE = {
    errno.EROFS: "it is read-only, perhaps after a fault of the disk: mend or replace it, or let its class mount it "
    "writable; it is tried again by itself",
    errno.EIO: "the disk or its connection fails: mend it, or delete the claim: weights are pulled into another",
    errno.EACCES: "it must belong to group 10001, or be open to it: see the class's mount options, or fsGroup support",
    errno.EPERM: "it must belong to group 10001, or be open to it: see the class's mount options, or fsGroup support",
}
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
        short_bytes=needed + SPARE - free,
    )


def unwritable(error: OSError) -> PullError | None:
    """What an error says of the volume itself, with the way out; None where it says nothing of it."""
    fix = UNWRITABLE.get(error.errno or 0)
    if fix is None:
        return None
    return PullError(Reason.STORAGE_FAILED, f"the volume cannot be written to ({error.strerror}): {fix}")


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of room."""
    return error.errno in FULL
