"""Whether a repository needs Python code of its own, and whether that is part of what is pulled. Pure.

Many repositories carry code (`auto_map`) that the engines do not need any more: they know the architecture. Only
what no engine loads by itself needs it; `native.json` has the names they know (dev/native.py writes it).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dormouse_api.conditions import Reason
from dormouse_api.text import plain
from dormouse_runtime.pull import pipelines
from dormouse_runtime.pull.errors import PullError

NATIVE = Path(__file__).with_name("native.json")
ELSEWHERE = "--"
"""Parts the repository from the class in a reference to another repository's code: org/name--modeling_x.XModel."""
MAX_WORD = 128

Json = Mapping[str, Any]


@dataclass(frozen=True)
class OwnCode:
    """What a repository's references to Python code come to."""

    needed: bool = False
    elsewhere: str = ""
    """Another repository that it takes code from."""
    absent: str = ""
    """A file of code that it names and does not have."""


def own_code(config: Json, tokenizer: Json, pipeline: Json, paths: Set[str]) -> OwnCode:
    """`config` is config.json, `tokenizer` tokenizer_config.json, `pipeline` model_index.json; empty where none is."""
    model, words = list(_classes(config, "AutoConfig", "AutoModel")), list(_classes(tokenizer, "AutoTokenizer"))
    needed = (model and not _model_known(config)) or (words and not _tokenizer_known(config, tokenizer))
    if pipeline and pipelines.own_code(pipeline, paths):
        return OwnCode(needed=True)
    if not needed:
        return OwnCode()
    named = [*model, *words]
    elsewhere = next((name.partition(ELSEWHERE)[0] for name in named if ELSEWHERE in name), "")
    files = [f"{name.rpartition('.')[0]}.py" for name in named if ELSEWHERE not in name]
    absent = next((file for file in files if file not in paths), "")
    return OwnCode(needed=True, elsewhere=plain(elsewhere, MAX_WORD), absent=plain(absent, MAX_WORD))


def pinned(code: OwnCode) -> None:
    """Raise Unsupported where code that is needed is not part of what is pulled, which is all that a commit pins."""
    if code.elsewhere:
        raise PullError(
            Reason.UNSUPPORTED,
            f"the model needs Python code of another repository ({code.elsewhere}), which is neither pulled nor pinned "
            "to a commit: use a repository that has the code beside the weights, with an auto_map that names no other",
        )
    if code.absent:
        raise PullError(
            Reason.UNSUPPORTED,
            f"the model needs its own Python code, and the repository has no {code.absent}: check spec.source.revision",
        )


@functools.cache
def _native() -> dict[str, frozenset[str]]:
    return {key: frozenset(names) for key, names in json.loads(NATIVE.read_text()).items()}


def _model_known(config: Json) -> bool:
    """The engines have the configuration's class, and one of the architectures it names."""
    named = config.get("architectures")
    architectures = {name for name in named if isinstance(name, str)} if isinstance(named, list) else set()
    known = architectures & _native()["architectures"]
    return bool(known) or (not architectures and _named(config, "model_type") in _native()["model_types"])


def _tokenizer_known(config: Json, tokenizer: Json) -> bool:
    by_class = _named(tokenizer, "tokenizer_class").removesuffix("Fast") in _native()["tokenizers"]
    return by_class or _named(config, "model_type") in _native()["tokenizer_types"]


def _named(papers: Json, key: str) -> str:
    found = papers.get(key)
    return found if isinstance(found, str) else ""


def _classes(papers: Json, *kinds: str) -> Iterator[str]:
    """References of an auto_map to classes of some kinds; a bare list is a tokenizer's, as it was written long ago."""
    found = papers.get("auto_map")
    named = (
        found.items() if isinstance(found, Mapping) else [("AutoTokenizer", found)] if isinstance(found, list) else []
    )
    for kind, value in named:
        if isinstance(kind, str) and kind.startswith(kinds):
            yield from (name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str))
