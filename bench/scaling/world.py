"""The simulated service: requests are held until a pod is ready, then go to the one with the fewest and wait for a slot
in its engine's own queue; pods start slowly and finish what they have."""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.scaling.rules import Rule
from bench.scaling.traces import Trace
from dormouse_operator.observed import Pressure, Sample

TICK = 2.0
SLO_SECONDS = 2.0
"""A request that waits no longer than this for its first token is served well."""
HISTORY = 660.0
"""Seconds of samples a rule is shown: more than any of them looks back."""


@dataclass(frozen=True)
class Service:
    """What every rule has to deal with."""

    slots: int = 8
    """Requests that an engine works on at once."""
    told: int = 0
    """What the rules believe of it; 0: the same."""
    work_seconds: float = 4.0
    """Mean of a request's own time (log-normal, sigma 0.6)."""
    cold_start: float = 30.0
    most: int = 16


@dataclass
class Outcome:
    """What a rule made of a trace."""

    requests: int = 0
    waits: list[float] = field(default_factory=list)
    pod_seconds: float = 0.0
    starts: int = 0
    cold: int = 0
    """Requests that came while no pod was ready."""
    flaps: int = 0
    """Pods that were started within two cold starts after one had been taken away."""

    @property
    def attained(self) -> float:
        """Share of requests within the SLO."""
        return sum(wait <= SLO_SECONDS for wait in self.waits) / len(self.waits)

    def wait(self, share: float) -> float:
        return sorted(self.waits)[int((len(self.waits) - 1) * share)]


@dataclass
class Pod:
    ready_at: float
    busy: int = 0
    queue: deque[float] = field(default_factory=deque)
    """When each of those came that wait in the engine."""
    leaving: bool = False

    @property
    def load(self) -> int:
        return self.busy + len(self.queue)


class World:
    """One rule, one trace, from empty to empty."""

    def __init__(self, service: Service, rule: Rule, seed: int) -> None:
        self._service, self._rule = service, rule
        self._dice = random.Random(seed + 1)  # noqa: S311 - a simulation
        self._events: list[tuple[float, int, str, Pod | None]] = []
        self._order = itertools.count()
        self._held: deque[float] = deque()
        self._pods: list[Pod] = []
        self._samples: deque[Sample] = deque()
        self._now = self._asked = 0.0
        self._taken_at = float("-inf")
        self.outcome = Outcome()

    def run(self, trace: Trace, seed: int) -> Outcome:
        """Until every request of the trace has been served."""
        arrivals = trace.arrivals(seed)
        self._next(arrivals)
        self._at(0.0, "tick")
        while self._events:
            at, _, what, pod = heapq.heappop(self._events)
            self.outcome.pod_seconds += len(self._pods) * (at - self._now)
            self._now = at
            if what == "arrival":
                self._arrive()
                self._next(arrivals)
            elif what == "tick":
                self._tick(over=at > trace.seconds and not self._load)
            elif what == "done":
                self._done(pod)
            elif what == "ready":
                self._release()
        return self.outcome

    @property
    def _load(self) -> int:
        return len(self._held) + sum(pod.load for pod in self._pods)

    def _at(self, when: float, what: str, pod: Pod | None = None) -> None:
        heapq.heappush(self._events, (when, next(self._order), what, pod))

    def _next(self, arrivals: Iterator[float]) -> None:
        if (when := next(arrivals, None)) is not None:
            self._at(when, "arrival")

    def _arrive(self) -> None:
        self.outcome.requests += 1
        self.outcome.cold += not any(pod.ready_at <= self._now for pod in self._pods)
        self._held.append(self._now)
        self._release()

    def _done(self, pod: Pod | None) -> None:
        assert pod is not None
        pod.busy -= 1
        self._work(pod)
        if pod.leaving and not pod.busy:
            self._pods.remove(pod)

    def _tick(self, *, over: bool) -> None:
        self._samples.append(Sample(self._now, self._load, self._pressure()))
        while self._samples[0].at < self._now - HISTORY:
            self._samples.popleft()
        staying = [pod for pod in self._pods if not pod.leaving]
        woken = bool(self._held) and not staying  # every one of them starts at once for a caller that waits
        if woken or self._now >= self._asked + self._rule.every:
            self._asked = self._now
            wanted = min(self._service.most, self._rule.pods(list(self._samples), len(staying)))
            self._scale(staying, max(wanted, 1 if woken else 0))
        if not over:
            self._at(self._now + TICK, "tick")

    def _scale(self, staying: list[Pod], wanted: int) -> None:
        for _ in range(wanted - len(staying)):
            self.outcome.starts += 1
            self.outcome.flaps += self._now - self._taken_at < 2 * self._service.cold_start
            pod = Pod(self._now + self._service.cold_start)
            self._pods.append(pod)
            self._at(pod.ready_at, "ready")
        for pod in sorted(staying, key=lambda each: (each.ready_at <= self._now, each.load))[
            : max(0, len(staying) - wanted)
        ]:
            self._taken_at = self._now
            if pod.load:
                pod.leaving = True
            else:
                self._pods.remove(pod)

    def _ready(self) -> list[Pod]:
        return [pod for pod in self._pods if pod.ready_at <= self._now and not pod.leaving]

    def _pressure(self) -> Pressure | None:
        """What the engines tell; short requests never fill a cache."""
        ready = self._ready()
        return Pressure(len(ready), sum(len(pod.queue) for pod in ready), 0.0) if ready else None

    def _release(self) -> None:
        """Send what is held to the ready pods with the fewest."""
        ready = self._ready()
        while self._held and ready:
            pod = min(ready, key=lambda each: each.load)
            pod.queue.append(self._held.popleft())
            self._work(pod)

    def _work(self, pod: Pod) -> None:
        """Begin what the engine has a slot for."""
        while pod.queue and pod.busy < self._service.slots:
            self.outcome.waits.append(self._now - pod.queue.popleft())
            pod.busy += 1
            took = self._dice.lognormvariate(0.0, 0.6) * self._service.work_seconds / 1.197  # e^(0.6²/2)
            self._at(self._now + took, "done", pod)
