"""The ladder of smaller settings: tables for what comes next, and the supervisor on engines that are hungry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.model import Engine
from dormouse_api.runtime import MAX_ADAPTED, Adaptation, Passed, RuntimeConfig, Setting
from dormouse_runtime.supervisor import adapt
from dormouse_runtime.supervisor.lives import KILLED, Lives
from tests.runtime.scripted import engine
from tests.runtime.scripted.pod import Pod, make_config, scripted, until

GIB = 2**30
FULL = Passed(engine="vllm", reason=Reason.OUT_OF_MEMORY, message=engine.OUT_OF_MEMORY, seconds=1)
SHORT = FULL.model_copy(
    update={
        "message": "ValueError: To serve at least one request with the model's max seq len (8192), 1.0 GiB KV cache is "
        "needed, which is larger than the available KV cache memory (0.5 GiB). Based on the available memory, the "
        "estimated maximum model length is 4090."
    }
)


def config(**fields: Any) -> RuntimeConfig:
    attempts = ({"engine": "vllm", "model_dir": "/models/a"},)
    usual = {"attempts": attempts, "adapt": True, "device": "cuda", "kv_cache_bytes": 4 * GIB}
    return make_config(**{**usual, **fields})


def climb(start: RuntimeConfig, own: int | None, passed: Passed = FULL) -> list[str]:
    """Every rung, one after the other."""
    steps: list[Adaptation] = []
    while True:
        step = adapt.next_step(start.model_copy(update={"adapted": tuple(steps)}), Engine.VLLM, passed, own)
        if step is None:
            return [f"{step.setting.value} {step.before}->{step.after}" for step in steps]
        steps.append(step)


@pytest.mark.parametrize(
    ("fields", "own", "rungs"),
    [
        (
            {},
            8192,
            [
                "maxNumSeqs 64->16",
                "maxModelLen 8192->4096",
                f"kvCacheMemory {4 * GIB}->{2 * GIB}",
                f"kvCacheMemory {2 * GIB}->{GIB}",
                "enforceEager false->true",
            ],
        ),
        # what was asked for is a promise to callers, by the spec or by a flag of the profile
        (
            {"max_model_len": 4096, "kv_cache_bytes": 100 * 2**20, "args": ("--enforce-eager",)},
            8192,
            ["maxNumSeqs 64->16"],
        ),
        (
            {"args": ("--max-model-len=4096", "--max-num-seqs=8", "--enforce-eager"), "kv_cache_bytes": 1},
            8192,
            ["maxNumSeqs 8->4"],
        ),
        # a CPU is always eager, and its cache is the administrator's guess
        (
            {"device": "cpu", "max_num_seqs": 4, "kv_cache_bytes": 512 * 2**20},
            None,
            [f"kvCacheMemory {2**29}->{2**28}", f"kvCacheMemory {2**28}->{2**27}", f"kvCacheMemory {2**27}->{2**26}"],
        ),
        ({"args": ("--kv-cache-memory-bytes=100", "--enforce-eager"), "max_num_seqs": 1}, None, []),
    ],
)
def test_each_rung_changes_one_setting_and_the_ladder_ends(
    fields: dict[str, Any], own: int | None, rungs: list[str]
) -> None:
    assert climb(config(**fields), own) == rungs


def test_a_cache_too_small_for_one_sequence_shortens_the_context_and_nothing_else() -> None:
    assert climb(config(), 8192, SHORT)[0] == "maxModelLen 8192->4080"
    assert climb(config(max_model_len=8192), 8192, SHORT) == []
    half = SHORT.model_copy(update={"message": "No available memory for the cache blocks."})
    assert climb(config(), 8192, half)[0] == "maxModelLen 8192->4096"


@pytest.mark.parametrize(
    "reason", [reason for reason in Reason if reason is not Reason.OUT_OF_MEMORY and reason.value.endswith("Failed")]
)
def test_only_memory_is_adapted_to(reason: Reason) -> None:
    assert adapt.next_step(config(), Engine.VLLM, FULL.model_copy(update={"reason": reason}), 8192) is None


def test_the_ladder_of_one_engine_is_not_anothers_and_all_together_are_bounded() -> None:
    taken = Adaptation(engine="vllm", setting=Setting.SEQUENCES, before="64", after="16", because="x")
    after = adapt.next_step(config(adapted=(taken,)), Engine.TRANSFORMERS, FULL, 8192)
    assert after is not None
    assert (after.engine, after.setting) == ("transformers", Setting.SEQUENCES)
    full = config(adapted=(taken,) * MAX_ADAPTED)
    assert adapt.next_step(full, Engine.TRANSFORMERS, FULL, 8192) is None


def test_what_was_adapted_wins_over_flags_and_leaves_the_others() -> None:
    steps = [
        (Setting.SEQUENCES, "16"),
        (Setting.CONTEXT, "4096"),
        (Setting.KV_CACHE, "1024"),
        (Setting.EAGER, "true"),
        (Setting.QUANTIZATION, "int4"),
    ]
    adapted = tuple(Adaptation(engine="vllm", setting=s, before="", after=a, because="x") for s, a in steps)
    flags = ("--max-num-seqs=64", "--gpu-memory-utilization=0.9", "--seed=1", "--max-model-len=9")
    given = adapt.effective(config(adapted=adapted, args=flags), Engine.VLLM)
    assert (given.max_num_seqs, given.max_model_len, given.kv_cache_bytes) == (16, 4096, 1024)
    assert given.args == ("--seed=1", "--enforce-eager")
    other = config(adapted=adapted)
    assert adapt.effective(other, Engine.TRANSFORMERS) == other
    nonsense = adapted[0].model_copy(update={"after": "many"})
    assert adapt.effective(config(adapted=(nonsense,)), Engine.VLLM).max_num_seqs == 64


@pytest.mark.parametrize(
    ("fields", "own", "words"),
    [
        ({}, None, "--max-num-seqs=16"),
        ({"max_num_seqs": 1}, 8192, "spec.engine.maxModelLen 4096"),
        ({"max_num_seqs": 1}, None, "kvCacheMemory to 2048Mi"),
        ({"max_num_seqs": 1, "kv_cache_bytes": 1}, None, "--enforce-eager"),
    ],
)
def test_without_adapt_the_sentence_names_what_to_set(fields: dict[str, Any], own: int | None, words: str) -> None:
    said = adapt.suggestion(config(adapt=False, **fields), Engine.VLLM, FULL, own)
    assert words in said
    assert "spec.engine.adapt: true" in said
    assert adapt.suggestion(config(**fields), Engine.VLLM, FULL, own) == ""


@pytest.mark.parametrize(
    ("kv", "limit", "after"), [(4 * GIB, 3 * GIB, GIB), (GIB, 3 * GIB, None), (4 * GIB, None, None), (GIB, 1, 2**26)]
)
def test_a_cache_that_cannot_fit_the_container_is_not_even_tried(kv: int, limit: int | None, after: int | None) -> None:
    step = adapt.foreseen(config(device="cpu", kv_cache_bytes=kv), Engine.VLLM, GIB // 2, limit)
    assert (step and int(step.after)) == after
    assert (
        adapt.foreseen(config(kv_cache_bytes=kv), Engine.VLLM, GIB // 2, limit) is None
    )  # a GPU has memory of its own


def test_the_context_a_model_was_made_for(tmp_path: Path) -> None:
    told = tmp_path / "config.json"
    for text, length in (
        ('{"max_position_embeddings": 8192}', 8192),
        ('{"text_config": {"max_position_embeddings": 64}}', 64),
        ('{"max_position_embeddings": "long"}', None),
        ("[]", None),
        ("{", None),
    ):
        told.write_text(text)
        assert adapt.own_context(tmp_path) == length
    assert adapt.own_context(tmp_path / "none") is None


def test_a_life_cut_off_is_told_once_and_only_of_this_boot_and_these_weights(tmp_path: Path) -> None:
    boot = tmp_path / "boot"
    boot.write_text("one")
    taken = (Adaptation(engine="vllm", setting=Setting.EAGER, before="false", after="true", because="x"),)
    Lives(tmp_path, "c", boot).begin(Engine.VLLM, taken)
    assert Lives(tmp_path, "another", boot).ended() is None
    lives = Lives(tmp_path, "c", boot)
    lives.begin(Engine.VLLM, taken)
    life = Lives(tmp_path, "c", boot).ended()
    assert life is not None
    assert (life.engine, life.adapted) == (Engine.VLLM, taken)
    assert Lives(tmp_path, "c", boot).ended() is None
    lives.begin(Engine.VLLM, taken)
    boot.write_text("two")
    assert Lives(tmp_path, "c", boot).ended() is None
    lives.begin(Engine.VLLM, taken)
    lives.close()
    assert lives.ended() is None


Start = Callable[..., Pod]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    pods: list[Pod] = []

    def make(*parts: str, **fields: Any) -> Pod:
        pods.append(scripted(tmp_path, *parts, **fields))
        return pods[-1]

    yield make
    for pod in pods:
        pod.close()


def steps(pod: Pod) -> list[tuple[str, str]]:
    return [(step.setting.value, step.after) for step in pod.state().adapted]


CLIMBED = [("maxNumSeqs", "16"), ("kvCacheMemory", str(2**29)), ("kvCacheMemory", str(2**28))]


@pytest.mark.slow
def test_a_hungry_engine_is_started_with_less_until_it_serves(start: Start) -> None:
    pod = start("hungry", "serve", adapt=True, kv_cache_bytes=GIB)
    until(pod.ready)
    state = pod.state()
    assert (state.engine, state.passed, steps(pod)) == ("vllm", (), CLIMBED)
    assert all("CUDA out of memory" in step.because for step in state.adapted)
    assert pod.log().count(engine.OUT_OF_MEMORY) >= 3


@pytest.mark.slow
def test_the_next_pod_begins_with_what_worked(start: Start) -> None:
    first = start("hungry", adapt=True, kv_cache_bytes=GIB)
    until(first.ready)
    adapted = first.state().adapted
    first.terminate()
    assert first.end() == 0
    second = start("hungry", adapt=True, kv_cache_bytes=GIB, adapted=adapted)
    until(second.ready)
    assert second.state().adapted == adapted
    assert engine.OUT_OF_MEMORY not in second.log()


@pytest.mark.slow
def test_without_adapt_the_next_engine_serves_and_the_reason_says_what_to_set(start: Start) -> None:
    pod = start("hungry", "serve", kv_cache_bytes=GIB)
    until(pod.ready)
    (passed,) = pod.state().passed
    assert passed.reason is Reason.OUT_OF_MEMORY
    assert "spec.engine.adapt: true" in passed.message
    assert steps(pod) == []


@pytest.mark.slow
def test_a_ladder_without_an_end_is_left_for_the_next_engine(start: Start) -> None:
    pod = start("out-of-memory", "serve", adapt=True, kv_cache_bytes=2**27)
    until(pod.ready)
    assert (pod.state().engine, len(pod.state().passed)) == ("transformers", 1)
    assert steps(pod) == [("maxNumSeqs", "16"), ("kvCacheMemory", str(2**26))]


@pytest.mark.slow
def test_memory_that_runs_out_while_it_serves_is_adapted_to_as_often_as_there_are_rungs(start: Start) -> None:
    pod = start("serve", adapt=True, kv_cache_bytes=2**27)
    until(pod.ready)
    for taken in range(3):
        assert len(steps(pod)) == min(taken, 2)
        pod.get("/overflow", pod.serving)
        until(partial(lambda died: len(pod.state().passed) == died and pod.ready(), taken + 1))
    assert pod.state().restarts == 1  # beyond the ladder it is an engine that dies, as any other
    assert all("stopped while serving" in passed.message for passed in pod.state().passed)


@pytest.mark.slow
def test_a_killed_container_is_followed_by_one_with_less(start: Start) -> None:
    first = start("serve", adapt=True, kv_cache_bytes=2**27)
    until(first.ready)
    first.close()  # SIGKILL, as the kernel's
    second = start("serve", adapt=True, kv_cache_bytes=2**27)
    until(second.ready)
    (step,) = second.state().adapted
    assert (step.setting, step.because) == (Setting.SEQUENCES, KILLED)
    second.terminate()
    assert second.end() == 0
    third = start("serve", adapt=True, kv_cache_bytes=2**27)
    until(third.ready)
    assert steps(third) == []  # an orderly end is no sign of anything
