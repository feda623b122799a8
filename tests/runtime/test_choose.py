"""Reasons and words of engines that did not come to serve."""

from __future__ import annotations

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.model import Engine
from dormouse_api.runtime import Attempt
from dormouse_runtime.supervisor import choose

ATTEMPT = Attempt(engine=Engine.VLLM, model_dir="/models/abc")
CORE = "(EngineCore pid=123) ERROR 11-21 12:31:57 [core.py:1495] "

CASES = {
    "unsupported architecture, told by a validation error": (
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
            "  Value error, Model architectures ['Strange'] are not supported for now. Supported architectures: "
            + "['A'], " * 200
            + " [type=value_error, input_value=1]",
        ),
        1,
        Reason.UNSUPPORTED,
        "Model architectures ['Strange'] are not supported for now: use an engine",
    ),
    "the worker's error counts, not the API server's echo": (
        (
            CORE + "ValueError: To serve at least one request, 1.0 GiB KV cache is needed, which is larger than the "
            "available KV cache memory (0.1 GiB).",
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
        ),
        1,
        Reason.OUT_OF_MEMORY,
        "lower spec.engine.maxModelLen",
    ),
    "CUDA memory": (("torch.OutOfMemoryError: CUDA out of memory.",), 1, Reason.OUT_OF_MEMORY, "CUDA out of memory"),
    "the kernel's own kill": ((), -9, Reason.OUT_OF_MEMORY, "killed by the kernel"),
    "a kill below a shell": (("Loading",), 137, Reason.OUT_OF_MEMORY, "killed by the kernel"),
    "C++ memory": (("terminate called after throwing an instance of 'std::bad_alloc'",), -6, Reason.OUT_OF_MEMORY, ""),
    "no kernel for a quantization": (
        ("ValueError: Failed to find a kernel that can implement the WNA16 linear layer.",),
        1,
        Reason.QUANTIZATION_FAILED,
        "choose another spec.quantization",
    ),
    "no kernel for quantized experts": (
        ("NotImplementedError: No WNA16 MoE backend supports the deployment configuration.",),
        1,
        Reason.QUANTIZATION_FAILED,
        "WNA16 MoE",
    ),
    "own code": (
        ("ValueError: The repository contains custom code which must be executed; set trust_remote_code=True",),
        1,
        Reason.UNSUPPORTED,
        "remoteCode: Allowed",
    ),
    "a file that is not there": (
        ("FileNotFoundError: [Errno 2] No such file or directory: '/models/abc/model-2.safetensors'",),
        1,
        Reason.CORRUPT,
        "delete the model's pull Job",
    ),
    "a torn file": (
        ("safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",),
        1,
        Reason.CORRUPT,
        "not whole",
    ),
    "the port": (("OSError: [Errno 98] Address already in use",), 1, Reason.ENGINE_FAILED, "another process"),
    "anything else": (("KeyError: 'surprise'",), 1, Reason.ENGINE_FAILED, "exit code 1: KeyError: 'surprise'"),
    "a crash": ((), -11, Reason.ENGINE_FAILED, "signal 11 (SIGSEGV): it said nothing"),
}


@pytest.mark.parametrize(("lines", "code", "reason", "words"), CASES.values(), ids=CASES)
def test_an_ending_is_told_with_its_reason_and_the_fix(
    lines: tuple[str, ...], code: int, reason: Reason, words: str
) -> None:
    passed = choose.judge(ATTEMPT, choose.Ending(code, 2.5, lines))
    assert passed.reason is reason
    assert words in passed.message
    assert len(passed.message) <= choose.MAX_WORDS
    assert (passed.engine, passed.seconds) == ("vllm", 2.5)


def test_a_start_without_end_is_told_with_its_last_line() -> None:
    passed = choose.judge(ATTEMPT, choose.Ending(-9, 60, ("Loading shard 3",), timed_out=True))
    assert passed.reason is Reason.ENGINE_FAILED  # and not the kill, which was ours
    assert "not ready after 60 s" in passed.message
    assert "Loading shard 3" in passed.message


def test_the_last_meaningful_line_is_found_among_tracebacks() -> None:
    lines = (
        "INFO all is well",
        CORE + "Traceback (most recent call last):",
        CORE + '  File "core.py", line 1, in run',
        CORE + "ValueError: the cause",
        "Traceback (most recent call last):",
        "RuntimeError: Engine core initialization failed. See root cause above.",
        "[rank0]: goodbye",
    )
    assert choose.meaningful(lines) == "ValueError: the cause"
    assert choose.meaningful(("one", "two", "")) == "two"
    assert choose.meaningful(()) == ""
