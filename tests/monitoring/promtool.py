"""Rules judged by the real promtool, in a folder of the test's own."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from dev import prometheus


def check(folder: Path, groups: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """`promtool check rules` of these groups."""
    return _run(folder, "check", "rules", str(_rules(folder, groups)))


def test(folder: Path, groups: list[dict[str, Any]], cases: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """`promtool test rules`: `cases` as its unit tests have them."""
    rules = _rules(folder, groups)
    told = {"rule_files": [rules.name], "evaluation_interval": "30s", "tests": cases}
    (folder / "test.yaml").write_text(yaml.safe_dump(told))
    return _run(folder, "test", "rules", "test.yaml")


def _rules(folder: Path, groups: list[dict[str, Any]]) -> Path:
    place = folder / "rules.yaml"
    place.write_text(yaml.safe_dump({"groups": groups}))
    return place


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(prometheus.promtool()), *arguments]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=240)
