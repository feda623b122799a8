"""The work queue's rules, on a clock turned by hand."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_operator.queue import BACKOFF_CAP, Key, Level, WorkQueue, work

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
    async with asyncio.timeout(5):
        await enough.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert seen == [A, B, C]
