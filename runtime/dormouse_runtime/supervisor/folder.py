"""Whether the weights of an attempt lie whole in their folder: looked at before an engine spends half a minute on it.

Names and sizes only. What is in the files, engines find out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

WEIGHTS = "*.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
"""Never pulled; an engine that finds nothing else would read them."""
INDEX = "model.safetensors.index.json"
LENGTH = 8
LONGEST_READ = 2**21
"""Bytes of a header that are read: longer ones, of thousands of tensors, would take the supervisor's memory."""
LONGEST_INDEX = 2**24


def damage(folder: Path, needed: Sequence[str]) -> str | None:
    """What is wrong, as the beginning of a sentence; None where nothing is. `needed`: paths that must be there."""
    for path in (folder, *(folder / name for name in needed)):
        if not path.exists():
            return f"{path} is not there"
    for path in sorted(folder.glob("*.json")):
        if path.is_file() and _cut(path):
            return f"{path.name} is empty or cut off"
    index = folder / INDEX
    if index.exists() and (words := _unlisted(folder, index)):
        return words
    pickles = sorted(path.name for suffix in PICKLES for path in folder.glob(suffix))
    if pickles and not any(folder.glob(WEIGHTS)):
        return f"{pickles[0]} is a pickle, which could run code when it is loaded, and there are no safetensors"
    files = (path for path in sorted(folder.glob(WEIGHTS)) if path.is_file())
    return next((words for path in files if (words := _torn(path))), None)


def _cut(path: Path) -> bool:
    """Whether the end of an object or a list is missing. No more is read: tokenizers are tens of megabytes."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LENGTH))
        return not file.read(LENGTH).rstrip().endswith((b"}", b"]"))


def _unlisted(folder: Path, index: Path) -> str | None:
    try:
        if index.stat().st_size > LONGEST_INDEX:
            return None
        named = set(json.loads(index.read_bytes())["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{index.name} cannot be read ({error!r})"
    strange = sorted(str(name) for name in named if not str(name).endswith(".safetensors") or "/" in str(name))
    if strange:
        return f"{index.name} names {strange[0]}, which is no safetensors file of this folder"
    missing = sorted(name for name in named if not (folder / name).exists())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"{missing[0]}{more} is missing, which {index.name} names"
    return None


def _torn(path: Path) -> str | None:
    """A file begins with the length of its header, the header says where its data ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        if not 2 <= length <= size - LENGTH:
            return f"{path.name} is no safetensors file, or only its beginning"
        if length > LONGEST_READ:
            return None
        try:
            entries = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
            needed = LENGTH + length + max(ends, default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            return f"the head of {path.name} cannot be read ({type(error).__name__})"
    return f"{path.name} is cut off: {size:,} of {needed:,} bytes" if size < needed else None
