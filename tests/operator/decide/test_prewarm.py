"""Starts ahead of calls, in a world with a clock: when they begin and end, what they cost, and what is told of them."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dormouse_api import names
from dormouse_operator.decide import prewarm
from dormouse_operator.queue import Key
from tests.operator.bench import Bench

BERLIN = ZoneInfo("Europe/Berlin")
MORNING = {"cron": "0 8 * * *", "timeZone": "Europe/Berlin", "durationSeconds": 3600}


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


class Clock(Bench):
    """A bench whose looks come when the operator itself asked for them, and at no other time."""

    async def add(self, now: str, **scaling: Any) -> None:
        self.world.now = at(now)
        self.world.model("tiny", scaling={"idleSeconds": 300} | scaling)
        await self.settle()

    async def until(self, text: str) -> None:
        """Let time pass from one asked-for look to the next."""
        end = at(text)
        while (due := self.queue.next_due()) is not None and self.world.now + due <= end:
            self.world.now += due
            await self.settle()
        self.world.now = end

    def took(self, seconds: float) -> None:
        """The model's starts have taken so long."""
        moments = [{"stage": "requested", "atMilliseconds": 0}, {"stage": "ready", "atMilliseconds": seconds * 1000}]
        start = {"at": "2026-11-01T00:00:00Z", "seconds": seconds, "engine": "vllm", "stages": moments}
        body = self.world.objects[names.MODEL_KIND, "ns", "tiny"]
        self.world.put(names.MODEL_KIND, "ns", "tiny", status=body["status"] | {"coldStarts": [start]})

    def told(self) -> dict[str, Any]:
        return {key: value for key, value in self.status()["prewarm"].items() if key not in ("history", "current")}

    async def restart(self) -> None:
        self.start()
        await self.settle()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_window_begins_early_by_what_a_start_takes_and_ends_on_time(clock: Clock) -> None:
    await clock.add("2026-11-23T06:00", schedules=[MORNING])
    clock.took(40)
    await clock.restart()
    await clock.until("2026-11-23T07:59:19")
    assert clock.replicas() == 0
    await clock.until("2026-11-23T07:59:20")
    assert clock.replicas() == 1
    assert clock.condition() == ("True", "Serving")
    assert clock.message("Idle") == "prewarmed for 08:00 Europe/Berlin by its schedule"
    await clock.until("2026-11-23T08:59:59")
    assert clock.replicas() == 1
    await clock.until("2026-11-23T09:00:00")
    assert clock.replicas() == 0
    told = clock.told()
    assert (told["starts"], told["used"], told["unused"], told["secondsSpent"]) == (1, 0, 1, 3640)


async def test_between_the_edges_of_a_window_nothing_is_written(clock: Clock) -> None:
    await clock.add("2026-11-23T06:00", schedules=[MORNING])
    for begin, end in (("06:01", "07:58"), ("08:01", "08:59"), ("09:01", "23:00")):
        await clock.until(f"2026-11-23T{begin}")
        before = len(clock.world.requests)
        await clock.until(f"2026-11-23T{end}")
        assert clock.world.requests[before:] == []


async def test_a_window_that_began_while_no_operator_ran_is_kept_for_its_rest(clock: Clock) -> None:
    await clock.add("2026-11-23T06:00", schedules=[MORNING])
    clock.world.now = at("2026-11-23T08:20")
    await clock.restart()
    assert clock.replicas() == 1
    await clock.until("2026-11-23T09:00")
    assert clock.replicas() == 0
    assert clock.told()["secondsSpent"] == 40 * 60


async def test_who_calls_in_the_window_has_not_to_wait_and_that_is_told(clock: Clock) -> None:
    await clock.add("2026-11-23T06:00", schedules=[MORNING])
    clock.took(40)
    await clock.restart()
    counts = clock.told()
    await clock.until("2026-11-23T08:30")
    clock.world.wake("tiny", 30)
    await clock.settle()
    assert clock.told() == counts | {"starts": 1, "used": 1, "secondsSaved": 40, "secondsSpent": 1840}
    assert clock.message("Idle") == "a lease or scaling.minReplicas keeps it awake"
    await clock.until("2026-11-23T08:50")
    assert clock.replicas() == 1, "the window lasts, though its caller has gone"
    words = "prewarmed for 08:00 Europe/Berlin by its schedule; 1 of 1 times a call came: "
    assert clock.message("Idle") == words + "40 s of waiting saved for 30 min awake"
    clock.world.wake("tiny", 30)
    await clock.settle()
    spent = 1840 + 20 * 60 - 30
    assert clock.told() == counts | {"starts": 2, "used": 2, "secondsSaved": 80, "secondsSpent": spent}


async def test_what_is_awake_already_is_no_start_ahead(clock: Clock) -> None:
    await clock.add("2026-11-23T07:50", schedules=[MORNING])
    clock.world.wake("tiny", 1200)
    await clock.settle()
    await clock.until("2026-11-23T08:09")
    assert (clock.replicas(), clock.told()["starts"]) == (1, 0)
    await clock.until("2026-11-23T08:11")
    assert (clock.replicas(), clock.told()["starts"]) == (1, 1), "from then on it is"
    assert clock.status()["prewarm"]["current"]["kept"] is True


