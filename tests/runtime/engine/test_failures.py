"""Starts that fail on the real engines: the reason, the fix, and whether the next engine was worth its start."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.runtime import Stage
from dormouse_runtime.supervisor.timeline import ORDER
from tests.runtime.engine import broken
from tests.runtime.engine.conftest import Serve, ask, ready, words
from tests.runtime.scripted.pod import Pod, until

pytestmark = pytest.mark.engine

PARIS, FRANCE = "Paris.", "What is the capital of France?"
BOTH = ("vllm", "transformers")


@dataclass(frozen=True)
class Kind:
    """A way to fail. `then`: what the second engine comes to: it serves, fails by itself, or is not tried."""

    harm: Callable[[Path], None]
    reason: Reason
    words: str
    fix: str
    then: str = "not tried"
    base: str = "tiny-chat"
    fields: dict[str, Any] = field(default_factory=dict)
    engines: tuple[str, ...] = BOTH


WHOLE = "delete the model's claim"
KINDS = {
    "an architecture that one engine lacks": Kind(
        broken.configured(architectures=["NoSuchForCausalLM"]),
        Reason.UNSUPPORTED,
        "['NoSuchForCausalLM'] are not supported",
        "use an engine that knows it",
        then="serves",
    ),
    "an architecture that nobody knows": Kind(
        broken.configured(architectures=["NoSuchForCausalLM"], model_type="nosuch"),
        Reason.UNSUPPORTED,
        "model type `nosuch`",
        "use an engine that knows it",
        then="fails",
    ),
    "a missing shard": Kind(
        broken.last_shard_gone,
        Reason.CORRUPT,
        "model-00002-of-00002.safetensors is missing",
        WHOLE,
        base="heavy-random",
    ),
    "weights that are noise": Kind(broken.noise, Reason.CORRUPT, "model.safetensors is no safetensors file", WHOLE),
    "weights that are cut off": Kind(broken.half, Reason.CORRUPT, "model.safetensors is cut off", WHOLE),
    "a missing tensor": Kind(broken.tensor_gone, Reason.CORRUPT, "", WHOLE),
    "a missing tensor, transformers": Kind(
        broken.tensor_gone, Reason.CORRUPT, "1 tensors are missing", WHOLE, engines=("transformers",)
    ),
    "weights of other shapes": Kind(
        broken.configured(hidden_size=256, head_dim=64), Reason.CORRUPT, "", "do not belong together"
    ),
    "no tokenizer": Kind(broken.no_tokenizer, Reason.CORRUPT, "tokenizer", "the tokenizer's files do not fit"),
    "a torn tokenizer": Kind(broken.torn_tokenizer, Reason.CORRUPT, "tokenizer.json is empty or cut off", WHOLE),
    "another model's tokenizer": Kind(
        broken.foreign_tokenizer, Reason.CORRUPT, "", "the tokenizer's files do not fit", engines=("transformers",)
    ),
    "an unknown quantization": Kind(
        broken.configured(quantization_config={"quant_method": "nosuch"}),
        Reason.QUANTIZATION_FAILED,
        "Unknown quantization method: nosuch",
        "choose another spec.quantization",
        then="serves",
    ),
    "a quantization that nobody runs": Kind(
        broken.configured(quantization_config={"quant_method": "hqq", "nbits": 4}),
        Reason.QUANTIZATION_FAILED,
        "hqq",
        "choose another spec.quantization",
        then="fails",
    ),
    "a context too long": Kind(
        broken.nothing,
        Reason.INVALID_SPEC,
        "max_model_len (100000)",
        "lower spec.engine.maxModelLen",
        fields={"max_model_len": 100_000},
    ),
    "a context too long, transformers": Kind(
        broken.nothing,
        Reason.INVALID_SPEC,
        "beyond the model's context of 2048 tokens",
        "lower spec.engine.maxModelLen",
        fields={"max_model_len": 100_000},
        engines=("transformers",),
    ),
    "a cache too small": Kind(
        broken.nothing,
        Reason.OUT_OF_MEMORY,
        "cache",
        "raise kvCacheMemory in the profile",
        fields={"max_model_len": 2048, "kv_cache_bytes": 2**16},
    ),
    "a cache too small, transformers": Kind(
        broken.nothing,
        Reason.OUT_OF_MEMORY,
        "does not hold a context of 2048 tokens",
        "raise kvCacheMemory in the profile",
        fields={"max_model_len": 2048, "kv_cache_bytes": 2**16},
        engines=("transformers",),
    ),
    "out of memory": Kind(
        broken.nothing,
        Reason.OUT_OF_MEMORY,
        "is less than requested memory for kv",
        "lower kvCacheMemory in the profile",
        then="serves",
        fields={"kv_cache_bytes": 2**46},
    ),
    "no driver": Kind(
        broken.nothing,
        Reason.ENGINE_FAILED,
        "Found no NVIDIA driver",
        "install the GPU's driver",
        fields={"device": "cuda"},
        engines=("transformers", "transformers"),
    ),
    "a flag it does not know": Kind(
        broken.nothing,
        Reason.ENGINE_FAILED,
        "--enable-warp",
        "take it out of spec.engine.args",
        then="serves",
        fields={"args": ("--enable-warp",)},
    ),
    "code without permission": Kind(
        broken.configured(model_type="tiny_own", auto_map={"AutoConfig": "c.C", "AutoModelForCausalLM": "m.M"}),
        Reason.REMOTE_CODE_FORBIDDEN,
        "custom code",
        "remoteCode: Allowed",
    ),
    "code from elsewhere": Kind(
        broken.configured(model_type="tiny_own", auto_map={"AutoConfig": "other/repo--c.C"}),
        Reason.UNSUPPORTED,
        "",
        "use one that is whole",
        fields={"remote_code": True},
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_start_that_fails_says_why_and_goes_on_where_that_helps(
    serve: Serve, models: Path, tmp_path: Path, name: str
) -> None:
    kind = KINDS[name]
    weights = broken.copy(models / kind.base, tmp_path / "weights")
    kind.harm(weights)
    pod = serve(*((engine, weights, "none") for engine in kind.engines), **kind.fields)
    serves = ready(pod)
    assert serves or pod.end() == 1
    state = pod.state() if serves else pod.last_word()
    first = state.passed[0]
    assert (first.engine, first.reason) == (kind.engines[0], kind.reason), first
    assert kind.words in first.message
    assert kind.fix in first.message
    sys.stdout.write(f"{name}: {first.seconds:.1f} s: {first.reason.value}: {first.message}\n")
    assert serves == (kind.then == "serves")
    if serves:
        assert words(ask(pod, FRANCE)) == PARIS
        return
    assert state.failure is not None
    assert state.failure.reason is kind.reason
    assert kind.fix in state.failure.message
    for second in state.passed[1:]:
        assert second.message.startswith("not tried") == (kind.then == "not tried"), second


def at(pod: Pod, stage: Stage) -> int:
    """The engine's process once it has come to `stage`, or beyond it."""
    until(lambda: ORDER.index(pod.state().stage) >= ORDER.index(stage), seconds=280)
    (pid, *_) = [pid for pid, _ in pod.children()]
    return pid


