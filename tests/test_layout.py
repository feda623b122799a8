"""The shape of the repository that tools rely on: nothing shadows the standard library, nothing is machine-bound."""

import operator
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMPONENTS = {
    "crds": "dormouse_api",
    "operator": "dormouse_operator",
    "router": "dormouse_router",
    "runtime": "dormouse_runtime",
}
MACHINE_BOUND = re.compile(
    "|".join(
        (
            r"/wor" + r"k/",  # written in two halves so that this file does not find itself
            r"\.\./sha" + r"red",
            r"sha" + r"red/(docs|reference)",
            r"/home/[a-z]+/",
        )
    )
)
MAX_LINES = 300
MAX_TEST_LINES = 450  # tables of cases are long, and nobody reads them top to bottom


def tracked() -> list[Path]:
    """Every file that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_operator_folder_does_not_hide_the_standard_library() -> None:
    assert Path(operator.__file__).is_relative_to(sysconfig.get_path("stdlib"))
    assert not (ROOT / "operator" / "__init__.py").exists()


@pytest.mark.parametrize(("folder", "package"), COMPONENTS.items())
def test_a_component_folder_holds_its_package_and_no_modules_or_tests(folder: str, package: str) -> None:
    assert (ROOT / folder / package / "__init__.py").is_file()
    loose = [path.name for path in (ROOT / folder).glob("*.py")]
    assert loose == [], f"modules belong into {folder}/{package}"
    tests = [path for path in (ROOT / folder).rglob("*") if path.name == "tests" or path.name.startswith("test_")]
    assert tests == [], "tests belong into tests/"


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in tracked() if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")}
    missing = [str(folder) for folder in folders if not (folder / "__init__.py").is_file()]
    assert missing == []


MARKED_IN = {
    "controlplane": ("tests/controlplane",),
    "e2e": ("tests/dev", "tests/e2e"),
    "engine": ("tests/bench", "tests/dev", "tests/runtime/engine"),
}
"""Where `make e2e` looks for what: to look everywhere costs half a minute each time."""


@pytest.mark.parametrize(("marker", "folders"), MARKED_IN.items())
def test_what_is_marked_lies_where_it_is_looked_for(marker: str, folders: tuple[str, ...]) -> None:
    word = f"mark.{marker}"
    marked = [path.relative_to(ROOT) for path in tracked() if path.suffix == ".py" and word in path.read_text()]
    assert marked
    lost = [str(path) for path in marked if not any(path.is_relative_to(folder) for folder in folders)]
    assert lost == [], f"make e2e does not look for {marker} there"
    recipe = (ROOT / "Makefile").read_text()
    assert all(folder in recipe for folder in folders)


def test_no_file_names_a_machine() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in MACHINE_BOUND.finditer(text)]
    assert found == []


def test_no_module_is_long() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked()
        if path.suffix == ".py"
        and (lines := len(path.read_text().splitlines()))
        > (MAX_TEST_LINES if path.is_relative_to(ROOT / "tests") else MAX_LINES)
    }
    assert long == {}, f"split what is over {MAX_LINES} lines ({MAX_TEST_LINES} in tests)"


def test_every_own_package_says_that_it_is_typed() -> None:
    for folder, package in COMPONENTS.items():
        assert (ROOT / folder / package / "py.typed").is_file(), package
