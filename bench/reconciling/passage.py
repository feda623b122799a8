"""Where the time of a wake goes, from the wish to the pod: told apart by the API server's audit log. Pure.

The operator's own share is what lies between the API server having accepted the Lease and the Deployment's patch being
there, less the time for which the API server had a request of that look in hand.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from bench.reconciling.trace import OPERATOR, Event, Moment, at

CONTROLLERS = "kube-controller-manager"


PARTS = {
    "asked": "Lease asked for to accepted",
    "taken": "until the operator's first request",
    "decided": "until its patch of the Deployment",
    "served": "of these two, in the API server",
    "own": "of these two, the operator's own",
    "accepted": "patch sent to accepted",
    "controlled": "until the ReplicaSet is scaled",
    "born": "until the pod",
}
"""In words, for a table."""


@dataclass(frozen=True)
class Passage:
    """One wake: milliseconds of each part. A part that the log does not show is infinite."""

    asked: float
    """From the caller's request until the API server has accepted the Lease."""
    taken: float
    """Until the operator's first request for that model: watch, queue, a free worker."""
    decided: float
    """Until its patch of the Deployment is there: reads and decision."""
    served: float
    """Of `taken` and `decided`: the API server had a request of the operator's for this model in hand."""
    accepted: float
    """Until the API server has accepted the Deployment."""
    controlled: float
    """Until the Deployment's controller has written its ReplicaSet."""
    born: float
    """Until the bench's watch tells of the pod."""

    @property
    def own(self) -> float:
        """The operator's share."""
        return self.taken + self.decided - self.served


@dataclass(frozen=True)
class _Span:
    """A request: when it came and when it was done with."""

    came: float
    done: float
    verb: str
    resource: str
    agent: str


def passages(asked: Iterable[Moment], pods: Iterable[Moment], events: Iterable[Event]) -> list[Passage]:
    """One for each wish."""
    logged = _by_model(events)
    births = sorted(pods, key=lambda moment: moment.at)
    return [_passage(wish, births, logged[wish[:2]]) for wish in asked]


def _by_model(events: Iterable[Event]) -> dict[tuple[str, str], list[_Span]]:
    found: dict[tuple[str, str], list[_Span]] = defaultdict(list)
    for event in events:
        ref = event.get("objectRef") or {}
        if event.get("stage") != "ResponseComplete" or "namespace" not in ref or event["verb"] == "watch":
            continue
        came = datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
        span = _Span(came, at(event), event["verb"], ref["resource"], event.get("userAgent", ""))
        found[ref["namespace"], _model(ref.get("name", ""))].append(span)
    return found


def _model(name: str) -> str:
    """The model that an object of this name belongs to: names of the bench's models have no dash."""
    return name.partition("-")[0]


def _passage(wish: Moment, births: list[Moment], spans: list[_Span]) -> Passage:
    later = sorted((s for s in spans if s.came >= wish.at), key=lambda s: s.came)
    lease = _first(later, "patch", "leases", "")
    ours = [s for s in later if OPERATOR in s.agent and s.came >= lease.came]
    look = ours[0] if ours else _NEVER
    patch = _first(ours, "patch", "deployments", OPERATOR)
    scaled = _first([s for s in later if s.came >= patch.came], "update", "replicasets", CONTROLLERS)
    pod = next((p.at for p in births if p[:2] == wish[:2] and p.at >= wish.at), math.inf)
    moments = (wish.at, lease.done, look.came, patch.came, patch.done, scaled.done, pod)
    parts = [(b - a) * 1000 if b < math.inf else math.inf for a, b in itertools.pairwise(moments)]
    asked, taken, decided, accepted, controlled, born = parts
    served = _covered([(max(s.came, lease.done), s.done) for s in ours if s.came < patch.came], patch.came) * 1000
    return Passage(asked, taken, decided, served, accepted, controlled, born)


_NEVER = _Span(math.inf, math.inf, "", "", "")


def _first(spans: list[_Span], verb: str, resource: str, agent: str) -> _Span:
    return next((s for s in spans if (s.verb, s.resource) == (verb, resource) and agent in s.agent), _NEVER)


def _covered(spans: list[tuple[float, float]], until: float) -> float:
    """Seconds that lie in any of them."""
    total, reached = 0.0, -math.inf
    for came, done in sorted(spans):
        end = min(done, until)
        total += max(0.0, end - max(came, reached))
        reached = max(reached, end)
    return total
