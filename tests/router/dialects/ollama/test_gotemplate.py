"""Go's template language: each construct, each mistake with its place, the bounds, and whatever else anybody writes."""

from datetime import date
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dormouse_router.dialects.ollama.gotemplate import TemplateError, parse, rendered
from dormouse_router.dialects.ollama.gotemplate.values import Shown, Struct
from tests.router.dialects.ollama.corpus import DATA, ERRORS, OURS, TEXTS

TODAY = date(2026, 3, 1)


def shown(source: str, data: Any = DATA) -> str:
    template = parse(source)
    return rendered(template, TODAY, (template.main, data))


@pytest.mark.parametrize(("source", "text"), TEXTS)
def test_what_a_template_shows(source: str, text: str) -> None:
    assert shown(source) == text


@pytest.mark.parametrize(("source", "line", "column", "words"), [*ERRORS, *OURS])
def test_a_mistake_is_told_with_its_place(source: str, line: int, column: int, words: str) -> None:
    with pytest.raises(TemplateError) as refused:
        shown(source)
    said = str(refused.value)
    assert said.startswith(f"template: line {line}, column {column}: "), said
    assert words in said


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ .Name }}{{ . }}", "f{f map[a:1]}"),
        ("{{ if .Arguments }}{{ .Arguments.a }}{{ end }}", "1"),
        ("{{ json . }}", '{"Name":"f","Arguments":{"a":1}}'),
        ("{{ with . }}it is{{ end }}", "it is"),
    ],
)
def test_objects_have_fixed_fields(source: str, text: str) -> None:
    value = Struct(Name="f", Arguments={"a": 1})
    assert shown(source, value) == text
    with pytest.raises(TemplateError, match=r"no field \.Nope here: there are \.Name, \.Arguments"):
        shown("{{ .Nope }}", value)
    for wrong in ("{{ len . }}", "{{ range . }}{{ end }}", "{{ index . `Name` }}"):
        with pytest.raises(TemplateError, match="an object"):
            shown(wrong, value)
    assert shown("{{ if . }}true{{ end }}", Struct()) == "true"


def test_arguments_are_shown_as_json() -> None:
    assert (
        shown("{{ .A }} {{ printf `%s` .A }}", {"A": Shown(b=[1], a="<")}) == (r'{"a":"\u003c","b":[1]} ' * 2).strip()
    )


def test_the_days_are_those_it_is_told() -> None:
    assert shown("{{ currentDate }} {{ currentDate `x` }} {{ yesterdayDate }}") == "2026-03-01 2026-03-01 2026-02-28"
    assert shown("{{ toTypeScriptType .List }}") == "any"
    with pytest.raises(TemplateError, match="a form of a date is a text"):
        shown("{{ currentDate 1 }}")


@pytest.mark.parametrize("name", ["__class__", "__init__", "keys", "items", "_x"])
def test_nothing_of_python_is_in_reach(name: str) -> None:
    assert shown(f"{{{{ .{name} }}}}{{{{ .Map.{name} }}}}") == "<no value><no value>"
    with pytest.raises(TemplateError, match="has no field"):
        shown(f"{{{{ .System.{name} }}}}")
    with pytest.raises(TemplateError, match="there is no function"):
        shown(f"{{{{ {name} .System }}}}")


def test_data_that_is_nested_too_deep_is_told() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    for source in ("{{ . }}", "{{ json . }}"):
        with pytest.raises(TemplateError, match="nested too deep"):
            shown(source, deep)


def test_the_bounds_are_one_for_all_that_is_shown() -> None:
    template = parse("{{ range 600 }}{{ end }}")
    with pytest.raises(TemplateError, match="steps"):
        rendered(template, TODAY, *[(template.main, {})] * 200)


PIECES = st.one_of(
    st.sampled_from(
        [
            *("{{ ", " }}", "{{- ", " -}}", "if ", "else ", "end", "range ", "with ", "define ", "template ", "break"),
            *("$x", " := ", " = ", ".", ".List", ".Map", ".Turns", "(", ")", "|", ",", " ", "\n", '"a"', "`%s`", "'c'"),
            *("eq ", "and ", "or ", "not ", "len ", "index ", "slice ", "printf ", "print ", "json ", "nil", "true"),
            *(
                "1",
                "-3",
                "0.5",
                "/*",
                "*/",
                "{{ if .Yes }}",
                "{{ range .List }}",
                "{{ end }}",
                "{{ else }}",
                "é",
                "\x00",
            ),
        ]
    ),
    st.text(max_size=4),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=25).map("".join), VALUES)
@example("{{ printf .A }}", {"A": "%" + "9" * 5000 + "d"})
@example("{{ json .A }}", {"A": [2**70, float("inf"), 1e20]})
@example("{{ printf `%c%q` .A .B }}", {"A": 2**70, "B": ["\ud800"]})
def test_any_source_gives_a_text_or_its_own_error(source: str, value: Any) -> None:
    for data in (DATA, {"A": value, "List": value, "Map": value}, value):
        try:
            assert isinstance(shown(source, data), str)
        except TemplateError as error:
            assert "template: line " in str(error)  # noqa: PT017 - an error is as good as a text


@settings(max_examples=200)
@given(st.sampled_from([*DATA, "Missing"]), st.sampled_from([*DATA, "Missing"]), VALUES)
def test_any_value_gives_a_text_or_its_own_error(name: str, other: str, value: Any) -> None:
    data = DATA | {"Huge": value}
    for words in (
        "eq",
        "ne",
        "lt",
        "ge",
        "index",
        "slice",
        "print",
        "println",
        "printf",
        "and",
        "or",
        "printf `%v %q`",
    ):
        try:
            assert isinstance(shown(f"{{{{ {words} .{name} .{other} }}}}", data), str)
        except TemplateError as error:
            assert "template: line 1, column 4" in str(error)  # noqa: PT017
