"""What the index of a diffusers repository tells: whose code it runs, and in which form its weights are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def own_code(index: Mapping[str, Any], paths: Iterable[str]) -> str | None:
    """What of a pipeline is Python of its repository, None where all of it is the library's. `paths`: its files.

    A class that is written as [module, name], or a component whose library is a file beside it: diffusers runs these.
    """
    there = set(paths)
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str):
        return f"its pipeline {pipeline}"
    for name, value in index.items():
        if isinstance(value, list) and value and isinstance(value[0], str):
            files = (f"{name}/{value[0]}.py", f"{value[0]}.py")
            if found := next((file for file in files if file in there), None):
                return f"its component {name} ({found})"
    return None


def files(folder: Path) -> list[str]:
    """The files of a folder, as paths below it."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def variant(paths: Iterable[str]) -> str | None:
    """The variant to ask for: fp16 or bf16 where weights are there in that form only."""
    weights = {path for path in paths if path.endswith(".safetensors")}
    for name in ("fp16", "bf16"):
        mark = f".{name}."
        if any(mark in path and path.replace(mark, ".") not in weights for path in weights):
            return name
    return None
