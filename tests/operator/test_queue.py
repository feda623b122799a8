"""The work queue's rules, on a clock turned by hand."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_operator.queue import BACKOFF_CAP, FAILURES_IN_TURN, Key, Level, WorkQueue, work

A, B, C = Key("ns", "a"), Key("ns", "b"), Key("ns", "c")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock)


def drain(queue: WorkQueue) -> list[Key]:
    found = []
    while (key := queue.take()) is not None:
        found.append(key)
    return found


def test_a_key_waits_once_however_often_it_is_added(queue: WorkQueue) -> None:
    for _ in range(3):
        queue.add(A)
        queue.add(B, Level.LATER)
    assert drain(queue) == [A, B]


def test_what_is_urgent_overtakes_what_came_first(queue: WorkQueue) -> None:
    queue.add(A, Level.LATER)
    queue.add(B, Level.LATER)
    queue.add(C)
    queue.add(B)
    assert drain(queue) == [C, B, A]


def test_a_wake_overtakes_changes_and_both_overtake_first_lists(queue: WorkQueue) -> None:
    queue.add(A, Level.LATER)
    queue.add(B, Level.SOON)
    queue.add(C, Level.WAKE)
    assert drain(queue) == [C, B, A]
    queue.done(A)
    queue.add(A, Level.SOON)
    queue.add(A, Level.WAKE)
    assert queue.take() == A


def test_there_is_always_a_worker_for_a_wake_and_another_for_a_change(clock: Clock) -> None:
    queue = WorkQueue(clock, workers=6)
    keys = [Key("ns", str(number)) for number in range(9)]
    for key in keys[:4]:
        queue.add(key, Level.LATER)
    assert drain(queue) == keys[:2], "two of six may look at first lists"
    for key in (keys[7], keys[4], keys[5]):
        queue.add(key, Level.SOON)
    assert drain(queue) == [keys[7], keys[4]], "four of six may look at anything but wakes"
    queue.add(keys[6], Level.WAKE)
    assert drain(queue) == [keys[6]]
    for key in (keys[0], keys[7]):
        queue.done(key)
    assert queue.take() is None, "half as much is done beside a wake"
    queue.done(keys[6])
    assert queue.take() == keys[5], "a change goes before the next first list"
    for key in (keys[1], keys[4], keys[5]):
        queue.done(key)
    assert drain(queue) == keys[2:4]


def test_a_burst_of_events_is_one_look_and_a_wake_waits_for_none(clock: Clock) -> None:
    queue = WorkQueue(clock, spacing=0.1)
    queue.add_soon(A)
    assert queue.take() == A, "the first event at once"
    queue.add_soon(A)
    clock.now += 0.01
    queue.done(A)
    queue.add_soon(A)
    assert queue.take() is None
    assert queue.next_due() == pytest.approx(0.09)
    queue.add(A, Level.WAKE)
    assert queue.take() == A, "a wake goes at once"
    queue.done(A)
    for _ in range(5):
        queue.add_soon(A)
        clock.now += 0.01
    assert queue.take() is None
    clock.now += 0.06
    assert drain(queue) == [A], "one look for all of them"
    queue.done(A)
    clock.now += 1
    queue.add_soon(A)
    assert queue.take() == A, "and the next one at once again"


def test_one_worker_does_everything_in_turn(clock: Clock) -> None:
    queue = WorkQueue(clock, workers=1)
    queue.add(A, Level.LATER)
    queue.add(B, Level.WAKE)
    assert queue.take() == B
    queue.done(B)
    assert queue.take() == A


def test_what_fails_again_and_again_goes_behind_all_others(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A, Level.WAKE)
    for failure in range(1, 6):
        assert queue.take() == A
        clock.now += queue.failed(A)
        queue.add(B, Level.SOON)
        first = queue.take()
        assert first == (A if failure < FAILURES_IN_TURN else B), f"after {failure} failures"
        queue.done(B)
        if first == A:
            queue.failed(A)
            break
    queue.add(A, Level.WAKE)  # an event ends that
    assert queue.take() == A


def test_a_look_knows_when_it_was_asked_for_last_and_who_waits_beside_it(queue: WorkQueue) -> None:
    for key in (A, B, C):
        queue.add(key, Level.LATER)
    queue.add(Key("ns", "urgent"))
    assert queue.take() == Key("ns", "urgent")
    assert queue.take() == A
    assert queue.beside(A, 5) == [B, C]
    assert queue.beside(A, 1) == [B]
    assert queue.take() == B
    assert queue.beside(A, 5) == [B, C], "one in work beside it, too"
    assert queue.beside(Key("ns", "urgent"), 5) == []
    moment = queue.moment()
    assert queue.asked(A) < moment
    queue.add(A)
    assert queue.asked(A) > moment, "asked for again while in work"
    queue.add(C)
    assert queue.beside(A, 5) == [B], "C has become urgent"


def test_a_wake_is_looked_at_alone_however_many_wait(queue: WorkQueue) -> None:
    for key in (A, B, C):
        queue.add(key, Level.WAKE)
    assert queue.take() == A
    assert queue.beside(A, 5) == []


def test_a_key_in_work_is_not_handed_out_again_but_run_once_more_if_added_meanwhile(queue: WorkQueue) -> None:
    queue.add(A)
    assert queue.take() == A
    queue.add(A)
    queue.add(A)
    assert queue.take() is None
    queue.done(A)
    assert drain(queue) == [A]


def test_a_delayed_key_comes_when_it_is_due(queue: WorkQueue, clock: Clock) -> None:
    queue.add_after(A, 10)
    assert queue.take() is None
    assert queue.next_due() == 10
    clock.now += 10
    assert queue.take() == A
    queue.done(A)
    assert queue.next_due() is None


def test_the_earlier_of_two_delays_counts(queue: WorkQueue, clock: Clock) -> None:
    queue.add_after(A, 10)
    queue.add_after(A, 20)
    queue.add_after(A, 5)
    clock.now += 5
    assert drain(queue) == [A]
    queue.done(A)
    clock.now += 100
    assert queue.take() is None


def test_an_event_ends_a_delay(queue: WorkQueue, clock: Clock) -> None:
    queue.add_after(A, 10)
    queue.add(A)
    assert queue.take() == A
    queue.done(A)
    clock.now += 100
    assert queue.take() is None


def test_failures_back_off_and_a_success_ends_that(queue: WorkQueue, clock: Clock) -> None:
    delays = []
    for _ in range(12):
        queue.add(A)
        assert queue.take() == A
        delays.append(queue.failed(A))
    assert delays == sorted(delays)
    assert delays[0] == pytest.approx(0.2)
    assert delays[-1] == BACKOFF_CAP
    queue.add(A)
    queue.take()
    queue.done(A)
    queue.add(A)
    queue.take()
    assert queue.failed(A) == pytest.approx(0.2)


def test_a_new_event_by_passes_the_back_off(queue: WorkQueue) -> None:
    queue.add(A)
    queue.take()
    queue.failed(A, retry_after=1000)
    assert queue.take() is None
    queue.add(A)
    assert queue.take() == A


def test_an_event_during_a_failing_look_is_not_made_to_wait(queue: WorkQueue) -> None:
    queue.add(A)
    queue.take()
    queue.add(A)
    queue.failed(A)
    assert queue.take() == A


def test_the_api_servers_own_delay_is_obeyed(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A)
    queue.take()
    assert queue.failed(A, retry_after=7) == 7
    clock.now += 6.9
    assert queue.take() is None
    clock.now += 0.2
    assert queue.take() == A


def test_ages_are_told(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A)
    queue.add(B)
    queue.take()
    clock.now += 3
    assert queue.depth() == 1
    assert queue.oldest_waiting() == 3
    assert queue.oldest_running() == 3
    queue.done(A)
    assert queue.oldest_running() == 0


def test_a_forgotten_key_has_no_delay_left(queue: WorkQueue, clock: Clock) -> None:
    queue.add_after(A, 1)
    queue.forget(A)
    clock.now += 2
    assert queue.take() is None


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["add", "later", "after", "take", "done", "fail", "time"]), st.sampled_from([A, B, C])),
    max_size=60,
)


@given(OPERATIONS)
def test_nothing_added_is_ever_lost_and_no_key_runs_twice_at_once(operations: list[tuple[str, Key]]) -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    owed: set[Key] = set()
    running: set[Key] = set()
    for name, key in operations:
        if name in ("add", "later"):
            queue.add(key, Level.SOON if name == "add" else Level.LATER)
            owed.add(key)
        elif name == "after":
            queue.add_after(key, 5)
        elif name == "take":
            got = queue.take()
            if got is not None:
                assert got not in running
                running.add(got)
                owed.discard(got)
        elif name == "time":
            clock.now += 6
        elif key in running:
            running.discard(key)
            if name == "done":
                queue.done(key)
            else:
                queue.failed(key)
    for key in running:
        queue.done(key)
    left = drain(queue)
    assert owed <= set(left)
    assert len(left) == len(set(left))


async def test_a_closed_queue_lets_what_is_under_way_finish_and_ends_its_workers() -> None:
    queue = WorkQueue()
    begun, go_on, seen = asyncio.Event(), asyncio.Event(), list[Key]()

    async def look(key: Key) -> None:
        begun.set()
        await go_on.wait()
        seen.append(key)
        queue.done(key)

    workers = [asyncio.create_task(work(queue, look)) for _ in range(3)]
    queue.add(A)
    async with asyncio.timeout(60):
        await begun.wait()
        queue.close()
        queue.add(B)
        go_on.set()
        await asyncio.gather(*workers)
    assert seen == [A]
    assert queue.take() is None


async def test_workers_wait_for_keys_and_for_delays() -> None:
    queue = WorkQueue()
    seen: list[Key] = []
    enough = asyncio.Event()

    async def look(key: Key) -> None:
        seen.append(key)
        queue.done(key)
        if len(seen) == 3:
            enough.set()

    tasks = [asyncio.create_task(work(queue, look)) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add_after(C, 0.05)
    queue.add(A)
    queue.add(B)
    async with asyncio.timeout(60):
        await enough.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert seen == [A, B, C]
