"""docs/settings.md and the programs say the same: each variable that is read has its row, with its own default."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from dormouse_operator.settings import Settings as OperatorSettings
from dormouse_router.settings import Settings as RouterSettings
from dormouse_router.worker.settings import WorkerSettings
from tests.test_docs import TEXTS, taken
from tests.test_layout import ROOT

PAGE = TEXTS["docs/settings.md"]
Read = Callable[[Mapping[str, str]], Any]
NEEDED = {"DORMOUSE_PULLER_IMAGE": "puller"}
BY_ITSELF = {"POD_NAME", "DORMOUSE_ROUTER_URL", "DORMOUSE_ROUTER_OPS", "DORMOUSE_ACCESS_KEYS"}
"""The chart sets these without being told, or mounts what they name."""


class Asked(Mapping[str, str]):
    """An environment that remembers what was asked of it."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


PROGRAMS: dict[str, Read] = {
    "Router": RouterSettings.from_env,
    "Batch worker": WorkerSettings.from_env,
    "Operator": OperatorSettings.from_environment,
}


def rows(program: str) -> list[list[str]]:
    part = PAGE.partition(f"\n## {program}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in lines]


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_variable_that_is_read_has_its_row(program: str) -> None:
    env = Asked(NEEDED)
    PROGRAMS[program](env)
    asked = {name for name in env.names if name.startswith("DORMOUSE_")}
    assert {row[0] for row in rows(program)} - {"POD_NAME"} == asked


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_default_is_the_programs_own(program: str) -> None:
    read = PROGRAMS[program]
    for name, _, default, _ in rows(program):
        if default:
            assert read(NEEDED | {name: default}) == read(NEEDED), name


def test_each_value_of_the_chart_is_one_that_the_chart_has_and_uses() -> None:
    templates = {
        name for path in (ROOT / "charts/dormouse/templates").iterdir() for name in re.findall(r"\w+", path.read_text())
    }
    for program in PROGRAMS:
        for name, value, _, _ in rows(program):
            assert not value or taken(value.split(".")), value
            assert (name in templates) == bool(value) or name in BY_ITSELF, f"{name}: the chart sets it, or it does not"
