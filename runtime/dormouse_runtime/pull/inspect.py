"""The inspection: all that is to be known of a model before a byte of its weights is pulled."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dormouse_api.results import InspectResult
from dormouse_runtime.pull.anatomy import anatomy
from dormouse_runtime.pull.describe import Papers, count_parameters, describe
from dormouse_runtime.pull.hub import Hub
from dormouse_runtime.pull.patience import Patience, patiently
from dormouse_runtime.pull.selection import WEIGHTS, RemoteFile, select
from dormouse_runtime.pull.settings import Settings
from dormouse_runtime.quantize.layout import Tensor

MOST_HEADS = 64  # files of weights whose heads are read; beyond, the size must do
HEADS_AT_ONCE = 4
READ_SECONDS = 10.0
PAPERS = ("config.json", "tokenizer_config.json", "model_index.json", "chat_template.jinja", "chat_template.json")


def inspect(settings: Settings) -> InspectResult:
    """Resolve the revision and describe its commit. Raises PullError, also when the files may not be read."""
    hub = Hub(settings, min(READ_SECONDS, settings.stall_seconds))
    with contextlib.closing(hub):
        inspector = _Inspector(hub, settings)
        commit = inspector.ask(lambda: hub.resolve(settings.commit or settings.revision))
        listed = inspector.ask(lambda: hub.files(commit))
        files = select(listed)
        papers = inspector.papers(commit, listed)
        facts = describe(papers)
        heads = inspector.heads(commit, files)
    return InspectResult(
        commit=commit,
        files=len(files),
        bytes=sum(file.size for file in files),
        architecture=facts.architecture,
        model_type=facts.model_type,
        parameters=count_parameters(_counted(heads), papers.config) if heads else None,
        dtype=facts.dtype,
        native_quantization=facts.native_quantization,
        context_length=facts.context_length,
        embedding_length=facts.embedding_length,
        infill=facts.infill,
        capabilities=facts.capabilities,
        remote_code=facts.remote_code,
        anatomy=anatomy(papers.config, heads),
    )


class _Inspector:
    """Asks the hub, patiently."""

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self._hub, self._backoff = hub, settings.backoff_seconds

    def ask(self, call: Any) -> Any:
        return patiently(call, Patience(self._backoff, time.sleep))

    def papers(self, commit: str, listed: list[RemoteFile]) -> Papers:
        """The repository's small files. One that is not JSON counts as empty: the engine will say so better."""
        there = frozenset(file.path for file in listed)
        texts = {name: self.ask(lambda name=name: self._hub.read(commit, name)) for name in PAPERS if name in there}
        tokenizer = _parsed(texts.get("tokenizer_config.json"))
        return Papers(
            config=_parsed(texts.get("config.json")),
            tokenizer=tokenizer,
            pipeline=_parsed(texts.get("model_index.json")),
            template=_template(texts, tokenizer),
            paths=there,
        )

    def heads(self, commit: str, files: list[RemoteFile]) -> dict[str, list[Tensor]]:
        """The tensors of each file of weights, read from its head; none for a repository of very many files."""
        weights = [file.path for file in files if file.path.endswith(WEIGHTS)]
        if len(weights) > MOST_HEADS:
            return {}
        with ThreadPoolExecutor(HEADS_AT_ONCE) as pool:
            found = pool.map(lambda path: self.ask(lambda: self._hub.tensors(commit, path)), weights)
            return dict(zip(weights, found, strict=True))


def _counted(heads: Mapping[str, list[Tensor]]) -> Iterator[tuple[str, str, int]]:
    return ((tensor.name, tensor.dtype, math.prod(tensor.shape)) for file in heads.values() for tensor in file)


def _parsed(text: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(text or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _template(texts: Mapping[str, bytes], tokenizer: Mapping[str, Any]) -> str:
    """The chat template, from wherever this repository keeps it; several named ones count as one text."""
    if "chat_template.jinja" in texts:
        return texts["chat_template.jinja"].decode(errors="replace")
    found = _parsed(texts.get("chat_template.json")).get("chat_template") or tokenizer.get("chat_template") or ""
    return "\n".join(_strings(found))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (str(item.get("template", "")) for item in value if isinstance(item, Mapping))
