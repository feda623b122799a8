"""Embeddings with transformers: an encoder's (or decoder's) last layer, pooled as the repository says.

Knows the two files in which sentence-transformers repositories say how (modules.json and the pooling's config.json),
not that package. Without them it is the mean over a text's tokens, at length 1, which such models are trained for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import uvicorn
from transformers import AutoModel, AutoTokenizer

from dormouse_api.runtime import Stage
from dormouse_runtime.engines.base import announce
from dormouse_runtime.engines.openai.embeddings import Library, create_app
from dormouse_runtime.engines.transformers.model import DTYPES, Wanted
from dormouse_runtime.engines.worker import Left, Worker
from dormouse_runtime.settings import Settings

WAITING = 8
POOLS = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}


@dataclass(frozen=True)
class Pooling:
    """How the vectors of a text's tokens become one."""

    way: str = "mean"
    """first, mean, max or last."""
    normalize: bool = True


def pooling(folder: Path) -> Pooling:
    """What the repository says. NotImplementedError where it wants what is not done here."""
    listed = folder / "modules.json"
    if not listed.is_file():
        return Pooling()
    modules = json.loads(listed.read_text())
    kinds = {str(module["type"]).rpartition(".")[2]: str(module.get("path", "")) for module in modules}
    if strange := sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"}):
        raise NotImplementedError(f"this engine has no implementation of the module {strange[0]} of modules.json")
    told = json.loads((folder / kinds["Pooling"] / "config.json").read_text()) if "Pooling" in kinds else {}
    ways = [key for key, on in told.items() if on is True and key.startswith("pooling_mode_")]
    if len(ways) > 1 or any(way not in POOLS for way in ways):
        raise NotImplementedError(f"this engine has no implementation of the pooling {', '.join(sorted(ways))}")
    return Pooling(POOLS[ways[0]] if ways else "mean", "Normalize" in kinds)


class TransformersEmbedder:
    """`embeddings.Embedder` over a model in memory."""

    def __init__(self, wanted: Wanted, batch: int) -> None:
        self._pooling = pooling(wanted.folder)
        self._model: Any = AutoModel.from_pretrained(
            wanted.folder,
            device_map=wanted.device,
            trust_remote_code=wanted.remote_code,
            use_safetensors=True,
            dtype=DTYPES.get(wanted.dtype, "auto"),
        ).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(wanted.folder, trust_remote_code=wanted.remote_code)
        self._batch = batch
        config = self._model.config.get_text_config()
        own = getattr(config, "max_position_embeddings", None) or 512
        self.max_model_len = min(wanted.max_model_len or own, own)

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text)["input_ids"])

    def embed(self, prompts: Sequence[list[int]], left: Left) -> list[list[float]]:
        """Texts of about one length share a batch, for each is padded to its longest."""
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        found: dict[int, list[float]] = {}
        for start in range(0, len(order), self._batch):
            if left():
                break
            places = order[start : start + self._batch]
            vectors = self._vectors([prompts[place] for place in places])
            found.update(zip(places, vectors, strict=True))
        return [found[place] for place in sorted(found)]

    def _vectors(self, prompts: list[list[int]]) -> list[list[float]]:
        longest, pad = max(map(len, prompts)), self._tokenizer.pad_token_id or 0
        ids = torch.tensor([prompt + [pad] * (longest - len(prompt)) for prompt in prompts])
        mask = torch.tensor([[1] * len(prompt) + [0] * (longest - len(prompt)) for prompt in prompts])
        device = self._model.device
        with torch.inference_mode():
            hidden = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state.float()
        pooled = pool(hidden, mask.to(device), self._pooling.way)
        if self._pooling.normalize:
            pooled = torch.nn.functional.normalize(pooled, dim=-1)
        vectors: list[list[float]] = pooled.tolist()
        return vectors


def pool(hidden: torch.Tensor, mask: torch.Tensor, way: str) -> torch.Tensor:
    """[texts, tokens, width] → [texts, width]; `mask` is 1 for tokens of the text, which come first."""
    if way == "first":
        return hidden[:, 0]
    if way == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1]
    present = mask.unsqueeze(-1).bool()
    if way == "max":
        return hidden.masked_fill(~present, -torch.inf).amax(dim=1)
    return hidden.masked_fill(~present, 0).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def main(setup: Settings, folder: str) -> int:
    """Load, then serve until SIGTERM."""
    announce(Stage.LOADING)
    config = setup.config
    wanted = Wanted(
        folder=Path(folder),
        dtype=config.dtype,
        device=config.device,
        remote_code=config.remote_code,
        max_model_len=config.max_model_len,
    )
    embedder = TransformersEmbedder(wanted, config.max_num_seqs)
    announce(Stage.WARMING)
    embedder.embed([embedder.encode("warm")], lambda: False)
    library = Library(config.model, embedder, Worker(WAITING * config.max_num_seqs))
    uvicorn.run(create_app(library), host=setup.host, port=config.serving_port, log_level="warning", access_log=False)
    return 0
