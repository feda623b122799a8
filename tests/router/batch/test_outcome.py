"""What an answer means to a line."""

import pytest

from dormouse_router.batch import outcome
from dormouse_router.batch.outcome import Answer, Kind, Tries, judge, pause


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(200, b"{}"), Kind.ANSWERED),
        (Answer(400, b"{}"), Kind.FAILED),
        (Answer(401, b"{}"), Kind.FAILED),
        (Answer(403, b"{}"), Kind.FAILED),
        (Answer(403, b"{}", code=outcome.NOT_TRUSTED), Kind.STRANGER),
        (Answer(404, b"{}"), Kind.FAILED),
        (Answer(404, b"{}", code=outcome.MODEL_UNKNOWN), Kind.ASLEEP),
        (Answer(408, b"{}"), Kind.BUSY),
        (Answer(413, b"{}"), Kind.FAILED),
        (Answer(422, b"{}"), Kind.FAILED),
        (Answer(429, b"{}"), Kind.BUSY),
        (Answer(500, b"{}"), Kind.FAULT),
        (Answer(501, b"{}"), Kind.FAILED),
        (Answer(502, b"{}"), Kind.LOST),
        (Answer(503, b"{}"), Kind.ASLEEP),
        (Answer(503, b"{}", should_retry=True), Kind.ASLEEP),
        (Answer(503, b"{}", should_retry=False), Kind.FAILED),
        (Answer(504, b"{}"), Kind.FAULT),
        (Answer(520, b"{}"), Kind.BUSY),
        (Answer(0, b"connection refused"), Kind.LOST),
    ],
)
def test_kinds(answer: Answer, kind: Kind) -> None:
    assert judge(answer, Tries()) is kind


@pytest.mark.parametrize(
    ("answer", "attempts"),
    [
        (Answer(500, b"{}"), outcome.MOST_FAULTS),
        (Answer(504, b"{}"), outcome.MOST_FAULTS),
        (Answer(502, b"{}"), outcome.MOST_LOST),
        (Answer(404, b"{}", code=outcome.MODEL_UNKNOWN), outcome.MOST_UNKNOWN),
    ],
)
def test_what_a_line_may_be_the_cause_of_ends(answer: Answer, attempts: int) -> None:
    tries = Tries()
    kinds = [judge(answer, tries) for _ in range(attempts)]
    assert kinds[-1] is Kind.FAILED
    assert Kind.FAILED not in kinds[:-1]


@pytest.mark.parametrize("answer", [Answer(0, b""), Answer(429, b""), Answer(503, b"")])
def test_what_it_cannot_be_the_cause_of_goes_on(answer: Answer) -> None:
    tries = Tries()
    assert {judge(answer, tries) for _ in range(10_000)} == {judge(answer, Tries())}


def test_pauses_double_and_are_bounded() -> None:
    pauses = [pause(Answer(503, b""), failures, chance=1.0) for failures in range(1, 2000)]
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(pauses) == outcome.LONGEST_PAUSE
    assert pause(Answer(503, b""), 3, chance=0.0) == 1.0


def test_a_router_that_looks_up_the_workers_name_is_asked_soon() -> None:
    assert pause(Answer(503, b"", code=outcome.NOT_TRUSTED, retry_after=5.0), 1, chance=1.0) == outcome.FIRST_PAUSE


@pytest.mark.parametrize(("asked", "waits"), [(0.0, 0.5), (7.0, 7.0), (86400.0, outcome.LONGEST_ASKED)])
def test_retry_after_is_obeyed_within_bounds(asked: float, waits: float) -> None:
    assert pause(Answer(429, b"", retry_after=asked), 9) == waits
