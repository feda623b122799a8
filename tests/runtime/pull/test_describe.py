"""What a model is and can do, from its own files alone."""

from __future__ import annotations

from typing import Any

import pytest

from dormouse_runtime.pull.describe import Papers, count_parameters, describe

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}


@pytest.mark.parametrize(
    ("papers", "expected"),
    [
        (Papers(config=LLAMA), ("completion",)),
        (Papers(config=LLAMA, template="{% for t in tools %}"), ("completion", "tools")),
        (Papers(config=LLAMA, template="stools and mytoolset"), ("completion",)),
        (Papers(config=LLAMA, template="{% if enable_thinking %}<think>"), ("completion", "thinking")),
        (Papers(config=LLAMA, tokenizer={"extra_special_tokens": ["<|fim_middle|>"]}), ("completion", "insert")),
        (
            Papers(config={"architectures": ["Qwen2_5_VLForConditionalGeneration"], "vision_config": {}}),
            ("completion", "vision"),
        ),
        (
            Papers(config={"architectures": ["VoxtralForConditionalGeneration"], "audio_config": {}}),
            ("completion", "audio"),
        ),
        (Papers(config={"architectures": ["GPT2LMHeadModel"]}), ("completion",)),
        (Papers(config={"architectures": ["BertModel"]}), ("embedding",)),
        (Papers(config=LLAMA, paths=frozenset({"modules.json"})), ("embedding",)),
        (Papers(pipeline={"_class_name": "StableDiffusionPipeline"}), ("image",)),
        (Papers(), ()),
    ],
)
def test_capabilities(papers: Papers, expected: tuple[str, ...]) -> None:
    assert describe(papers).capabilities == expected


def test_the_token_of_its_form_tells_how_a_model_fills_gaps() -> None:
    assert describe(Papers(config=LLAMA, tokenizer={"x": ["<fim_prefix>", "<fim_middle>"]})).infill == "<fim_middle>"
    assert describe(Papers(config=LLAMA, tokenizer={"x": ["<s>"]})).infill is None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 131072}, "max_position_embeddings": 7}, 131072),
        ({"seq_length": 32768.0}, 32768),
        ({"max_position_embeddings": -1}, None),
        ({}, None),
    ],
)
def test_context_length(config: dict[str, Any], expected: int | None) -> None:
    assert describe(Papers(config=config)).context_length == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
        ({}, None),
    ],
)
def test_native_quantization(config: dict[str, Any], expected: str | None) -> None:
    assert describe(Papers(config=config)).native_quantization == expected


@pytest.mark.parametrize(
    ("config", "paths", "expected"),
    [
        ({"auto_map": {"AutoModel": "m.M"}}, {"m.py"}, True),
        ({"auto_map": {"AutoModel": "m.M"}, "model_type": "llama"}, {"m.py"}, False),
        ({}, {"m.py"}, False),
    ],
)
def test_remote_code(config: dict[str, Any], paths: set[str], expected: bool) -> None:
    assert describe(Papers(config=config, paths=frozenset(paths))).remote_code is expected


def test_names_and_dtypes_old_and_new() -> None:
    facts = describe(Papers(config={**LLAMA, "torch_dtype": "float16", "hidden_size": 128}))
    assert (facts.architecture, facts.model_type) == ("LlamaForCausalLM", "llama")
    assert (facts.dtype, facts.embedding_length) == ("float16", 128)
    assert describe(Papers(config={"text_config": {"dtype": "bfloat16", "n_embd": 9}})).dtype == "bfloat16"
    assert describe(Papers(pipeline={"_class_name": "FluxPipeline"})).architecture == "FluxPipeline"


@pytest.mark.parametrize(
    ("quantization", "tensors", "expected"),
    [
        ({}, [("a", "BF16", 10), ("b", "I32", 5)], 15),
        ({"bits": 4}, [("a.qweight", "I32", 10), ("a.qzeros", "I32", 3), ("a.scales", "F16", 4)], 80),
        ({"bits": 8}, [("a.qweight", "I32", 10), ("norm.weight", "F16", 7)], 47),
        (
            {"config_groups": {"g": {"weights": {"num_bits": 4}}}},
            [("a.weight_packed", "I32", 2), ("a.weight_scale", "BF16", 9), ("b.weight", "BF16", 1)],
            17,
        ),
    ],
)
def test_parameters(quantization: dict[str, Any], tensors: list[tuple[str, str, int]], expected: int) -> None:
    assert count_parameters(tensors, {"quantization_config": quantization}) == expected
