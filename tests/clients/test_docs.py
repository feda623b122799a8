"""docs/clients.md names the versions that are run."""

import json
import re
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (?P<name>[^|]+) \| (?P<version>[\d.]+) \|", re.MULTILINE)
ROWS = [(match["name"], match["version"]) for match in ROW.finditer((ROOT / "docs" / "clients.md").read_text())]


def test_there_are_rows() -> None:
    assert len(ROWS) == 12


@pytest.mark.parametrize(("row", "version"), ROWS)
def test_the_version_is_the_one_that_is_run(row: str, version: str) -> None:
    name = re.findall(r"`([^`]+)`", row)[0]
    if "(npm)" in row or "Vercel" in row:
        wanted = json.loads((ROOT / "tests" / "clients" / "node" / "package.json").read_text())["dependencies"]
        assert version == wanted[name]
    else:
        assert version == metadata.version(name)
