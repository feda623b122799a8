"""Every state a batch may be in, and every wish it may meet there."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from dormouse_router.batch import lifecycle
from dormouse_router.batch.lifecycle import (
    MOST_ERRORS,
    WINDOW_SECONDS,
    Batch,
    Counts,
    LineError,
    Status,
    TransitionError,
    Usage,
)

NOW = 1_000.0
NEW = Batch("batch_1", "", "/v1/completions", "file-1", created_at=int(NOW))
Step = Callable[[Batch], Batch]


def in_state(status: Status) -> Batch:
    return replace(NEW, status=status, counts=Counts(3, 1, 1))


STEPS: dict[str, Step] = {
    "refuse": lambda batch: lifecycle.refused(batch, (LineError("empty_file", "none"),), NOW + 1),
    "accept": lambda batch: lifecycle.accepted(batch, 3, ("m",), NOW + 1),
    "answer": lambda batch: lifecycle.answered(batch, 1, 0, Usage(5, 1, 7, 2)),
    "finalize": lambda batch: lifecycle.finalizing(batch, NOW + 1),
    "cancel": lambda batch: lifecycle.cancelling(batch, NOW + 1),
    "end": lambda batch: lifecycle.ended(batch, "file-out", None, NOW + 1),
}
ALLOWED: dict[tuple[Status, str], Status] = {
    (Status.VALIDATING, "refuse"): Status.FAILED,
    (Status.VALIDATING, "accept"): Status.IN_PROGRESS,
    (Status.VALIDATING, "cancel"): Status.CANCELLING,
    (Status.IN_PROGRESS, "answer"): Status.IN_PROGRESS,
    (Status.IN_PROGRESS, "finalize"): Status.FINALIZING,
    (Status.IN_PROGRESS, "cancel"): Status.CANCELLING,
    (Status.FINALIZING, "end"): Status.EXPIRED,  # a line of the three has no answer
    (Status.FINALIZING, "cancel"): Status.CANCELLING,
    (Status.CANCELLING, "answer"): Status.CANCELLING,
    (Status.CANCELLING, "end"): Status.CANCELLED,
    (Status.CANCELLING, "cancel"): Status.CANCELLING,
    (Status.CANCELLED, "cancel"): Status.CANCELLED,
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("status", Status)
def test_each_wish_in_each_state(status: Status, step: str) -> None:
    batch = in_state(status)
    if (status, step) not in ALLOWED:
        with pytest.raises(TransitionError):
            STEPS[step](batch)
        return
    assert STEPS[step](batch).status is ALLOWED[status, step]


def test_a_life_stamps_each_moment_once() -> None:
    batch = lifecycle.accepted(NEW, 2, ("m",), NOW + 1)
    assert (batch.counts, batch.model, batch.in_progress_at) == (Counts(2), "m", 1001)
    batch = lifecycle.answered(batch, 1, 1, Usage(5, 1, 7, 2))
    batch = lifecycle.finalizing(batch, NOW + 2)
    done = lifecycle.ended(batch, "file-out", "file-err", NOW + 3)
    assert (done.status, done.counts, done.usage) == (Status.COMPLETED, Counts(2, 1, 1), Usage(5, 1, 7, 2))
    assert (done.in_progress_at, done.finalizing_at, done.completed_at) == (1001, 1002, 1003)
    assert (done.failed_at, done.expired_at, done.cancelling_at, done.cancelled_at) == (None,) * 4
    assert (done.output_file_id, done.error_file_id) == ("file-out", "file-err")


def test_a_second_cancel_does_not_move_the_first() -> None:
    asked = lifecycle.cancelling(in_state(Status.IN_PROGRESS), NOW + 1)
    assert lifecycle.cancelling(asked, NOW + 9) == asked
    with pytest.raises(TransitionError, match=r"Cannot cancel a batch with status 'completed'\."):
        lifecycle.cancelling(in_state(Status.COMPLETED), NOW)


def test_several_models_are_no_model() -> None:
    assert lifecycle.accepted(NEW, 2, ("a", "b"), NOW).model is None


@pytest.mark.parametrize("counts", [(1, 1, 1), (1, -1, 0), (0, 0, 1)])
def test_counts_always_add_up(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="are no part of"):
        Counts(*counts)


def test_of_many_errors_the_first_are_kept() -> None:
    errors = tuple(LineError("invalid_json_line", "no", line) for line in range(1, MOST_ERRORS + 50))
    assert lifecycle.refused(NEW, errors, NOW).errors == errors[:MOST_ERRORS]


@pytest.mark.parametrize("status", Status)
def test_a_window_ends_for_those_who_work(status: Status) -> None:
    batch = in_state(status)
    assert not batch.late(NOW + WINDOW_SECONDS - 1)
    works = {Status.VALIDATING, Status.IN_PROGRESS, Status.FINALIZING}
    assert batch.late(NOW + WINDOW_SECONDS) is (status in works)
