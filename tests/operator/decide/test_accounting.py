"""Device-seconds and waiting: what is added when, across restarts, and as Prometheus is told of it."""

from typing import Any

import pytest

from dormouse_api.demand import Demand, ModelDemand
from dormouse_api.status import Usage
from dormouse_operator.decide.accounting import Holding, holding, running, settle
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.metrics import Metrics
from dormouse_operator.observed import Tally
from dormouse_operator.queue import Key, WorkQueue
from dormouse_operator.tally import LONGEST_STEP, Tallies
from tests.operator.builders import NOW, gpu, model, observed, pod
from tests.operator.shared import GPU, IDLE, Shared

KEY = Key("ns", "tiny")
ASLEEP, AWAKE, NEITHER = Holding(GPU, 0, 2), Holding(GPU, 2, 0), Holding(GPU, 0, 0)
QUIET = Tally()


def usage(held: int = 0, spared: int = 0, at: float = NOW, **totals: int) -> Usage:
    return Usage(at=stamp(at), resource=GPU, held=held, spared=spared, **totals)


@pytest.mark.parametrize(
    ("pods", "sleeps", "expected"),
    [
        pytest.param((pod(node="n1"),), False, AWAKE, id="awake"),
        pytest.param((pod(node=""),), False, NEITHER, id="its pod has no node yet"),
        pytest.param((pod(node="n1", deleting=True),), True, AWAKE, id="its pod is ending and still has its devices"),
        pytest.param((pod(node="n1", phase="Failed"),), True, ASLEEP, id="its pod has ended"),
        pytest.param((), True, ASLEEP, id="asleep"),
        pytest.param((), False, NEITHER, id="not ready to be called"),
    ],
)
def test_what_a_model_holds_and_leaves_free(pods: tuple[Any, ...], sleeps: bool, expected: Holding) -> None:
    assert holding(observed(model(), profile=gpu(count=2), pods=pods), sleeps=sleeps) == expected


def test_pods_are_counted_where_the_profile_names_no_accelerator() -> None:
    found = holding(observed(model(), pods=(pod(node="n1"), pod(node="n2"))), sleeps=False)
    assert found == Holding("pod", 2, 0)


@pytest.mark.parametrize(
    ("old", "present", "tally", "seconds", "expected"),
    [
        pytest.param(None, NEITHER, QUIET, 0, None, id="nothing to tell"),
        pytest.param(None, ASLEEP, QUIET, 0, usage(spared=2), id="the first word"),
        pytest.param(usage(spared=2), ASLEEP, QUIET, 9999, usage(spared=2), id="asleep: nothing is written"),
        pytest.param(usage(held=2), AWAKE, QUIET, 9999, usage(held=2), id="awake and not called: nothing is written"),
        pytest.param(
            usage(spared=2), AWAKE, QUIET, 50, usage(held=2, at=NOW + 50, saved_seconds=100), id="it falls awake"
        ),
        pytest.param(
            usage(held=2, awake_seconds=7),
            ASLEEP,
            Tally(20.7, 3.9),
            50,
            usage(spared=2, at=NOW + 50, awake_seconds=107, busy_seconds=40, waited_seconds=3),
            id="it falls asleep",
        ),
        pytest.param(usage(held=2), AWAKE, Tally(20.0), 3599, usage(held=2), id="calls, for less than an hour"),
        pytest.param(
            usage(held=2),
            AWAKE,
            Tally(20.0),
            3600,
            usage(held=2, at=NOW + 3600, awake_seconds=7200, busy_seconds=40),
            id="calls, for an hour",
        ),
        pytest.param(
            usage(held=2),
            ASLEEP,
            Tally(80.0),
            50,
            usage(spared=2, at=NOW + 50, awake_seconds=100, busy_seconds=100),
            id="busy is never more than awake",
        ),
        pytest.param(usage(held=2), ASLEEP, QUIET, -5, usage(spared=2), id="a clock that goes back takes nothing"),
    ],
)
def test_the_totals(old: Usage | None, present: Holding, tally: Tally, seconds: float, expected: Usage | None) -> None:
    assert settle(old, present, tally, NOW + seconds) == expected


def demand(in_flight: int = 0, held: int = 0, name: str = "ns/tiny") -> Demand:
    return Demand(models={name: ModelDemand(in_flight=in_flight, held=held)})


def test_polls_add_up_busy_time_once_and_waiting_for_each_caller() -> None:
    tallies = Tallies()
    tallies.take(0.0, [demand(1, 1)])
    assert tallies.of(KEY) == QUIET, "nobody knows for how long yet"
    tallies.take(2.0, [demand(3, 0), demand(1, 2)])
    tallies.take(4.0, [])
    tallies.take(4.0 + 10 * LONGEST_STEP, [demand(0, 1)])
    assert tallies.of(KEY) == Tally(2.0, 4.0 + LONGEST_STEP)
    tallies.settled(KEY, Tally(1.5, 4.0))
    assert tallies.of(KEY) == Tally(1.0, LONGEST_STEP)


def test_counters_go_on_from_the_status_and_never_go_down() -> None:
    now, tallies, metrics = [NOW], Tallies(), Metrics(WorkQueue())
    metrics.measure(tallies.of, lambda: now[0])
    known = usage(held=2, awake_seconds=100)
    metrics.usage(KEY, known)
    told = []
    for second in range(12):
        now[0] = NOW + second * 1.7
        tallies.take(now[0], [demand(1)])
        if second % 4 == 3:  # the status is brought up to date
            tally = tallies.of(KEY)
            known = running(known, tally, now[0])
            tallies.settled(KEY, tally)
            metrics.usage(KEY, known)
        lines = metrics.text().decode().splitlines()
        told.append([float(line.split()[-1]) for line in lines if "device_seconds_total{" in line])
    assert told[0] == [100.0, 0.0, 0.0]
    assert all(list(column) == sorted(column) for column in zip(*told, strict=True))
    assert told[-1] == [100.0 + 2 * 18, pytest.approx(2 * 17, abs=2), 0.0]
    metrics.usage(KEY, None)
    assert "device_seconds_total{" not in metrics.text().decode()


async def test_a_day_of_one_model_adds_up_across_a_restart() -> None:
    shared = Shared()
    began = shared.world.now
    await shared.add("a")
    await shared.run(100)
    shared.call("a", seconds=20)
    await shared.run(40)
    shared.start()
    shared.queue.add(Key("ns", "a"))
    await shared.run(IDLE + 100)
    told = Usage.model_validate(shared.status("a")["usage"])
    assert (told.resource, told.held, told.spared) == (GPU, 0, 1)
    total = running(told, QUIET, shared.world.now)
    passed = shared.world.now - began
    assert IDLE + 20 <= total.awake_seconds <= IDLE + 40
    assert passed - 10 <= total.awake_seconds + total.saved_seconds <= passed
    before = len(shared.world.requests)
    await shared.run(60)
    assert shared.world.requests[before:] == []
