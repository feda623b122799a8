"""The run: each phase does something to the world, waits for its end, and leaves rows. Owns order and targets."""

import math
import time
from collections.abc import Callable
from pathlib import Path

from bench.reconciling.births import Births
from bench.reconciling.operator import Operator
from bench.reconciling.passage import PARTS, passages
from bench.reconciling.trace import Moment, asked_most, percentile, requests, waits, written
from bench.reconciling.verdict import Row, Sense, Target
from bench.reconciling.world import World, fleet, until
from dormouse_api import metrics

LOOKS = metrics.RECONCILES
BUGS = f"{LOOKS}:bug"
PATIENCE = 600.0
CHANGING = 100
"""Models that change while others wake."""
WAKES = 100
WAKES_A_SECOND = 2
"""With two changes for each and everybody's controllers: half of what two cores bear."""
AWAKE_SECONDS = 6
"""Long enough for a pod to come on a busy machine, short enough to be asleep again soon."""
STEADY_SECONDS = 12.0


class Run:
    """One run of everything."""

    def __init__(self, world: World, log: Path, count: int, profile: str, tell: Callable[[str], None]) -> None:
        self._world, self._log, self._tell, self._profile = world, log, tell, profile
        self._models = fleet(count)
        self._peak = 0.0
        self._bugs = 0.0
        self._rows: list[Row] = []

    def all(self) -> list[Row]:
        """Every phase in order."""
        for phase in (self._converge, self._steady, self._restart, self._restart_with_wakes, self._churn):
            phase()
        self._row("memory of the operator, peak resident", "MiB", self._peak, Target(200))
        self._row("looks that ended in a bug", "", self._bugs, Target(0, exact=True))
        return self._rows

    # -- phases

    def _converge(self) -> None:
        count = len(self._models)
        with self._operator() as operator:
            self._await(operator.ready, "the operator is not ready", operator)
            began = time.time()
            self._tell(f"applying {count} models")
            self._world.apply(self._models, self._profile)
            self._tell(f"applied in {time.time() - began:.0f} s")
            asleep = self._await(self._settled, "not all models went to sleep", operator, every=1.0)
            took = time.time() - began
            looks, spent = operator.looks(), operator.cpu_seconds
            self._note(operator)
        self._row("models that converged", "", self._asleep(), Target(count, Sense.AT_LEAST, exact=True))
        self._row("from the first apply to the last model asleep", "s", took if asleep else math.inf)
        self._row("looks per model until then", "", looks / count)
        self._row("looks per second until then", "1/s", looks / took)
        self._row("processor time per look until then", "ms", spent / looks * 1000)

    def _steady(self) -> None:
        self._tell("looking at unchanged models again and again")
        mark = self._world.plane.audit_mark()
        with self._operator(DORMOUSE_RESYNC_SECONDS="1") as operator:
            self._await(lambda: operator.looks() >= 2 * len(self._models), "not looked at twice", operator)
            began, looks, spent = time.time(), operator.looks(), operator.cpu_seconds
            time.sleep(STEADY_SECONDS)
            ended, looks, spent = time.time(), operator.looks() - looks, operator.cpu_seconds - spent
            self._note(operator)
        asked = requests(self._world.plane.audit_events(mark), began, ended)
        self._row("looks per second at unchanged models", "1/s", looks / (ended - began), Target(100, Sense.AT_LEAST))
        self._row("processor time per look", "ms", spent / looks * 1000 if looks else math.nan)
        self._row("requests per look", "", asked / looks if looks else math.nan)

    def _restart(self) -> None:
        self._tell("restarting the operator")
        mark = self._world.plane.audit_mark()
        with self._operator() as operator:
            done = self._await(lambda: self._calm(operator, len(self._models)), "not in sync", operator, every=0.05)
            took = time.time() - operator.began
            time.sleep(2)  # what is written late would be written by now
            self._note(operator)
        wrote = written(self._world.plane.audit_events(mark), operator.began)
        for line in wrote[:5]:
            self._tell(f"written: {line}")
        self._row("restart: from its process to in sync", "s", took if done else math.inf, Target(15))
        self._row("restart: writes", "", len(wrote), Target(0, exact=True))

    def _restart_with_wakes(self) -> None:
        chosen = self._models[:: max(1, len(self._models) // 20)]
        self._tell(f"restarting the operator and waking {len(chosen)} models while it looks at all")
        births, asked, mark = self._world.births(), list[Moment](), self._world.plane.audit_mark()
        with self._operator() as operator:
            self._await(lambda: operator.looks() > 0, "nothing was looked at", operator, every=0.01)
            for name in chosen:
                asked.append(self._world.wake(name, AWAKE_SECONDS))
                time.sleep(0.05)
            behind = len(self._models) - operator.looks()
            self._await(lambda: self._calm(operator, len(self._models)), "not in sync", operator)
            self._sleep_again(operator)
        births.close()
        found = waits(asked, births.seen)
        self._row("restart: models not yet looked at when the last wake came", "", max(0.0, behind))
        self._row("restart: wake to pod, p50", "ms", percentile(found, 0.5))
        self._row("restart: wake to pod, longest", "ms", max(found), Target(1000))
        self._parts("restart", asked, births, mark)

    def _churn(self) -> None:
        """At a pace that the machine bears, which is what a wake costs beside changes; then as fast as it goes."""
        self._wakes_among_changes("churn", 1 / WAKES_A_SECOND, Target(300))
        self._wakes_among_changes("flat out", 0.0, None)

    def _wakes_among_changes(self, phase: str, every: float, target: Target | None) -> None:
        changing, sleeping = self._models[:CHANGING], self._models[CHANGING:] or self._models
        chosen = [sleeping[number * 7 % len(sleeping)] for number in range(min(WAKES, len(sleeping)))]
        self._tell(f"{phase}: waking {len(chosen)} models while {len(changing)} others change")
        births, asked, mark = self._world.births(), list[Moment](), self._world.plane.audit_mark()
        with self._operator() as operator:
            self._await(lambda: self._calm(operator, len(self._models)), "not in sync", operator)
            began, changes, spent = time.time(), 0, self._spent(operator)
            for number, name in enumerate(chosen):
                _sleep_until(began + number * every)
                asked.append(self._world.wake(name, AWAKE_SECONDS))
                for part in (1, 2):
                    time.sleep(0.04)
                    _sleep_until(began + (number + part / 3) * every)
                    self._world.change(changing[changes % len(changing)], 301 + number)
                    changes += 1
            took = time.time() - began
            spent = {name: seconds - spent[name] for name, seconds in self._spent(operator).items()}
            self._sleep_again(operator)
        births.close()
        found = waits(asked, births.seen)
        self._row(f"{phase}: wakes", "1/s", len(asked) / took)
        self._row(f"{phase}: specs changed", "1/s", changes / took)
        for process, seconds in sorted(spent.items()):
            self._row(f"{phase}: processor time of {process}", "ms/s", seconds / took * 1000)
        self._row(f"{phase}: wake to pod, p50", "ms", percentile(found, 0.5))
        self._row(f"{phase}: wake to pod, p99", "ms", percentile(found, 0.99), target)
        self._parts(phase, asked, births, mark)

    # -- what they share

    def _parts(self, phase: str, asked: list[Moment], births: Births, mark: int) -> None:
        """What the wakes went into."""
        logged = self._world.plane.audit_events(mark)
        for line in asked_most(logged, 24):
            self._tell(f"  {line}")
        found = passages(asked, births.seen, logged)
        for part, words in PARTS.items():
            spent = [getattr(passage, part) for passage in found]
            self._row(f"{phase}: {words}, p50", "ms", percentile(spent, 0.5))
            self._row(f"{phase}: {words}, p99", "ms", percentile(spent, 0.99))

    def _spent(self, operator: Operator) -> dict[str, float]:
        """Processor seconds so far, of everything that shares the machine with a wake."""
        return {"operator": operator.cpu_seconds, "bench": time.process_time()} | {
            name: seconds for name, seconds in self._world.plane.processor_seconds().items() if seconds
        }

    def _operator(self, **env: str) -> Operator:
        return Operator(self._world.plane.kubeconfig, self._log, **env)

    def _row(self, measure: str, unit: str, value: float, target: Target | None = None) -> None:
        self._rows.append(Row(measure, unit, value, target))
        self._tell(f"{measure}: {value:.4g} {unit}")

    def _note(self, operator: Operator) -> None:
        """Before its end: what its life leaves."""
        self._peak = max(self._peak, operator.peak_memory)
        self._bugs += operator.figures().get(BUGS, 0.0)

    def _await(self, what: Callable[[], bool], why: str, operator: Operator, every: float = 0.2) -> bool:
        def progress() -> None:
            now = operator.figures()
            looks, waiting = now.get(LOOKS, 0.0), now.get(metrics.QUEUE_DEPTH, 0.0)
            self._tell(
                f"  {looks:.0f} looks, {waiting:.0f} wait, {operator.peak_memory:.0f} MiB, {self._world.reasons()}"
            )

        done = until(what, PATIENCE, progress, every)
        if not done:
            self._tell(f"given up: {why}")
        return done

    def _asleep(self) -> int:
        return self._world.reasons().get("ScaledToZero", 0)

    def _settled(self) -> bool:
        """Every model asleep, and nothing left of what made it so."""
        return self._asleep() == len(self._models) and not self._world.count("/apis/batch/v1/jobs")

    def _calm(self, operator: Operator, looks: int) -> bool:
        now = operator.figures()
        return now.get(LOOKS, 0) >= looks and not now.get(metrics.QUEUE_DEPTH, 1)

    def _sleep_again(self, operator: Operator) -> None:
        self._await(lambda: not self._world.count("/api/v1/pods"), "awake models did not go to sleep", operator, 0.5)
        self._await(self._settled, "not all models went to sleep again", operator, 0.5)
        self._await(lambda: self._calm(operator, 1), "the queue is never empty", operator)
        self._note(operator)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))
