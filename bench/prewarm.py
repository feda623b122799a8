"""How many cold hits starting ahead avoids, and what it costs, for calls with and without a habit. Simulated.

    python -m bench.prewarm [--weeks 8] [--cold 60] [--idle 300] [--seeds 3] [--json FILE]

The rules are the operator's own (decide/prewarm.py, history.py, schedule.py), driven from one look that they ask for to
the next, on one model with a device of its own. What the rows mean is in bench/README.md.
"""

import argparse
import json
import random
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dormouse_api.ahead import Prewarm
from dormouse_api.lease import Wish
from dormouse_api.model import InferenceModelSpec
from dormouse_api.status import ColdStart, InferenceModelStatus, StageTime
from dormouse_operator.decide import prewarm
from dormouse_operator.observed import Model, Runtime

BEGIN = datetime(2026, 11, 2, tzinfo=UTC).timestamp()
"""A Monday."""
DAY, HOUR = 86400.0, 3600.0
BUDGETS = (15, 30, 60, 120)
OFFICE = {"cron": "0 8 * * 1-5", "durationSeconds": 10 * 3600}
ROWS = ("cold hits", "avoided", "waited (min)", "ahead (min/day)", "dearest day (min)", "min per hit avoided")

Rate = Callable[[int, int, float], float]
"""Calls per hour, of week, day of the week and hour of the day."""


def _office(week: int, day: int, hour: float) -> float:
    """Workdays from eight to six, with a lunch."""
    return (2.0 if 12 <= hour < 13 else 8.0) if day < 5 and 8 <= hour < 18 else 0.02


def _mornings(week: int, day: int, hour: float) -> float:
    """A report that somebody asks for between eight and nine on workdays, and hardly anything else."""
    return 3.0 if day < 5 and 8 <= hour < 9 else 0.01


def _moving(week: int, day: int, hour: float) -> float:
    """A report at eight for four weeks, and at two o'clock from then on."""
    return 3.0 if day < 5 and (8 if week < 4 else 14) <= hour < (9 if week < 4 else 15) else 0.01


def _chance(week: int, day: int, hour: float) -> float:
    """No habit at all: four calls a day, at any time."""
    return 4 / 24


TRACES: dict[str, Rate] = {"office": _office, "mornings": _mornings, "moving": _moving, "no habit": _chance}
MOST = 8.0


def arrivals(rate: Rate, weeks: int, seed: int) -> list[float]:
    """Times of calls (seconds since the epoch), by thinning."""
    dice = random.Random(seed)  # noqa: S311 - a simulation
    found: list[float] = []
    now = 0.0
    while (now := now + dice.expovariate(MOST / HOUR)) < weeks * 7 * DAY:
        week, rest = divmod(now, 7 * DAY)
        day, second = divmod(rest, DAY)
        if dice.random() * MOST < rate(int(week), int(day), second / HOUR):
            found.append(BEGIN + now)
    return found


@dataclass
class World:
    """One model, its Lease, and the seconds its starts take."""

    model: Model
    cold: float
    idle: int
    wish: Wish | None = None
    ready_at: float | None = None
    hits: int = 0
    waited: float = 0.0
    spent: Counter[int] = field(default_factory=Counter)
    """Seconds awake ahead of calls, by day."""

    def look(self, now: float) -> float | None:
        """One look; when the next is asked for."""
        runtime = Runtime(int(self.ready_at is not None), None, {}, {})
        ahead = prewarm.wanted(self.model, runtime, now)
        held = self.wish is not None and self.wish.ends > now
        replicas = int(held or ahead.replicas > 0 or ahead.guess)
        told = prewarm.after(self.model, prewarm.Moment(now, self.wish, runtime, replicas, ahead))
        before = self.model.status.prewarm or Prewarm()
        if told is not None:
            self.spent[int((now - BEGIN - 1) // DAY)] += told.seconds_spent - before.seconds_spent
        status = self.model.status.model_copy(update={"prewarm": told})
        self.model = replace(self.model, status=status)
        if not replicas:
            self.ready_at = None
        elif self.ready_at is None:
            self.ready_at = now + self.cold
        times = [ahead.look_at, self.wish.ends if held and self.wish is not None else None]
        return min((at for at in times if at is not None), default=None)

    def call(self, now: float) -> float | None:
        """Somebody calls; when the next look is asked for."""
        waits = self.cold if self.ready_at is None else max(0.0, self.ready_at - now)
        self.hits += waits > 0
        self.waited += waits
        self.wish = Wish(now, self.idle)
        return self.look(now)

    def run(self, calls: list[float]) -> "World":
        """Until the last of `calls`."""
        due = self.look(BEGIN)
        for at in calls:
            while due is not None and due < at:
                due = self.look(due)
            due = self.call(at)
        return self


def world(cold: float, idle: int, **scaling: Any) -> World:
    """A model that has been started before."""
    body = {"source": {"uri": "hf://org/name"}, "scaling": {"idleSeconds": idle} | scaling}
    stages = [
        StageTime(stage="requested", at_milliseconds=0),
        StageTime(stage="ready", at_milliseconds=round(cold * 1000)),
    ]
    start = ColdStart(at="2026-11-01T00:00:00Z", seconds=round(cold), engine="vllm", stages=stages)
    status = InferenceModelStatus(cold_starts=[start])
    return World(Model("ns", "m", "u", 1, InferenceModelSpec.model_validate(body), status), cold, idle)


def rules() -> dict[str, dict[str, Any]]:
    """What scaling says, by the name of the row."""
    learnt = {f"learn, {minutes} min/day": {"learn": {"budgetMinutesPerDay": minutes}} for minutes in BUDGETS}
    return {"none": {}, **learnt, "schedule, 8 to 18": {"schedules": [OFFICE]}}


def figures(found: World, alone: World, days: float) -> list[float]:
    """In the order of ROWS."""
    saved = alone.hits - found.hits
    minutes = sum(found.spent.values()) / 60
    dearest = max(found.spent.values(), default=0) / 60
    return [
        found.hits,
        saved / alone.hits,
        found.waited / 60,
        minutes / days,
        dearest,
        minutes / saved if saved > 0 else 0.0,
    ]


def measure(rate: Rate, weeks: int, cold: float, idle: int, seeds: int) -> dict[str, list[float]]:
    """Medians over the seeds, by rule."""
    seen: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        calls = arrivals(rate, weeks, seed)
        alone = world(cold, idle).run(calls)
        for name, scaling in rules().items():
            seen.setdefault(name, []).append(figures(world(cold, idle, **scaling).run(calls), alone, weeks * 7))
    return {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.prewarm", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--weeks", type=int, default=8)
    parser.add_argument("--cold", type=float, default=60.0, help="seconds a start takes")
    parser.add_argument("--idle", type=int, default=300, help="seconds without a call after which the model sleeps")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    found = {
        name: measure(rate, options.weeks, options.cold, options.idle, options.seeds) for name, rate in TRACES.items()
    }
    print(f"| calls | ahead | {' | '.join(ROWS)} |")
    print(f"| --- | --- | {' | '.join('---:' for _ in ROWS)} |")
    for trace, by_rule in found.items():
        for rule, row in by_rule.items():
            cells = [f"{row[0]:.0f}", f"{row[1]:.0%}", f"{row[2]:.0f}", *(f"{value:.1f}" for value in row[3:])]
            print(f"| {trace} | {rule} | {' | '.join(cells)} |")
    if options.json:
        options.json.write_text(json.dumps({"rows": ROWS, "figures": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
