"""`spec.priority` on a full device, with the whole operator: who waits how long for whom."""

import pytest

from dormouse_api import names
from dormouse_operator.decide.coldstart import stamp
from tests.operator.shared import Caller, Shared

LOADS = 20.0
"""Seconds that the busy one's start takes: among equals it stays three times as long."""


async def played(busy: int, calling: int) -> tuple[Shared, Caller]:
    """One is awake and called all the time when another is called; of these priorities."""
    shared = Shared(1)
    await shared.add("busy", start=LOADS, every=0.5, longest=2.0)
    calls = await shared.add("calls")
    shared.world.model("busy", profile="cpu", priority=busy)
    shared.world.model("calls", profile="cpu", priority=calling)
    await shared.run(LOADS + 12)
    assert shared.awake() == ["busy"]
    start = {"at": stamp(shared.world.now), "seconds": int(LOADS), "engine": "vllm", "stages": []}
    shared.world.put(names.MODEL_KIND, "ns", "busy", status=shared.status("busy") | {"coldStarts": [start]})
    shared.call("calls")
    await shared.run(120)
    return shared, calls


@pytest.mark.parametrize(
    ("busy", "calling", "least", "most"),
    [
        pytest.param(0, 5, 0.0, 25.0, id="a higher one waits for the least stay and the last calls"),
        pytest.param(0, 0, 3 * LOADS - 15, 3 * LOADS + 15, id="an equal one for the whole stay"),
    ],
)
async def test_how_long_a_call_waits_for_a_busy_model(busy: int, calling: int, least: float, most: float) -> None:
    _, calls = await played(busy, calling)
    [waited] = calls.waits
    assert least <= waited <= most


async def test_a_lower_one_does_not_end_the_turn_of_a_busy_higher_one_before_it_starves() -> None:
    shared, calls = await played(5, 0)
    assert not calls.waits
    assert shared.awake() == ["busy"]
    assert shared.condition(name="calls") == ("True", "WaitingForAccelerator")
    await shared.run(560)
    [waited] = calls.waits
    assert 590 <= waited <= 640
