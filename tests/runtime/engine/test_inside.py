"""The runtime's torch code, run in the engine's Python by `inside.py`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.engine.conftest import CODE

pytestmark = pytest.mark.engine

Inside = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def inside(python: str, tmp_path_factory: pytest.TempPathFactory) -> Inside:
    """Every answer of `inside.py`, by its name: one process, because importing torch takes longer than all of it."""
    command = [python, str(Path(__file__).with_name("inside.py")), str(tmp_path_factory.mktemp("inside"))]
    done = subprocess.run(command, env={**os.environ, **CODE}, stdout=subprocess.PIPE, check=True)
    answers: Inside = json.loads(done.stdout.decode().rpartition("ANSWERS ")[2])
    return answers


def test_tokens_are_drawn_by_each_rows_own_rules(inside: Inside) -> None:
    told = inside["sampling"]
    assert told["frequencies"] == pytest.approx(told["expected"], abs=0.03)
    assert told["greedy"] == [1, 1, 1]
    assert told["alone"] == told["in_company"]  # a seed holds whatever else is in the batch
    assert len(set(told["alone"])) > 1
    assert told["top_k_beyond"] == told["top_k_none"]
    assert told["top_k"] == told["min_p"] == [1, 2]
    assert told["top_p"] == [1]
    assert told["biased"] == [4]
    assert told["repetition"] == [2]  # the prompt counts
    assert told["presence"] == [1, 2, 1]
    assert told["ends_too_early"][:2] == [1, 1]
    assert told["ends_too_early"][2] == 0


@pytest.mark.parametrize("batcher", ["StaticBatcher", "ContinuousBatcher"])
def test_a_request_that_raises_ends_alone(inside: Inside, batcher: str) -> None:
    told = inside["batching"][batcher]
    assert len(told["alone"]) == 8
    assert told["company"] == told["later"] == told["alone"]
    assert "no next token can be chosen by this request's sampling" in told["rules"]
    assert "out of range" in told["beyond"]
    assert isinstance(told["nothing"], str)
    assert told["alive"]


def test_rounding_errs_as_little_as_it_should_and_packs_as_the_library(inside: Inside) -> None:
    told = inside["rounding"]
    assert 0.09 < told["errors"]["int4"] < 0.108  # plain rounding to nearest makes 0.110
    assert told["errors"]["int8"] < 0.01
    assert told["errors"]["fp8"] < 0.03
    assert told["packs_as_the_library"]
    assert told["unpacks"]
    assert told["zeros"] == 0


def test_a_large_tensor_takes_little_memory_and_a_damaged_copy_is_refused(inside: Inside) -> None:
    told = inside["streaming"]
    assert 0 < told["grown"] < told["source"] / 2  # in one piece, int4 takes twelve times the source
    assert told["written"] - told["planned"] in range(1000)  # the header
    assert "was not kept" in told["refused"]


def test_weights_that_are_no_numbers_are_refused(inside: Inside) -> None:
    assert "use quantization none" in inside["damaged"]["refused"]
