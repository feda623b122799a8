"""What configurations of many families say about memory: one row per habit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dormouse_api.anatomy import CacheLayers
from dormouse_runtime.pull.anatomy import anatomy, cache, copy_bytes, layer_kinds, tensor_bytes
from dormouse_runtime.pull.describe import Papers, describe, inner_config
from dormouse_runtime.quantize.layout import Tensor
from tests.runtime.pull.harness import REPO, SMALL, WEIGHTS, Puller, safetensors

LLAMA = {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}
FULL = CacheLayers(layers=32, heads=8, width=256)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(LLAMA, [FULL], id="grouped queries"),
        pytest.param(
            {"n_layer": 12, "n_head": 12, "n_embd": 768}, [CacheLayers(layers=12, heads=12, width=128)], id="gpt2"
        ),
        pytest.param(LLAMA | {"head_dim": 64}, [CacheLayers(layers=32, heads=8, width=128)], id="a head's own size"),
        pytest.param(
            {"num_hidden_layers": 32, "num_attention_heads": 71, "hidden_size": 4544, "multi_query": True},
            [CacheLayers(layers=32, heads=1, width=128)],
            id="falcon: one key-value head",
        ),
        pytest.param(
            LLAMA | {"num_hidden_layers": 61, "kv_lora_rank": 512, "qk_rope_head_dim": 64},
            [CacheLayers(layers=61, heads=1, width=576)],
            id="deepseek: a latent",
        ),
        pytest.param(
            LLAMA | {"sliding_window": 4096},
            [CacheLayers(layers=32, heads=8, width=256, window=4096)],
            id="mistral 0.1: every layer has a window",
        ),
        pytest.param(LLAMA | {"sliding_window": None}, [FULL], id="mistral 0.3: none has"),
        pytest.param(
            LLAMA | {"sliding_window": 131_072, "use_sliding_window": False, "max_window_layers": 28},
            [FULL],
            id="qwen2: named, and not used",
        ),
        pytest.param(
            LLAMA | {"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 28},
            [
                CacheLayers(layers=28, heads=8, width=256),
                CacheLayers(layers=4, heads=8, width=256, window=4096),
            ],
            id="qwen2: in the upper layers",
        ),
        pytest.param(
            LLAMA | {"model_type": "gemma2"},
            [
                CacheLayers(layers=16, heads=8, width=512, window=4096),
                CacheLayers(layers=16, heads=8, width=512),
            ],
            id="gemma 2: every other layer, unsaid",
        ),
        pytest.param(
            {
                "model_type": "gemma3",
                "text_config": {"model_type": "gemma3_text", "num_hidden_layers": 34, "hidden_size": 2560},
            },
            [
                CacheLayers(layers=29, heads=4, width=512, window=4096),
                CacheLayers(layers=5, heads=4, width=512),
            ],
            id="gemma 3: nearly everything unsaid",
        ),
        pytest.param(
            LLAMA | {"layer_types": ["chunked_attention"] * 24 + ["full_attention"] * 8, "attention_chunk_size": 8192},
            [
                CacheLayers(layers=24, heads=8, width=256, window=8192),
                CacheLayers(layers=8, heads=8, width=256),
            ],
            id="llama 4: chunks",
        ),
        pytest.param(
            LLAMA | {"layer_types": ["linear_attention"] * 24 + ["full_attention"] * 8},
            [CacheLayers(layers=8, heads=8, width=256)],
            id="qwen3 next: most keep a state only",
        ),
        pytest.param(
            LLAMA
            | {
                "layer_types": ["sliding_attention"] * 24 + ["full_attention"] * 8,
                "sliding_window": 512,
                "global_head_dim": 512,
                "num_global_key_value_heads": 2,
            },
            [
                CacheLayers(layers=24, heads=8, width=256, window=512),
                CacheLayers(layers=8, heads=2, width=1024),
            ],
            id="layers that see everything have another shape",
        ),
        pytest.param(LLAMA | {"num_kv_shared_layers": 12}, [CacheLayers(layers=20, heads=8, width=256)], id="shared"),
        pytest.param({"model_type": "bert"} | LLAMA, [], id="an encoder keeps nothing"),
        pytest.param(LLAMA | {"is_encoder_decoder": True}, None, id="encoder and decoder"),
        pytest.param(LLAMA | {"mamba_d_state": 128}, None, id="state layers that are not named"),
        pytest.param(LLAMA | {"layer_types": ["mamba"] * 32}, None, id="state layers that are"),
        pytest.param({}, None, id="no configuration"),
        pytest.param({"num_hidden_layers": 2}, None, id="no heads"),
    ],
)
def test_what_the_cache_holds(config: dict[str, Any], expected: list[CacheLayers] | None) -> None:
    assert cache(inner_config(config)) == expected


def test_a_list_of_another_length_than_the_layers_is_not_believed() -> None:
    assert layer_kinds(LLAMA | {"layer_types": ["full_attention"]}) == ["full_attention"] * 32


def test_the_rest_of_the_anatomy() -> None:
    found = anatomy(LLAMA | {"intermediate_size": 14_336, "vocab_size": 128_256}, {})
    assert (found.attention_heads, found.hidden_size, found.intermediate_size) == (32, 4096, 14_336)
    assert (found.vocabulary, found.tensor_bytes, found.copy_bytes) == (128_256, None, None)
    mixed = LLAMA | {"intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts_per_tok": 8}
    assert anatomy(mixed, {}).intermediate_size == 8 * 768
    fused = LLAMA | {"intermediate_size": 2880, "num_experts_per_tok": 4}
    assert anatomy(fused, {}).intermediate_size == 4 * 2880


def test_bytes_by_dtype_and_of_copies() -> None:
    linear = Tensor("model.layers.0.mlp.up_proj.weight", "BF16", (256, 128))
    norm = Tensor("model.norm.weight", "F32", (128,))
    files = {"a.safetensors": [linear], "b.safetensors": [norm]}
    assert tensor_bytes(files) == {"BF16": 2 * 256 * 128, "F32": 4 * 128}
    # packed, one scale per row of 128, the shape; and the norm
    int4 = 256 * 128 // 2 + 256 * 2 + 16 + 4 * 128
    int8 = 256 * 128 + 256 * 4 + 4 * 128
    assert copy_bytes({}, files) == {"int4": int4, "int8": int8, "fp8": int8}
    assert copy_bytes({"quantization_config": {"quant_method": "gptq"}}, files) == {}
    assert copy_bytes({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, files) == {}
    assert copy_bytes({}, {"b.safetensors": [norm]}) == {}
    fused = Tensor("model.layers.0.mlp.experts.gate_up_proj", "BF16", (4, 256, 128))
    assert copy_bytes({}, {"a.safetensors": [linear, fused]}) == {}
    strange = Tensor("x", "F4", (2,))
    assert tensor_bytes({"a": [strange]}) is copy_bytes({}, {"a": [strange]}) is None


def test_a_published_gemma_3_says_its_context_all_the_same() -> None:
    config = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "hidden_size": 3840}}
    assert describe(Papers(config=config)).context_length == 131_072


def test_inspection_brings_it(puller: Puller) -> None:
    tensors = {"model.layers.0.mlp.up_proj.weight": ("BF16", [64, 128]), "model.norm.weight": ("F32", [128])}
    config = LLAMA | {"architectures": ["LlamaForCausalLM"], "vocab_size": 100}
    puller.hub.publish(REPO, SMALL | {"config.json": json.dumps(config).encode(), WEIGHTS: safetensors(tensors)})
    ended = puller.run("inspect")
    assert ended.outcome.inspect is not None
    found = ended.outcome.inspect.anatomy
    assert found is not None
    assert found.cache == [FULL]
    assert found.tensor_bytes == {"BF16": 2 * 64 * 128, "F32": 4 * 128}
    assert set(found.copy_bytes or {}) == {"int4", "int8", "fp8"}
