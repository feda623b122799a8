"""Runs in the engine's Python: vLLM's own count of the KV cache one request needs. Rows of JSON in, bytes out.

A row is [[layers, key-value heads on the device, width, window or null]...], the context, and the tokens in flight.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import torch
from vllm.v1.core import kv_cache_utils
from vllm.v1.kv_cache_interface import FullAttentionSpec, MLAAttentionSpec, SlidingWindowSpec


def needed(groups: list[list[Any]], context: int, in_flight: int) -> int:
    """What vLLM asks for, and the one block that it never uses."""
    layers = [_spec(*group[1:]) for group in groups for _ in range(group[0])]
    specs = {f"layer.{index}": spec for index, spec in enumerate(layers)}
    if len(groups) == 1:
        grouped = kv_cache_utils._get_kv_cache_groups_uniform_spec(specs)
    else:
        grouped = kv_cache_utils._get_kv_cache_groups_uniform_page_size(specs)
    config = _config(context, in_flight)
    whole = kv_cache_utils._max_memory_usage_bytes_from_groups(config, grouped)
    return int(whole + kv_cache_utils._pool_bytes_per_block(config, grouped))


def _spec(heads: int, width: int, window: int | None) -> Any:
    common = {"block_size": 16, "num_kv_heads": heads, "dtype": torch.bfloat16}
    if width % 2 == 0 and window is not None:
        return SlidingWindowSpec(**common, head_size=width // 2, sliding_window=window)
    if heads == 1 and width == 576:  # a latent of 512 and 64 for the rotary part
        return MLAAttentionSpec(**common, head_size=width)
    return FullAttentionSpec(**common, head_size=width // 2)


def _config(context: int, in_flight: int) -> Any:
    """As much of vLLM's configuration as its arithmetic reads."""
    return SimpleNamespace(
        model_config=SimpleNamespace(max_model_len=context),
        max_in_flight_tokens=in_flight,
        parallel_config=SimpleNamespace(decode_context_parallel_size=1),
        attention_config=SimpleNamespace(hisparse_config=None),
        cache_config=SimpleNamespace(
            get_resolved_kv_cache_layout=lambda: SimpleNamespace(is_block_outermost=False),
        ),
    )


sys.stdout.write(json.dumps([needed(*row) for row in json.load(sys.stdin)]) + "\n")
