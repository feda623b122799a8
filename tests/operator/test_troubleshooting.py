"""docs/troubleshooting.md and the code say the same: each reason, and each way to fail, has its line."""

import re
from pathlib import Path

import pytest

from dormouse_api.conditions import FAILURES, PERMANENT, Reason
from tests.controlplane.failing import Kind
from tests.controlplane.test_failures import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()
CAUSES = PAGE.partition("## Every cause")[2].partition("\n## ")[0]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in CAUSES.splitlines() if line.startswith("| `")]
NOT_PLAYED = {"DoesNotFit"}
"""Has a section of its own, with its arithmetic."""


@pytest.mark.parametrize("reason", sorted(FAILURES))
def test_each_failure_is_in_the_page(reason: Reason) -> None:
    assert f"`{reason.value}`" in PAGE


def test_the_page_names_no_reason_that_there_is_not() -> None:
    known = {reason.value for reason in Reason}
    named = {found for row in ROWS for found in re.findall(r"`([A-Z]\w+)`", row[0])}
    assert named <= known
    assert {reason.value for reason in FAILURES} - named == NOT_PLAYED


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_way_to_fail_has_its_line_with_the_same_way_out(kind: Kind) -> None:
    fix = kind.fix.replace(" cpu", "", 1) if "RuntimeProfile" in kind.fix else kind.fix
    found = [row for row in ROWS if row[0] == f"`{kind.reason}`" and fix.lower() in row[2].lower()]
    assert found, f"{kind.name}: no line of {kind.reason} with: {fix}"


def test_each_line_has_a_row_that_plays_it() -> None:
    played = {kind.reason for kind in KINDS.values()}
    assert {row[0].strip("`") for row in ROWS} == played


def test_what_somebody_must_cure_is_told_to_callers_at_once() -> None:
    assert PERMANENT <= FAILURES
