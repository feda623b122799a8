"""Writes the list of adapters that a model's runtime pods shall serve, and removes adapters that nobody lists any more.

Knows no hub. The list is replaced whole, and before anything goes: a pod never reads of an adapter that is not there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from dormouse_api.adapters import ADAPTERS_DIR, AdapterList
from dormouse_api.conditions import Reason
from dormouse_api.names import ENV_ADAPTERS, MODELS_DIR
from dormouse_api.results import BindResult
from dormouse_runtime.pull import marker
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.sweep import FOLDER, remove

LIST = re.compile(r"[A-Za-z0-9-]{1,64}")
TOLD = 32


def bind(environ: Mapping[str, str]) -> BindResult:
    """Make DORMOUSE_ADAPTERS the list named DORMOUSE_LIST; DORMOUSE_DROP: commits that the model needs no more.

    An adapter that does not lie there whole is left out, and told of. Raises PullError.
    """
    name, wanted = _wanted(environ)
    folder = Path(environ.get("DORMOUSE_MODELS_DIR") or MODELS_DIR) / ADAPTERS_DIR
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    before = _read(path)
    whole = tuple(entry for entry in wanted.adapters if _whole(folder / entry.commit))
    _write(path, AdapterList(adapters=whole))
    drop = {commit for commit in environ.get("DORMOUSE_DROP", "").split(",") if FOLDER.fullmatch(commit)}
    drop |= {entry.commit for entry in before.adapters}
    listed = {entry.commit for other in folder.glob("*.json") for entry in _read(other).adapters}
    gone = []
    for commit in sorted(drop - listed - {entry.commit for entry in wanted.adapters}):
        if (folder / commit).is_dir():
            remove(folder / commit)
            gone.append(commit)
    missing = tuple(entry.commit for entry in wanted.adapters if entry not in whole)
    return BindResult(adapters=len(whole), removed=tuple(gone[:TOLD]), missing=missing)


def _wanted(environ: Mapping[str, str]) -> tuple[str, AdapterList]:
    name = environ.get("DORMOUSE_LIST", "")
    try:
        wanted = AdapterList.model_validate_json(environ.get(ENV_ADAPTERS, ""))
    except ValidationError:
        name = ""
        wanted = AdapterList()
    if not LIST.fullmatch(name):
        raise PullError(
            Reason.UNSUPPORTED,
            f"DORMOUSE_LIST and {ENV_ADAPTERS} name no list of adapters: the image does not belong to this operator's "
            "version",
        )
    return name, wanted


def _whole(folder: Path) -> bool:
    found = marker.read(folder)
    return found is not None and marker.whole(folder, found)


def _read(path: Path) -> AdapterList:
    """A list; empty where there is none, or none that can be read."""
    try:
        return AdapterList.model_validate_json(path.read_text())
    except (OSError, ValidationError, UnicodeDecodeError):
        return AdapterList()


def _write(path: Path, wanted: AdapterList) -> None:
    scratch = path.with_suffix(".part")
    with scratch.open("w") as file:
        file.write(wanted.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    scratch.chmod(0o644)
    scratch.rename(path)
    marker.sync_folder(path.parent)
