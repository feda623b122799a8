"""Reads a finished copy back and compares it with its source, by other code than wrote it.

A copy that is garbage with a good marker would be served for ever: better no copy.
"""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import torch
from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
from safetensors import safe_open

from dormouse_runtime.quantize.layout import Layout, LayoutError, Part
from dormouse_runtime.quantize.rtn import WORST

SAMPLES = 8
"""Tensors looked at, spread over the model."""
ROWS = 256
"""Rows of each."""


def compressed(source: Path, target: Path, layout: Layout, method: str) -> None:
    """LayoutError where a sampled tensor of the copy is not its source any more."""
    quantized = [(file, part) for file, parts in layout.files.items() for part in parts if part.quantized]
    step = max(1, len(quantized) // SAMPLES)
    for file, part in quantized[::step]:
        with safe_open(source / file, "pt") as before, safe_open(target / file, "pt") as after:
            exact = before.get_slice(part.source.name)[:ROWS].float()
            agree(part.source.name, exact, _restore(after, part, method, layout.group), WORST[method])


def agree(name: str, exact: torch.Tensor, again: torch.Tensor, worst: float) -> None:
    """LayoutError where `again` is further from `exact` than a quantization can be."""
    power = float(exact.square().sum())
    relative = sqrt(float((again.float() - exact).square().sum()) / power) if power else 0.0
    if not relative <= worst * 1.05:
        raise LayoutError(f"the copy of {name} read back differs from the weights by {relative:.0%}: it was not kept")


def _restore(after: object, part: Part, method: str, group: int) -> torch.Tensor:
    values = after.get_slice(part.becomes[0].name)[:ROWS]  # type: ignore[attr-defined]
    scales = after.get_slice(part.becomes[1].name)[:ROWS].float()  # type: ignore[attr-defined]
    if method != "int4":
        restored: torch.Tensor = values.float() * scales
        return restored
    shape = torch.Size((values.shape[0], part.source.shape[1]))
    numbers = unpack_from_int32(values, 4, shape).float()
    return (numbers.unflatten(1, (-1, group)) * scales.unsqueeze(-1)).flatten(1)
