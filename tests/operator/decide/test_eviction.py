"""Whose turn it is: tables of small pools, rules that hold for every pool, and hours of three models on one device."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_operator.decide.eviction import Turn, decide, to_do
from dormouse_operator.decide.places import rounded
from dormouse_operator.decide.pool import DOOR_SECONDS, STARVED_SECONDS, Contender, Traffic

NOW = 1000.0
STAY = 10.0


def contender(name: str, **more: Any) -> Contender:
    base: dict[str, Any] = {"key": ("ns", name), "profile": "gpu", "resource": "nvidia.com/gpu"}
    return Contender(**(base | more))


def traffic(in_flight: int = 0, held: int = 0, quiet: float | None = None, at: float = NOW) -> Traffic:
    busy = in_flight + held > 0
    return Traffic(at, in_flight, held, quiet if quiet is not None else 0.0 if busy else 60.0)


def awake(name: str, node: str = "n1", **more: Any) -> Contender:
    """It serves, for a long time already, and nobody calls."""
    base: dict[str, Any] = {
        "wanted": True,
        "granted": True,
        "nodes": {node: more.get("count", 1)},
        "pods": 1,
        "ready_at": NOW - 500,
        "traffic": traffic(),
        "last_used": NOW - 100,
        "woken": NOW - 510,
    }
    return contender(name, **(base | more))


def asking(name: str, **more: Any) -> Contender:
    """It sleeps, and somebody calls."""
    return contender(name, **({"wanted": True, "asked": NOW - 1, "traffic": traffic(held=1)} | more))


def homeless(name: str, **more: Any) -> Contender:
    """It got its pod, which finds no device."""
    return asking(name, **({"granted": True, "pods": 1, "homeless": True, "woken": NOW - 1} | more))


def turns(*pool: Contender) -> dict[str, Turn]:
    return {key[1]: turn for key, turn in decide(pool, NOW, STAY).items()}


def leaving(*pool: Contender) -> list[str]:
    return sorted(name for name, turn in turns(*pool).items() if turn.leaving)


def going(*pool: Contender) -> list[str]:
    return sorted(name for name, turn in turns(*pool).items() if turn.go)


def test_the_first_of_the_line_gets_its_pod_and_nobody_else_until_it_is_placed() -> None:
    a, b, c = asking("a", asked=NOW - 3), asking("b", asked=NOW - 5), asking("c", asked=NOW - 4)
    assert going(a, b, c) == ["b"]
    placing = replace(b, granted=True, pods=1)
    assert going(a, placing, c) == ["b"]
    placed = replace(placing, nodes={"n1": 1})
    assert going(a, placed, c) == ["b", "c"]


@pytest.mark.parametrize(
    ("holders", "expected"),
    [
        pytest.param([awake("a"), awake("b", last_used=NOW - 200)], ["b"], id="the least recently used"),
        pytest.param([awake("a", traffic=traffic(quiet=2)), awake("b")], ["b"], id="the one nobody calls"),
        pytest.param([awake("a", kept=True)], [], id="never one that is kept"),
        pytest.param([awake("a", traffic=None)], [], id="never one of which the routers do not tell"),
        pytest.param([awake("a", ready_at=None)], [], id="never one that starts"),
        pytest.param([awake("a", traffic=traffic(1))], ["a"], id="a busy one that had its stay"),
        pytest.param([awake("a", traffic=traffic(1), ready_at=NOW - 9)], [], id="no busy one before its stay is over"),
        pytest.param(
            [awake("a", traffic=traffic(1), ready_at=NOW - 50, start_seconds=20.0)],
            [],
            id="the stay is longer where starts are long",
        ),
        pytest.param([awake("a", ready_at=NOW - 1)], ["a"], id="a quiet one at any time"),
        pytest.param([awake("a", traffic=traffic(1)), awake("b")], ["b"], id="a quiet one rather than a busy one"),
        pytest.param(
            [awake("a", traffic=traffic(1, 4), leaving=NOW - 5), awake("b", traffic=traffic(3))],
            ["a"],
            id="the one that was asked already",
        ),
        pytest.param(
            [awake("a", traffic=traffic(1), leaving=NOW - 5), awake("b")],
            ["b"],
            id="a quiet one, and the door of the busy one opens again",
        ),
        pytest.param(
            [awake("a", traffic=traffic(0, 4), leaving=NOW - 5), awake("b")],
            ["a"],
            id="held calls keep nobody from leaving who was asked",
        ),
        pytest.param([awake("a", granted=False), awake("b")], [], id="nobody while another is still ending"),
        pytest.param([awake("a", wanted=False), awake("b")], [], id="nobody while another is about to sleep"),
        pytest.param([awake("a", selector={"zone": "x"}), awake("b")], ["a"], id="one of a narrower choice of nodes"),
        pytest.param([awake("a", resource="amd.com/gpu")], [], id="nobody who has other devices"),
    ],
)
def test_who_is_asked_to_leave_for_one_that_finds_no_device(holders: list[Contender], expected: list[str]) -> None:
    assert leaving(homeless("new"), *holders) == expected


def test_the_higher_priority_goes_first_and_of_the_same_who_waits_longest() -> None:
    a, b = asking("a", asked=NOW - 9), asking("b", asked=NOW - 5, priority=3)
    c = asking("c", asked=NOW - 7, priority=3)
    assert going(a, b, c) == ["c"]
    hungry = replace(a, waiting=NOW - STARVED_SECONDS)
    assert going(hungry, b, c) == ["a"]


@pytest.mark.parametrize(
    ("heir", "holder", "expected"),
    [
        pytest.param({"priority": 1}, {"ready_at": NOW - 11}, ["a"], id="a lower one's long stay is cut to the least"),
        pytest.param({"priority": 1}, {"ready_at": NOW - 9}, [], id="its least stay is not"),
        pytest.param({"priority": 1}, {"kept": True}, [], id="one that is kept stays for any priority"),
        pytest.param({}, {"priority": 1, "ready_at": NOW - 500}, [], id="a busy higher one stays"),
        pytest.param({}, {"priority": 1, "traffic": traffic()}, ["a"], id="a quiet higher one goes"),
        pytest.param({"waiting": NOW - STARVED_SECONDS}, {"priority": 1}, ["a"], id="who starves is given a turn"),
    ],
)
def test_who_ends_whose_turn(heir: dict[str, Any], holder: dict[str, Any], expected: list[str]) -> None:
    more: dict[str, Any] = {"traffic": traffic(1), "start_seconds": 20.0} | holder
    there = awake("a", **more)
    assert leaving(homeless("new", **heir), there) == expected


def test_a_pod_without_a_device_goes_back_into_the_line_for_a_higher_priority() -> None:
    low, high = homeless("low"), asking("high", priority=1)
    holder = awake("a", traffic=traffic(1))
    assert going(low, high, holder) == ["a"]
    assert to_do([low, high, holder], decide([low, high, holder], NOW, STAY)) == [low.key, holder.key]
    assert going(replace(low, granted=False, pods=0, homeless=False), high, holder) == ["a", "high"]
    assert going(replace(low, waiting=NOW - STARVED_SECONDS), high, holder) == ["a", "low"]


def test_nodes_that_cannot_be_both_ours_are_no_rivals() -> None:
    holder, heir = awake("a", selector={"zone": "x"}), homeless("new", selector={"zone": "y"})
    assert leaving(heir, holder) == []
    other = asking("other", selector={"zone": "x"}, asked=NOW)
    assert "other" in going(heir, holder, other)


def test_nobody_busy_leaves_for_one_whose_callers_have_gone() -> None:
    heir = homeless("new", traffic=traffic())
    assert leaving(heir, awake("a", traffic=traffic(1))) == []
    assert leaving(heir, awake("a")) == ["a"]


def test_devices_for_one_pod_are_freed_on_one_node() -> None:
    heir = homeless("new", count=2)
    pool = [awake("a", "n1"), awake("b", "n2", last_used=NOW - 50), awake("c", "n2", last_used=NOW - 40)]
    assert leaving(heir, *pool) == ["b", "c"]
    assert leaving(heir, awake("d", "n3", count=2, nodes={"n3": 2}, last_used=NOW), *pool) == ["b", "c"]
    assert leaving(heir, awake("d", "n3", nodes={"n3": 2}, last_used=NOW - 60), *pool) == ["d"]


def test_one_device_is_freed_for_one_and_not_again_while_the_scheduler_is_slow() -> None:
    gone = asking("a", left=NOW - 4, wanted=False)
    assert leaving(homeless("new", woken=NOW - 9), gone, awake("b")) == []
    assert leaving(homeless("new", woken=NOW - 2), gone, awake("b")) == ["b"]
    assert leaving(homeless("new", woken=NOW - 90), replace(gone, left=NOW - 40), awake("b")) == ["b"]


def test_out_only_when_all_routers_have_told_so_after_the_door_was_closed() -> None:
    def out(**more: Any) -> bool:
        turn = turns(homeless("new"), awake("a", leaving=NOW - 3, **more))["a"]
        assert turn.leaving
        return not turn.go

    assert out(traffic=traffic())
    assert not out(traffic=traffic(at=NOW - 3 + DOOR_SECONDS - 0.1))
    assert not out(traffic=traffic(1))
    assert not out(traffic=None)
    assert out(traffic=traffic(0, held=7))


def test_a_profile_limit_is_kept_and_makes_room_for_the_next() -> None:
    a, b = awake("a", limit=2), awake("b", "n2", limit=2, last_used=NOW - 300)
    new = asking("new", limit=2)
    assert going(a, b, new) == ["a", "b"]
    assert leaving(a, b, new) == ["b"]
    ending = replace(b, granted=False, wanted=False)
    assert going(a, ending, new) == ["a"]
    assert leaving(a, ending, new) == []
    assert going(a, new) == ["a", "new"]
    other = asking("other", profile="large", asked=NOW)
    assert "other" in going(a, b, new, other), "who is not held up by the limit goes on"


def test_what_a_waiting_model_is_told() -> None:
    holder = awake("a", traffic=traffic(1), ready_at=NOW - 4, start_seconds=2.0)
    first, second = homeless("b", asked=NOW - 5, start_seconds=2.0), asking("c", asked=NOW - 4)
    told = turns(holder, first, second)
    place = told["b"].place
    assert place is not None
    assert (place.position, place.of, place.holder, place.seconds) == (1, 2, ("ns", "a"), 10)
    assert place.why == "ns/a holds it"
    place = told["c"].place
    assert place is not None
    assert (place.position, place.of, place.seconds) == (2, 2, 20)
    assert told["a"].full
    assert told["a"].place is None
    alone = turns(homeless("b"))["b"]
    assert alone.place is None, "nobody of ours has a device: the scheduler's words say more"
    kept = turns(awake("a", kept=True), homeless("b"))["b"].place
    assert kept is not None
    assert kept.seconds is None
    assert "keep_alive" in kept.why


def test_rounded_seconds_are_coarse_and_never_less() -> None:
    for seconds in range(3000):
        assert rounded(seconds) >= seconds
    assert rounded(0) == 5
    assert rounded(5000) == 3600


CONTENDERS = st.builds(
    Contender,
    key=st.tuples(st.just("ns"), st.sampled_from("abcdefgh")),
    profile=st.sampled_from(["p", "q"]),
    resource=st.just("gpu"),
    count=st.integers(1, 2),
    limit=st.sampled_from([None, 1, 2]),
    wanted=st.booleans(),
    granted=st.booleans(),
    asked=st.one_of(st.none(), st.floats(NOW - 100, NOW)),
    nodes=st.dictionaries(st.sampled_from(["n1", "n2"]), st.integers(1, 2), max_size=1),
    pods=st.integers(0, 2),
    homeless=st.booleans(),
    ready_at=st.one_of(st.none(), st.floats(NOW - 100, NOW)),
    kept=st.booleans(),
    traffic=st.one_of(
        st.none(),
        st.builds(Traffic, st.floats(NOW - 9, NOW), st.integers(0, 2), st.integers(0, 2), st.floats(0, 60)),
    ),
    last_used=st.floats(NOW - 100, NOW),
    leaving=st.one_of(st.none(), st.floats(NOW - 100, NOW)),
    start_seconds=st.one_of(st.none(), st.floats(0, 50)),
)


def sane(c: Contender) -> Contender:
    """Without pods there are no nodes and no readiness; a pod with a node is not homeless."""
    if not c.pods:
        c = replace(c, nodes={}, ready_at=None)
    homeless = c.homeless and c.granted and c.pods > 0 and not c.nodes
    return replace(
        c, homeless=homeless, leaving=c.leaving if c.granted else None, ready_at=c.ready_at if c.nodes else None
    )


@given(st.lists(CONTENDERS, max_size=8, unique_by=lambda c: c.key), st.randoms(use_true_random=False))
def test_rules_of_every_pool(pool: list[Contender], shuffled: random.Random) -> None:
    pool = [sane(c) for c in pool]
    found = decide(pool, NOW, STAY)
    mixed = list(pool)
    shuffled.shuffle(mixed)
    assert decide(mixed, NOW, STAY) == found, "two looks never disagree"
    assert set(found) == {c.key for c in pool}
    fresh = [c for c in pool if found[c.key].go and not c.granted]
    placing = [c for c in pool if c.granted and c.wanted and not c.nodes]
    assert len(fresh) <= 1, "all are rivals here: one at a time"
    assert not (fresh and placing)
    for c in pool:
        turn = found[c.key]
        if turn.leaving:
            assert c.granted
            assert not c.kept
            assert c.ready_at is not None
            assert turn.successor is not None
        if c.granted and not turn.go:
            assert c.leaving is not None
            assert c.traffic is not None
            assert c.traffic.in_flight == 0
        if c in fresh:
            assert c.wanted
            awake = sum((o.granted or o.pods > 0) for o in pool if o.profile == c.profile and o is not c)
            assert c.limit is None or awake < c.limit
    assert set(to_do(pool, found)) <= set(found)
