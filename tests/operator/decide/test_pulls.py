"""Who is pulled next: the order of the line, what each is told, and what holds a place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_api.results import EXIT_PERMANENT
from dormouse_operator.decide.pulls import Waiting, decide, line
from dormouse_operator.decide.troubles import GRACE
from dormouse_operator.decide.underway import SLOW_SECONDS, holds
from dormouse_operator.observed import Job, Pod
from tests.operator.builders import NOW, ended, job, pod


def waiting(name: str, since: float = 0.0, space: str = "ns", **more: Any) -> Waiting:
    return Waiting((space, name), more.pop("priority", 0), since, **more)


def order(*those: Waiting, held: tuple[tuple[str, str], ...] = ()) -> list[str]:
    return [w.key[1] for w in line(those, held)]


def test_the_line_is_by_priority_then_callers_then_waiting_then_name() -> None:
    low, old, young = waiting("low", 1, priority=-1), waiting("old", 2), waiting("young", 3)
    called, high = waiting("called", 4, called=True), waiting("high", 5, priority=7)
    assert order(young, low, called, old, high) == ["high", "called", "old", "young", "low"]
    assert order(waiting("b", 1), waiting("a", 1)) == ["a", "b"]


def test_namespaces_take_turns_however_many_models_one_has() -> None:
    crowd = [waiting(f"m{number}", number, "crowd") for number in range(100)]
    other, third = waiting("other", 500, "two"), waiting("third", 600, "three")
    assert order(*crowd, other, third)[:4] == ["m0", "other", "third", "m1"]
    under_way = (("crowd", "x"), ("crowd", "y"))
    assert order(*crowd, other, third, held=under_way)[:3] == ["other", "third", "m0"]
    urgent = waiting("urgent", 700, "crowd", priority=1)
    assert order(*crowd, other, urgent, held=under_way)[0] == "urgent"


def test_what_each_is_told() -> None:
    those = [waiting(name, number) for number, name in enumerate("abcd")]
    spots = decide(those, [("ns", "x")], 2)
    assert spots["ns", "a"].go
    told = [(spots["ns", n].position, spots["ns", n].of, spots["ns", n].after) for n in "bcd"]
    assert told == [(1, 3, ("ns", "x")), (2, 3, ("ns", "b")), (3, 3, ("ns", "c"))]
    assert not any(spots["ns", n].go for n in "bcd")
    assert decide(those[:1], [], 1)["ns", "a"].go
    assert decide(those[:2], [], 1)["ns", "b"].after == ("ns", "a")


KEYS = st.tuples(st.sampled_from("pqr"), st.sampled_from("abcdefgh"))


@given(
    st.dictionaries(KEYS, st.tuples(st.integers(-2, 2), st.integers(0, 9), st.booleans())),
    st.lists(KEYS, unique=True, max_size=5),
    st.integers(1, 4),
)
def test_no_more_go_than_there_are_places_and_nobody_is_left_out(
    those: dict[tuple[str, str], tuple[int, int, bool]], held: list[tuple[str, str]], places: int
) -> None:
    pool = [Waiting(key, priority, since, called) for key, (priority, since, called) in those.items()]
    spots = decide(pool, held, places)
    assert spots.keys() == those.keys()
    going = [key for key, spot in spots.items() if spot.go]
    assert len(going) == min(len(those), max(0, places - len(held)))
    stand = [spot.position for spot in spots.values() if not spot.go]
    assert stand == list(range(1, len(stand) + 1))
    ahead = [those[key][0] for key in spots]
    assert ahead == sorted(ahead, reverse=True), "nobody goes before a higher priority"


def a_job(**more: Any) -> Job:
    return job("pull", "i", **({"created": NOW - 5} | more))


def a_pod(**more: Any) -> Pod:
    return pod("pull", **more)


SLOW = NOW - SLOW_SECONDS - 1
PENDING: dict[str, Any] = {"phase": "Pending", "started_at": None}
HOMELESS = PENDING | {"unschedulable": "0/1 nodes are available"}


@pytest.mark.parametrize(
    ("job_", "pods", "expected"),
    [
        pytest.param(a_job(), [a_pod()], True, id="it works"),
        pytest.param(a_job(), [], True, id="its pod is about to be made"),
        pytest.param(a_job(created=SLOW), [], False, id="its pod is not made: the cluster refuses it"),
        pytest.param(a_job(), [a_pod(**HOMELESS, unschedulable_since=NOW - 1)], True, id="no node yet"),
        pytest.param(a_job(), [a_pod(**HOMELESS, unschedulable_since=NOW - GRACE)], False, id="no node"),
        pytest.param(
            a_job(), [a_pod(phase="Pending", started_at=None, waiting="ImagePullBackOff")], False, id="no image"
        ),
        pytest.param(a_job(), [a_pod(silent_since=NOW - 1)], False, id="its node does not answer"),
        pytest.param(a_job(), [a_pod(**PENDING)], True, id="it is about to begin"),
        pytest.param(a_job(), [a_pod(**PENDING, created=SLOW)], False, id="it does not begin"),
        pytest.param(a_job(), [a_pod(created=SLOW)], True, id="it works for long already"),
        pytest.param(a_job(deleting=True), [a_pod(deleting=True)], True, id="cancelled, and still there"),
        pytest.param(None, [a_pod()], True, id="its Job is gone, its pod is not"),
        pytest.param(None, [a_pod(phase="Failed", exit=ended(1))], False, id="nothing of it is left"),
        pytest.param(a_job(deleting=True), [], False, id="cancelled"),
        pytest.param(a_job(complete=True), [a_pod(phase="Succeeded", exit=ended())], False, id="whole"),
        pytest.param(a_job(), [a_pod(phase="Succeeded", exit=ended())], False, id="whole, which the Job is yet to say"),
        pytest.param(a_job(), [a_pod(phase="Failed", exit=ended(1))], True, id="the Job makes another pod"),
        pytest.param(a_job(), [a_pod(phase="Failed", exit=ended(EXIT_PERMANENT))], False, id="failed for good"),
        pytest.param(a_job(failed_reason="BackoffLimitExceeded"), [], False, id="failed, and tried again later"),
    ],
)
def test_what_holds_a_place(job_: Job | None, pods: list[Pod], expected: bool) -> None:
    assert holds(job_, pods, NOW) is expected
