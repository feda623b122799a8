"""What the API server's audit log tells of a run: writes, and how long each wake took. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

Event = Mapping[str, Any]
OPERATOR = "dormouse-operator"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


class Moment(NamedTuple):
    """Something happened to a model; seconds since the epoch."""

    space: str
    model: str
    at: float


def waits(asked: Iterable[Moment], born: Iterable[Moment]) -> list[float]:
    """Milliseconds from each wish for a model to the first pod of it after that; infinite where none came."""
    found = []
    pods = sorted(born, key=lambda moment: moment.at)
    for wish in asked:
        first = next((pod.at for pod in pods if pod[:2] == wish[:2] and pod.at >= wish.at), math.inf)
        found.append((first - wish.at) * 1000)
    return found


def written(events: Iterable[Event], since: float, until: float = math.inf) -> list[str]:
    """What the operator asked the API server to change, in vain or not, its Events too: `verb resource/name`."""
    return [
        f"{event['verb']} {event['objectRef']['resource']}/{event['objectRef'].get('name', '')}"
        for event in _finished(events)
        if event["verb"] in WRITES and OPERATOR in event.get("userAgent", "") and since <= at(event) <= until
    ]


def requests(events: Iterable[Event], since: float, until: float = math.inf) -> int:
    """How many requests of the operator's own the API server answered; watches last and are not counted."""
    return sum(
        1
        for event in _finished(events)
        if OPERATOR in event.get("userAgent", "") and event["verb"] != "watch" and since <= at(event) <= until
    )


def asked_most(events: Iterable[Event], most: int) -> list[str]:
    """What was asked of the API server most often, by whom: `agent verb resource: times`; watches are not counted."""
    found: Counter[str] = Counter()
    for event in _finished(events):
        if event["verb"] != "watch":
            ref, agent = event["objectRef"], event.get("userAgent", "").partition("/")[0]
            what = "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
            found[f"{agent} {event['verb']} {what}"] += 1
    return [f"{what}: {times}" for what, times in found.most_common(most)]


def at(event: Event) -> float:
    """When the API server was done with it, in seconds since the epoch."""
    return datetime.fromisoformat(event["stageTimestamp"]).timestamp()


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed (nearest rank); NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def _finished(events: Iterable[Event]) -> Iterator[Event]:
    for event in events:
        if event.get("stage") == "ResponseComplete" and event.get("objectRef"):
            yield event
