"""Loads a Hugging Face model and its tokenizer from a folder, quantized by bitsandbytes where asked.

Knows nothing of HTTP or batching.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SAMPLING_DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


@dataclass(frozen=True)
class Loaded:
    """A model ready to generate."""

    model: Any
    tokenizer: ChatTokenizer
    eos: frozenset[int]
    pad: int
    vocabulary: int
    """Tokens it has an embedding of."""
    max_model_len: int
    cache_tokens: int
    """Tokens the KV cache holds in the bytes the profile gives it."""
    defaults: Mapping[str, float]


@dataclass(frozen=True)
class Wanted:
    """What to load, and how."""

    folder: Path
    quantization: str = "none"
    dtype: str = "auto"
    device: str = "cpu"
    remote_code: bool = False
    chat_template: str | None = None
    max_model_len: int | None = None
    kv_cache_bytes: int = 0


def bitsandbytes_config(method: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    """nf4 or llm-int8. Double quantization always: without it a copy saved on a CPU reloads as wrong weights."""
    if method == "llm-int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, bnb_4bit_use_double_quant=True
    )


def load(wanted: Wanted) -> Loaded:
    """The model in memory. Raises what transformers raises where it cannot."""
    model = load_model(wanted)
    tokenizer = AutoTokenizer.from_pretrained(wanted.folder, trust_remote_code=wanted.remote_code)
    if wanted.chat_template:
        tokenizer.chat_template = wanted.chat_template
    per_token = kv_bytes_per_token(model.config.get_text_config(), model.dtype)
    cache_tokens = max(64, wanted.kv_cache_bytes // per_token)
    own = getattr(model.config.get_text_config(), "max_position_embeddings", None) or cache_tokens
    check_context(wanted.max_model_len, own, cache_tokens)
    eos = eos_tokens(model, tokenizer)
    pad = tokenizer.pad_token_id
    return Loaded(
        model=model,
        tokenizer=ChatTokenizer(tokenizer),
        eos=eos,
        pad=pad if pad is not None else min(eos, default=0),
        vocabulary=model.get_input_embeddings().weight.shape[0],
        max_model_len=min(wanted.max_model_len or own, cache_tokens),
        cache_tokens=cache_tokens,
        defaults=sampling_defaults(model.generation_config),
    )


def load_model(wanted: Wanted) -> Any:
    """The model alone. A folder that carries a quantization is loaded as it is."""
    config = json.loads((wanted.folder / "config.json").read_text())
    options: dict[str, Any] = {"dtype": DTYPES.get(wanted.dtype, "auto")}
    if wanted.quantization in ("nf4", "llm-int8") and "quantization_config" not in config:
        compute = DTYPES.get(wanted.dtype) or DTYPES.get(str(config.get("dtype") or config.get("torch_dtype")))
        options["quantization_config"] = bitsandbytes_config(wanted.quantization, compute or torch.bfloat16)
    model, told = class_of(wanted, config).from_pretrained(
        wanted.folder,
        device_map=wanted.device,
        trust_remote_code=wanted.remote_code,
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    if missing := sorted(told["missing_keys"]):
        # transformers would go on with random numbers in their place
        raise ValueError(f"{len(missing)} tensors are missing from the weights, such as {missing[0]}")
    return model.eval()


def class_of(wanted: Wanted, config: Mapping[str, Any]) -> Any:
    """How transformers loads it: as what continues a text, what rewrites one (T5, BART), or, as the last resort, what
    also sees pictures and is asked in words alone.
    """
    if config.get("is_encoder_decoder"):
        return AutoModelForSeq2SeqLM
    known = AutoConfig.from_pretrained(wanted.folder, trust_remote_code=wanted.remote_code)
    causal, seeing = AutoModelForCausalLM, AutoModelForImageTextToText
    own = "AutoModelForCausalLM" in (config.get("auto_map") or {})
    return (
        seeing
        if not own and type(known) not in causal._model_mapping and type(known) in seeing._model_mapping
        else causal
    )


def check_context(asked: int | None, own: int, cache_tokens: int) -> None:
    """Refuse a context that was asked for and cannot be had: to serve a shorter one instead would surprise."""
    if asked is not None and asked > own:
        raise ValueError(f"a context of {asked} tokens is beyond the model's context of {own} tokens")
    if asked is not None and asked > cache_tokens:
        raise ValueError(f"the KV cache of {cache_tokens} tokens does not hold a context of {asked} tokens")


def greedy(model: Any, prompt: Sequence[int], tokens: int) -> list[int]:
    """The likeliest `tokens` after `prompt`, by the plain way of generating; no end of sequence stops it."""
    ids = torch.tensor([list(prompt)], device=model.device)
    made = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        generation_config=GenerationConfig(do_sample=False, max_new_tokens=tokens, eos_token_id=None, pad_token_id=0),
    )
    return [int(token) for token in made[0][len(prompt) :]]


def kv_bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Bytes one token takes in the KV cache of all layers."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * dtype.itemsize)


def eos_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a sequence, by the generation config, else by the tokenizer."""
    told = model.generation_config.eos_token_id
    told = tokenizer.eos_token_id if told is None else told
    return frozenset(told if isinstance(told, list) else [] if told is None else [told])


def sampling_defaults(generation: Any) -> dict[str, float]:
    """The sampling the model's authors recommend in generation_config.json."""
    if not generation.do_sample:
        return {}
    values = {name: getattr(generation, name, None) for name in SAMPLING_DEFAULTS}
    return {name: float(value) for name, value in values.items() if value is not None}


class ChatTokenizer:
    """`generation.Tokenizer` over a transformers tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text)["input_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def chat(self, messages: list[dict[str, Any]], options: Mapping[str, Any]) -> list[int]:
        if not self._tokenizer.chat_template:
            raise ValueError("this model has no chat template: set spec.engine.chatTemplate, or use /v1/completions")
        plain = [plain_message(message) for message in messages]
        try:
            go_on = bool(options.get("continue_final_message"))
            told = self._tokenizer.apply_chat_template(
                plain, tokenize=True, add_generation_prompt=not go_on, return_dict=False, **options
            )
        except Exception as error:
            raise ValueError(f"the model's chat template refuses these messages: {error}") from error
        return list(told)


def plain_message(message: dict[str, Any]) -> dict[str, Any]:
    """A message as templates expect it: text in one piece, a tool call's arguments as an object."""
    out = dict(message)
    if not isinstance(out.get("role"), str):
        raise ValueError("messages: every message needs a role")
    content = out.get("content")
    if isinstance(content, list):
        if strange := [part.get("type") for part in content if part.get("type") != "text"]:
            raise ValueError(f"messages: this model reads text only, not {strange[0]}")
        out["content"] = "".join(str(part.get("text", "")) for part in content)
    if out.get("tool_calls"):
        out["tool_calls"] = [_plain_call(call) for call in out["tool_calls"]]
    return out


def _plain_call(call: dict[str, Any]) -> dict[str, Any]:
    function = dict(call.get("function") or {})
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            function["arguments"] = json.loads(arguments or "{}")
        except ValueError as error:
            raise ValueError(f"messages: arguments of a tool call must be JSON: {error}") from error
    return {**call, "function": function}
