"""The sample of manifests/samples/custom keeps the contract, as its own profile loads it."""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dormouse_api.profile import RuntimeProfileSpec
from dormouse_runtime.engines.custom.loading import Loaded, find, loaded
from dormouse_runtime.engines.custom.predicting import WrongInputError, check, pieces

SAMPLE = Path(__file__).parents[3] / "manifests" / "samples" / "custom"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    head = json.dumps({"weights": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}).encode()
    file = struct.pack("<Q", len(head)) + head + struct.pack("<3f", 10_000, 2_000, 500)
    (tmp_path / "model.safetensors").write_bytes(file)
    (tmp_path / "house_prices.py").write_text((SAMPLE / "model.py").read_text())  # as its Dockerfile has it
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "house_prices", raising=False)
    profile = RuntimeProfileSpec.model_validate(yaml.safe_load((SAMPLE / "profile.yaml").read_text())["spec"])
    assert profile.custom is not None
    path = profile.custom.entry_point
    return loaded(path, find(path), str(tmp_path), profile.custom.config or {})


def test_prices(served: Loaded) -> None:
    given = {"houses": [{"area": 50, "rooms": 2}, {"area": 100, "rooms": 4}]}
    check(served, given)
    said: list[Any] = [json.loads(piece.json) for piece in pieces(served, given)]
    assert said == [{"price": 111_000.0, "currency": "EUR"}, {"price": 212_000.0, "currency": "EUR"}]


def test_wrong_houses(served: Loaded) -> None:
    with pytest.raises(WrongInputError, match="less than the minimum of 1"):
        check(served, {"houses": [{"area": 50, "rooms": 0}]})
    with pytest.raises(WrongInputError, match="9 rooms do not fit 20 square metres"):
        list(pieces(served, {"houses": [{"area": 20, "rooms": 9}]}))
    with pytest.raises(WrongInputError) as wrong:
        check(served, {"houses": [{"area": -1, "rooms": 1}] * 1000})
    assert len(wrong.value.faults) == 8
