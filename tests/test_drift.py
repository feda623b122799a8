"""Generated files hold what their sources say. The plain manifests are checked where Helm is: tests/controlplane."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dev import generate

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("path", sorted(generate.local_files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_generated_file_is_what_its_source_says(path: Path) -> None:
    assert path.read_text() == generate.local_files()[path], "run `make generate`"


def test_a_drifted_file_is_named(tmp_path: Path) -> None:
    stale = tmp_path / "stale.yaml"
    stale.write_text("old")
    assert generate.drifted({stale: "new", tmp_path / "missing.yaml": "new"}) == [stale, tmp_path / "missing.yaml"]
    fresh = {stale: "old"}
    assert generate.drifted(fresh) == []


def test_the_check_of_the_command_line_agrees() -> None:
    done = subprocess.run([sys.executable, "-m", "dev.generate", "--check"], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_lock_holds_every_dependency_of_every_member() -> None:
    locked = {package["name"] for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    members = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
    for member in members:
        project = tomllib.loads((ROOT / member / "pyproject.toml").read_text())["project"]
        for need in project["dependencies"]:
            name = need.split(">")[0].split("<")[0].split("=")[0].split("[")[0].strip()
            assert name in locked, f"{member} needs {need}: run `make lock`"
