"""What learning makes of simulated habits: wakes saved within the budget, and little spent where there is no habit."""

import pytest

from bench.prewarm import TRACES, World, arrivals, world

COLD, IDLE, WEEKS = 60.0, 300, 5


def simulated(trace: str, **scaling: object) -> World:
    return world(COLD, IDLE, **scaling).run(arrivals(TRACES[trace], WEEKS, seed=1))


@pytest.mark.parametrize(("trace", "budget", "least"), [("mornings", 60, 0.35), ("office", 120, 0.2)])
def test_a_habit_is_learnt_and_the_budget_holds_every_day(trace: str, budget: int, least: float) -> None:
    alone = simulated(trace)
    learnt = simulated(trace, learn={"budgetMinutesPerDay": budget})
    assert learnt.hits <= alone.hits * (1 - least)
    assert max(learnt.spent.values()) <= (budget + 1) * 60, "a minute for a start that began before midnight"
    told = learnt.model.status.prewarm
    assert told is not None
    assert told.starts == told.used + told.unused + (told.current is not None)
    assert told.used <= alone.hits


def test_where_there_is_no_habit_most_of_the_budget_stays_unspent() -> None:
    learnt = simulated("no habit", learn={"budgetMinutesPerDay": 120})
    assert sum(learnt.spent.values()) / 60 <= 0.3 * 120 * WEEKS * 7


def test_a_schedule_of_the_right_hours_saves_nearly_every_wake() -> None:
    alone = simulated("office")
    planned = simulated("office", schedules=[{"cron": "0 8 * * 1-5", "durationSeconds": 36000}])
    assert planned.hits <= 0.05 * alone.hits
