"""Targets, and whether figures meet them. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

FAR = 1.5
"""A target missed by more than this factor fails the run: a busy machine alone does not do that."""


class Sense(StrEnum):
    """Which way is better."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True)
class Target:
    """What a figure shall be. `exact`: no factor excuses it."""

    value: float
    sense: Sense = Sense.AT_MOST
    exact: bool = False


@dataclass(frozen=True)
class Row:
    """One figure. `target` is None where it only explains another."""

    measure: str
    unit: str
    value: float
    target: Target | None = None

    @property
    def met(self) -> bool:
        """Whether it is what it shall be. What could not be measured (NaN) never is."""
        return self._within(1.0)

    @property
    def far(self) -> bool:
        """Whether it fails the run."""
        return not self._within(1.0 if self.target and self.target.exact else FAR)

    def _within(self, factor: float) -> bool:
        if self.target is None:
            return True
        if math.isnan(self.value):
            return False
        if self.target.sense is Sense.AT_MOST:
            return self.value <= self.target.value * factor
        return self.value >= self.target.value / factor


def table(rows: Iterable[Row]) -> str:
    """One line for each figure, its target beside it."""
    lines = [("", "", "", "target", "")]
    for row in rows:
        asked = f"{row.target.sense.value} {_number(row.target.value)}" if row.target else ""
        word = "" if row.target is None else "met" if row.met else "MISSED BY FAR" if row.far else "missed"
        lines.append((row.measure, _number(row.value), row.unit, asked, word))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def failed(rows: Iterable[Row]) -> list[str]:
    """The measures that fail the run."""
    return [row.measure for row in rows if row.far]


def _number(value: float) -> str:
    if math.isnan(value):
        return "not measured"
    if math.isinf(value):
        return "never"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"
