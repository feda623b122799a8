"""What documents name is there: pages and sections, modules, commands, variables, values. Their tables are whole."""

import functools
import itertools
import json
import operator
import os
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from dormouse_api.base import ApiObject
from dormouse_api.conditions import PULL_FAILURES, ConditionType
from dormouse_api.model import InferenceModelSpec, Scaling
from dormouse_api.profile import RuntimeProfileSpec
from dormouse_api.route import InferenceRouteSpec
from dormouse_api.runtime import Stage
from dormouse_api.status import InferenceModelStatus
from tests.test_layout import COMPONENTS, ROOT, tracked

NAMES = frozenset(str(path.relative_to(ROOT)) for path in tracked())
PAGES = sorted(name for name in NAMES if name.endswith(".md"))
NOW = [name for name in PAGES if name != "CHANGELOG.md"]
"""The history may speak of what is gone."""
FOLDERS = frozenset(str(folder) for name in NAMES for folder in PurePosixPath(name).parents)
PACKAGES = tuple(f"{folder}/{package}/" for folder, package in COMPONENTS.items())
MODULES = ("", *(f"{folder}/" for folder in COMPONENTS))
TEXTS = {name: (ROOT / name).read_text() for name in PAGES}
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"\bmake ([a-z0-9][a-z0-9-]*)")
_PROGRAM = re.compile(r"python3? -m ([a-z_]+(?:\.[a-z_]+)*)")
_VARIABLE = re.compile(r"\bDORMOUSE_[A-Z0-9_]*[A-Z0-9]\b")
_VALUE = re.compile(r"([a-zA-Z0-9]+(?:\.[a-zA-Z0-9]+)+)(?:[=:].*)?")
_SET = re.compile(r"--set(?:-file)? '?([^\s']+)")
_FILE = re.compile(r"(?<![\w*<./-])((?:[a-zA-Z0-9_-]+/)*[a-z0-9_-]+\.py)\b")
_RULE = re.compile(r"\|(?: *:?-+:? *\|)+")


def anchors(page: str) -> set[str]:
    """The names that its headings get."""
    words = (heading.strip().lower() for heading in _HEADING.findall(_FENCE.sub("", TEXTS[page])))
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", each)).replace(" ", "-") for each in words}


