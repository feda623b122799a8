"""Round-to-nearest quantization of a block of rows, and its inverse. torch only; knows no files.

Data-free. For int4 the clipping range of each group is searched over a few values: a group's largest weight alone
should not set the step of the other 127.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8)
FP8_MAX = 448.0
TINY = 1e-8
WORST = {"int4": 0.25, "int8": 0.03, "fp8": 0.06}
"""Largest relative error of a tensor (Frobenius) that is still a quantization and not damage. Normal weights give about
0.10, 0.008 and 0.027."""


@dataclass(frozen=True)
class Quantized:
    """A block of rows: the stored numbers, the scales, and the error that was made."""

    values: torch.Tensor
    """int4: [rows, width/8] int32; int8: int8; fp8: float8_e4m3fn."""
    scales: torch.Tensor
    error: float
    """Sum of squared differences."""
    power: float
    """Sum of squared weights."""


def quantize(weights: torch.Tensor, method: str, group: int, scale_dtype: torch.dtype) -> Quantized:
    """`weights`: [rows, width], any float dtype."""
    exact = weights.float()
    if method == "int4":
        numbers, scales = _int4(exact, group, scale_dtype)
        values = pack_int4(numbers)
        again = (numbers.unflatten(1, (-1, group)) * scales.float().unsqueeze(-1)).flatten(1)
    else:
        top = 127.0 if method == "int8" else FP8_MAX
        scales = (exact.abs().amax(1, keepdim=True) / top).clamp(min=TINY)
        scaled = exact / scales
        values = scaled.round().clamp(-127, 127).to(torch.int8) if method == "int8" else scaled.to(torch.float8_e4m3fn)
        again = values.float() * scales
    return Quantized(values, scales, float((again - exact).square().sum()), float(exact.square().sum()))


def _int4(exact: torch.Tensor, group: int, scale_dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    groups = exact.unflatten(1, (-1, group))
    largest = groups.abs().amax(-1, keepdim=True)
    best_error, best_scale = torch.full_like(largest, torch.inf), torch.ones_like(largest)
    for shrink in SHRINK:
        # The step is rounded to what is stored before it is judged: the engine sees the rounded one.
        scale = (largest * shrink / 7.5).clamp(min=TINY).to(scale_dtype).float()
        error = (groups / scale).round_().clamp_(-8, 7).mul_(scale).sub_(groups).square_().sum(-1, keepdim=True)
        better = error < best_error
        best_error, best_scale = torch.where(better, error, best_error), torch.where(better, scale, best_scale)
    numbers = (groups / best_scale).round().clamp(-8, 7)
    return numbers.flatten(1), best_scale.squeeze(-1).to(scale_dtype)


def pack_int4(numbers: torch.Tensor) -> torch.Tensor:
    """Numbers from -8 to 7, eight to an int32, the first in the lowest bits."""
    digits = (numbers.to(torch.int32) + 8).unflatten(1, (-1, 8))
    packed = digits[..., 0].clone()
    for place in range(1, 8):
        packed |= digits[..., place] << (4 * place)  # the last one fills the sign bit: the word is what counts
    return packed


def unpack_int4(packed: torch.Tensor) -> torch.Tensor:
    """The numbers again."""
    words = packed.to(torch.int64).unsqueeze(-1) >> (torch.arange(8) * 4)
    return ((words & 0xF) - 8).flatten(1)
