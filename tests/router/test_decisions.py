"""The pure decisions of the data plane: what a held call comes to, and how long it may take."""

from dataclasses import replace
from typing import Any

import pytest

from dormouse_router.catalog.catalog import Endpoint, Entry
from dormouse_router.catalog.record import record_from
from dormouse_router.dataplane.balance import Balancer
from dormouse_router.dataplane.estimate import Moment, remaining, retry_after
from dormouse_router.dataplane.hold import outcome
from dormouse_router.dataplane.lane import Lane
from dormouse_router.gateway import CHAT, Call
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings
from tests.router.fakes import model


def endpoints(*in_flight: int, closed: bool = False) -> tuple[Endpoint, ...]:
    until = 5.0 if closed else 0.0
    made = (Endpoint(f"10.0.0.{i}", 8000, in_flight=n) for i, n in enumerate(in_flight))
    return tuple(replace(endpoint, avoid_until=until, closed_until=until) for endpoint in made)


def entry(reason: str, *made: Endpoint, deleting: bool = False) -> Entry:
    obj = model(reason=reason, message="Said so.")
    if deleting:
        obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return Entry(record_from(obj), made)


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (None, 404),
        (entry("Serving", deleting=True), 404),
        (entry("Pulling"), None),
        (entry("ScaledToZero"), None),
        (entry("Unschedulable"), 503),
        (entry("EngineFailed"), 503),
        (entry("Serving", *endpoints(0)), 200),
        (entry("Gated", *endpoints(0)), 200),  # the new revision fails, the old pods still answer
        (entry("Serving", *endpoints(0, closed=True)), None),
        (entry("Gated", *endpoints(0, closed=True)), None),
    ],
)
def test_what_a_held_call_comes_to(found: Entry | None, status: int | None) -> None:
    came = outcome(found, Call(record_from(model()), CHAT, b"{}", "openai"), Balancer(), 1.0)
    if isinstance(came, Refusal):
        assert came.status == status
    else:
        assert (came is not None) is (status == 200)
        assert (came is None) is (status is None)


def starts(*seconds: int) -> list[dict[str, Any]]:
    return [{"at": "2026-01-01T00:00:00Z", "seconds": s, "engine": "vllm", "stages": []} for s in seconds]


def pull(**fields: Any) -> dict[str, Any]:
    return {"stage": "fetching", "bytes": 1, "total": 2, "bytesPerSecond": 1, **fields}


@pytest.mark.parametrize(
    ("reason", "status", "waited", "seconds"),
    [
        ("Waking", {}, 0.0, None),
        ("Waking", {"coldStarts": starts(40)}, 0.0, 40.0),
        ("Waking", {"coldStarts": starts(40, 60, 44)}, 10.0, 34.0),
        ("Waking", {"coldStarts": starts(40)}, 100.0, 1.0),
        ("Pulling", {"pull": pull(etaSeconds=90)}, 5.0, 90.0),
        ("Pulling", {"pull": pull(etaSeconds=90), "coldStarts": starts(40)}, 5.0, 130.0),
        ("Pulling", {"pull": pull(), "coldStarts": starts(40)}, 5.0, 41.0),
        ("Pulling", {"pull": pull(bytesPerSecond=0), "coldStarts": starts(40)}, 5.0, None),
        ("Pulling", {"coldStarts": starts(40)}, 5.0, None),
        ("Quantizing", {"quantize": pull(etaSeconds=30), "coldStarts": starts(40)}, 5.0, 70.0),
        ("Quantizing", {"coldStarts": starts(40)}, 5.0, None),
    ],
)
def test_how_long_it_may_take(reason: str, status: dict[str, Any], waited: float, seconds: float | None) -> None:
    record = record_from(model(reason=reason, status=status))
    moment = Moment(1_700_000_000.0, waited)
    assert remaining(record, moment) == seconds
    assert 1.0 <= retry_after(seconds) <= 120.0


@pytest.mark.parametrize(
    ("found", "over", "lingers"),
    [
        (None, True, False),
        (entry("Gated"), True, False),
        (entry("Serving", *endpoints(0)), True, True),
        (entry("Waking"), False, False),
    ],
)
def test_when_a_wake_is_over(found: Entry | None, over: bool, lingers: bool) -> None:
    lane = Lane(("default", "tiny"))
    lane.wake(100.0, 60.0)
    lane.settle(found, 110.0)
    assert lane.busy is not over
    assert (lane.idle_since == 110.0) is lingers
    lane.settle(entry("Waking"), 160.0)
    assert not lane.busy


def test_who_joins_a_wake_late_waits_for_what_is_left_of_it() -> None:
    lane = Lane(("default", "tiny"))
    assert lane.elapsed(90.0) == 0.0
    lane.wake(100.0, 60.0)
    assert lane.elapsed(110.0) == 10.0
    record = record_from(model(reason="Waking", status={"coldStarts": starts(40)}))
    assert remaining(record, Moment(1_700_000_000.0, lane.elapsed(110.0))) == 30.0
    lane.settle(entry("Serving", *endpoints(0)), 140.0)
    assert lane.elapsed(141.0) == 0.0


def test_settings_are_read_once_and_say_what_is_wrong() -> None:
    assert Settings.from_env({}) == Settings()
    made = Settings.from_env({"DORMOUSE_NAMESPACES": "a, b,", "DORMOUSE_PULL": "Forbidden", "POD_NAME": "r-1"})
    assert (made.namespaces, made.pull, made.delete, made.pod_name) == (("a", "b"), False, True, "r-1")
    for name, value in (
        ("DORMOUSE_PORT", "http"),
        ("DORMOUSE_PULL", "yes"),
        ("DORMOUSE_MAX_BODY_BYTES", "-1"),
        ("DORMOUSE_DRAIN_SECONDS", "long"),
    ):
        with pytest.raises(ValueError, match=name):
            Settings.from_env({name: value})
