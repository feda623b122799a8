"""A model as one of those that want the same devices."""

from dataclasses import replace
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.lease import FOREVER, Wish
from dormouse_api.status import ColdStart, InferenceModelStatus, StageTime
from dormouse_operator.decide.contenders import contender, shares, start_seconds, waits_for_devices
from dormouse_operator.decide.pool import Contender
from dormouse_operator.observed import Runtime
from tests.operator.builders import NOW, gpu, model, observed, pod, profile, wish

FULL = "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint."


def seen(**more: Any) -> Contender:
    base: dict[str, Any] = {"profile": gpu(), "runtime": Runtime(1, NOW - 9, {}, {}), "wish": wish(60)}
    found = contender(observed(**(base | more)), True, None, NOW)
    assert found is not None
    return found


def start(**stages: float) -> ColdStart:
    times = [StageTime(stage=name, at_milliseconds=round(at * 1000)) for name, at in stages.items()]
    return ColdStart(at="2027-01-15T08:00:00Z", seconds=round(max(stages.values())), engine="vllm", stages=times)


def test_only_profiles_with_something_to_share_take_part() -> None:
    assert shares(gpu())
    assert shares(profile(maxAwake=3))
    assert not shares(profile())
    assert not shares(None)
    assert contender(observed(profile=gpu()), True, None, NOW) is None, "it has no Deployment yet"


def test_what_is_fought_over_and_how_many_may_be_awake() -> None:
    one = seen(profile=gpu(count=2, nodeSelector={"zone": "x"}))
    assert (one.resource, one.count, one.limit, one.selector) == ("nvidia.com/gpu", 2, 2, {"zone": "x"})
    assert seen(profile=gpu(maxAwake=9)).limit == 9
    cpu = seen(profile=profile(maxAwake=1))
    assert (cpu.resource, cpu.limit) == ("profile/cpu", 1)


def test_pods_hold_devices_until_they_are_gone() -> None:
    pods = (
        pod(node="n1", ready_at=NOW - 5),
        pod(node="n1", deleting=True, ready_at=NOW - 50),
        pod(phase="Failed", node="n1"),
    )
    found = seen(pods=pods)
    assert (found.nodes, found.pods, found.ready_at) == ({"n1": 2}, 2, NOW - 5)


def test_who_finds_no_free_device() -> None:
    assert seen(pods=(pod(unschedulable=FULL),)).homeless
    assert not seen(pods=(pod(unschedulable="0/1 nodes are available: 1 Insufficient memory."),)).homeless
    assert not seen(pods=(pod(unschedulable=FULL), pod(node="n1"))).homeless
    waiting = observed(profile=gpu(), pods=(pod(unschedulable=FULL),))
    assert waits_for_devices(waiting, Reason.UNSCHEDULABLE)
    assert not waits_for_devices(waiting, Reason.ENGINE_FAILED)
    assert not waits_for_devices(replace(waiting, profile=profile()), Reason.UNSCHEDULABLE)


@pytest.mark.parametrize(
    ("held", "scaling", "kept"),
    [
        (wish(300), {}, False),
        (wish(302), {}, True),
        (wish(FOREVER), {}, True),
        (wish(600, NOW - 601), {}, False),
        (None, {"minReplicas": 1}, True),
        (wish(30), {"idleSeconds": 5}, False),
        (wish(32), {"idleSeconds": 5}, True),
    ],
)
def test_who_is_kept(held: Wish | None, scaling: dict[str, int], kept: bool) -> None:
    assert seen(model=model(scaling=scaling), wish=held).kept is kept


def test_its_door_and_when_it_left() -> None:
    awake, asleep = Runtime(1, NOW, {}, {}, turned_out=NOW - 3), Runtime(0, None, {}, {}, NOW - 2, NOW - 3)
    assert (seen(runtime=awake).leaving, seen(runtime=awake).left) == (NOW - 3, None)
    found = seen(runtime=asleep)
    assert (found.leaving, found.left, found.asked) == (None, NOW - 3, NOW - 2)


def test_a_start_is_what_came_after_its_node() -> None:
    waited = start(requested=0, created=0.2, scheduled=20.0, started=21.0, ready=24.0)
    assert start_seconds(waited) == 4.0
    assert start_seconds(start(requested=0, ready=24.0)) == 24.0
    status = InferenceModelStatus(cold_starts=[waited, waited, start(requested=0, scheduled=1, ready=9)])
    assert seen(model=model(status)).start_seconds == 4.0
    assert seen().start_seconds is None
