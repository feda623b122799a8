"""The pure decisions of the data plane: which endpoint, what a held call comes to, and how long it may take."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.catalog.catalog import Endpoint, Entry
from dormouse_router.catalog.record import record_from
from dormouse_router.dataplane.balance import back_at, pick
from dormouse_router.dataplane.estimate import remaining, retry_after
from dormouse_router.dataplane.hold import outcome
from dormouse_router.dataplane.lane import Lane
from dormouse_router.gateway import Refusal
from dormouse_router.settings import Settings
from tests.router.fakes import model


def endpoints(*in_flight: int, avoid: tuple[int, ...] = ()) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(f"10.0.0.{i}", 8000, n, 5.0 if i in avoid else 0.0) for i, n in enumerate(in_flight))


@pytest.mark.parametrize(
    ("made", "turn", "chosen"),
    [
        ((), 0, None),
        (endpoints(7), 0, 0),
        (endpoints(3, 1, 2), 0, 1),
        (endpoints(1, 1, 1), 0, 0),
        (endpoints(1, 1, 1), 1, 1),
        (endpoints(1, 1, 1), 5, 2),
        (endpoints(0, 3, 1, avoid=(0,)), 0, 2),
        (endpoints(0, avoid=(0,)), 0, None),
        (endpoints(0, 0, avoid=(0, 1)), 0, None),
    ],
)
def test_the_one_with_the_fewest_is_chosen(made: tuple[Endpoint, ...], turn: int, chosen: int | None) -> None:
    assert pick(made, 1.0, turn) is (None if chosen is None else made[chosen])


def test_avoided_ones_come_back() -> None:
    made = endpoints(0, avoid=(0,))
    assert pick(made, 5.0, 0) is made[0]
    assert back_at(made) == 5.0
    assert back_at(()) is None


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(0, 1000))
def test_nobody_with_more_is_ever_chosen(counts: list[int], turn: int) -> None:
    made = endpoints(*counts)
    chosen = pick(made, 1.0, turn)
    assert chosen is not None
    assert chosen.in_flight == min(counts)


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
        (entry("Serving", *endpoints(0, avoid=(0,))), None),
        (entry("Gated", *endpoints(0, avoid=(0,))), None),
    ],
)
def test_what_a_held_call_comes_to(found: Entry | None, status: int | None) -> None:
    came = outcome(found, "tiny", 1.0, 0)
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
        ("Pulling", {"pull": pull(), "coldStarts": starts(40)}, 5.0, None),
        ("Quantizing", {"coldStarts": starts(40)}, 5.0, None),
    ],
)
def test_how_long_it_may_take(reason: str, status: dict[str, Any], waited: float, seconds: float | None) -> None:
    record = record_from(model(reason=reason, status=status))
    assert remaining(record, waited) == seconds
    assert 1.0 <= retry_after(record, waited) <= 120.0


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
    assert remaining(record_from(model(reason="Waking", status={"coldStarts": starts(40)})), 10.0) == 30.0
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