@pytest.mark.parametrize("page", PAGES)
def test_each_link_leads_somewhere(page: str) -> None:
    lost = []
    for link in _LINK.findall(TEXTS[page]):
        if link.startswith(("http://", "https://")):
            continue
        name, _, section = link.partition("#")
        there = os.path.normpath(PurePosixPath(page).parent / name) if name else page
        if there not in NAMES | FOLDERS or (section and section not in anchors(there)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", PAGES)
def test_each_table_is_whole(page: str) -> None:
    """Rows of one follow each other, below a rule: a blank line between them would end it."""
    lines = _FENCE.sub("", TEXTS[page]).splitlines()
    for rows, group in itertools.groupby(lines, key=lambda line: line.startswith("|")):
        table = list(group)
        if rows:
            assert len(table) > 2, table
            assert _RULE.fullmatch(table[1].strip()), table[0]
            width = table[1].count("|")
            assert {row.replace(r"\|", "").count("|") for row in table} == {width}, table[0]


def code(page: str) -> Iterator[str]:
    """What is written as code: fenced lines, and words between backticks."""
    for fence in _FENCE.findall(TEXTS[page]):
        yield from fence.splitlines()[1:-1]
    yield from _CODE.findall(_FENCE.sub("", TEXTS[page]))


def test_each_command_of_make_is_one() -> None:
    recipe = (ROOT / "Makefile").read_text()
    targets = {name for line in re.findall(r"^([a-z][a-z0-9 -]*):", recipe, re.MULTILINE) for name in line.split()}
    asked = {(page, name) for page in NOW for line in code(page) for name in _COMMAND.findall(line)}
    assert len(asked) > 10
    assert {each for each in asked if each[1] not in targets} == set()


def test_each_program_of_python_is_there() -> None:
    asked = {(page, name) for page in NOW for name in _PROGRAM.findall(TEXTS[page])}
    assert len(asked) > 10
    for page, name in asked:
        path = name.replace(".", "/")
        found = any(f"{where}{path}{end}" in NAMES for where in MODULES for end in (".py", "/__main__.py"))
        assert found, f"{page}: python3 -m {name}"


def test_each_file_of_python_is_there() -> None:
    """By its name alone, or with the folders that it lies in, however many of them are told."""
    modules = tuple(f"/{name}" for name in NAMES if name.endswith(".py"))
    lost = {
        (page, name)
        for page in NOW
        for name in _FILE.findall(_LINK.sub("", TEXTS[page]))
        if not any(module.endswith(f"/{name}") for module in modules)
    }
    assert lost - {("docs/design.md", "operator/__init__.py")} == set(), "the one exception is said never to be there"


def test_the_parts_that_the_design_names_are_there() -> None:
    """`decide/fit` and the like: a module, a package, or a word of a module."""
    parts = {path for package in PACKAGES for path in _below(package)}
    leaves = {path.rsplit("/", 1)[0] for path in parts if "/" in path} | parts
    firsts = {path.split("/")[0] for path in parts if "/" in path} | {"openai", "ollama", "gotemplate"}
    lost = []
    for word in _CODE.findall(_FENCE.sub("", TEXTS["docs/design.md"])):
        if re.fullmatch(r"[a-z_]+(/[a-z_]+)+(\.(?!json)[a-z_]+)?", word) and word.split("/")[0] in firsts:
            bare = re.sub(r"\.[a-z_]+$", "", word)
            if not any(path == bare or path.endswith(f"/{bare}") for path in leaves):
                lost.append(word)
    assert lost == []


def _below(package: str) -> Iterator[str]:
    for name in NAMES:
        if name.startswith(package) and name.endswith(".py"):
            yield name.removeprefix(package).removesuffix(".py")


def test_each_variable_is_read_by_somebody() -> None:
    sources = [name for name in NAMES if name.endswith((".py", ".yaml", ".tpl", "Makefile")) or "Dockerfile" in name]
    known = {found for name in sources if name != "tests/test_docs.py" for found in _variables(name)}
    told = {(page, name) for page in NOW for name in _VARIABLE.findall(TEXTS[page])}
    assert len(told) > 40
    assert {each for each in told if each[1] not in known} == set()


def _variables(name: str) -> list[str]:
    return _VARIABLE.findall((ROOT / name).read_text())


SCHEMA: dict[str, Any] = json.loads((ROOT / "charts/dormouse/values.schema.json").read_text())


def taken(path: list[str]) -> bool:
    """Whether the chart has such a value, as its schema says."""
    node = SCHEMA
    for part in path:
        while "$ref" in node:
            node = functools.reduce(operator.getitem, node["$ref"].split("/")[1:], SCHEMA)
        if part in node.get("properties", {}):
            node = node["properties"][part]
        elif isinstance(node.get("additionalProperties"), dict):
            node = node["additionalProperties"]
        else:
            return node.get("additionalProperties", True) is True and "properties" not in node
    return True


def test_each_value_of_the_chart_is_one() -> None:
    assert taken(["router", "access", "teams", "red", "concurrent"])
    assert not taken(["router", "databse"])
    tops = set(SCHEMA["properties"]) - {"tracing"}  # a package of the router's, too
    told = set()
    for page in NOW:
        values = [found[1] for word in code(page) if (found := _VALUE.fullmatch(word)) and not word.endswith(".py")]
        sets = [
            pair.partition("=")[0] for pairs in _SET.findall(TEXTS[page]) for pair in pairs.split(",") if "=" in pair
        ]
        told |= {(page, value) for value in values if value.split(".")[0] in tops} | {(page, value) for value in sets}
    assert len(told) > 60
    assert {each for each in told if not taken(each[1].split("."))} == set()


DESIGN = TEXTS["docs/design.md"]


def told_of_the_api(start: str, end: str) -> str:
    found = DESIGN.partition(start)[2].partition(end)[0]
    assert found, f"docs/design.md has no {start}"
    return found


@pytest.mark.parametrize(("start", "model"), [("\nStatus: ", InferenceModelStatus), ("| Field |", InferenceModelSpec)])
def test_the_design_tells_of_every_field_and_of_no_other(start: str, model: type[ApiObject]) -> None:
    """Of the fields directly below spec and status."""
    fields = {field.alias or name for name, field in model.model_fields.items()}
    if model is InferenceModelStatus:
        told = set(re.findall(r"`([a-z]\w*)`", told_of_the_api(start, "A model asleep on purpose"))) - {"auto"}
    else:
        told = set(re.findall(r"^\| `spec\.(\w+)", told_of_the_api(start, "\n\n"), re.MULTILINE))
    assert told == fields


def test_the_design_names_the_conditions_stages_and_failures_that_there_are() -> None:
    assert told_of_the_api("Status: `conditions` (", ";").split(", ") == [f"`{each.value}`" for each in ConditionType]
    stages = re.findall(r"`([a-z ]+)`", told_of_the_api("Stages: ", "reason."))
    assert " ".join(stages).split() == [stage.value for stage in Stage]
    closed = told_of_the_api("reason from a closed list (", ";")
    assert set(closed.split(", ")) == {f"`{reason.value}`" for reason in PULL_FAILURES}


def test_the_house_of_the_design_has_every_part_of_each_package() -> None:
    """What lies at the top of a package, and every dialect, is named, so that a new part says what it owns."""
    house = told_of_the_api("```\ncrds/dormouse_api/", "```")
    tops = {
        part if part.endswith(".py") else f"{part}/"
        for package in (*PACKAGES, "router/dormouse_router/dialects/")
        for name in NAMES
        if name.startswith(package)
        and name.endswith(".py")
        and (part := name.removeprefix(package).split("/")[0]) != "__init__.py"
    }
    assert {part for part in tops if part not in house} == set()


def test_each_bench_and_each_sample_is_listed() -> None:
    benches = {PurePosixPath(name).parts for name in NAMES if name.startswith("bench/") and name.endswith(".py")}
    programs = {
        parts[1].removesuffix(".py")
        for parts in benches
        if '__name__ == "__main__"' in (ROOT / PurePosixPath(*parts)).read_text()
        and parts[2:] in ((), ("__main__.py",))
    }
    listed = set(re.findall(r"^\| `python -m bench\.(\w+)", TEXTS["bench/README.md"], re.MULTILINE))
    assert listed == programs - {"rung"}, "bench.rung is run by another bench, in the engine's Python"
    samples = {PurePosixPath(name).parts[2:] for name in NAMES if name.startswith("manifests/samples/")}
    listed = set(re.findall(r"^\| `([^`]+)`", TEXTS["manifests/README.md"], re.MULTILINE))
    assert listed == {parts[0] + ("/" if parts[1:] else "") for parts in samples}


KINDS: dict[str, type[ApiObject]] = {
    "InferenceModel": InferenceModelSpec,
    "InferenceRoute": InferenceRouteSpec,
    "RuntimeProfile": RuntimeProfileSpec,
}
_YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    for page in NOW:
        for block in _YAML.findall(TEXTS[page]):
            yield from ((page, found) for found in yaml.safe_load_all(block) if isinstance(found, dict))


def as_it_is(kind: type[ApiObject], part: dict[str, Any]) -> bool:
    """Whether nothing of `part` is unknown, of another type, or out of bounds; it need not be whole."""
    whole = part if kind is not InferenceModelSpec else {"source": {"uri": "hf://org/name"}} | part
    known: dict[str, Any] = kind.model_validate(whole).model_dump(mode="json", by_alias=True, exclude_unset=True)
    return known == whole


def test_each_example_of_an_object_or_of_values_holds_nothing_unknown() -> None:
    assert not as_it_is(Scaling, {"minReplica": 1})
    seen = set()
    for page, found in examples():
        kind = found.get("kind", "InferenceModel" if "spec" in found else "")
        if "spec" in found:
            assert as_it_is(KINDS[kind], found["spec"]), f"{page}: {found['spec']}"
            seen.add(kind)
        elif "scaling" in found:
            assert as_it_is(Scaling, found["scaling"]), f"{page}: {found['scaling']}"
        elif set(found) <= set(SCHEMA["properties"]):
            assert [path for path in leaves(found, []) if not taken(path)] == [], page
            seen.add("values")
    assert seen == {"InferenceModel", "InferenceRoute", "values"}


def leaves(values: dict[str, Any], path: list[str]) -> Iterator[list[str]]:
    for name, value in values.items():
        yield from leaves(value, [*path, name]) if isinstance(value, dict) and value else [[*path, name]]
