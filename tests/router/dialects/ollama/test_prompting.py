"""Conversations as templates make prompts of them: by all messages, turn by turn, cut at the answer, around a gap."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_api.route import CannedMessage, Defaults, Role
from dormouse_router.dialects.ollama.messages import to_openai
from dormouse_router.dialects.ollama.prompting import Rendering, opens_thinking, prompter, with_defaults
from dormouse_router.dialects.ollama.requests import Message, ToolCall, ToolFunction
from dormouse_router.request import Refusal
from tests.router.dialects.ollama.conversations import CONVERSATIONS, EACH, NAMED, ROLES, TURNS, said

TODAY = date(2026, 3, 1)


def prompt(template: str, turns: str, **told: Any) -> str:
    return Rendering(prompter(template), said(turns), TODAY, **told).prompt()


@pytest.mark.parametrize(("template", "turns", "written"), CONVERSATIONS)
def test_a_prompt_of_a_conversation(template: str, turns: str, written: str) -> None:
    assert prompt(template, turns) == written


@pytest.mark.parametrize(
    ("told", "written"),
    [
        ({}, "false||false"),
        ({"think": False}, "false||true"),
        ({"think": True}, "true|medium|true"),
        ({"think": True, "level": "high"}, "true|high|true"),
    ],
)
@pytest.mark.parametrize("rest", ["{{ .Response }}", "{{ range .Messages }}{{ end }}", "{{ if .Suffix }}{{ end }}"])
def test_a_template_is_told_whether_to_think(told: dict[str, Any], written: str, rest: str) -> None:
    flags = "{{ .Think }}|{{ .ThinkLevel }}|{{ .IsThinkSet }}" + rest
    assert prompt(flags, "u1", **told) == written
    if "Suffix" in rest:
        assert prompt(flags, "", before="a", suffix="b", **told) == written


def test_what_stands_around_a_gap() -> None:
    template = "<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>"
    assert prompt(template, "", before="a", suffix="b") == "<pre>a<suf>b<mid>"
    assert prompt(template, "", suffix="b") == "<pre><suf>b<mid>"
    both = "{{ if .Suffix }}{{ .Prompt }}_{{ .Suffix }}{{ else }}{{ range .Messages }}{{ .Content }}{{ end }}{{ end }}"
    assert prompt(both, "", before="a", suffix="b") == "a_b"
    assert prompt(both, "u1") == "u1"


def test_calls_and_what_came_of_them() -> None:
    template = (
        "{{ range .Messages }}{{ if .ToolCalls }}{{ range .ToolCalls }}{{ .ID }} {{ .Function.Index }} "
        "{{ .Function.Name }} {{ .Function.Arguments }}{{ range $k, $v := .Function.Arguments }} {{ $k }}={{ $v }}"
        "{{ end }}{{ end }}{{ else if eq .Role `tool` }}/{{ .ToolName }} {{ .ToolCallID }} {{ .Content }}{{ else }}"
        "{{ .Thinking }}{{ end }}{{ end }}{{ if .Tools }}never{{ end }}{{ len .Tools }}"
    )
    call = ToolCall(ToolFunction("weather", {"city": "Bonn", "at": [1, 2.0]}), "c1")
    turns = to_openai(
        [
            Message(role="user", content="hi"),
            Message(role="assistant", thinking="hm", tool_calls=[call]),
            Message(role="tool", content="rain", tool_name="weather"),
        ]
    )
    written = Rendering(prompter(template), turns, TODAY).prompt()
    assert written == 'c1 0 weather {"at":[1,2],"city":"Bonn"} at=[1 2] city=Bonn/weather c1 rain0'


@pytest.mark.parametrize("arguments", ["[1]", "{", '{"a":' + "[" * 5000])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    turns = to_openai([Message(role="assistant", tool_calls=[ToolCall(ToolFunction("f", arguments))])])
    with pytest.raises(Refusal, match="the arguments of the call of f are no JSON object"):
        Rendering(prompter(EACH), turns, TODAY).prompt()


def test_a_mistake_that_only_a_conversation_shows_is_refused_in_words() -> None:
    with pytest.raises(Refusal, match=r"template: line 1, column 25: there is no field \.Nope here") as refused:
        prompt("{{ range .Messages }}{{ .Nope }}{{ end }}", "u1")
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("template", "known", "left"),
    [
        (EACH, ["completion", "tools", "vision", "thinking", "insert"], ["completion"]),
        (EACH + "{{ .Tools }}", ["completion", "tools"], ["completion"]),
        (EACH + "{{ if .Think }}{{ end }}", ["completion", "thinking"], ["completion", "thinking"]),
        (
            "{{ range $m := .Messages }}{{ $m.Thinking }}{{ end }}",
            ["completion", "thinking"],
            ["completion", "thinking"],
        ),
        ("{{ .Prompt }}{{ .Suffix }}", ["completion"], ["completion", "insert"]),
        (EACH, ["embedding"], ["embedding"]),
        (EACH, None, None),
    ],
)
def test_what_a_model_can_do_by_a_template(template: str, known: list[str] | None, left: list[str] | None) -> None:
    assert prompter(template).capabilities(known) == left


def test_defaults_come_where_the_conversation_brings_none() -> None:
    canned = [CannedMessage(role=Role.USER, content="u0"), CannedMessage(role=Role.ASSISTANT, content="a0")]
    defaults = Defaults(system="s0", messages=canned)
    assert with_defaults(said("u1"), defaults) == said("s0 u0 a0 u1")
    assert with_defaults(said("s1 u1"), defaults) == said("s1 u0 a0 u1")
    assert with_defaults(said("s1"), Defaults()) == said("s1")


def test_the_tag_that_begins_the_thought() -> None:
    assert opens_thinking("...<think>\n")
    assert not opens_thinking("<think></think>")


@given(st.text("suat", max_size=12), st.sampled_from([EACH, TURNS, NAMED]))
def test_nothing_anybody_said_is_lost_or_said_twice(roles: str, template: str) -> None:
    turns = [{"role": ROLES[role], "content": f"<{number}>"} for number, role in enumerate(roles)]
    written = Rendering(prompter(template.replace("{{ .System }}|", "")), turns, TODAY).prompt()
    spoken = [turn["content"] for turn in turns if template == EACH or turn["role"] != "tool"]
    assert all(written.count(words) <= 1 for words in spoken)
    if template == EACH:
        assert all(words in written for words in spoken)