def frozen(serve: Serve, stage: Stage, attempts: list[tuple[str, Path, str]]) -> Pod:
    """A pod whose engine makes no step any more at `stage`; another one where it was past it before we looked."""
    for _ in range(3):
        pod = serve(*attempts, stall_seconds=12)
        at(pod, stage)
        for pid, _ in pod.children():
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(pid, signal.SIGSTOP)
        if pod.state().stage is stage:
            return pod
        pod.close()
    raise AssertionError(f"three starts were past {stage.value} when we looked")


@pytest.mark.parametrize("stage", [Stage.LOADING, Stage.WARMING])
def test_a_hang_is_told_with_its_stage_and_the_next_engine_serves(serve: Serve, models: Path, stage: Stage) -> None:
    weights = models / "tiny-chat"
    # transformers goes first where it warms: that stage of it is the longer one
    order = BOTH if stage is Stage.LOADING else BOTH[::-1]
    pod = frozen(serve, stage, [(engine, weights, "none") for engine in order])
    began = time.monotonic()
    until(lambda: pod.state().passed, seconds=120)
    (passed,) = pod.state().passed
    sys.stdout.write(f"hang in {stage.value}: told {time.monotonic() - began:.1f} s after it began: {passed.message}\n")
    assert passed.reason is Reason.ENGINE_FAILED
    assert f"hung in stage {stage.value}: no line, no byte read and no work for " in passed.message
    assert ready(pod)
    assert pod.state().engine == order[1]
    assert words(ask(pod, FRANCE)) == PARIS


def test_a_killed_engine_is_told_and_the_next_one_serves(serve: Serve, models: Path) -> None:
    weights = models / "tiny-chat"
    pod = serve(*((engine, weights, "none") for engine in BOTH))
    os.kill(at(pod, Stage.LOADING), signal.SIGKILL)
    until(lambda: pod.state().passed, seconds=120)  # less than a start may take
    (passed,) = pod.state().passed
    assert passed.reason is Reason.ENGINE_FAILED
    assert "killed from outside" in passed.message
    assert ready(pod)
    assert words(ask(pod, FRANCE)) == PARIS
