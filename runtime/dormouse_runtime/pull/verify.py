"""Hashes of files as the hub names them: sha256 of LFS files, git's blob sha1 of the others."""

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
        self._git = None if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def update(self, block: bytes) -> None:
        self._size += len(block)
        self._sha256.update(block)
        if self._git is not None:
            self._git.update(block)

    def update_from(self, path: Path) -> None:
        """Take the bytes that are on disk already."""
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                self.update(block)

    @property
    def right(self) -> bool:
        """Whether all bytes came and are the hub's."""
        if self._size != self._file.size:
            return False
        if self._git is not None:
            return self._git.hexdigest() == self._file.git_sha1
        return self.sha256 == self._file.sha256

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def sha256_of(path: Path) -> str:
    """sha256 of a file on disk, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
