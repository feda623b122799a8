"""What a pull needs of wherever weights come from, and what the three kinds of places have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from dormouse_api.conditions import Reason
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.selection import RemoteFile

SMALL_FILE = 32 << 20  # bytes; a tokenizer.json may have 20 MB
COMMIT_LENGTH = 40  # hex digits, as git has them
ANOTHER_WORD = (
    "what is there now is inspected and pulled by itself later, unless spec.source.revision names a commit: then set "
    "it to another word, such as the day's date, or put back what was there"
)


class Source(Protocol):
    """One model's files in one place. Safe to use from several threads; every error that leaves it is a PullError.

    It never retries: whoever asks knows how patient to be.
    """

    @property
    def remedy(self) -> str:
        """What to do about a file whose bytes are twice not what they should be."""

    @property
    def tools(self) -> Mapping[str, str]:
        """Versions of what reads it, for the marker."""

    def close(self) -> None: ...

    def resolve(self, revision: str) -> str:
        """The commit that the revision stands for now."""

    def files(self, commit: str) -> list[RemoteFile]:
        """All files of the commit; NotFound when the place holds another one by now."""

    def stream(
        self, commit: str, file: RemoteFile, start: int = 0, end: int | None = None
    ) -> AbstractContextManager[tuple[int, Iterator[bytes]]]:
        """The file's bytes from `start` up to `end`: the offset they really start at, and blocks.

        The offset is 0, and the end the file's, where the other side knows no ranges.
        """


def read(source: Source, commit: str, file: RemoteFile) -> bytes:
    """A small file, whole."""
    content = first(source, commit, file, SMALL_FILE + 1)
    if len(content) > SMALL_FILE:
        raise PullError(Reason.UNSUPPORTED, f"{file.path} is larger than {SMALL_FILE} bytes: not a model's {file.path}")
    return content


def first(source: Source, commit: str, file: RemoteFile, count: int) -> bytes:
    """The file's first `count` bytes, fewer where it has no more."""
    if not file.size:
        return b""
    content = bytearray()
    with source.stream(commit, file, 0, min(count, file.size)) as (_, blocks):
        for block in blocks:
            content += block
            if len(content) >= count:
                break
    return bytes(content[:count])


def listing_digest(files: Iterable[RemoteFile]) -> str:
    """The commit of a place that has none: it changes when a file comes, goes, or has other content.

    Of the files that a pull would bring: what else lies there may change as it likes.
    """
    lines = sorted(f"{file.path}\0{file.size}\0{file.version}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:COMMIT_LENGTH]


def pinned(uri: str, revision: str, files: Iterable[RemoteFile]) -> str:
    """The commit of what lies there now. A revision that is such a commit is that state or none: PullError."""
    commit = listing_digest(files)
    if _is_commit(revision) and revision != commit:
        raise _changed(uri, revision, commit)
    return commit


def _is_commit(revision: str) -> bool:
    """Whether the revision names one state of a place without names for its states."""
    return len(revision) == COMMIT_LENGTH and all(digit in "0123456789abcdef" for digit in revision)


def _changed(uri: str, commit: str, now: str) -> PullError:
    """The place holds something else than what was asked for or inspected."""
    return PullError(
        Reason.NOT_FOUND, f"{uri} has changed: it held commit {commit[:12]} and now holds {now[:12]}: {ANOTHER_WORD}"
    )


def replaced(uri: str, path: str) -> PullError:
    """One file has become another, or is gone."""
    return PullError(
        Reason.NOT_FOUND, f"{path} of {uri} was replaced or removed after the model was inspected: {ANOTHER_WORD}"
    )
