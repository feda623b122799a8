"""What a model is and can do, read from its own files. Pure: parsed JSON and text in, facts out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dormouse_api.text import plain
from dormouse_runtime.pull.code import own_code

Json = Mapping[str, Any]

CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx")
WIDTH_KEYS = ("hidden_size", "n_embd", "d_model", "dim")
GENERATING = re.compile(r"(ForCausalLM|LMHeadModel|ForConditionalGeneration|ForImageTextToText)$")
INFILL_TOKENS = (
    "<|fim_middle|>",
    "<fim_middle>",
    "<fim-middle>",
    "<\uff5cfim\u2581hole\uff5c>",
    "▁<MID>",
    "[MIDDLE]",
)
THINKING = re.compile(r"<think>|enable_thinking|reasoning_content|<\|channel\|>|\[THINK\]")
TOOLS = re.compile(r"\btools\b")
UNSAID: Mapping[str, Json] = {
    "gemma2": {"head_dim": 256, "sliding_window": 4096, "sliding_window_pattern": 2},
    "gemma3_text": {
        "vocab_size": 262_208,
        "max_position_embeddings": 131_072,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
    },
    "cohere2": {"sliding_window_pattern": 4},
}
"""What configurations of a family leave out because it is the family's default: published ones of Gemma 3 lack even the
size of a head, which is not hidden_size / num_attention_heads there."""
LARGEST = 2**31
"""Beyond it no number of a configuration counts anything."""
MAX_WORD = 128
PACKED_BITS = 32  # gptq, awq and compressed-tensors pack low-bit weights into 32-bit integers
PACKED_NAMES = (".qweight", ".weight_packed")
NOT_COUNTED = (".qzeros", ".g_idx", ".scales", ".weight_scale", ".weight_zero_point", ".weight_shape", ".weight_g_idx")


@dataclass(frozen=True)
class Papers:
    """The small files of a repository, parsed; what it lacks is empty."""

    config: Json = field(default_factory=dict)
    tokenizer: Json = field(default_factory=dict)
    """tokenizer_config.json"""
    pipeline: Json = field(default_factory=dict)
    """model_index.json of a diffusers repository"""
    template: str = ""
    paths: frozenset[str] = frozenset()
    """All files of the repository."""


@dataclass(frozen=True)
class Facts:
    """What `describe` found; the fields are those of InspectResult."""

    architecture: str | None
    model_type: str | None
    dtype: str | None
    native_quantization: str | None
    context_length: int | None
    embedding_length: int | None
    infill: str | None
    capabilities: tuple[str, ...]
    remote_code: bool


def describe(papers: Papers) -> Facts:
    """The facts, as far as the files tell them."""
    config = papers.config
    inner = inner_config(config)
    architecture = _word(_first(config.get("architectures"))) or _word(papers.pipeline.get("_class_name"))
    quantization = part(config, "quantization_config") or part(inner, "quantization_config")
    dtype = config.get("dtype") or config.get("torch_dtype") or inner.get("dtype") or inner.get("torch_dtype")
    return Facts(
        architecture=architecture,
        model_type=_word(config.get("model_type")),
        dtype=_word(dtype),
        native_quantization=_word(quantization.get("quant_method")),
        context_length=number((inner, config), CONTEXT_KEYS),
        embedding_length=number((inner, config), WIDTH_KEYS),
        infill=_infill(papers),
        capabilities=_capabilities(papers, architecture or ""),
        remote_code=own_code(config, papers.tokenizer, papers.pipeline, papers.paths).needed,
    )


def count_parameters(tensors: Iterable[tuple[str, str, int]], config: Json) -> int:
    """Parameters behind (name, dtype, elements): packed weights count as what they unpack to, scales not at all."""
    bits = _bits(part(config, "quantization_config"))
    total = 0
    for name, dtype, elements in tensors:
        if bits and name.endswith(NOT_COUNTED):
            continue
        packed = bits and dtype == "I32" and name.endswith(PACKED_NAMES)
        total += elements * PACKED_BITS // bits if packed else elements
    return total


def _capabilities(papers: Papers, architecture: str) -> tuple[str, ...]:
    config = papers.config
    if papers.pipeline:
        return ("image",)
    if "modules.json" in papers.paths or (architecture and not GENERATING.search(architecture)):
        return ("embedding",)
    if not architecture:
        return ()
    wanted = {
        "completion": True,
        "tools": bool(TOOLS.search(papers.template)),
        "insert": _infill(papers) is not None,
        "vision": any(key in config for key in ("vision_config", "vision_tower", "mm_vision_tower")),
        "audio": any(key in config for key in ("audio_config", "speech_config")),
        "thinking": bool(THINKING.search(papers.template)),
    }
    return tuple(name for name, can in wanted.items() if can)


def _infill(papers: Papers) -> str | None:
    """The token between what stands around a gap and what fills it, where the tokenizer has one."""
    known = str(papers.tokenizer)
    return next((token for token in INFILL_TOKENS if token in known), None)


def inner_config(config: Json) -> Json:
    """The language model's part of a composed configuration, with what its family leaves unsaid."""
    for key in ("text_config", "llm_config", "language_config", "thinker_config"):
        if isinstance(config.get(key), Mapping):
            config = config[key]
            break
    return {**UNSAID.get(str(config.get("model_type")), {}), **config}


def _bits(quantization: Json) -> int:
    """Bits of a packed weight, 0 when the weights are not packed."""
    groups = part(quantization, "config_groups")
    found = [quantization.get("bits"), *(part(part(groups, name), "weights").get("num_bits") for name in groups)]
    return next((bits for bits in found if type(bits) is int and 0 < bits <= PACKED_BITS), 0)


def number(parts: Iterable[Json], keys: tuple[str, ...]) -> int | None:
    """The first number under one of `keys`, part by part, that can be a count of anything in a model."""
    found = (part.get(key) for part in parts for key in keys)
    counts = (value for value in found if isinstance(value, (int, float)) and 0 < value <= LARGEST)
    return next((int(value) for value in counts if value >= 1), None)


def part(config: Json, key: str) -> Json:
    """The object under `key`; an empty one where there is none, or something else."""
    found = config.get(key)
    return found if isinstance(found, Mapping) else {}


def _first(value: object) -> object:
    return value[0] if isinstance(value, list) and value else None


def _word(value: object) -> str | None:
    return plain(value, MAX_WORD) or None if isinstance(value, str) else None
