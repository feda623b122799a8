"""Candidates, a Lease and a clock that only tests turn: never two that may write, and soon one that may."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as thoroughness
from hypothesis import strategies as st

from dormouse_operator.election import LostLeadershipError
from dormouse_operator.errors import NotLeading
from dormouse_operator.settings import Settings, SettingsError
from tests.operator.electorate import TERMS, Operator, Server, Time

Object = dict[str, Any]


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def server() -> Server:
    return Server()


async def end(*operators: Operator) -> None:
    for operator in operators:
        await operator.kill()


async def test_the_first_leads_and_the_second_stands_by(server: Server, time: Time) -> None:
    a = Operator(server, time, "a")
    await time.go(0)
    b = Operator(server, time, "b")
    await time.go(120)
    assert (a.may_write(), b.may_write()) == (True, False)
    assert server.holder == a.election.me
    assert (b.election.leader, b.election.informed) == (a.election.me, True)
    with pytest.raises(NotLeading):
        b.fence.check()
    await end(a, b)


async def test_of_two_that_come_at_once_one_leads(server: Server, time: Time) -> None:
    many = [Operator(server, time, name) for name in "abcde"]
    await time.go(5)
    assert sum(each.may_write() for each in many) == 1
    await end(*many)


async def test_a_clean_end_hands_over_within_a_glance(server: Server, time: Time) -> None:
    a, b = Operator(server, time, "a"), Operator(server, time, "b")
    await time.go(30)
    leader, standby = (a, b) if a.may_write() else (b, a)
    leader.task.cancel()
    await leader.election.release()
    assert server.holder == ""
    assert not leader.may_write()
    await time.go(TERMS.glance)
    assert standby.may_write()
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 2
    await end(a, b)


async def test_a_killed_leader_is_followed_when_its_promise_is_over(server: Server, time: Time) -> None:
    a, b = Operator(server, time, "a"), Operator(server, time, "b")
    await time.go(30)
    leader, standby = (a, b) if a.may_write() else (b, a)
    await leader.kill()
    await time.go(TERMS.lease - TERMS.beat - 1)
    assert not standby.may_write()
    await time.go(TERMS.beat + 2)
    assert standby.may_write()
    await end(a, b)


async def test_a_frozen_leader_writes_no_more_and_ends_when_it_wakes(server: Server, time: Time) -> None:
    a, b = Operator(server, time, "a"), Operator(server, time, "b")
    await time.go(30)
    leader, standby = (a, b) if a.may_write() else (b, a)
    leader.thawed.clear()
    await time.go(TERMS.deadline)
    assert not leader.may_write(), "frozen or not"
    await time.go(60)
    assert standby.may_write()
    leader.thawed.set()
    await time.go(1)
    with pytest.raises(LostLeadershipError):
        await leader.task
    assert not leader.may_write()
    assert standby.may_write()
    await end(b)


async def test_a_leader_without_an_api_server_tries_until_its_deadline(server: Server, time: Time) -> None:
    a = Operator(server, time, "a")
    await time.go(20)
    server.away = True
    await time.go(TERMS.deadline - TERMS.beat - 0.5)
    server.away = False
    await time.go(60)
    assert a.may_write(), "it came back in time"
    server.away = True
    await time.go(TERMS.deadline + 1)
    with pytest.raises(LostLeadershipError, match="was not renewed for 10 s"):
        await a.task
    assert not a.may_write()


async def test_a_lease_deleted_by_hand_is_made_again_by_its_holder(server: Server, time: Time) -> None:
    a, b = Operator(server, time, "a"), Operator(server, time, "b")
    await time.go(30)
    holder = server.holder
    server.lease = None
    await time.go(30)
    assert server.holder == holder
    assert a.may_write() != b.may_write()
    await end(a, b)


async def test_who_took_the_lease_by_hand_ends_the_leader(server: Server, time: Time) -> None:
    a = Operator(server, time, "a")
    await time.go(10)
    assert server.lease is not None
    server.store(server.lease | {"spec": {"holderIdentity": "admin", "leaseDurationSeconds": 60}})
    await time.go(TERMS.beat + 1)
    with pytest.raises(LostLeadershipError, match="admin holds"):
        await a.task


async def test_two_installations_on_one_lease_are_told_so(
    server: Server, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    a = Operator(server, time, "a", serves="x")
    await time.go(1)
    b = Operator(server, time, "b", serves="y")
    await time.go(60)
    said = [record.message for record in caplog.records if "DORMOUSE_ELECTION_LEASE" in record.message]
    assert len(said) == 1, "once, not with every look"
    assert "serves x and this operator is told to serve y" in said[0]
    await end(a, b)


STEPS = st.lists(
    st.tuples(st.sampled_from(["freeze", "kill", "leave", "away", "cut", "wait"]), st.integers(0, 2)), max_size=14
)


@thoroughness(max_examples=150, deadline=None)
@given(STEPS, st.lists(st.floats(0.1, 25), min_size=14, max_size=14))
async def test_whatever_happens_never_two_may_write_and_at_last_one_does(
    steps: list[tuple[str, int]], pauses: list[float]
) -> None:
    time, server = Time(), Server()
    operators = [Operator(server, time, name) for name in "abc"]
    overlaps: list[float] = []

    def watch() -> None:
        if sum(operator.may_write() for operator in operators) > 1:
            overlaps.append(time.now)

    time.each = watch
    for (step, number), pause in zip(steps, pauses, strict=False):
        await _happen(operators, server, time, step, number)
        await time.go(pause)
        operators[:] = [await operator.again() for operator in operators]
    server.away = False
    for operator in operators:
        operator.cut = False
        operator.thawed.set()
    await time.go(1)
    operators[:] = [await operator.again() for operator in operators]
    await time.go(2 * TERMS.lease + 2)
    assert sum(operator.may_write() for operator in operators) == 1
    assert overlaps == []
    await end(*operators)


async def _happen(operators: list[Operator], server: Server, time: Time, step: str, number: int) -> None:
    operator = operators[number]
    if step == "freeze":
        (operator.thawed.clear if operator.thawed.is_set() else operator.thawed.set)()
    elif step == "kill":
        await operator.kill()
        operators[number] = Operator(server, time, operator.name)
    elif step == "leave" and operator.thawed.is_set():
        operator.task.cancel()
        if not operator.cut and not server.away:
            await operator.election.release()
        await operator.kill()
        operators[number] = Operator(server, time, operator.name)
    elif step == "away":
        server.away = not server.away
    elif step == "cut":
        operator.cut = not operator.cut


@pytest.mark.parametrize("text", ["operator", "/operator", "system/", "a/b/c"])
def test_a_lease_without_a_namespace_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"DORMOUSE_ELECTION_LEASE is .* namespace/name"):
        Settings.from_environment({"DORMOUSE_PULLER_IMAGE": "p", "DORMOUSE_ELECTION_LEASE": text})


def test_the_election_is_on_where_a_lease_is_named() -> None:
    env = {"DORMOUSE_PULLER_IMAGE": "p"}
    assert Settings.from_environment(env).election is None
    made = Settings.from_environment(
        env | {"DORMOUSE_ELECTION_LEASE": "system/operator", "DORMOUSE_ELECTION_SECONDS": "6"}
    )
    assert (made.election, made.election_seconds) == (("system", "operator"), 6)
