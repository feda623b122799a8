"""Brings one file onto the volume: resumes its part, hashes on the way, renames it when it is whole and right.

The part lies beside the file and is named after the content it is to become, so that what one process left behind the
next one continues, and a part of other content is never continued by mistake.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from dormouse_api.conditions import Reason
from dormouse_api.results import MarkerFile
from dormouse_runtime.pull import space
from dormouse_runtime.pull.bandwidth import Bucket
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.patience import Patience
from dormouse_runtime.pull.progress import Meter
from dormouse_runtime.pull.selection import RemoteFile
from dormouse_runtime.pull.source import Source
from dormouse_runtime.pull.verify import Check, sha256_of

PART = ".part"
WRONG_TWICE = 2


class StoppedError(Exception):
    """Another transfer failed, so this one is of no use any more."""


@dataclass(frozen=True)
class Transfers:
    """What all transfers of one pull share."""

    source: Source
    commit: str
    folder: Path
    meter: Meter
    bucket: Bucket
    backoff_seconds: float
    stop: threading.Event

    def bring(self, file: RemoteFile) -> MarkerFile:
        """The file, whole and right in its place. Raises PullError, or StoppedError."""
        target, part = self.folder / file.path, part_path(self.folder, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        patience, wrong = Patience(self.backoff_seconds, self._wait), 0
        while True:
            before = size(part)
            try:
                check = self._continue(file, part)
            except PullError as error:
                if error.reason is Reason.RATE_LIMITED:
                    self.meter.excuse(error.retry_after_seconds or 0)
                patience.after(error, progressed=size(part) > before)
                continue
            if check.right:
                return _put(part, target, file, check.sha256)
            self.meter.drop(size(part))
            part.unlink()
            wrong += 1
            if wrong == WRONG_TWICE:
                raise PullError(
                    Reason.CORRUPT,
                    f"{file.path} came twice with other bytes than its source's hash says: {self.source.remedy}",
                )

    def _continue(self, file: RemoteFile, part: Path) -> Check:
        """Append what is missing to the part; gives the hash of the whole."""
        check, have = Check(file), size(part)
        if have > file.size:
            part.unlink()
            have = 0
        try:
            with part.open("ab", buffering=0) as out:
                with self.meter.volume():
                    check.update_from(part)
                if have < file.size:
                    check = self._append(file, out.fileno(), have, check)
                with self.meter.volume():
                    os.fsync(out.fileno())
        except OSError as error:
            if space.is_full(error):
                raise space.no_space(file.size - size(part), space.free_bytes(self.folder)) from error
            raise
        return check

    def _append(self, file: RemoteFile, out: int, have: int, check: Check) -> Check:
        with self.source.stream(self.commit, file, have) as (start, blocks):
            if start != have:  # the source knows no ranges: once more from the start
                os.ftruncate(out, 0)
                self.meter.drop(have)
                check, have = Check(file), 0
            for block in blocks:
                if self.stop.is_set():
                    raise StoppedError
                _write_all(out, block)
                check.update(block)
                self.meter.add(len(block), file.path)
                have += len(block)
                if have > file.size:
                    break
                if pause := self.bucket.take(len(block)):
                    self.meter.excuse(pause)
                    self._wait(pause)
        if have < file.size:
            raise PullError(Reason.NETWORK, f"{file.path} ended after {have} of {file.size} bytes")
        return check

    def _wait(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise StoppedError


def part_path(folder: Path, file: RemoteFile) -> Path:
    """Where the file's bytes lie until it is whole."""
    target = folder / file.path
    return target.with_name(f"{target.name}.{file.identity[:16]}{PART}")


def size(path: Path) -> int:
    """The file's size, 0 when there is none."""
    return path.stat().st_size if path.is_file() else 0


def present(folder: Path, file: RemoteFile) -> MarkerFile | None:
    """The file, if it is in its place: it was checked before it came there, so its size is enough."""
    target = folder / file.path
    if not target.is_file() or target.stat().st_size != file.size:
        return None
    sha256 = file.sha256 or sha256_of(target)
    return MarkerFile(path=file.path, size=file.size, sha256=sha256, version=file.version or None)


def _put(part: Path, target: Path, file: RemoteFile, sha256: str) -> MarkerFile:
    part.rename(target)
    return MarkerFile(path=file.path, size=file.size, sha256=sha256, version=file.version or None)


def _write_all(out: int, block: bytes) -> None:
    left = memoryview(block)
    while left:
        left = left[os.write(out, left) :]
