"""Writes weights that were published quantized, as others lay them out: `python readymade.py SOURCE FOLDER METHOD...`.

Each lies in a folder of its name. Runs in the engine's Python. The numbers are rounded; the layouts are those of
AutoGPTQ, AutoAWQ and compressed-tensors.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

GROUP = 32
LINEAR = re.compile(r"layers\.\d+\..*proj\.weight$")
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
Tensors = dict[str, torch.Tensor]


def packed(numbers: torch.Tensor, bits: int, along: int) -> torch.Tensor:
    """Whole numbers from 0 on, several to a word, the first in the lowest bits."""
    each = 32 // bits
    digits = numbers.to(torch.int64).movedim(along, -1).unflatten(-1, (-1, each))
    words = (digits << (torch.arange(each) * bits)).sum(-1)
    words = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    return words.movedim(-1, along).contiguous()


def rounded(weight: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers around 0 and the scale of each group of a row."""
    top = 2 ** (bits - 1) - 1
    groups = weight.float().unflatten(1, (-1, GROUP))
    scales = (groups.abs().amax(-1, keepdim=True) / (top + 0.5)).clamp(min=1e-8)
    return (groups / scales).round().clamp(-top - 1, top).flatten(1), scales.squeeze(-1)


def gptq(base: str, weight: torch.Tensor) -> Tensors:
    numbers, scales = (part.t() for part in rounded(weight, 4))
    scales = scales.to(torch.float16).contiguous()
    return {
        f"{base}qweight": packed(numbers + 8, 4, 0),
        f"{base}qzeros": packed(torch.full_like(scales, 7), 4, 1),
        f"{base}scales": scales,
        f"{base}g_idx": torch.arange(weight.shape[1], dtype=torch.int32) // GROUP,
    }


def awq(base: str, weight: torch.Tensor) -> Tensors:
    numbers, scales = (part.t() for part in rounded(weight, 4))
    scales = scales.to(torch.float16).contiguous()

    def mixed(columns: torch.Tensor) -> torch.Tensor:
        return packed(columns.unflatten(1, (-1, 8))[..., list(AWQ_ORDER)].flatten(1), 4, 1)

    return {
        f"{base}qweight": mixed(numbers + 8),
        f"{base}qzeros": mixed(torch.full_like(scales, 8)),
        f"{base}scales": scales,
    }


def w8a16(base: str, weight: torch.Tensor) -> Tensors:
    numbers, scales = rounded(weight, 8)
    return {
        f"{base}weight_packed": packed(numbers + 128, 8, 1),
        f"{base}weight_scale": scales.to(torch.bfloat16),
        f"{base}weight_shape": torch.tensor(weight.shape),
    }


def fp8(base: str, weight: torch.Tensor) -> Tensors:
    scale = (weight.float().abs().amax() / 448).clamp(min=1e-8)
    return {
        f"{base}weight": (weight.float() / scale).to(torch.float8_e4m3fn),
        f"{base}weight_scale": scale.reshape(1),
    }


WEIGHTS_8: dict[str, Any] = {
    "num_bits": 8,
    "type": "int",
    "symmetric": True,
    "strategy": "group",
    "group_size": GROUP,
    "dynamic": False,
}
METHODS: dict[str, Any] = {
    "gptq": (
        gptq,
        {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False, "sym": True, "lm_head": False},
    ),
    "awq": (
        awq,
        {
            "quant_method": "awq",
            "bits": 4,
            "group_size": GROUP,
            "zero_point": True,
            "version": "gemm",
            "modules_to_not_convert": ["lm_head"],
        },
    ),
    "w8a16": (
        w8a16,
        {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "quantization_status": "compressed",
            "ignore": ["lm_head"],
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "weights": WEIGHTS_8,
                    "input_activations": None,
                    "format": "pack-quantized",
                }
            },
        },
    ),
    "fp8": (fp8, {"quant_method": "fp8", "activation_scheme": "dynamic", "ignored_layers": ["lm_head"]}),
}


def main(source: Path, target: Path, method: str) -> None:
    store, told = METHODS[method]
    target.mkdir()
    for path in source.iterdir():
        if path.suffix != ".safetensors" and path.name != "config.json":
            shutil.copyfile(path, target / path.name)
    found: Tensors = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        found |= store(name.removesuffix("weight"), tensor) if LINEAR.search(name) else {name: tensor}
    save_file(
        {name: tensor.contiguous() for name, tensor in found.items()}, target / "model.safetensors", {"format": "pt"}
    )
    config = json.loads((source / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, "quantization_config": told}))


if __name__ == "__main__":
    for wanted in sys.argv[3:]:
        main(Path(sys.argv[1]), Path(sys.argv[2], wanted), wanted)
