"""Rows of the bench, and how they are shown: figures by target, ratios to the router, targets met or not."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.routing.targets import BARE, GUARDED, ROUTER

WANTED = {
    "added p50 at 1": (0.20, "at most"),
    "requests per core": (12_000, "at least"),
    "half load, added p99": (2.0, "at most"),
    "same load, added p99": (2.0, "at most"),
    "220 kB prompts at 20": (2_000, "at least"),
    "CPU per chunk": (22, "at most"),
    "streams, lag p99": (20, "at most"),
    "streams, first chunk p50": (150, "at most"),
    "memory per stream": (25, "at most"),
    "hold release p99": (100, "at most"),
}
"""What the router shall reach."""
WANTED_BARE = {"requests per core": (20_000, "at least")}
"""What its bare path shall reach."""
MORE_IS_BETTER = ("1/s",)
UNRATED = ("half load, rate", "half load, client late", "same load, client late")
"""What is set, or the client's own."""


@dataclass(frozen=True)
class Row:
    """One measure of one target. No figures where it did not finish; `note` says why."""

    measure: str
    unit: str
    target: str
    median: float | None
    low: float | None
    high: float | None
    note: str = ""


def row(measure: str, unit: str, target: str, values: list[float]) -> Row:
    return Row(measure, unit, target, statistics.median(values), min(values), max(values))


def figures(rows: list[Row], targets: Iterable[str]) -> str:
    """One line per measure, one column per target: median (low to high), and what the router shall reach."""
    shown = list(targets)
    by = {(each.measure, each.target): each for each in rows}
    lines = [["", *shown, "wanted of the router"]]
    for name, unit in dict.fromkeys((each.measure, each.unit) for each in rows):
        cells = [_cell(by.get((name, target))) for target in shown]
        verdicts = (
            _verdict(WANTED, by.get((name, ROUTER))),
            _verdict(WANTED, by.get((name, GUARDED)), "guarded "),
            _verdict(WANTED_BARE, by.get((name, BARE)), "bare "),
        )
        lines.append([f"{name} ({unit})", *cells, ", ".join(filter(None, verdicts))])
    return _aligned(lines)


def ratios(rows: list[Row], targets: Iterable[str]) -> str:
    """How the router stands against each other target; above 1 it is better."""
    shown = [target for target in targets if target != ROUTER]
    by = {(each.measure, each.target): each for each in rows}
    lines = [["above 1: the router is better", *(f"router to {target}" for target in shown)]]
    for name, unit in dict.fromkeys((each.measure, each.unit) for each in rows):
        cells = [_ratio(by.get((name, ROUTER)), by.get((name, target)), unit) for target in shown]
        if any(cells) and name not in UNRATED:
            lines.append([name, *cells])
    return _aligned(lines)


def notes(rows: list[Row]) -> list[str]:
    """Why something did not finish, each reason once."""
    return list(dict.fromkeys(f"{each.target}: {each.note}" for each in rows if each.note))


def behind(rows: list[Row], rival: str) -> list[str]:
    """The measures in which `rival` is ahead of the router."""
    by = {(each.measure, each.target): each for each in rows}
    names = dict.fromkeys((each.measure, each.unit) for each in rows if each.measure not in UNRATED)
    return [
        name
        for name, unit in names
        if (quotient := _quotient(by.get((name, ROUTER)), by.get((name, rival)), unit)) is not None and quotient < 1
    ]


def _cell(found: Row | None) -> str:
    if found is None:
        return ""
    if found.median is None:
        return "did not finish"
    return f"{found.median:.4g} ({found.low:.4g} to {found.high:.4g})"


def _verdict(wanted: Mapping[str, tuple[float, str]], found: Row | None, of: str = "") -> str:
    if found is None or found.measure not in wanted:
        return ""
    bound, side = wanted[found.measure]
    if found.median is None:
        return f"{of}{side} {bound:g}: missed"
    met = found.median <= bound if side == "at most" else found.median >= bound
    return f"{of}{side} {bound:g}: {'met' if met else 'missed'}"


def _quotient(ours: Row | None, theirs: Row | None, unit: str) -> float | None:
    if ours is None or theirs is None or not ours.median or not theirs.median:
        return None
    return ours.median / theirs.median if unit in MORE_IS_BETTER else theirs.median / ours.median


def _ratio(ours: Row | None, theirs: Row | None, unit: str) -> str:
    quotient = _quotient(ours, theirs, unit)
    return "" if quotient is None or (theirs is not None and theirs.target == ROUTER) else f"{quotient:.2f}"


def _aligned(lines: list[list[str]]) -> str:
    """A table that reads well in a terminal and is Markdown too."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in (lines[0], rule, *lines[1:])
    )
