"""Writes the compressed-tensors copy: file by file, tensor by tensor, a block of rows at a time.

Memory is bounded by `ROWS_BYTES` and a tensor's scales, however large the model is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import sqrt
from pathlib import Path

import torch
from safetensors import safe_open

from dormouse_api.results import MarkerFile
from dormouse_runtime.quantize import rtn
from dormouse_runtime.quantize.layout import Layout, LayoutError, Part
from dormouse_runtime.quantize.progress import Meter
from dormouse_runtime.quantize.tensorfile import TensorFile, blocks, read_header

ROWS_BYTES = 2 * 2**20
"""Bytes of source weights quantized at once. What int4 works on is about ten times that and stays in the processor's
cache: 250 MB/s on two cores, against 100 with 8 MiB and 30 with 32."""
SCALES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
INDEX = "model.safetensors.index.json"


def write(source: Path, target: Path, layout: Layout, method: str, meter: Meter) -> list[MarkerFile]:
    """Write every weight file of the copy into `target`. LayoutError where the copy would be damage."""
    written, index = [], {}
    for name, parts in layout.files.items():
        tensors = [tensor for part in parts for tensor in part.becomes]
        with TensorFile(target / name, tensors) as out:
            _fill(out, source / name, parts, (method, layout.group), meter)
        written.append(MarkerFile(path=name, size=out.size, sha256=out.sha256))
        index.update({tensor.name: name for tensor in tensors})
    if len(layout.files) > 1:
        text = json.dumps({"metadata": {"total_size": layout.bytes}, "weight_map": index})
        (target / INDEX).write_text(text)
    return written


def _fill(out: TensorFile, source: Path, parts: tuple[Part, ...], how: tuple[str, int], meter: Meter) -> None:
    _, places = read_header(source)
    with safe_open(source, "pt") as tensors:
        for part in parts:
            if part.quantized:
                scales = _quantize(out, tensors.get_slice(part.source.name), part, how)
                for after in (scales, *_shape(part)):
                    out.write(_bytes(after))
            else:
                for piece in blocks(source, *places[part.source.name]):
                    out.write(piece)
            meter.add(part.source.bytes, source.name)


def _quantize(out: TensorFile, rows: object, part: Part, how: tuple[str, int]) -> torch.Tensor:
    """Write the tensor's numbers and return its scales, which follow them in the file."""
    method, group = how
    rows_and_groups = part.becomes[1].shape
    # Made once and filled: small pieces kept between large ones that come and go would leave the heap full of holes
    # (900 MiB for a tensor of 512, and several times slower).
    scales, error, power = torch.empty(rows_and_groups, dtype=SCALES[part.becomes[1].dtype]), 0.0, 0.0
    for first, last in row_blocks(part.source.shape, part.source.bytes):
        done = rtn.quantize(rows[first:last], method, group, scales.dtype)  # type: ignore[index]
        out.write(_bytes(done.values))
        scales[first:last] = done.scales
        error, power = error + done.error, power + done.power
    relative = sqrt(error / power) if power else 0.0
    if not relative <= rtn.WORST[method]:
        raise LayoutError(
            f"{part.source.name} would be off by {relative:.0%} as {method} (at most {rtn.WORST[method]:.0%} is kept): "
            "the weights are damaged or unusual; use quantization none"
        )
    return scales


def _shape(part: Part) -> list[torch.Tensor]:
    return [torch.tensor(part.source.shape)] if len(part.becomes) == 3 else []


def row_blocks(shape: tuple[int, ...], size: int) -> Iterator[tuple[int, int]]:
    """Row ranges of about ROWS_BYTES each."""
    step = max(1, shape[0] * ROWS_BYTES // max(size, 1))
    for first in range(0, shape[0], step):
        yield first, min(shape[0], first + step)


def _bytes(tensor: torch.Tensor) -> memoryview:
    return memoryview(tensor.contiguous().view(torch.uint8).flatten().numpy())
