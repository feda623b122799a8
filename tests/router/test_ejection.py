"""Passing over endpoints that fail: for how long, who is let in to look, and how all come back. Times are given."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.catalog.catalog import Endpoint
from dormouse_router.catalog.record import record_from
from dormouse_router.dataplane import health
from dormouse_router.dataplane.balance import Balancer
from dormouse_router.dataplane.health import FIRST_SECONDS, LONGEST_SECONDS, PROBE_SECONDS
from dormouse_router.gateway import CHAT, EMBEDDINGS, Call
from tests.router.fakes import model

RECORD = record_from(model())
KEYLESS = Call(RECORD, EMBEDDINGS, b"", "openai")
KEYED = Call(RECORD, CHAT, b"", "openai", session=b"s")


@dataclass
class World:
    """Endpoints, a clock that a test moves, and the calls that are out."""

    endpoints: tuple[Endpoint, ...]
    now: float = 100.0
    balancer: Balancer = field(default_factory=Balancer)

    def call(self, call: Call = KEYLESS) -> Endpoint | None:
        """A call goes out, as `Exchange` sends it."""
        endpoint = self.balancer.choose(self.endpoints, call, self.now)
        if endpoint is not None:
            endpoint.in_flight += 1
            if endpoint.failures:
                health.tried(endpoint, self.now)
        return endpoint

    def fails(self, endpoint: Endpoint) -> None:
        endpoint.in_flight -= 1
        health.failed(endpoint, self.now)

    def answers(self, endpoint: Endpoint) -> None:
        endpoint.in_flight -= 1
        if endpoint.failures:
            health.answered(endpoint)

    def called(self, count: int = 20, call: Call = KEYLESS) -> set[Endpoint | None]:
        """Where so many calls, all out at once, would go; none of them is sent."""
        return {self.balancer.choose(self.endpoints, call, self.now) for _ in range(count)}


def of(count: int) -> World:
    return World(tuple(Endpoint(f"10.0.0.{i}", 8000) for i in range(count)))


def broken(world: World, times: int = 1) -> Endpoint:
    """The first endpoint, after so many failures in a row, each at the very moment it was tried again."""
    endpoint = world.endpoints[0]
    for _ in range(times):
        world.now = max(world.now, endpoint.avoid_until)
        if endpoint.failures:
            health.tried(endpoint, world.now)
        health.failed(endpoint, world.now)
    return endpoint


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 32), (50, 32), (5000, 32)]
)
@pytest.mark.parametrize("call", [KEYLESS, KEYED])
def test_each_failure_doubles_the_pause(failures: int, seconds: float, call: Call) -> None:
    world = of(2)
    endpoint = broken(world, failures)
    began = world.now
    world.now = began + seconds - 0.01
    assert world.called(call=call) == {world.endpoints[1]}
    world.now = began + seconds
    world.endpoints[1].in_flight = 9
    assert world.called(call=call) == {endpoint}
    assert endpoint.failures == failures


@pytest.mark.parametrize("failures", [1, 2, 6, 50])
def test_the_last_one_is_never_kept_for_longer_than_the_first_pause(failures: int) -> None:
    for world in (of(1), of(2)):
        for other in world.endpoints[1:]:
            other.avoid_until = other.closed_until = 1e9
        endpoint = broken(world, failures)
        world.now += FIRST_SECONDS - 0.01
        assert world.called() == {None}
        world.now += 0.01
        assert world.called() == {endpoint}


def test_of_two_that_are_down_the_one_that_is_due_first_is_tried_first() -> None:
    world = of(2)
    broken(world, 5)
    health.failed(world.endpoints[1], world.now)
    world.now += FIRST_SECONDS
    assert world.called() == {world.endpoints[1]}


def test_the_calls_that_were_on_it_when_it_went_are_one_failure() -> None:
    world = of(2)
    out = [endpoint for endpoint in (world.call() for _ in range(40)) if endpoint is world.endpoints[0]]
    assert len(out) == 20
    for endpoint in out:
        world.fails(endpoint)
        world.now += 0.01
    assert world.endpoints[0].failures == 1
    assert world.endpoints[0].avoid_until == 100.0 + FIRST_SECONDS


def test_one_call_looks_whether_it_is_back_and_the_others_wait_for_it() -> None:
    world = of(1)
    endpoint = broken(world)
    world.now += FIRST_SECONDS
    assert world.call() is endpoint
    assert world.called() == {None}
    world.now += 0.3
    world.answers(endpoint)
    assert world.called() == {endpoint}
    assert (endpoint.failures, endpoint.in_flight) == (0, 0)


def test_a_probe_that_fails_pauses_for_longer() -> None:
    world = of(2)
    endpoint = broken(world)
    world.now += FIRST_SECONDS
    world.endpoints[1].in_flight = 9
    assert world.call() is endpoint
    assert world.called() == {world.endpoints[1]}
    world.now += 0.5
    world.fails(endpoint)
    world.now += 2 * FIRST_SECONDS - 0.01
    assert world.called() == {world.endpoints[1]}
    world.now += 0.01
    assert world.called() == {endpoint}


def test_a_probe_that_is_generating_lets_the_others_in_but_proves_nothing_yet() -> None:
    world = of(1)
    endpoint = broken(world)
    world.now += FIRST_SECONDS
    assert world.call() is endpoint
    world.now += PROBE_SECONDS - 0.01
    assert world.called() == {None}
    world.now += 0.01
    assert [world.call() for _ in range(5)] == [endpoint] * 5
    world.fails(endpoint)
    assert endpoint.failures == 2
    assert world.called() == {None}
    world.answers(endpoint)  # another of those calls: it is there after all
    assert (endpoint.failures, world.called()) == (0, {endpoint})


def test_a_probe_whose_client_leaves_keeps_nobody_out() -> None:
    world = of(1)
    endpoint = broken(world)
    world.now += FIRST_SECONDS
    assert world.call() is endpoint
    endpoint.in_flight -= 1
    world.now += PROBE_SECONDS
    assert world.called() == {endpoint}


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["call", "fail", "answer", "leave"]), st.sampled_from([0.0, 0.1, 0.7, 1.0, 3.0, 20.0])),
    max_size=80,
)


@given(ACTIONS, st.integers(1, 3))
def test_whatever_happens_nobody_is_lost_and_nobody_waits_for_long(actions: list[tuple[str, float]], size: int) -> None:
    world = of(size)
    out: list[Endpoint] = []
    for action, later in actions:
        world.now += later
        if action == "call":
            endpoint = world.call()
            if endpoint is not None:
                out.append(endpoint)
        elif out and action == "fail":
            world.fails(out.pop(0))
        elif out and action == "answer":
            world.answers(out.pop(0))
        elif out:
            out.pop().in_flight -= 1
        for endpoint in world.endpoints:
            assert endpoint.closed_until <= endpoint.avoid_until
            assert endpoint.closed_until <= world.now + max(FIRST_SECONDS, PROBE_SECONDS)
            assert endpoint.avoid_until <= world.now + LONGEST_SECONDS
            assert bool(endpoint.failures) or not endpoint.avoid_until
        if all(endpoint.failures == 0 for endpoint in world.endpoints):
            assert None not in world.called(3)
    world.now += PROBE_SECONDS
    assert None not in world.called(3)


def test_a_refusal_says_why_and_when_to_come_back() -> None:
    refusal = health.unreachable("tiny", "no connection to 10.0.0.1:8000")
    assert (refusal.status, refusal.code, refusal.retry_after) == (502, "engine_unreachable", FIRST_SECONDS)
    assert "10.0.0.1:8000" in refusal.message
