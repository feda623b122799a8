"""Whether a repository holds a LoRA adapter that vLLM can serve, told by its configuration alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from dormouse_api.adapters import ADAPTER_CONFIG
from dormouse_api.conditions import Reason
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.selection import PICKLES, RemoteFile
from dormouse_runtime.pull.trust import checked

WEIGHTS = "adapter_model.safetensors"
HIGHEST_RANK = 512
"""vLLM takes no higher one."""
HARMLESS_STARTS = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga"})
"""Ways to begin a training that leave the base model's weights as they are."""
SERVED_WHOLE = frozenset({"classifier", "score"})
_MERGE = "merge it into its base model (peft's merge_and_unload), publish that, and serve it as a model of its own"


@dataclass(frozen=True)
class Shape:
    """What the configuration says."""

    rank: int
    base: str | None
    targets: tuple[str, ...]


def select_adapter(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """The two files of an adapter; checkpoints of its training and merged weights stay where they are."""
    kept = [file for file in files if file.path in (ADAPTER_CONFIG, WEIGHTS)]
    checked(kept)
    there = {file.path for file in kept}
    if there == {ADAPTER_CONFIG, WEIGHTS}:
        return sorted(kept, key=lambda file: file.path)
    suffixes = {PurePosixPath(file.path).suffix for file in files if file.path.startswith("adapter_model")}
    if WEIGHTS not in there and suffixes & set(PICKLES):
        raise _unfit("its weights are pickled, which can run code when loaded: save them as safetensors")
    if ADAPTER_CONFIG not in there and WEIGHTS not in there:
        raise _unfit(f"no {ADAPTER_CONFIG}: a model is named in spec.source, an adapter is a repository of its own")
    raise _unfit(f"no {({ADAPTER_CONFIG, WEIGHTS} - there).pop()}: save it with peft's save_pretrained")


def shape(config: Mapping[str, Any]) -> Shape:
    """The shape of the adapter. PullError (Unsupported) where vLLM would refuse it, before any device is taken."""
    kind = str(config.get("peft_type") or "none").upper()
    if kind != "LORA":
        raise _unfit(f"its peft_type is {kind}, and only LORA can be served beside its model: {_MERGE}")
    if wrong := list(_unknown(config)):
        raise _unfit(f"vLLM does not serve {', '.join(wrong)}: train it without, or {_MERGE}")
    ranks = [config.get("r"), *_values(config.get("rank_pattern"))]
    if not all(isinstance(rank, int) and not isinstance(rank, bool) and rank > 0 for rank in ranks):
        raise _unfit("its rank r is no number above 0: save it with peft's save_pretrained")
    rank = max(int(rank) for rank in ranks if rank)
    if rank > HIGHEST_RANK:
        raise _unfit(f"its rank is {rank}, and vLLM takes {HIGHEST_RANK} at most: train it with a lower one")
    base, targets = config.get("base_model_name_or_path"), config.get("target_modules")
    names = sorted(str(name) for name in targets) if isinstance(targets, list) else [str(targets or "all")]
    return Shape(rank, base if isinstance(base, str) and base else None, tuple(names[:32]))


def _unknown(config: Mapping[str, Any]) -> Iterable[str]:
    """What changes an adapter's meaning and is not implemented there."""
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower() not in HARMLESS_STARTS:
        yield f"adapters that changed their base model's weights (init_lora_weights {start})"
    saved = config.get("modules_to_save")
    if isinstance(saved, list) and (others := sorted({str(name) for name in saved} - SERVED_WHOLE)):
        yield f"whole layers beside the low-rank ones (modules_to_save {', '.join(others)})"
    for key, name in (
        ("use_dora", "DoRA"),
        ("lora_bias", "biases (lora_bias)"),
        ("alora_invocation_tokens", "activated LoRA (aLoRA)"),
        ("layer_replication", "replicated layers (layer_replication)"),
        ("use_bdlora", "block-diagonal LoRA"),
        ("use_qalora", "QALoRA"),
    ):
        if config.get(key):
            yield name


def _values(pattern: object) -> Iterable[Any]:
    return pattern.values() if isinstance(pattern, Mapping) else ()


def _unfit(why: str) -> PullError:
    return PullError(Reason.UNSUPPORTED, f"this is no adapter that can be served: {why}")
