"""When a webhook is tried again: more patience for an end than for what the next message says again."""

import itertools

import pytest

from dormouse_router.webhooks.patience import LIFE, pause


def schedule(kind: str, final: bool) -> list[float]:
    made: list[float] = []
    while (seconds := pause(kind, final, len(made) + 1)) is not None:
        made.append(seconds)
    return made


@pytest.mark.parametrize(
    ("kind", "final", "tries", "hours"),
    [("output", False, 3, 0.01), ("start", False, 4, 0.05), ("completed", True, 11, 16)],
)
def test_it_ends_and_an_end_is_told_for_a_day(kind: str, final: bool, tries: int, hours: float) -> None:
    made = schedule(kind, final)
    assert len(made) == tries - 1
    total = sum(made)
    assert (total >= hours * 3600) is final
    assert total < LIFE
    assert all(later > earlier * 0.6 for earlier, later in itertools.pairwise(made))


def test_a_receiver_may_ask_for_more_time_within_reason() -> None:
    assert pause("completed", True, 1, 600.0) == 600.0
    assert pause("completed", True, 1, 1e9) == 3600.0
    first = pause("completed", True, 1, 0.0)
    assert first is not None
    assert 4.0 <= first <= 6.0
