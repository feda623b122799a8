"""What the index of a diffusers repository tells."""

from typing import Any

import pytest

from dormouse_runtime.pull.describe import Papers, describe
from dormouse_runtime.pull.pipelines import own_code, variant

PLAIN: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "unet": ["diffusers", "UNet2DConditionModel"],
}


@pytest.mark.parametrize(
    ("index", "paths", "code"),
    [
        (PLAIN, ["unet/config.json", "README.py"], None),
        (PLAIN | {"_class_name": ["my_pipeline", "Mine"]}, ["my_pipeline.py"], "its pipeline"),
        (PLAIN | {"unet": ["my_unet", "Mine"]}, ["unet/my_unet.py"], "its component unet (unet/my_unet.py)"),
        (PLAIN | {"unet": ["my_unet", "Mine"]}, ["my_unet.py"], "its component unet (my_unet.py)"),
        (PLAIN | {"unet": ["diffusers", "Mine"]}, ["unet/diffusers.py"], "its component unet (unet/diffusers.py)"),
        ({}, [], "its pipeline None"),
    ],
)
def test_whose_code_runs(index: dict[str, Any], paths: list[str], code: str | None) -> None:
    found = own_code(index, paths)
    assert found == code if code is None else code in (found or "")
    described = describe(Papers(pipeline=index, paths=frozenset(paths)))
    assert described.remote_code == bool(index and code)


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["unet/model.safetensors", "vae/model.safetensors"], None),
        (["unet/model.fp16.safetensors", "vae/model.fp16.safetensors"], "fp16"),
        (["unet/model.bf16.safetensors"], "bf16"),
        (["unet/model.safetensors", "unet/model.fp16.safetensors"], None),
        (["unet/model.fp16.bin"], None),
    ],
)
def test_the_form_in_which_the_weights_are_there(paths: list[str], wanted: str | None) -> None:
    assert variant(paths) == wanted
