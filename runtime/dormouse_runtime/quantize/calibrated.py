"""Makes the copy by texts: GPTQ, or AWQ before rounding. Alone in importing llmcompressor, in an image of its own.

Layers are worked on one after the other; the model is in memory as a whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.pipelines.cache import IntermediatesCache
from transformers import AutoModelForCausalLM, AutoTokenizer

from dormouse_api.calibration import Algorithm, CalibrationConfig
from dormouse_api.runtime import QuantizeConfig
from dormouse_runtime.quantize import texts
from dormouse_runtime.quantize.layout import Layout, LayoutError
from dormouse_runtime.quantize.progress import Meter
from dormouse_runtime.quantize.saving import save

WEIGHTS = (".safetensors", ".safetensors.index.json")


def write(config: QuantizeConfig, target: Path, planned: Layout, meter: Meter) -> None:
    """Write weights, config.json and their index into `target`. `planned` says which layers, in which groups."""
    if config.calibration is None:
        raise ValueError("there are no texts to calibrate by")
    source = Path(config.model_dir)
    meter.stage("loading")
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=config.remote_code)
    read = (_tokens(tokenizer, line, config.calibration) for line in texts.read(config.calibration))
    rows = [tokens for tokens in read if tokens]
    model = AutoModelForCausalLM.from_pretrained(
        source, dtype="auto", device_map="cpu", trust_remote_code=config.remote_code, use_safetensors=True
    )
    meter.stage("calibrating")
    data = Dataset.from_list([{"input_ids": row, "attention_mask": [1] * len(row)} for row in rows])
    oneshot(
        model=model,
        tokenizer=tokenizer,
        dataset=data,
        recipe=_recipe(config.calibration.algorithm, planned),
        num_calibration_samples=len(rows),
        max_seq_length=config.calibration.max_tokens,
        shuffle_calibration_samples=False,
        pipeline="sequential",
    )
    meter.stage("writing")
    save(model, target, save_compressed=True)
    _own(source, target)


def _own(source: Path, target: Path) -> None:
    """Whatever is no weight is the source's own, for this library is older than the engine's: all but one entry."""
    told = json.loads((target / "config.json").read_text())["quantization_config"]
    for path in target.iterdir():
        if not path.name.endswith(WEIGHTS):
            path.unlink()
    original = json.loads((source / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**original, "quantization_config": told}, indent=2))


def _tokens(tokenizer: Any, line: dict[str, Any], calibration: CalibrationConfig) -> list[int]:
    if isinstance(line.get("text"), str):
        return list(tokenizer(line["text"])["input_ids"])[: calibration.max_tokens]
    if not tokenizer.chat_template:
        raise LayoutError('this model has no chat template: calibrate it by {"text": "..."} lines')
    try:
        told = tokenizer.apply_chat_template(line["messages"], tokenize=True, return_dict=False)
    except Exception as error:
        raise LayoutError(f"the model's chat template refuses a text to calibrate by: {error}") from error
    return list(told)[: calibration.max_tokens]


def _recipe(algorithm: Algorithm, planned: Layout) -> list[Any]:
    """The same layers, groups and scheme as rounding would make: only the numbers differ."""
    (scheme,) = planned.config["config_groups"].values()
    weights, activations = scheme["weights"], scheme["input_activations"]
    group = QuantizationScheme(
        targets=scheme["targets"],
        weights=QuantizationArgs(**weights),
        input_activations=QuantizationArgs(**activations) if activations else None,
    )
    chosen: dict[str, Any] = {"config_groups": {"group_0": group}, "ignore": list(planned.config["ignore"])}
    if algorithm is Algorithm.AWQ:
        if not torch.cuda.is_available():
            # Pinned memory is for copies to a device; where there is none, asking for it is an error.
            IntermediatesCache.pin_memory = lambda *_: None
        return [AWQModifier(), QuantizationModifier(**chosen)]
    # Columns keep their order: the kernels of a processor know no other.
    return [GPTQModifier(**chosen, actorder=None)]
