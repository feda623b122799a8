"""When a Lease is written and what is written: tables for the decision, injected clocks and faults for the keeper."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dormouse_api.lease import FOREVER, Wish
from dormouse_router.cluster import ClusterError
from dormouse_router.dataplane import lease
from dormouse_router.dataplane.lane import Lane
from dormouse_router.dataplane.lease import Around, LeaseKeeper, Traffic, next_write, wanted, working
from tests.router.fakes import FakeCluster, until

NOW = 1_000_000.0
BUSY = Traffic(busy=True, idle_since=0.0, linger=300.0)


def idle(ago: float, linger: float | None = 300.0, last_write: float = 0.0) -> Traffic:
    return Traffic(False, NOW - ago, linger, last_write)


@pytest.mark.parametrize(
    ("traffic", "known", "due"),
    [
        (BUSY, None, 0),  # nothing known: at once
        (BUSY, Wish(NOW, 30), 10),  # a third of the wish has gone
        (BUSY, Wish(NOW - 9, 30), 1),
        (BUSY, Wish(NOW - 12, 30), 0),
        (BUSY, Wish(NOW - 100, 30), 0),  # expired
        (BUSY, Wish(NOW, 300), 280),  # somebody wished for longer
        (BUSY, Wish(NOW, FOREVER), FOREVER - 20),
        (Traffic(True, 0.0, 6.0), Wish(NOW, 6), 2),  # a short idleSeconds renews more often
        (idle(0), Wish(NOW, 30), 0),  # the last word
        (idle(0, last_write=NOW - 2), Wish(NOW - 2, 30), 3),  # but not right after another write
        (idle(0, last_write=NOW - 2), Wish(NOW - 28, 30), 1),  # unless the lease would end before
        (idle(0, 10.0), Wish(NOW, 30), None),  # it lasts longer than asked: a shorter wish never overwrites
        (idle(100), Wish(NOW - 100, 400), None),  # said already
        (idle(0, None), Wish(NOW, 30), 0),
        (idle(0), None, None),
    ],
)
def test_when_the_lease_is_next_written(traffic: Traffic, known: Wish | None, due: float | None) -> None:
    assert next_write(NOW, traffic, known) == (None if due is None else pytest.approx(NOW + due))


@pytest.mark.parametrize(
    ("traffic", "ends"),
    [
        (BUSY, 30),
        (Traffic(True, 0.0, 10.0), 10),
        (Traffic(True, 0.0, 1.0), 6),
        (Traffic(True, 0.0, None), 30),
        (idle(0), 300),
        (idle(2), 298),
        (idle(2.25), 297.75),
        (idle(0, 0.5), 1),
    ],
)
def test_what_is_wished(traffic: Traffic, ends: float) -> None:
    wish = wanted(NOW, traffic)
    assert wish.ends == pytest.approx(NOW + ends, abs=0.51)
    assert wish.renewed <= NOW
    assert wish.duration >= 1


def test_for_ever_is_what_the_api_server_can_hold() -> None:
    assert wanted(NOW, idle(0, None)).duration == FOREVER


def test_the_wish_while_calls_run_is_short_but_not_too_short() -> None:
    assert [working(seconds) for seconds in (1.0, 6.0, 20.0, 300.0, None)] == [6.0, 6.0, 20.0, 30.0, 30.0]


class Clock:
    """Time that passes when a test says so, for the keeper's wall and monotonic clock alike."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Bench:
    """A keeper, its lane, its cluster, and time."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.cluster.leases["default", "tiny-runtime"] = (1, {})
        self.clock = Clock()
        self.lane = Lane(("default", "tiny"))
        self.idle_seconds: float | None = 300.0
        self.written = 0
        around = Around(self.cluster, "me", self.clock, self.clock, self._wrote)
        self.keeper = LeaseKeeper(around, self.lane, lambda: self.idle_seconds)

    def _wrote(self) -> None:
        self.written += 1

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.keeper.poke()

    @property
    def ends(self) -> float:
        """When the lease ends, in seconds from NOW."""
        wish = self.cluster.wish()
        assert wish is not None
        return wish.ends - NOW

    async def writes(self, count: int) -> None:
        await until(lambda: len(self.cluster.writes) >= count)
        await settled()
        assert len(self.cluster.writes) == count


async def settled() -> None:
    """Let every task that can run, run."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def bench(monkeypatch: pytest.MonkeyPatch | None = None) -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.idle_seconds = None
    await made.keeper.close()


