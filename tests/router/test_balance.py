"""Choosing: least in flight, and the ring and its bound. What makes a key is in `test_prefix.py`."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.catalog.catalog import Endpoint
from dormouse_router.catalog.record import record_from
from dormouse_router.dataplane import balance
from dormouse_router.dataplane.balance import Balancer, Ring, back_at, bound, pick
from dormouse_router.gateway import CHAT, EMBEDDINGS, Call
from tests.router.fakes import model

RECORD = record_from(model())
KEYS = [b"session-%d" % number for number in range(4000)]


def endpoints(*in_flight: int, avoid: tuple[int, ...] = (), closed: tuple[int, ...] = ()) -> tuple[Endpoint, ...]:
    """10.0.0.0, 10.0.0.1 ...; those in `avoid` are passed over until 5.0, or even closed."""
    made = tuple(Endpoint(f"10.0.0.{i}", 8000, in_flight=n) for i, n in enumerate(in_flight))
    for i in {*avoid, *closed}:
        made[i].avoid_until = 5.0 + i
    for i in closed:
        made[i].closed_until = 5.0 + i
    return made


def keyed(key: bytes) -> Call:
    return Call(RECORD, CHAT, b"{}", "openai", session=key)


# ------------------------------------------------------------------ least in flight


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
        (endpoints(0, avoid=(0,)), 0, 0),  # nobody else is there
        (endpoints(0, 0, avoid=(0, 1)), 1, 0),  # the one that is back first
        (endpoints(0, 0, avoid=(0,), closed=(1,)), 0, 0),
        (endpoints(0, 0, avoid=(1,), closed=(0,)), 0, 1),
        (endpoints(0, 9, closed=(0,)), 0, 1),
        (endpoints(0, closed=(0,)), 0, None),
        (endpoints(0, 0, closed=(0, 1)), 0, None),
    ],
)
def test_the_one_with_the_fewest_is_chosen(made: tuple[Endpoint, ...], turn: int, chosen: int | None) -> None:
    assert pick(made, 1.0, turn) is (None if chosen is None else made[chosen])


def test_those_that_are_closed_come_back() -> None:
    made = endpoints(0, 0, closed=(0, 1))
    assert back_at(made) == 5.0
    assert pick(made, 5.0, 1) is made[0]
    assert back_at(()) is None


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(0, 1000))
def test_nobody_with_more_is_ever_chosen(counts: list[int], turn: int) -> None:
    chosen = pick(endpoints(*counts), 1.0, turn)
    assert chosen is not None
    assert chosen.in_flight == min(counts)


def test_calls_without_a_key_take_turns() -> None:
    made, balancer = endpoints(0, 0, 0), Balancer()
    call = Call(RECORD, EMBEDDINGS, b'{"model":"tiny","input":"a"}', "openai")
    chosen = Counter(id(balancer.choose(made, call, 1.0)) for _ in range(9))
    assert sorted(chosen.values()) == [3, 3, 3]


# ------------------------------------------------------------------ the ring


def owners(made: tuple[Endpoint, ...], now: float = 1.0) -> dict[bytes, str]:
    ring = Ring(made)
    return {key: endpoint.host for key in KEYS if (endpoint := ring.pick(key, now)) is not None}


@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=12),
    st.sets(st.integers(0, 11)),
    st.binary(min_size=1, max_size=40),
)
def test_the_bound_is_never_exceeded(counts: list[int], avoided: set[int], key: bytes) -> None:
    made = endpoints(*counts, avoid=tuple(i for i in avoided if i < len(counts)))
    usable = [endpoint for endpoint in made if endpoint.avoid_until <= 1.0]
    chosen = Ring(made).pick(key, 1.0)
    if not usable:
        assert chosen is None
        return
    assert chosen in usable
    load = sum(endpoint.in_flight for endpoint in usable)
    assert chosen is not None
    assert chosen.in_flight + 1 <= bound(load, len(usable))


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_the_bound_is_a_quarter_above_the_mean_and_leaves_room(load: int, count: int) -> None:
    mean = (load + 1) / count
    assert mean * 1.25 <= bound(load, count) < mean * 1.25 + 1
    assert bound(load, count) * count > load


@given(st.lists(st.sampled_from(KEYS[:3]), min_size=1, max_size=200), st.integers(2, 9))
def test_a_crowd_of_one_session_spreads_and_stays_within_the_bound(calls: list[bytes], count: int) -> None:
    made, balancer = endpoints(*[0] * count), Balancer()
    for number, key in enumerate(calls):
        chosen = balancer.choose(made, keyed(key), 1.0)
        assert chosen is not None
        chosen.in_flight += 1
        assert chosen.in_flight <= bound(number, count)


@pytest.mark.parametrize("count", [2, 3, 5, 8, 16])
def test_keys_are_spread_evenly(count: int) -> None:
    shares = Counter(owners(endpoints(*[0] * count)).values())
    mean = len(KEYS) / count
    assert len(shares) == count
    assert max(shares.values()) < 1.35 * mean
    assert min(shares.values()) > 0.65 * mean


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_only_the_keys_of_one_that_comes_or_goes_move(count: int) -> None:
    made = endpoints(*[0] * count)
    before, after = owners(made[:-1]), owners(made)
    moved = {key for key in KEYS if before[key] != after[key]}
    assert {after[key] for key in moved} == {made[-1].host}  # coming: only to the new one; going: only from it
    assert 0.6 * len(KEYS) / count < len(moved) < 1.4 * len(KEYS) / count


def test_only_the_keys_of_one_that_is_passed_over_move_and_they_come_back() -> None:
    made = endpoints(0, 0, 0, 0)
    before = owners(made)
    made[2].avoid_until = 5.0
    during = owners(made)
    assert {key for key in KEYS if before[key] != during[key]} == {key for key in KEYS if before[key] == "10.0.0.2"}
    assert len(set(during.values())) == 3
    assert owners(made, now=5.0) == before


PROMISED = list("31120021")


def test_every_router_chooses_alike() -> None:
    """The ring is a promise between replicas, and across releases of Python: these values do not change."""
    ring = Ring(endpoints(0, 0, 0, 0))
    found = [ring.pick(b"session-%d" % number, 1.0) for number in range(8)]
    assert [endpoint.host[-1] for endpoint in found if endpoint] == PROMISED
    assert balance.place_of(b"dormouse") == 0x17DF613365D744A8


def test_who_is_over_the_bound_is_gone_round_to_the_same_next_one() -> None:
    made = endpoints(0, 0, 0)
    ring = Ring(made)
    first = ring.pick(b"a", 1.0)
    assert first is not None
    first.in_flight = 3
    second = ring.pick(b"a", 1.0)
    assert second is not None
    assert second is not first
    assert ring.pick(b"a", 1.0) is second
    first.in_flight = 0
    assert ring.pick(b"a", 1.0) is first


def test_the_ring_is_made_once_per_change_and_never_for_one_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    rings: list[int] = []
    keys: list[bytes] = []

    def noted(_path: str, body: bytes) -> bytes:
        keys.append(body)
        return body

    class Counted(Ring):
        def __init__(self, made: tuple[Endpoint, ...]) -> None:
            rings.append(len(made))
            super().__init__(made)

    monkeypatch.setattr(balance, "Ring", Counted)
    monkeypatch.setattr(balance, "prefix", noted)
    balancer, one, two, three = Balancer(), endpoints(0), endpoints(0, 0), endpoints(0, 0, 0)
    call = Call(RECORD, CHAT, b'{"messages":[{"role":"user","content":"hi"}]}', "openai")
    assert balancer.choose((), call, 1.0) is None
    for made in (one, three, three, three, one, two, two):
        assert balancer.choose(made, call, 1.0) in made
    assert rings == [0, 3, 2]  # the first is the empty one that every balancer begins with
    assert len(keys) == 5


def test_the_session_is_the_key_where_there_is_one() -> None:
    made, balancer = endpoints(0, 0, 0, 0), Balancer()
    bodies = [b'{"messages":[{"role":"user","content":"%d"}]}' % number for number in range(40)]
    alone = {id(balancer.choose(made, Call(RECORD, CHAT, body, "openai"), 1.0)) for body in bodies}
    joined = {id(balancer.choose(made, Call(RECORD, CHAT, body, "openai", session=b"s"), 1.0)) for body in bodies}
    assert len(alone) == 4
    assert len(joined) == 1
