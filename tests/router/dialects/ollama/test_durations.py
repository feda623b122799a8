"""keep_alive in every form that clients send."""

import pytest

from dormouse_router.dialects.ollama.durations import keep_alive, nanoseconds, timestamp
from dormouse_router.gateway import FOREVER
from dormouse_router.request import Refusal


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        (0, 0),
        (0.5, 0.5),
        (300, 300),
        ("0", 0),
        ("0s", 0),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        (" 10s ", 10),
        ("300", 300),
        (-1, FOREVER),
        ("-1", FOREVER),
        ("-1m", FOREVER),
        (1e12, FOREVER),
        ("999999h", FOREVER),
    ],
)
def test_forms(value: object, seconds: float | None) -> None:
    assert keep_alive(value) == seconds


@pytest.mark.parametrize("value", ["soon", "5 m", "5x", "m5", True, [], {}, "nan", "1" * 100 + "s"])
def test_nonsense_is_refused_with_the_forms(value: object) -> None:
    with pytest.raises(Refusal, match=r"invalid duration .*5m") as refused:
        keep_alive(value)
    assert refused.value.status == 400


def test_times_have_microseconds_and_durations_are_never_zero() -> None:
    assert timestamp(0.25) == "1970-01-01T00:00:00.250000Z"
    assert nanoseconds(0.0) == 1
    assert nanoseconds(1.5) == 1_500_000_000
