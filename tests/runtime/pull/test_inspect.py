"""What inspect says of a repository, and what it reads for it."""

from __future__ import annotations

import json

from dormouse_api.anatomy import Anatomy
from dormouse_api.results import InspectResult
from tests.runtime.pull.harness import CONFIG, LARGE, PULLED, REPO, SMALL, WEIGHTS, Puller, safetensors


def inspect(puller: Puller) -> InspectResult:
    ended = puller.run("inspect")
    assert ended.code == 0, ended.outcome
    assert ended.outcome.inspect is not None
    return ended.outcome.inspect


def test_a_chat_model(puller: Puller) -> None:
    files = {**SMALL, "chat_template.jinja": b"{% if tools %}...{% endif %}"}
    commit = puller.hub.publish(REPO, files)
    assert inspect(puller) == InspectResult(
        commit=commit,
        files=4,
        bytes=sum(len(files[name]) for name in (*PULLED, "chat_template.jinja")),
        architecture="LlamaForCausalLM",
        model_type="llama",
        parameters=64 * 32 + 64,
        dtype="bfloat16",
        context_length=2048,
        embedding_length=64,
        tool_call_parser="llama3_json",
        capabilities=("completion", "tools"),
        anatomy=Anatomy(tensor_bytes={"BF16": 2 * (64 * 32 + 64)}, copy_bytes={}, hidden_size=64),
    )


def test_it_reads_heads_and_not_weights(puller: Puller) -> None:
    puller.hub.publish(REPO, LARGE)
    assert inspect(puller).parameters == 64
    assert sum(entry["sent"] for entry in puller.hub.log()) < 200_000
    assert list(puller.models.iterdir()) == []


def test_several_files_of_weights(puller: Puller) -> None:
    shard = safetensors({"x.weight": ("F32", [10, 10])})
    files = {"config.json": b"{}", **{f"model-0000{i}-of-00003.safetensors": shard for i in (1, 2, 3)}}
    puller.hub.publish(REPO, files)
    assert inspect(puller).parameters == 300


def test_packed_weights_count_as_what_they_hold(puller: Puller) -> None:
    tensors = {"a.qweight": ("I32", [8, 64]), "a.scales": ("BF16", [2, 64]), "b.weight": ("BF16", [100])}
    config = {**CONFIG, "quantization_config": {"quant_method": "gptq", "bits": 4}}
    puller.hub.publish(REPO, {"config.json": json.dumps(config).encode(), WEIGHTS: safetensors(tensors)})
    found = inspect(puller)
    assert (found.native_quantization, found.parameters) == ("gptq", 8 * 64 * 8 + 100)


def test_a_revision_and_a_pinned_commit(puller: Puller) -> None:
    old = puller.hub.publish(REPO, SMALL)
    puller.hub.publish(REPO, {**SMALL, "config.json": b"{}"}, branch="v2")
    assert inspect(puller).commit == old
    ended = puller.run("inspect", DORMOUSE_REVISION="v2", DORMOUSE_COMMIT=old)
    assert ended.outcome.inspect is not None
    assert ended.outcome.inspect.commit == old


def test_a_broken_config_is_no_reason_to_fail(puller: Puller) -> None:
    puller.hub.publish(REPO, {**SMALL, "config.json": b"{not json"})
    found = inspect(puller)
    assert (found.architecture, found.capabilities, found.parameters) == (None, (), 64 * 32 + 64)


def test_weights_that_are_none_are_refused(puller: Puller) -> None:
    puller.hub.publish(REPO, {**SMALL, WEIGHTS: b"\xff" * 100})
    ended = puller.run("inspect")
    assert (ended.reason, ended.code) == ("Unsupported", 42)
