"""How a model looks in the lists: golden objects, and what clients cannot do without."""

import re
from typing import Any

import pytest

from dormouse_api.lease import FOREVER
from dormouse_router.dialects.ollama import describe
from tests.router.dialects.records import condition, known_status, record

DETAILS = {
    "parent_model": "",
    "format": "safetensors",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "1.10M",
    "quantization_level": "BF16",
    "context_length": 2048,
    "embedding_length": 128,
}


def test_an_entry_of_tags() -> None:
    model = record()
    entry = describe.listing(model, "Org/Tiny")
    assert re.fullmatch("[0-9a-f]{64}", entry.pop("digest"))
    assert entry == {
        "name": "Org/Tiny:latest",
        "model": "Org/Tiny:latest",
        "modified_at": "2026-05-01T10:02:00.000000Z",
        "size": 4_500_000,
        "details": DETAILS,
        "capabilities": ["completion", "tools"],
    }


def test_a_model_is_listed_under_its_name_and_aliases() -> None:
    assert describe.names_listed(record(aliases=["tiny", "org/tiny"])) == ["tiny-chat", "tiny", "org/tiny"]


@pytest.mark.parametrize(
    ("device", "ends", "minimum", "vram", "expires"),
    [
        ("cpu", 1_800_000_060.5, 0, 0, "2027-01-15T08:01:00.500000Z"),
        ("cuda", 1_800_000_060.5, 0, 4_500_000, "2027-01-15T08:01:00.500000Z"),
        ("cpu", 1_800_000_000.0 + FOREVER, 0, 0, "2318-01-01T00:00:00Z"),
        ("cpu", None, 1, 0, "2318-01-01T00:00:00Z"),
        ("cpu", None, 0, 0, "2027-01-15T08:00:00.000000Z"),
    ],
)
def test_an_entry_of_ps(device: str, ends: float | None, minimum: int, vram: int, expires: str) -> None:
    model = record(status=known_status(device=device), scaling={"minReplicas": minimum})
    entry = describe.running(model, "tiny-chat", ends, 1_800_000_000.0)
    assert (entry["size_vram"], entry["expires_at"], entry["context_length"]) == (vram, expires, 2048)
    assert (entry["name"], entry["size"], len(entry["digest"])) == ("tiny-chat:latest", 4_500_000, 64)


def test_the_details_of_show() -> None:
    shown = describe.show(record(engine={"maxModelLen": 512}), "TINY", "ollama/0.33.0")
    assert shown["model_info"] == {
        "general.architecture": "llama",
        "general.parameter_count": 1_100_000,
        "llama.context_length": 512,
        "llama.embedding_length": 128,
    }
    assert shown["details"] == {**DETAILS, "context_length": 512}
    assert shown["capabilities"] == ["completion", "tools"]
    assert re.search(r"^num_ctx +512$", shown["parameters"], re.MULTILINE)
    assert "projector_info" not in shown
    assert "FROM tiny-chat:latest" in shown["modelfile"]


def test_the_numbers_are_the_models_own() -> None:
    anatomy = {"attentionHeads": 16, "intermediateSize": 512, "vocabulary": 32_000}
    inspected = {"key": "k", "modelType": "llama", "embeddingLength": 128, "anatomy": anatomy}
    info = describe.show(record(status=known_status(inspected=inspected)), "m", "")["model_info"]
    assert info["llama.attention.head_count"] == 16
    assert info["llama.feed_forward_length"] == 512
    assert info["llama.vocab_size"] == 32_000


def test_where_the_licence_is_said() -> None:
    assert describe.show(record(), "m", "")["license"].startswith("The weights come from hf://dormouse/tiny-chat")


def test_an_editor_gets_its_name_back() -> None:
    shown = describe.show(record(), "TINY", "GitHubCopilotChat/1.0")
    assert shown["model_info"]["general.basename"] == "TINY"


def test_an_editor_that_asks_for_infill_finds_the_suffix() -> None:
    shown = describe.show(record(status=known_status(capabilities=["completion", "insert"])), "m", "")
    assert ".Suffix" in shown["template"]
    assert ".Suffix" not in describe.show(record(), "m", "")["template"]


def test_a_model_nobody_has_looked_at_yet_can_be_shown() -> None:
    shown = describe.show(record(status={}), "tiny-chat", "")
    assert shown["capabilities"] == ["completion"]
    assert shown["model_info"]["general.architecture"] == "unknown"
    assert shown["model_info"]["general.parameter_count"] == 0
    assert shown["modified_at"] == "2026-05-01T10:00:00.000000Z"


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ({"quantization": "int4"}, "INT4"),
        ({"quantization": "none"}, "BF16"),
        ({"quantization": "none", "inspected": {"key": "k", "dtype": "float32"}}, "F32"),
        ({"quantization": "none", "inspected": {"key": "k", "nativeQuantization": "gptq"}}, "GPTQ"),
        ({"quantization": "int4", "engine": {"name": "transformers", "quantization": "nf4"}}, "NF4"),
        ({"quantization": None, "inspected": None}, "unknown"),
    ],
)
def test_quantization_levels(status: dict[str, Any], wanted: str) -> None:
    assert describe.quantization_level(record(status=known_status(**status))) == wanted


@pytest.mark.parametrize(
    ("parameters", "text"),
    [(None, ""), (512, "512"), (35_000, "35.00K"), (494_032_768, "494.03M"), (7_615_616_512, "7.6B")],
)
def test_parameter_sizes(parameters: int | None, text: str) -> None:
    assert describe.parameter_size(parameters) == text


@pytest.mark.parametrize(
    ("architecture", "family"),
    [
        ("LlamaForCausalLM", "llama"),
        ("Qwen2MoeForCausalLM", "qwen2moe"),
        ("GPT2LMHeadModel", "gpt2"),
        ("LlavaForConditionalGeneration", "llava"),
        (None, "unknown"),
    ],
)
def test_families_from_the_architecture(architecture: str | None, family: str) -> None:
    assert describe.family(record(status={"architecture": architecture})) == family


def test_the_digest_follows_the_weights() -> None:
    digests = {
        describe.digest(record()),
        describe.digest(record(status=known_status(commit="1" * 40))),
        describe.digest(record(status=known_status(quantization="int4"))),
    }
    assert len(digests) == 3
    moved = record(status=known_status(conditions=[condition("Ready", "True", "Serving")]))
    assert describe.digest(moved) == describe.digest(record())
