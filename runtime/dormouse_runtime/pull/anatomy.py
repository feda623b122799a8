"""What a model's memory is made of, read from its configuration and the heads of its weights. Pure.

Knows configurations' key names and their families' habits; the arithmetic of what fits is the operator's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from dormouse_api.anatomy import MOST, Anatomy, CacheLayers
from dormouse_runtime.pull.describe import WIDTH_KEYS, Json, inner_config, number, part
from dormouse_runtime.quantize.layout import METHODS, SIZES, LayoutError, Tensor, plan

MOST_LAYERS = 10_000
FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
LINEAR = "linear_attention"  # keeps a state of fixed size per sequence, nothing per token
LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEAD_KEYS = ("num_attention_heads", "n_head", "n_heads")
KV_HEAD_KEYS = ("num_key_value_heads", "num_kv_heads", "multi_query_group_num")
FEED_KEYS = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
EXPERT_KEYS = ("num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_topk", "top_k_experts")
STATEFUL = re.compile(r"mamba|ssm|rwkv|hybrid_override|layers_block_type|attn_layer_indices")
"""Keys of models whose layers are not all attention and do not say which in `layer_types`."""
ENCODERS = frozenset({"bert", "roberta", "xlm-roberta", "modernbert", "nomic_bert", "new", "mpnet", "distilbert"})
"""Read the whole text at once and keep nothing of it."""


def anatomy(config: Json, files: Mapping[str, Sequence[Tensor]]) -> Anatomy:
    """The anatomy, as far as config.json and the heads of `files` (by weight file; empty: unread) tell."""
    inner = inner_config(config)
    experts = number((inner,), EXPERT_KEYS)
    feed = number((inner,), ("moe_intermediate_size",)) if experts else None
    width = feed or number((inner,), FEED_KEYS)
    return Anatomy(
        tensor_bytes=tensor_bytes(files),
        copy_bytes=copy_bytes(config, files),
        cache=cache(inner),
        attention_heads=number((inner,), HEAD_KEYS),
        hidden_size=number((inner,), WIDTH_KEYS),
        intermediate_size=width * (experts or 1) if width else None,
        vocabulary=number((inner, config), ("vocab_size",)),
    )


def tensor_bytes(files: Mapping[str, Sequence[Tensor]]) -> dict[str, int] | None:
    """Bytes by stored dtype; None when a dtype is not known, or nothing was read."""
    found: Counter[str] = Counter()
    for tensor in (tensor for tensors in files.values() for tensor in tensors):
        if tensor.dtype not in SIZES:
            return None
        found[tensor.dtype] += tensor.bytes
    if any(size > MOST for size in found.values()):
        return None  # heads that lie
    return dict(sorted(found.items())) or None


def copy_bytes(config: Json, files: Mapping[str, Sequence[Tensor]]) -> dict[str, int] | None:
    """Bytes each quantized copy would have; a method that is missing cannot be made. None: the heads were not read."""
    if tensor_bytes(files) is None:
        return None
    if part(config, "quantization_config") or part(inner_config(config), "quantization_config"):
        return {}
    found = {}
    for method in METHODS:
        try:
            found[method] = plan(method, files).bytes
        except LayoutError:
            continue
    return found


def cache(inner: Json) -> list[CacheLayers] | None:
    """What each kind of layer keeps per token; None where the configuration does not tell."""
    if str(inner.get("model_type")) in ENCODERS:
        return []
    layers, heads, kinds = number((inner,), LAYER_KEYS), number((inner,), HEAD_KEYS), layer_kinds(inner)
    if layers is None or kinds is None or inner.get("is_encoder_decoder"):
        return None
    latent = number((inner,), ("kv_lora_rank",))
    if latent:
        rope = number((inner,), ("qk_rope_head_dim",)) or 0
        return [CacheLayers(layers=layers, heads=1, width=latent + rope)]
    hidden = number((inner,), WIDTH_KEYS)
    size = number((inner,), ("head_dim",)) or (hidden // heads if hidden and heads else None)
    kv_heads = 1 if inner.get("multi_query") is True else number((inner,), KV_HEAD_KEYS) or heads
    if not size or not kv_heads:
        return None
    return [_layers(inner, kind, count, (kv_heads, size)) for kind, count in Counter(kinds).items() if kind != LINEAR]


def _layers(inner: Json, kind: str, count: int, shape: tuple[int, int]) -> CacheLayers:
    """`shape`: heads and numbers per head. Layers that see everything may have a shape of their own."""
    heads, size = shape
    if kind == FULL:
        heads = number((inner,), ("num_global_key_value_heads",)) or heads
        size = number((inner,), ("global_head_dim",)) or size
    return CacheLayers(layers=count, heads=heads, width=2 * size, window=_window(inner, kind))


def _window(inner: Json, kind: str) -> int | None:
    if kind == FULL:
        return None
    return number((inner,), ("attention_chunk_size",) if kind == CHUNKED else ("sliding_window",))


def layer_kinds(inner: Json) -> list[str] | None:
    """The kind of each layer that has a cache of its own; None where some are neither and which is not said."""
    count = number((inner,), LAYER_KEYS) or 0
    if count > MOST_LAYERS:
        return None
    kinds = inner.get("layer_types")
    if isinstance(kinds, list) and len(kinds) == count:
        if any(kind not in (FULL, SLIDING, CHUNKED, LINEAR) for kind in kinds):
            return None
    elif any(STATEFUL.search(key) for key in inner):
        return None
    else:
        kinds = [_kind(inner, index) for index in range(count)]
    shared = number((inner,), ("num_kv_shared_layers",)) or 0
    return kinds[: max(0, count - shared)]


def _kind(inner: Json, index: int) -> str:
    """The kind of a layer where the configuration names a rule instead of a list."""
    if not inner.get("sliding_window") or inner.get("use_sliding_window") is False:
        return FULL
    if pattern := number((inner,), ("sliding_window_pattern",)):
        return SLIDING if (index + 1) % pattern else FULL
    if "use_sliding_window" in inner:
        return SLIDING if index >= (number((inner,), ("max_window_layers",)) or 0) else FULL
    return SLIDING
