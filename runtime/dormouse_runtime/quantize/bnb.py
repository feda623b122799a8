"""Writes the bitsandbytes copy (nf4, llm-int8) through transformers, and reads layers of it back.

transformers quantizes each weight as it is loaded, so memory holds the quantized model, never the full one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from dormouse_runtime.engines.transformers.model import Wanted, load_model
from dormouse_runtime.quantize.check import ROWS, SAMPLES, agree
from dormouse_runtime.quantize.layout import LayoutError
from dormouse_runtime.quantize.saving import save
from dormouse_runtime.quantize.tensorfile import read_header

WORST = {"nf4": 0.2, "llm-int8": 0.03}
"""Largest relative error of a layer; normal weights give about 0.09 and 0.008."""


def write(source: Path, target: Path, method: str, remote_code: bool) -> None:
    """Write weights, config.json and the index into `target`."""
    model = load_model(Wanted(source, method, remote_code=remote_code))
    if not _layers(model):
        raise LayoutError(f"no linear layer of this model could be stored as {method}: use quantization none")
    save(model, target)


def check(source: Path, target: Path, method: str, remote_code: bool) -> None:
    """Load the copy as the engine will, and compare layers of it with the source."""
    model = AutoModelForCausalLM.from_pretrained(target, device_map="cpu", trust_remote_code=remote_code)
    layers = _layers(model)
    where = {tensor.name: path for path in sorted(source.glob("*.safetensors")) for tensor in read_header(path)[0]}
    # A model loaded under another prefix than it was saved with has other names: those layers cannot be compared.
    known = [(name, layer) for name, layer in layers if f"{name}.weight" in where]
    if not known:
        raise LayoutError("no layer of the copy has the name of a source tensor: it was not kept")
    for name, layer in known[:: max(1, len(known) // SAMPLES)]:
        with safe_open(where[f"{name}.weight"], "pt") as before:
            exact = before.get_slice(f"{name}.weight")[:ROWS].float()
        agree(name, exact, _restore(layer)[: exact.shape[0]], WORST[method])


def _layers(model: Any) -> list[tuple[str, Any]]:
    """(name, module) of every quantized layer."""
    kinds = ("Linear4bit", "Linear8bitLt")
    return [(name, module) for name, module in model.named_modules() if type(module).__name__ in kinds]


def _restore(layer: Any) -> torch.Tensor:
    """The layer's weights as floats."""
    weight = layer.weight
    state = getattr(weight, "quant_state", None)
    if state is not None:
        restored: torch.Tensor = dequantize_4bit(weight.data, state).float()
        return restored
    return weight.data.float() * weight.SCB.float().unsqueeze(1) / 127
