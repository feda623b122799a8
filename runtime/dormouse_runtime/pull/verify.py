"""Hashes of files as sources name them: sha256 of LFS files, git's blob sha1 of a hub's others, md5 of objects."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dormouse_runtime.pull.selection import RemoteFile

BLOCK = 1 << 20


class Check:
    """Takes a file's bytes in order; says in the end whether they are the file's, and its sha256."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._named, self._other = _other(file)

    def update(self, block: bytes) -> None:
        self._size += len(block)
        self._sha256.update(block)
        if self._other is not None:
            self._other.update(block)

    def update_from(self, path: Path) -> None:
        """Take the bytes that are on disk already."""
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                self.update(block)

    @property
    def right(self) -> bool:
        """Whether all bytes came and, where the source names a hash, are the ones it means."""
        if self._size != self._file.size:
            return False
        if self._other is not None:
            return self._other.hexdigest() == self._named
        return self._file.sha256 in (None, self.sha256)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def _other(file: RemoteFile) -> tuple[str | None, hashlib._Hash | None]:
    """The hash to compare with where it is not the sha256, and what computes it."""
    if file.sha256:
        return None, None
    if file.git_sha1:
        return file.git_sha1, hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    return file.md5, hashlib.md5(usedforsecurity=False) if file.md5 else None


def sha256_of(path: Path) -> str:
    """sha256 of a file on disk, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
