"""The dashboards as the chart has them: every query of theirs, and a query as Prometheus gets it.

Grafana puts values for `$name`, `${name}` and `${name:format}`, and intervals of its own; so does `resolved`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "charts" / "dormouse" / "monitoring" / "dashboards"
INTERVALS = {"__rate_interval": "1m", "__interval": "30s", "__range": "3h"}
_VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")
_VALUES = re.compile(r"label_values\((?P<series>.+), (?P<label>\w+)\)")


@dataclass(frozen=True)
class Panel:
    """One query of a panel."""

    dashboard: str
    title: str
    expr: str
    legend: str

    @property
    def name(self) -> str:
        return f"{self.dashboard}: {self.title}"


def dashboards() -> dict[str, dict[str, Any]]:
    """By the names of their files."""
    return {place.stem: json.loads(place.read_text()) for place in sorted(FOLDER.glob("*.json"))}


def panels(name: str, dashboard: Mapping[str, Any]) -> Iterator[Panel]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield Panel(name, panel["title"], target["expr"], target.get("legendFormat", ""))


def every() -> list[Panel]:
    return [panel for name, dashboard in dashboards().items() for panel in panels(name, dashboard)]


def choices(dashboard: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Each variable that Prometheus knows the values of: its name, the series that have them, and their label."""
    found = []
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            asked = _VALUES.fullmatch(variable["query"])
            assert asked is not None, variable["query"]
            found.append((variable["name"], asked["series"], asked["label"]))
    return found


def resolved(expr: str, values: Mapping[str, str]) -> str:
    """`expr` with its variables filled in; KeyError for one that nobody knows."""
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], expr)