@pytest.fixture
async def kept(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(lease, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(lease, "LONGEST_PAUSE", 0.004)
    async with bench() as made:
        yield made


async def test_a_wake_writes_once_and_renews_at_a_third(kept: Bench) -> None:
    kept.lane.in_flight = 1
    kept.keeper.refresh()
    await kept.writes(1)
    assert kept.ends == 30
    kept.pass_time(9)
    await settled()
    assert len(kept.cluster.writes) == 1
    kept.pass_time(1)
    await kept.writes(2)
    assert kept.ends == 40
    assert kept.cluster.reads == 1  # the version of the last write is good for the next
    assert kept.written == 2


async def test_the_last_call_writes_the_last_word_and_the_keeper_rests(kept: Bench) -> None:
    kept.lane.in_flight = 1
    kept.keeper.refresh()
    await kept.writes(1)
    kept.lane.in_flight = 0
    kept.clock.now += 7
    kept.lane.idle_since = kept.clock.now
    kept.keeper.poke()
    await kept.writes(2)
    assert kept.ends == 307
    await until(lambda: not kept.keeper.running)


async def test_calls_one_after_the_other_do_not_each_write(kept: Bench) -> None:
    for _ in range(100):
        kept.lane.in_flight = 1
        kept.keeper.start()
        await settled()
        kept.lane.in_flight = 0
        kept.clock.now += 0.1
        kept.lane.idle_since = kept.clock.now
    await settled()
    assert len(kept.cluster.writes) <= 3


async def test_a_later_end_of_another_router_stands(kept: Bench) -> None:
    kept.cluster.steal(Wish(NOW, 5000))
    kept.lane.in_flight = 1
    kept.keeper.refresh()
    await until(lambda: kept.cluster.reads == 1)
    kept.lane.in_flight = 0
    kept.lane.idle_since = kept.clock.now
    kept.keeper.poke()
    await until(lambda: not kept.keeper.running)
    assert kept.cluster.writes == []
    assert kept.keeper.ends == NOW + 5000


async def test_a_conflict_is_read_again(kept: Bench) -> None:
    kept.lane.in_flight = 1
    kept.keeper.refresh()
    await kept.writes(1)
    kept.cluster.steal(Wish(NOW, 31))
    kept.pass_time(11)
    await kept.writes(2)
    assert kept.ends == 41
    assert kept.cluster.reads == 2


async def test_a_wake_trusts_no_memory(kept: Bench) -> None:
    """Another router ended the lease since: the wish we remember is not there any more."""
    kept.lane.in_flight = 1
    kept.keeper.refresh()
    await kept.writes(1)
    kept.cluster.steal(Wish(NOW - 10, 1))
    kept.keeper.refresh()
    await kept.writes(2)
    assert kept.ends == 30


@pytest.mark.parametrize("fault", [(0, "refused"), (403, "role not found"), (404, "not found"), (409, "x"), (500, "x")])
async def test_every_failure_is_tried_again_while_the_model_is_wanted(kept: Bench, fault: tuple[int, str]) -> None:
    kept.cluster.faults = [ClusterError(*fault) for _ in range(5)]
    kept.lane.in_flight = 1
    kept.keeper.refresh()
    await kept.writes(1)
    assert kept.ends == 30


async def test_nothing_is_tried_for_a_model_nobody_wants_any_more(kept: Bench) -> None:
    kept.cluster.down = ClusterError(0, "refused")
    kept.lane.in_flight = 1
    kept.keeper.refresh()
    await settled()
    kept.lane.in_flight = 0
    kept.keeper.poke()
    await until(lambda: not kept.keeper.running)
    kept.cluster.come_back()
    await settled()
    assert kept.cluster.writes == []


async def test_the_last_word_is_not_lost_in_an_outage(kept: Bench) -> None:
    kept.lane.in_flight = 1
    kept.keeper.refresh()
    await kept.writes(1)
    kept.cluster.down = ClusterError(0, "refused")
    kept.lane.in_flight = 0
    kept.clock.now += 6
    kept.lane.idle_since = kept.clock.now
    kept.keeper.poke()
    await settled()
    kept.cluster.come_back()
    await kept.writes(2)
    assert kept.ends == 306


async def test_an_unload_ends_the_lease_whatever_it_was(kept: Bench) -> None:
    kept.cluster.steal(Wish(NOW, FOREVER))
    kept.cluster.faults = [ClusterError(409, "x")]
    with pytest.raises(ClusterError):
        await kept.keeper.unload()
    kept.cluster.faults = []
    await kept.keeper.unload()
    assert kept.ends <= 0


async def test_keep_alive_of_the_latest_caller_counts(kept: Bench) -> None:
    for linger, ends in ((3600.0, 3600.0), (None, 3600.0), (-1.0, float(FOREVER))):
        kept.lane.linger = linger
        kept.lane.idle_since = kept.clock.now
        kept.keeper.start()
        await until(lambda: not kept.keeper.running)
        assert kept.ends == pytest.approx(ends, abs=20)
        kept.clock.now += lease.SPACING


async def test_a_deleted_model_is_written_for_no_more(kept: Bench) -> None:
    kept.lane.in_flight = 1
    kept.keeper.refresh()
    await kept.writes(1)
    kept.idle_seconds = None
    kept.pass_time(100)
    await until(lambda: not kept.keeper.running)
    await kept.keeper.close()
    assert len(kept.cluster.writes) == 1


def test_a_wake_is_one_until_it_ends() -> None:
    lane = Lane(("default", "tiny"))
    assert lane.wake(100.0, 10.0)
    assert not lane.wake(105.0, 10.0)
    lane.settle(None, 105.0)
    assert not lane.busy
    assert lane.wake(106.0, 10.0)
    assert lane.stats.wakes == 2