async def test_a_schedule_keeps_as_many_pods_as_it_says(clock: Clock) -> None:
    await clock.add("2026-11-23T06:00", maxReplicas=4, schedules=[MORNING | {"minReplicas": 3}])
    await clock.until("2026-11-23T08:00")
    assert clock.replicas() == 3


async def test_a_schedule_that_cannot_be_read_is_told_and_hinders_nothing_else(clock: Clock) -> None:
    await clock.add("2026-11-23T06:00", schedules=[{"cron": "0 25 * * *"}, MORNING])
    assert clock.condition("Preflight") == ("False", "InvalidSpec")
    assert "scaling.schedules[0].cron '0 25 * * *': Bad hour: write minute" in clock.message("Preflight")
    assert clock.condition() == ("True", "ScaledToZero")
    await clock.until("2026-11-23T08:00")
    assert clock.replicas() == 1
    clock.world.model("tiny", scaling={"schedules": [MORNING]})
    await clock.settle()
    assert clock.condition("Preflight")[1] != "InvalidSpec"


async def call(clock: Clock, text: str, seconds: int = 300) -> None:
    await clock.until(text)
    clock.world.wake("tiny", seconds)
    await clock.settle()


async def taught(clock: Clock, *mornings: str, **learn: Any) -> None:
    await clock.add("2026-11-21T12:00", learn={"timeZone": "Europe/Berlin"} | learn)
    clock.took(40)
    await clock.restart()
    for day in mornings:
        await call(clock, f"{day}T08:10")


async def test_three_mornings_teach_the_fourth(clock: Clock) -> None:
    await taught(clock, "2026-11-22", "2026-11-23", "2026-11-24")
    await clock.until("2026-11-25T07:59:19")
    assert clock.replicas() == 0
    await clock.until("2026-11-25T07:59:20")
    assert clock.replicas() == 1
    assert clock.message("Idle") == "prewarmed for 08:00 Europe/Berlin by its history"
    await call(clock, "2026-11-25T08:10")
    assert (clock.told()["used"], clock.told()["secondsSaved"]) == (1, 40)
    await clock.until("2026-11-25T08:15:00")
    assert clock.replicas() == 0, "from the call on it sleeps as any other"
    await clock.until("2026-11-25T23:00")
    assert clock.told()["starts"] == 1


async def test_what_nobody_calls_for_costs_its_hour_once_and_is_told(clock: Clock) -> None:
    await taught(clock, "2026-11-22", "2026-11-23", "2026-11-24")
    await clock.until("2026-11-25T12:00")
    assert clock.replicas() == 0
    told = clock.told()
    assert (told["starts"], told["used"], told["unused"], told["secondsSpent"]) == (1, 0, 1, 3600)
    assert (told["day"], told["daySeconds"]) == ("2026-11-25", 3600)


async def test_guesses_never_cost_more_than_their_budget(clock: Clock) -> None:
    await taught(clock, "2026-11-22", "2026-11-23", "2026-11-24", budgetMinutesPerDay=20)
    await clock.until("2026-11-25T08:19:19")
    assert clock.replicas() == 1
    await clock.until("2026-11-25T08:19:20")
    assert clock.replicas() == 0
    assert clock.told()["daySeconds"] == 20 * 60


async def test_a_guess_goes_on_after_a_restart_and_is_not_made_twice(clock: Clock) -> None:
    await taught(clock, "2026-11-22", "2026-11-23", "2026-11-24")
    await clock.until("2026-11-25T08:05")
    await clock.restart()
    assert clock.replicas() == 1
    assert clock.told()["starts"] == 1
    await clock.until("2026-11-25T10:00")
    assert (clock.replicas(), clock.told()["unused"]) == (0, 1)


async def test_an_idle_model_that_learns_writes_nothing(clock: Clock) -> None:
    await taught(clock)
    before = len(clock.world.requests)
    await clock.until("2026-11-29T12:00")
    assert clock.world.requests[before:] == []


async def test_learning_that_is_taken_back_ends_the_guess_and_is_forgotten(clock: Clock) -> None:
    await taught(clock, "2026-11-22", "2026-11-23", "2026-11-24")
    await clock.until("2026-11-25T08:05")
    clock.world.model("tiny", scaling={})
    await clock.settle()
    assert clock.replicas() == 0
    assert "history" not in clock.status()["prewarm"]


def test_the_lead_is_the_longest_recorded_start(clock: Clock) -> None:
    assert prewarm.lead(None) == prewarm.UNKNOWN_LEAD


async def test_a_preloaded_model_sleeps_after_its_window(clock: Clock) -> None:
    await clock.add("2026-11-23T06:00", preload=True, schedules=[MORNING])
    assert clock.replicas() == 1
    await clock.until("2026-11-23T07:50")
    assert clock.replicas() == 0
    await clock.until("2026-11-23T08:30")
    assert clock.replicas() == 1
    await clock.until("2026-11-23T09:00")
    assert clock.replicas() == 0
    assert clock.told()["unused"] == 1
    assert clock.reconciler.known == {Key("ns", "tiny")}
