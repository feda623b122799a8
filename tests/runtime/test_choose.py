"""Reasons and words of engines that did not come to serve."""

from __future__ import annotations

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.model import Engine
from dormouse_api.runtime import Attempt, Stage
from dormouse_runtime.supervisor import choose
from dormouse_runtime.supervisor.oom import Killed
from dormouse_runtime.supervisor.rules import Blame

ATTEMPT = Attempt(engine=Engine.VLLM, model_dir="/models/abc")
CORE = "(EngineCore pid=123) ERROR 11-21 12:31:57 [core.py:1495] "

CASES = {
    "no driver": (
        ("RuntimeError: Found no NVIDIA driver on your system.",),
        1,
        Reason.ENGINE_FAILED,
        "install the GPU's driver",
    ),
    "a driver's library is no file of the model": (
        ("ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",),
        1,
        Reason.ENGINE_FAILED,
        "install the GPU's driver",
    ),
    "a build for another GPU": (
        ("RuntimeError: CUDA error: no kernel image is available for execution on the device",),
        1,
        Reason.ENGINE_FAILED,
        "use an image that is built for this GPU",
    ),
    "no device": (
        ("RuntimeError: Failed to infer device type, please set the environment variable",),
        1,
        Reason.ENGINE_FAILED,
        "install the GPU's driver",
    ),
    "no device any more": (("RuntimeError: No CUDA GPUs are available",), 1, Reason.ENGINE_FAILED, "install the GPU"),
    "an image for CPUs": (
        ("AssertionError: Torch not compiled with CUDA enabled",),
        1,
        Reason.ENGINE_FAILED,
        "the profile's image is built for CPUs",
    ),
    "a method that this GPU is too old for": (
        ("ValueError: The quantization method fp8 is not supported for the current GPU. Minimum capability: 89.",),
        1,
        Reason.QUANTIZATION_FAILED,
        "choose another spec.quantization",
    ),
    "devices that do not find each other": (
        (CORE + "RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)",),
        1,
        Reason.ENGINE_FAILED,
        "raise sharedMemory in the profile",
    ),
    "a GPU that others fill": (
        (CORE + "ValueError: Free memory on device cuda:0 (1/24 GiB) on startup is less than desired GPU memory",),
        1,
        Reason.OUT_OF_MEMORY,
        "give the profile more memory",
    ),
    "a sick GPU": (("RuntimeError: CUDA error: uncorrectable ECC error",), 1, Reason.ENGINE_FAILED, "look at the GPU"),
    "a repository that leads elsewhere": (
        ("OSError: We couldn't connect to 'https://huggingface.co' to load the files",),
        1,
        Reason.UNSUPPORTED,
        "use one that is whole",
    ),
    "no compiler": (
        ("FileNotFoundError: [Errno 2] No such file or directory: 'g++'",),
        1,
        Reason.ENGINE_FAILED,
        "use an image with a compiler",
    ),
    "more cache than memory": (
        ("ValueError: Available memory on kv cache allocation is less than requested memory for kv (9 GiB).",),
        1,
        Reason.OUT_OF_MEMORY,
        "lower kvCacheMemory in the profile",
    ),
    "a wrong flag": (
        ("api_server.py: error: unrecognized arguments: --enable-warp",),
        2,
        Reason.ENGINE_FAILED,
        "take it out of spec.engine.args",
    ),
    "what nobody knows": (("Segmentation fault",), 139, Reason.ENGINE_FAILED, "look at kubectl logs"),
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
        Reason.REMOTE_CODE_FORBIDDEN,
        "remoteCode: Allowed",
    ),
    "a file that is not there": (
        ("FileNotFoundError: [Errno 2] No such file or directory: '/models/abc/model-2.safetensors'",),
        1,
        Reason.CORRUPT,
        "delete the model's claim",
    ),
    "a torn file": (
        ("safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",),
        1,
        Reason.CORRUPT,
        "not whole",
    ),
    "weights of other shapes, vLLM": (
        (
            CORE + "    assert loaded_weight.shape[output_dim] == self.org_vocab_size",
            CORE + "           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
            CORE + "AssertionError",
        ),
        1,
        Reason.CORRUPT,
        "AssertionError: assert loaded_weight.shape[output_dim] == self.org_vocab_size: config.json and the weights",
    ),
    "a model that names no context": (
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
            "  Value error, max_model_len must be a positive integer, got int: -1. Example: max_model_len=8 [type=v]",
        ),
        1,
        Reason.UNSUPPORTED,
        "set spec.engine.maxModelLen",
    ),
    "a tokenizer's file": (
        ("ValueError: Couldn't instantiate the backend tokenizer from one of:",),
        1,
        Reason.CORRUPT,
        "the tokenizer's files do not fit",
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


@pytest.mark.parametrize(
    ("stage", "reason", "blame"),
    [
        (Stage.LOADING, Reason.CORRUPT, Blame.WEIGHTS),
        (Stage.WARMING, Reason.ENGINE_FAILED, Blame.ENGINE),
        (None, Reason.ENGINE_FAILED, Blame.ENGINE),
    ],
)
@pytest.mark.parametrize(
    "words",
    [
        "The size of tensor a (256) must match the size of tensor b (128) at non-singleton dimension 1",
        "The expanded size of the tensor (256) must match the existing size (128) at non-singleton dimension 1.",
    ],
)
def test_shapes_that_differ_are_the_weights_only_while_these_load(
    stage: Stage | None, reason: Reason, blame: Blame, words: str
) -> None:
    why = choose.cause(choose.Ending(1, 3, (f"{CORE}RuntimeError: {words}",), stage=stage))
    assert (why.reason, why.blame) == (reason, blame)
    assert ("do not belong together" in why.message) == (blame is Blame.WEIGHTS)


LIMIT, NODE = Killed(True, at_limit=True, limit=4 * 2**30), Killed(True, limit=4 * 2**30)


@pytest.mark.parametrize(
    ("killed", "reason", "words"),
    [
        (LIMIT, Reason.OUT_OF_MEMORY, "memory limit of 4.0 GiB: raise RuntimeProfile spec.resources.limits.memory"),
        (NODE, Reason.OUT_OF_MEMORY, "the node ran out of memory"),
        (
            Killed(False),
            Reason.ENGINE_FAILED,
            "killed from outside (signal 9, SIGKILL), not for memory, in stage loading",
        ),
        (None, Reason.OUT_OF_MEMORY, "most likely out of memory"),
    ],
)
def test_a_kill_is_told_by_what_the_cgroup_counted(killed: Killed | None, reason: Reason, words: str) -> None:
    passed = choose.judge(ATTEMPT, choose.Ending(-9, 3, ("Loading",), stage=Stage.LOADING, killed=killed))
    assert passed.reason is reason
    assert words in passed.message


@pytest.mark.parametrize(
    ("stage", "fix"),
    [(Stage.LOADING, "look at the volume"), (Stage.WARMING, "look at the GPU"), (Stage.COMPILING, "--enforce-eager")],
)
def test_a_hang_is_told_with_its_stage(stage: Stage, fix: str) -> None:
    ending = choose.Ending(-9, 400, ("KV cache size: 9",), timed_out=True, stage=stage, stalled=300)
    why = choose.cause(ending)
    assert why.reason is Reason.ENGINE_FAILED
    assert why.blame is Blame.ENGINE
    assert f"hung in stage {stage.value}: no line, no byte read and no work for 300 s" in why.message
    assert fix in why.message
    assert "KV cache size: 9" in why.message


FOLDER, COPY = Attempt(engine=Engine.TRANSFORMERS, model_dir="/models/abc"), "/models/abc-int4"
BLAMES = {
    Blame.ENGINE: (True, True),
    Blame.WEIGHTS: (False, True),
    Blame.SETTING: (False, False),
    Blame.NODE: (False, False),
}


@pytest.mark.parametrize("blame", Blame)
def test_the_next_engine_is_tried_where_it_can_help(blame: Blame) -> None:
    """On the same folder, and on another one."""
    why = choose.Cause(Reason.CORRUPT, "because", blame)
    other = FOLDER.model_copy(update={"model_dir": COPY})
    found = choose.hopeless(FOLDER, [(ATTEMPT, why)]), choose.hopeless(other, [(ATTEMPT, why)])
    assert (found[0] is None, found[1] is None) == BLAMES[blame]
    for skipped in filter(None, found):
        assert skipped.message.startswith("not tried, for it would")
        assert "vllm" in skipped.message
        assert skipped.reason is Reason.CORRUPT


def test_what_is_told_in_the_end_is_what_says_most() -> None:
    first = choose.passed(ATTEMPT, choose.Cause(Reason.UNSUPPORTED, "no such architecture"), 1)
    second = choose.passed(FOLDER, choose.Cause(Reason.OUT_OF_MEMORY, "too large" + "x" * 2000), 1)
    told = choose.verdict((first, second))
    assert (told.engine, told.reason) == ("transformers", Reason.OUT_OF_MEMORY)
    assert told.message.endswith("; vllm: no such architecture")
    assert choose.verdict((first, first)).engine == "vllm"


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
