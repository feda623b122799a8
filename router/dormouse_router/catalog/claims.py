"""Who is called what, where several claim a name: the oldest has it. Pure.

A model that not everybody sees takes no name from those who do not see it: for names that such a one has, all claimants
are kept, in order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from dormouse_router.catalog.record import Served

LATEST = ":latest"
C = TypeVar("C")
Claims = Sequence[tuple[Served, C]]
"""What is served, the oldest first, each with what stands for it."""


def by_age(served: Served) -> tuple[float, str, str]:
    """The order of claims."""
    return (served.created, served.namespace, served.name)


def without_latest(name: str) -> str:
    """The other spelling: `:latest` may be left out or added."""
    return name.removesuffix(LATEST) if name.endswith(LATEST) else name + LATEST


def fold(name: str) -> str:
    """One spelling for all that Ollama's clients take as one."""
    return name.casefold().removesuffix(LATEST)


def first(claims: Claims[C]) -> dict[str, C]:
    """Who has each name, in the order of the claims."""
    found: dict[str, C] = {}
    for name, claimant in _claimed(claims):
        found.setdefault(name, claimant)
    return found


def folded(has: Mapping[str, C]) -> dict[str, C]:
    """The same by `fold`; `has` is what `first` found."""
    found: dict[str, C] = {}
    for name, claimant in has.items():
        found.setdefault(fold(name), claimant)
    return found


def contested(
    claims: Claims[C], has: Mapping[str, C], closed: Callable[[C], bool], spell: Callable[[str], str] = str
) -> dict[str, tuple[C, ...]]:
    """For the names that somebody has whom not everybody sees: all who claim them, in the order they go."""
    found: dict[str, list[C]] = {name: [] for name, claimant in has.items() if closed(claimant)}
    for name, claimant in _claimed(claims) if found else ():
        others = found.get(spell(name))
        if others is not None and not any(claimant is other for other in others):
            others.append(claimant)
    return {name: tuple(claimants) for name, claimants in found.items()}


def _claimed(claims: Claims[C]) -> Iterator[tuple[str, C]]:
    for served, claimant in claims:  # before any alias: nobody takes over calls to an object of another namespace
        for name in (served.full_name, served.full_name + LATEST):
            yield name, claimant
    for served, claimant in claims:
        for name in served.served:
            yield name, claimant
