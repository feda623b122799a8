"""What a quantized copy holds, tensor by tensor, computed from the headers of the source alone. Pure.

The compressed-tensors layouts that vLLM's kernels load: int4 (w4a16, packed eight to a word, one scale per group), int8
and fp8 (one scale per output row, activations quantized on the fly). Knows no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

METHODS = ("int4", "int8", "fp8")
GROUPS = (128, 64, 32)
"""Group sizes of int4, best first: a larger one stores fewer scales, a smaller one divides more shapes."""
SIZES = {
    "F64": 8,
    "I64": 8,
    "F32": 4,
    "I32": 4,
    "BF16": 2,
    "F16": 2,
    "I16": 2,
    "F8_E4M3": 1,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
FLOATS = ("F32", "BF16", "F16")

_LINEAR = re.compile(
    r"(^|\.)layers\.\d+\..*(proj|fc\d|dense|w[123]|query_key_value|dense_h_to_4h|dense_4h_to_h)\.weight$"
)
_OTHER_PARTS = re.compile(r"(^|\.)(vision\w*|visual|audio\w*|image\w*|multi_modal_projector)\.")
_FUSED_EXPERTS = re.compile(r"\.experts\.(gate_up_proj|down_proj|up_proj)$")


class LayoutError(Exception):
    """The model cannot be quantized in this way; the message says why and what else to choose."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a safetensors file."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return SIZES[self.dtype] * prod(self.shape)


@dataclass(frozen=True)
class Part:
    """A source tensor, and what it becomes: itself, or the tensors of its quantized form in the order of the file."""

    source: Tensor
    becomes: tuple[Tensor, ...]
    quantized: bool


@dataclass(frozen=True)
class Layout:
    """The copy: its parts by source file, and its `quantization_config`."""

    files: Mapping[str, tuple[Part, ...]]
    config: Mapping[str, Any]
    group: int

    @property
    def bytes(self) -> int:
        return sum(tensor.bytes for parts in self.files.values() for part in parts for tensor in part.becomes)

    @property
    def source_bytes(self) -> int:
        return sum(part.source.bytes for parts in self.files.values() for part in parts)


def plan(method: str, files: Mapping[str, Sequence[Tensor]]) -> Layout:
    """The layout of the copy. LayoutError where nothing would be gained or no kernel could load it."""
    tensors = [tensor for entries in files.values() for tensor in entries]
    if fused := next((tensor.name for tensor in tensors if _FUSED_EXPERTS.search(tensor.name)), None):
        raise LayoutError(
            f"{fused} holds all experts in one tensor, which {method} cannot store: use quantization none"
        )
    linear = [tensor for tensor in tensors if is_linear(tensor)]
    group = group_size(tensor.shape[1] for tensor in linear) if method == "int4" else 0
    chosen = {tensor.name for tensor in linear if method != "int4" or tensor.shape[1] % group == 0}
    if not chosen:
        raise LayoutError(
            f"no linear layer of this model can be stored as {method} (names and shapes were looked at): "
            "use quantization none, or nf4"
        )
    parts = {file: tuple(_part(tensor, method, group, chosen) for tensor in entries) for file, entries in files.items()}
    return Layout(parts, config(method, group, ignored(tensors, chosen)), group)


def is_linear(tensor: Tensor) -> bool:
    """Whether it is the weight of a linear layer of the language model: [out, in] of a known name."""
    return (
        len(tensor.shape) == 2
        and tensor.dtype in FLOATS
        and bool(_LINEAR.search(tensor.name))
        and not _OTHER_PARTS.search(tensor.name)
    )


def group_size(widths: Iterable[int]) -> int:
    """The largest group that divides every width, or the smallest where none does: odd layers then stay as they are."""
    known = set(widths)
    return next((group for group in GROUPS if all(width % group == 0 for width in known)), GROUPS[-1])


def _part(tensor: Tensor, method: str, group: int, chosen: set[str]) -> Part:
    if tensor.name not in chosen:
        return Part(tensor, (tensor,), quantized=False)
    base, (rows, width) = tensor.name.removesuffix("weight"), tensor.shape
    becomes: tuple[Tensor, ...]
    if method == "int4":
        scale = "F16" if tensor.dtype == "F16" else "BF16"
        becomes = (
            Tensor(f"{base}weight_packed", "I32", (rows, width // 8)),
            Tensor(f"{base}weight_scale", scale, (rows, width // group)),
            Tensor(f"{base}weight_shape", "I64", (2,)),
        )
    else:
        dtype = "I8" if method == "int8" else "F8_E4M3"
        becomes = Tensor(tensor.name, dtype, (rows, width)), Tensor(f"{base}weight_scale", "F32", (rows, 1))
    return Part(tensor, becomes, quantized=True)


def ignored(tensors: Iterable[Tensor], chosen: set[str]) -> list[str]:
    """Modules whose matrix stays as it is, one pattern for all layers: the engine must not look for scales there."""
    left = {
        t.name.removesuffix(".weight")
        for t in tensors
        if t.name not in chosen and t.name.endswith(".weight") and len(t.shape) == 2
    }
    patterns = {_pattern(name) for name in left}
    return sorted(patterns | {"lm_head"})


def _pattern(module: str) -> str:
    if not re.search(r"\.\d+\.", module):
        return module
    return "re:" + re.sub(r"\\\.\d+(?=\\\.)", r"\\.\\d+", re.escape(module)) + "$"


def config(method: str, group: int, ignore: list[str]) -> dict[str, Any]:
    """The `quantization_config` of config.json, in compressed-tensors' words."""
    form: Literal["pack-quantized", "int-quantized", "float-quantized"]
    kind = "float" if method == "fp8" else "int"
    weights: dict[str, Any] = {"num_bits": 8, "type": kind, "symmetric": True, "strategy": "channel", "dynamic": False}
    activations: dict[str, Any] | None = {
        "num_bits": 8,
        "type": kind,
        "symmetric": True,
        "strategy": "token",
        "dynamic": True,
    }
    if method == "int4":
        weights |= {"num_bits": 4, "strategy": "group", "group_size": group}
        activations, form = None, "pack-quantized"
    else:
        form = "float-quantized" if method == "fp8" else "int-quantized"
    scheme = {"targets": ["Linear"], "weights": weights, "input_activations": activations, "format": form}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "ignore": ignore,
        "config_groups": {"group_0": scheme},
    }
