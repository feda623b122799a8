"""What a listing and the head of a file may say: neither is believed until it is known to do no harm. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any, Protocol

from dormouse_api.anatomy import MOST
from dormouse_api.conditions import Reason
from dormouse_api.text import plain
from dormouse_runtime.pull.errors import PullError

LONGEST_NAME = 200
"""Bytes of one name in a path: file systems take 255, and a part's name is longer than its file's."""
LONGEST_PATH = 1024
SHOWN = 80
_HEX = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


class Named(Protocol):
    """A file of a listing."""

    @property
    def path(self) -> str: ...


def checked(files: Sequence[Named]) -> None:
    """Raises Unsupported where files of these names cannot lie on one volume beside each other."""
    seen: set[str] = set()
    for file in files:
        name = plain(file.path, SHOWN)
        parts = PurePosixPath(file.path).parts
        if plain(file.path, LONGEST_PATH) != file.path or any(len(p.encode()) > LONGEST_NAME for p in parts):
            raise _refused(f"a file whose name no volume can hold: {name!r}")
        if file.path in seen:
            raise _refused(f"{name!r} twice")
        seen.add(file.path)
    for file in files:
        if any(str(folder) in seen for folder in PurePosixPath(file.path).parents):
            raise _refused(f"{plain(file.path, SHOWN)!r} below what is a file itself")


def is_size(value: object) -> bool:
    """Whether a file can be so large."""
    return type(value) is int and 0 <= value <= MOST


def is_hash(value: object) -> bool:
    """Whether it is a sha1 or sha256 in hex, as git and LFS have it; it becomes part of a file's name."""
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def are_sides(shape: Iterable[Any]) -> bool:
    """Whether a tensor can have this shape."""
    return all(is_size(side) for side in shape)


def _refused(what: str) -> PullError:
    return PullError(Reason.UNSUPPORTED, f"the repository lists {what}: choose another revision or repository")
