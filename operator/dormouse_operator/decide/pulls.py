"""Whose weights are pulled next, where only so many may be at once. Pure: all who wait in, a spot for each out.

Pulls share what no scheduler counts: the way to the hub, and the hub's patience. So they stand in a line: the higher
`spec.priority` first; of the same priority those whom a caller waits for; of these the namespaces take turns, so that a
hundred models of one do not keep the others waiting; then who has waited longest. A pull that is under way is never
stopped for another: what it has fetched would lie there half, and the line would be no shorter.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from dormouse_operator.decide.pool import Key


@dataclass(frozen=True)
class Waiting:
    """A model whose weights are to be pulled, and whose pull has not begun. `since`: seconds since the epoch."""

    key: Key
    priority: int
    since: float
    called: bool = False
    """Somebody waits for its answer."""


@dataclass(frozen=True)
class Spot:
    """Where one of those who wait stands."""

    go: bool
    """Its pull may begin."""
    since: float
    position: int = 0
    """1: the next; 0 where it goes."""
    of: int = 0
    after: Key | None = None
    """Who is before it: one that is being pulled, where it is the next."""
    places: int = 0
    look_at: float | None = None
    """When to look again, should nobody tell that a place is free."""


def line(waiting: Iterable[Waiting], held: Iterable[Key]) -> list[Waiting]:
    """Those who wait, in their order. `held`: models that hold a place."""
    turns = Counter(namespace for namespace, _ in held)
    ranked: list[tuple[tuple[int, bool, int, float, Key], Waiting]] = []
    for w in sorted(waiting, key=lambda w: (-w.priority, not w.called, w.since, w.key)):
        ranked.append(((-w.priority, not w.called, turns[w.key[0]], w.since, w.key), w))
        turns[w.key[0]] += 1
    return [w for _, w in sorted(ranked, key=lambda entry: entry[0])]


def decide(waiting: Collection[Waiting], held: Sequence[Key], places: int) -> dict[Key, Spot]:
    """The spot of each who waits, in the order of the line. `held`: models that hold a place, longest first."""
    ordered = line(waiting, held)
    free = max(0, places - len(held))
    spots = {w.key: Spot(True, w.since, places=places) for w in ordered[:free]}
    before = next(iter((*held, *spots)), None)
    rest = ordered[free:]
    for number, w in enumerate(rest):
        after = rest[number - 1].key if number else before
        spots[w.key] = Spot(False, w.since, number + 1, len(rest), after, places)
    return spots
