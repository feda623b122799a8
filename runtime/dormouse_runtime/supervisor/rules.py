"""The words engines use when they do not come to serve: to each a reason, whose fault it is, and a fix. Pure.

A new engine version may word things differently: what no row knows is EngineFailed with the engine's own last line.
The words are vLLM's, transformers', torch's and the drivers'; tests/runtime/engine makes real engines say them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from dormouse_api.conditions import Reason
from dormouse_api.runtime import Stage


class Blame(StrEnum):
    """Whose fault a failure is, which decides whether the next engine is worth its start."""

    ENGINE = "engine"
    """Another engine may serve."""
    WEIGHTS = "weights"
    """No engine can read this folder; one on another folder may serve."""
    SETTING = "setting"
    """The spec or the profile asks for what no engine can give."""
    NODE = "node"
    """Every engine needs what the node, or the image, lacks."""


@dataclass(frozen=True)
class Rule:
    """Words that tell a reason, and what to do about it."""

    reason: Reason
    words: re.Pattern[str]
    fix: str
    blame: Blame = Blame.ENGINE
    stage: Stage | None = None
    """The only stage in which the words mean this."""


def _rule(reason: Reason, words: str, fix: str, blame: Blame = Blame.ENGINE, stage: Stage | None = None) -> Rule:
    return Rule(reason, re.compile(words, re.IGNORECASE), fix, blame, stage)


MORE_MEMORY = "give the profile more memory, or ask for a smaller quantization"
OTHER_WEIGHTS = "config.json and the weights do not belong together: choose another spec.source.revision"
PULL_AGAIN = "the weights on the volume are not whole: delete the model's claim, and they are pulled anew"
DRIVER = "install the GPU's driver and container toolkit on the node, or set runtimeClassName in the profile"
OWN_CODE = (
    "the model needs its own Python code: the administrator must set remoteCode: Allowed in the profile "
    "(RuntimeProfile spec.remoteCode)"
)

RULES = (
    _rule(
        Reason.ENGINE_FAILED,
        r"^CustomModelError\b",
        "mend the class, or what the profile says of it (spec.custom, spec.image); kubectl logs has its traceback",
    ),
    _rule(
        Reason.ENGINE_FAILED,
        r"no NVIDIA driver|libcuda\.so|libnvidia-ml|CUDA driver version is insufficient|no CUDA-capable device"
        r"|CUDA driver initialization failed|NVML_ERROR|Can't initialize NVML|CUDA error: unknown error"
        r"|driver on your system is too old|No CUDA GPUs are available|Failed to infer device type",
        DRIVER,
        Blame.NODE,
    ),
    _rule(
        Reason.ENGINE_FAILED,
        r"Torch not compiled with CUDA enabled|not compiled with (CUDA|GPU) support",
        "the profile's image is built for CPUs: use the one for GPUs, or set device: cpu in the profile",
        Blame.NODE,
    ),
    _rule(
        Reason.ENGINE_FAILED,
        r"no kernel image is available|PTX was compiled with an unsupported toolchain|compute capability .* less"
        r"|CUDA error: invalid device function|requires device capability|is only supported on .* compute capability",
        "use an image that is built for this GPU (the profile's image), or another node",
        Blame.NODE,
    ),
    _rule(
        Reason.ENGINE_FAILED,
        r"uncorrectable ECC error|CUDA error: an illegal memory access|device-side assert|GPU is lost"
        r"|fallen off the bus|\bXid\b",
        "look at the GPU (nvidia-smi, dmesg on the node): where it happens again, drain the node and change the device",
    ),
    _rule(
        Reason.ENGINE_FAILED,
        r"\bNCCL\b.*(error|failed|failure|timeout)|ncclInternalError|ncclSystemError|ncclUnhandledCudaError"
        r"|DistBackendError|Gloo .*(connect|timed out)",
        "the pod's devices cannot speak to each other: raise sharedMemory in the profile, look at nvidia-smi topo -m, "
        "or use accelerator.count 1",
    ),
    _rule(
        Reason.ENGINE_FAILED,
        r"No space left on device.*(/dev/shm|shared memory)|unable to (mmap|open|write to) .*shared memory"
        r"|insufficient shared memory",
        "raise sharedMemory in the profile",
        Blame.NODE,
    ),
    _rule(
        Reason.ENGINE_FAILED,
        r"unrecognized arguments?|ambiguous option|invalid choice|expected (one|at least one) argument"
        r"|argument --\S+: invalid",
        "take it out of spec.engine.args, or out of the profile's args",
    ),
    _rule(
        Reason.INVALID_SPEC,
        r"User-specified max_model_len|greater than the derived max_model_len|beyond the (model's|longest) context",
        "lower spec.engine.maxModelLen to what the model was made for",
        Blame.SETTING,
    ),
    _rule(
        Reason.OUT_OF_MEMORY,
        r"larger than the available KV cache memory|No available memory for the cache blocks"
        r"|cache of \S+ tokens does not hold",
        "lower spec.engine.maxModelLen, or raise kvCacheMemory in the profile",
        Blame.SETTING,
    ),
    _rule(
        Reason.OUT_OF_MEMORY,
        r"kv ?cache allocation is less than requested",
        "lower kvCacheMemory in the profile, or raise its resources.limits.memory",
    ),
    _rule(
        Reason.OUT_OF_MEMORY,
        r"out of memory|OutOfMemoryError|MemoryError|std::bad_alloc|can't allocate memory|Cannot allocate memory"
        r"|less than desired (CPU|GPU) memory|CUBLAS_STATUS_ALLOC_FAILED",
        MORE_MEMORY,
    ),
    _rule(
        Reason.REMOTE_CODE_FORBIDDEN,
        r"trust_remote_code|execute the (configuration|custom) (file|code)|(contains|references) custom code",
        OWN_CODE,
        Blame.SETTING,
    ),
    _rule(
        Reason.UNSUPPORTED,
        r"architectures? .*(not supported|failed to be inspected)|does not recognize this architecture"
        r"|no vLLM implementation|has no .*implementation.* compatible|Unrecognized (model|configuration)"
        r"|not supported on (the )?current platform",
        "use an engine that knows it (spec.engine.order)",
    ),
    _rule(
        Reason.UNSUPPORTED,
        r"max_model_len must be a positive integer, got int: -1",
        "the model names no context length, which it needs: set spec.engine.maxModelLen, or use another engine "
        "(spec.engine.order)",
    ),
    _rule(
        Reason.ENGINE_FAILED,
        r"No such file or directory: '(gcc|g\+\+|cc|c\+\+|nvcc|ninja)'|InvalidCxxCompiler|No working C\+\+ compiler"
        r"|Failed to find C compiler|Could not find CUDA_HOME|nvcc.* not found",
        "use an image with a compiler, or add --enforce-eager to spec.engine.args",
    ),
    _rule(
        Reason.CORRUPT,
        r"ignore_mismatched_sizes|size mismatch for|assert .*loaded_weight|Attempted to load weight",
        OTHER_WEIGHTS,
        Blame.WEIGHTS,
    ),
    _rule(
        Reason.CORRUPT,
        r"must match the (existing )?size .*at non-singleton dimension",
        OTHER_WEIGHTS,
        Blame.WEIGHTS,
        Stage.LOADING,  # later it is the engine's own arithmetic
    ),
    _rule(
        Reason.CORRUPT,
        r"tokenizer",
        "the tokenizer's files do not fit the model: choose another spec.source.revision, or, where they were damaged, "
        "delete the model's claim, and they are pulled anew",
        Blame.WEIGHTS,
    ),
    _rule(
        Reason.QUANTIZATION_FAILED,
        r"quantization method|quantization_config|quant_method|bitsandbytes|compressed.tensors|unsupported quantization"
        r"|Failed to find a kernel that can implement|No \w+ (\w+ )?backend supports|quantization type"
        r"|'s quantization config|quantized model requires|\bHQQ\b",
        "choose another spec.quantization",
    ),
    _rule(
        Reason.CORRUPT,
        r"No such file or directory|FileNotFoundError|does not appear to have a file named"
        r"|Cannot find any model weights|SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer"
        r"|Error while deserializing header|JSONDecodeError|not a valid JSON file|not initialized from checkpoint"
        r"|tensors are missing",
        PULL_AGAIN,
        Blame.WEIGHTS,
    ),
    _rule(
        Reason.UNSUPPORTED,
        r"couldn't connect to 'https|offline mode is enabled|outgoing traffic has been disabled|LocalEntryNotFoundError"
        r"|HFValidationError",
        "the repository refers to what is not part of it, and engines have no way out: use one that is whole",
        Blame.WEIGHTS,
    ),
    _rule(
        Reason.ENGINE_FAILED,
        r"Address already in use|EADDRINUSE",
        "take --port out of the args: another process has it",
    ),
)
