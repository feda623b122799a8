"""What workers foretell of batches."""

import pytest

from dormouse_router.batch.forecast import MEASURED, Forecast, Pace, Unended, forecast


def of(ident: str, left: int, ends: float = 1e9, done: int = 0) -> Unended:
    return Unended(ident, "in_progress", ends, left, done)


@pytest.mark.parametrize(
    ("batches", "pace", "told"),
    [
        ([], None, Forecast(None, 0)),
        ([], 0.0, Forecast(0.0, 0)),
        ([of("a", 100)], None, Forecast(None, 0)),
        ([of("a", 100)], 2.0, Forecast(50.0, 0)),
        ([of("a", 100, 1049.0)], 2.0, Forecast(50.0, 1)),
        ([of("a", 100, 1051.0)], 2.0, Forecast(50.0, 0)),
        ([of("a", 100, 1051.0), of("b", 10, 1054.0)], 2.0, Forecast(55.0, 1)),
        ([of("a", 0, 1.0), of("b", 10)], 2.0, Forecast(5.0, 0)),
        ([of("a", 10), of("b", 10)], 0.0, Forecast(None, 2)),
    ],
)
def test_forecasts(batches: list[Unended], pace: float | None, told: Forecast) -> None:
    assert forecast(1000.0, batches, pace) == told


def test_the_pace_is_of_the_last_minutes_and_of_all_batches() -> None:
    pace = Pace()
    assert pace.told(0.0, [of("a", 90, done=10)]) is None
    assert pace.told(10.0, [of("a", 80, done=20)]) is None
    assert pace.told(50.0, [of("a", 60, done=40), of("b", 10, done=20)]) == pytest.approx((30 + 20) / 50)
    assert pace.told(100.0, [of("b", 0, done=30)]) == pytest.approx((50 + 10) / 100)
    for at in range(150, 1000, 50):
        last = pace.told(float(at), [of("b", 0, done=30)])
    assert last == 0.0
    assert pace.told(1000.0 + MEASURED, []) == 0.0
