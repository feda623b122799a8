"""The samples for cards of 16 GB fit the profiles they name, and say of themselves what Preflight will say."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dormouse_api.model import InferenceModelSpec
from dormouse_api.profile import RuntimeProfileSpec
from dormouse_operator.decide.memory import GIB
from dormouse_operator.observed import Model, Profile
from dormouse_operator.plan.pipeline import run
from tests.operator.builders import NOW, SETTINGS, model, observed, remembered
from tests.operator.decide.repositories import NAMES, facts, repository

FOLDER = Path(__file__).resolve().parents[3] / "manifests" / "samples" / "16gb"

Object = dict[str, Any]


def profiles() -> dict[str, Profile]:
    found = {}
    for body in yaml.safe_load_all((FOLDER / "profiles.yaml").read_text()):
        name = body["metadata"]["name"]
        found[name] = Profile(name, RuntimeProfileSpec.model_validate(body["spec"]))
    return found


def sample(name: str) -> Model:
    body = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    spec = InferenceModelSpec.model_validate(body["spec"])
    return Model("default", body["metadata"]["name"], "uid-1", 1, spec, model().status)


def test_every_model_of_the_table_has_a_sample() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted([*NAMES, "profiles"])


@pytest.mark.parametrize("name", NAMES)
def test_the_sample_fits_and_its_comment_has_the_numbers(name: str) -> None:
    m, known = sample(name), facts(name)
    assert m.spec.source.uri == f"hf://{repository(name)['repository']}"
    assert m.spec.profile is not None
    profile = profiles()[m.spec.profile]
    done = run(observed(remembered(m, known), profile=profile), SETTINGS, NOW)
    assert done.blocked is None
    assert done.preflight is not None
    assert done.preflight.fits
    text = (FOLDER / f"{name}.yaml").read_text()
    least = [float(size) for size in re.findall(r"([0-9.]+) GiB", text.partition("apiVersion")[0])]
    assert least[0] == round(repository(name)["total_size"] / GIB, 1)
    weights = re.match(r"([0-9.]+) GiB of weights", done.preflight.message)
    assert weights is not None
    cards = profile.spec.accelerator.count if profile.spec.accelerator else 0
    assert min(abs(float(weights[1]) * cards - size) for size in least[:2]) < 0.1 * cards


def test_the_sample_for_more_cards_does_not_fit_on_fewer() -> None:
    for name, fewer in (("qwen3-30b-a3b", "nvidia-16gb"), ("llama-3.1-70b", "nvidia-16gb-x2")):
        done = run(observed(remembered(sample(name), facts(name)), profile=profiles()[fewer]), SETTINGS, NOW)
        assert done.preflight is not None
        assert done.preflight.fits is False
