"""The inspection: all that is to be known of a model before a byte of its weights is pulled."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dormouse_api.anatomy import MOST
from dormouse_api.results import InspectResult
from dormouse_runtime.pull.anatomy import anatomy
from dormouse_runtime.pull.code import own_code, pinned
from dormouse_runtime.pull.describe import Papers, count_parameters, describe
from dormouse_runtime.pull.families import parsers
from dormouse_runtime.pull.heads import tensors
from dormouse_runtime.pull.patience import Patience, patiently
from dormouse_runtime.pull.selection import WEIGHTS, RemoteFile, select
from dormouse_runtime.pull.settings import Settings
from dormouse_runtime.pull.source import Source, first, read
from dormouse_runtime.pull.sources import open_source
from dormouse_runtime.quantize.layout import Tensor

MOST_HEADS = 64  # files of weights whose heads are read; beyond, the size must do
HEADS_AT_ONCE = 4
READ_SECONDS = 10.0
PAPERS = ("config.json", "tokenizer_config.json", "model_index.json", "chat_template.jinja", "chat_template.json")


def inspect(settings: Settings) -> InspectResult:
    """Resolve the revision and describe its commit. Raises PullError, also when the files may not be read."""
    source = open_source(settings, min(READ_SECONDS, settings.stall_seconds))
    with contextlib.closing(source):
        inspector = _Inspector(source, settings)
        commit = inspector.ask(lambda: source.resolve(settings.commit or settings.revision))
        listed = inspector.ask(lambda: source.files(commit))
        files = select(listed)
        papers = inspector.papers(commit, listed)
        pinned(own_code(papers.config, papers.tokenizer, papers.pipeline, papers.paths))
        facts = describe(papers)
        heads = inspector.heads(commit, files)
    spoken = parsers(facts.model_type, papers.template, str(papers.tokenizer), facts.capabilities)
    return InspectResult(
        commit=commit,
        files=len(files),
        bytes=min(MOST, sum(file.size for file in files)),
        architecture=facts.architecture,
        model_type=facts.model_type,
        parameters=min(MOST, count_parameters(_counted(heads), papers.config)) if heads else None,
        dtype=facts.dtype,
        native_quantization=facts.native_quantization,
        context_length=facts.context_length,
        embedding_length=facts.embedding_length,
        tool_call_parser=spoken.tools,
        reasoning_parser=spoken.reasoning,
        infill=facts.infill,
        capabilities=facts.capabilities,
        remote_code=facts.remote_code,
        anatomy=anatomy(papers.config, heads),
    )


class _Inspector:
    """Asks the source, patiently."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self._source, self._backoff = source, settings.backoff_seconds

    def ask(self, call: Any) -> Any:
        return patiently(call, Patience(self._backoff, time.sleep))

    def papers(self, commit: str, listed: list[RemoteFile]) -> Papers:
        """The repository's small files. One that is not JSON counts as empty: the engine will say so better."""
        there = {file.path: file for file in listed}
        wanted = [there[name] for name in PAPERS if name in there]
        texts = {file.path: self.ask(lambda file=file: read(self._source, commit, file)) for file in wanted}
        tokenizer = _parsed(texts.get("tokenizer_config.json"))
        return Papers(
            config=_parsed(texts.get("config.json")),
            tokenizer=tokenizer,
            pipeline=_parsed(texts.get("model_index.json")),
            template=_template(texts, tokenizer),
            paths=frozenset(there),
        )

    def heads(self, commit: str, files: list[RemoteFile]) -> dict[str, list[Tensor]]:
        """The tensors of each file of weights, read from its head; none for a repository of very many files."""
        weights = [file for file in files if file.path.endswith(WEIGHTS)]
        if len(weights) > MOST_HEADS:
            return {}
        with ThreadPoolExecutor(HEADS_AT_ONCE) as pool:
            found = pool.map(lambda file: self.ask(lambda: self._head(commit, file)), weights)
            return dict(zip((file.path for file in weights), found, strict=True))

    def _head(self, commit: str, file: RemoteFile) -> list[Tensor]:
        return tensors(file, lambda count: first(self._source, commit, file, count))


def _counted(heads: Mapping[str, list[Tensor]]) -> Iterator[tuple[str, str, int]]:
    return ((tensor.name, tensor.dtype, math.prod(tensor.shape)) for file in heads.values() for tensor in file)


def _parsed(text: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(text or b"{}")
    except (ValueError, RecursionError):
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
