"""A repository whose owner means harm: what it says is described, refused in a sentence, or ignored; nothing breaks."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse_api.conditions import Reason
from dormouse_api.results import InspectResult, Outcome
from dormouse_runtime.pull.anatomy import CHUNKED, FULL, KV_HEAD_KEYS, LAYER_KEYS, SLIDING, anatomy
from dormouse_runtime.pull.describe import CONTEXT_KEYS, WIDTH_KEYS, Papers, count_parameters, describe
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.selection import RemoteFile, select
from dormouse_runtime.pull.trust import LONGEST_NAME, is_hash
from dormouse_runtime.quantize.layout import Tensor
from tests.runtime.pull.harness import REPO, SMALL, WEIGHTS, Puller

HUGE = "x" * 2**20
KEYS = (
    *("architectures", "model_type", "dtype", "torch_dtype", "quantization_config", "quant_method", "bits"),
    *("config_groups", "weights", "num_bits", "text_config", "auto_map", "vision_config", "layer_types", "head_dim"),
    *("sliding_window", "sliding_window_pattern", "use_sliding_window", "max_window_layers", "kv_lora_rank"),
    *("num_kv_shared_layers", "num_experts_per_tok", "moe_intermediate_size", "vocab_size", "num_attention_heads"),
    *(*CONTEXT_KEYS, *WIDTH_KEYS, *LAYER_KEYS, *KV_HEAD_KEYS),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1, 32, 2**31, 2**63, 10**400, 1e308, float("inf"), float("nan"), -0.5, 0.5]),
    st.sampled_from(
        ["", FULL, SLIDING, CHUNKED, "LlamaForCausalLM", "a\nb\x1b[31m\u202e", "gemma2", "bert", "x" * 5000]
    ),
    st.text(max_size=8),
)
TREES = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
CONFIGS = st.dictionaries(st.sampled_from(KEYS), TREES, max_size=10)
SIDES = st.lists(st.sampled_from([0, 1, 7, 128, 2**40, 2**53]), max_size=3)
HEADS = st.dictionaries(
    st.just(WEIGHTS),
    st.lists(st.builds(Tensor, st.text(max_size=9), st.sampled_from(["BF16", "I32", "X"]), SIDES.map(tuple))),
)


@settings(max_examples=400, deadline=None)
@given(CONFIGS, CONFIGS, CONFIGS, HEADS)
def test_whatever_the_papers_say_there_is_a_result_that_travels(
    config: dict[str, Any], tokenizer: dict[str, Any], pipeline: dict[str, Any], heads: dict[str, list[Tensor]]
) -> None:
    facts = describe(Papers(config=config, tokenizer=tokenizer, pipeline=pipeline))
    counted = ((t.name, t.dtype, 1) for file in heads.values() for t in file)
    assert count_parameters(counted, config) >= 0
    result = InspectResult(commit="c", files=1, bytes=1, anatomy=anatomy(config, heads), **vars(facts))
    text = Outcome(inspect=result).text()
    assert len(text.encode()) <= 4000
    assert Outcome.model_validate_json(text).inspect == result
    assert not any(ord(c) < 32 for c in (result.architecture or "") + (result.dtype or ""))


def test_the_layers_of_a_lie_are_not_made() -> None:
    lie = {"num_hidden_layers": 2**31, "num_attention_heads": 1, "hidden_size": 1}
    assert anatomy(lie, {}).cache is None


@pytest.mark.parametrize("side", [2**53, 2**40])
def test_the_bytes_of_a_lie_are_not_believed(side: int) -> None:
    assert anatomy({}, {WEIGHTS: [Tensor("a", "BF16", (side, side))]}).tensor_bytes is None


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["a\x00.json"], "no volume can hold"),
        (["a\n.json"], "no volume can hold"),
        (["\u202eexe.json"], "no volume can hold"),
        (["d" * (LONGEST_NAME + 1) + "/a.json"], "no volume can hold"),
        (["é" * 120 + ".json"], "no volume can hold"),
        (["/".join(["deep"] * 300) + ".json"], "no volume can hold"),
        (["a.json", "a.json"], "twice"),
        (["a.json", "a.json/b.json"], "below what is a file itself"),
    ],
)
def test_names_that_do_harm_are_refused(paths: list[str], words: str) -> None:
    with pytest.raises(PullError, match=words) as refused:
        select([RemoteFile(path, 1) for path in [WEIGHTS, *paths]])
    assert refused.value.reason is Reason.UNSUPPORTED
    assert refused.value.permanent
    assert len(refused.value.message) < 250


@pytest.mark.parametrize(
    "path", ["../a.json", "/etc/a.json", "x/../../a.json", ".dormouse.json", "a/.dormouse.json", ""]
)
def test_names_that_lead_away_or_forge_the_marker_are_not_pulled(path: str) -> None:
    assert [file.path for file in select([RemoteFile(WEIGHTS, 1), RemoteFile(path, 1)])] == [WEIGHTS]


@pytest.mark.parametrize("oid", ["../../x", "", None, 7, "a" * 39, "A" * 40, "a" * 40 + "\n", ["a" * 40]])
def test_what_becomes_part_of_a_name_must_be_a_hash(oid: object) -> None:
    assert not is_hash(oid)


def head(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


HOSTILE_CONFIGS: dict[str, bytes] = {
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "long strings": json.dumps({"architectures": [HUGE], "model_type": HUGE, "torch_dtype": HUGE}).encode(),
    "wrong types": json.dumps(
        {"architectures": {"a": 1}, "quantization_config": [1], "text_config": 7, "layer_types": [[], {}]}
    ).encode(),
    "wild numbers": b'{"num_hidden_layers": 1e999, "hidden_size": -Infinity, "max_position_embeddings": 9'
    + b"9" * 400
    + b"}",
    "latin 1": b'{"model_type": "\xff\xfe"}',
    "no object": b"null",
}


@pytest.mark.parametrize("case", HOSTILE_CONFIGS)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "model_index.json", "chat_template.json"])
def test_hostile_papers_are_described_as_far_as_they_can_be(puller: Puller, name: str, case: str) -> None:
    puller.hub.publish(REPO, {**SMALL, name: HOSTILE_CONFIGS[case]})
    ended = puller.run("inspect")
    assert (ended.code, ended.reason) == (0, None), ended.outcome
    assert ended.outcome.inspect is not None
    assert len(ended.outcome.inspect.architecture or "") <= 128


HOSTILE_HEADS = {
    "deep": "[" * 90_000 + "]" * 90_000,
    "no object": "[1]",
    "tensor of another type": '{"a": 7}',
    "no shape": '{"a": {"dtype": "BF16"}}',
    "shape of words": '{"a": {"dtype": "BF16", "shape": ["x"], "data_offsets": [0, 1]}}',
    "negative shape": '{"a": {"dtype": "BF16", "shape": [-4], "data_offsets": [0, 1]}}',
    "huge shape": '{"a": {"dtype": "BF16", "shape": [1' + "0" * 300 + '], "data_offsets": [0, 1]}}',
}


@pytest.mark.parametrize("case", HOSTILE_HEADS)
def test_a_head_that_lies_is_no_safetensors_file(puller: Puller, case: str) -> None:
    puller.hub.publish(REPO, {**SMALL, WEIGHTS: head(HOSTILE_HEADS[case])})
    ended = puller.run("inspect")
    assert (ended.code, ended.reason) == (42, Reason.UNSUPPORTED)
    assert "is no safetensors file" in str(ended.outcome.failure)
