"""Conversations as Ollama's templates make prompts of them. Pure.

A template that speaks of .Messages is shown once, with all of them. An older one, of .System, .Prompt and .Response, is
shown for each turn; for the last one it ends with .Response, behind which the model goes on.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import msgspec

from dormouse_api.route import Defaults
from dormouse_router.dialects.ollama.errors import bad_request
from dormouse_router.dialects.ollama.gotemplate import Template, TemplateError, Value, parse, rendered
from dormouse_router.dialects.ollama.gotemplate.nodes import Action, Command, Definition, Field, Pipe
from dormouse_router.dialects.ollama.gotemplate.values import Shown, Struct
from dormouse_router.dialects.ollama.gotemplate.walk import up_to
from dormouse_router.dialects.ollama.messages import OpenAIMessage
from dormouse_router.dialects.thinking import OPEN

_MOST_KEPT = 64
_THINKING = frozenset({"think", "thinklevel", "isthinkset", "thinking"})
_MEDIUM = "medium"
"""The level of a template's .ThinkLevel where thinking is just on."""
_JOINED = "\n\n"


@dataclass(frozen=True)
class Prompter:
    """A template, ready for conversations."""

    template: Template
    speaks_of: frozenset[str]
    """Its fields, in lower case."""
    whole: Definition
    cut: Definition
    """`whole` up to its .Response."""

    @property
    def by_messages(self) -> bool:
        return "messages" in self.speaks_of

    @property
    def fills(self) -> bool:
        """It makes a prompt of what stands before and behind a gap."""
        return "suffix" in self.speaks_of

    def capabilities(self, known: Sequence[str] | None) -> list[str] | None:
        """What a model is capable of by this template: no tools and no images, for its answer and prompt are text."""
        if known is None:
            return None
        kept = {"completion", "embedding"} | ({"thinking"} if self.speaks_of & _THINKING else set())
        return [each for each in known if each in kept] + (["insert"] if self.fills else [])


@dataclass(frozen=True)
class Rendering:
    """One request's conversation, and what else its template is told."""

    prompter: Prompter
    messages: list[OpenAIMessage]
    today: date
    think: bool | None = None
    """None: the client said nothing, and the model does not think by itself."""
    level: str = ""
    before: str = ""
    suffix: str = ""
    """With `before`, and without messages, what stands around a gap."""

    def of(self, messages: list[OpenAIMessage]) -> "Rendering":
        return replace(self, messages=messages)

    def prompt(self) -> str:
        """The text for the engine. Refusal 400, in words, where the template cannot make one of this conversation."""
        try:
            return rendered(self.prompter.template, self.today, *self._steps())
        except TemplateError as error:
            raise bad_request(str(error)) from error

    def _steps(self) -> list[tuple[Definition, Value]]:
        """What is shown, and of which data."""
        flags: dict[str, Value] = {
            "Think": bool(self.think),
            "ThinkLevel": self.level or (_MEDIUM if self.think else ""),
            "IsThinkSet": self.think is not None,
        }
        whole = self.prompter.whole
        if self.suffix:
            return [(whole, {"Prompt": self.before, "Suffix": self.suffix, "Response": "", **flags})]
        system, turns = _collated(self.messages)
        if self.prompter.by_messages:
            said: list[Value] = [_struct(turn) for turn in turns]
            return [(whole, {"System": system, "Messages": said, "Tools": [], "Response": "", **flags})]
        *earlier, last = _exchanges(turns)
        return [*((whole, {**each, **flags}) for each in earlier), (self.prompter.cut, {**last, **flags})]


def prompter(source: str) -> Prompter:
    """Refusal 400 with line, column and the fix, where `source` is no template."""
    try:
        return _prompter(source)
    except TemplateError as error:
        raise bad_request(str(error)) from error


@functools.lru_cache(_MOST_KEPT)
def _prompter(source: str) -> Prompter:
    template = parse(source)
    speaks_of = frozenset(name.lower() for name in template.fields())
    whole = template.main
    if not speaks_of & {"messages", "response"}:
        answer = Action(
            len(source), Pipe(len(source), (), (Command(len(source), (Field(len(source), ("Response",)),)),))
        )
        whole = replace(whole, body=(*whole.body, answer))
    body, _ = up_to(whole.body, "Response")
    return Prompter(template, speaks_of, whole, replace(whole, body=body))


def with_defaults(said: list[OpenAIMessage], defaults: Defaults) -> list[OpenAIMessage]:
    """`said` after a system prompt, its own or the default one, and the turns that every conversation begins with."""
    own = next((index for index, turn in enumerate(said) if turn["role"] != "system"), len(said))
    system = [{"role": "system", "content": defaults.system}] if defaults.system and not own else []
    canned = [{"role": turn.role.value, "content": turn.content} for turn in defaults.messages or ()]
    return [*system, *said[:own], *canned, *said[own:]]


def opens_thinking(prompt: str) -> bool:
    """The template has written the tag after which the model thinks, so the model will not."""
    return prompt.rstrip().endswith(OPEN)


def _collated(messages: list[OpenAIMessage]) -> tuple[str, list[OpenAIMessage]]:
    """All system messages as one text, and the conversation where turns of one role in a row are one turn."""
    turns: list[OpenAIMessage] = []
    for message in messages:
        if turns and turns[-1]["role"] == message["role"] != "tool":
            turns[-1] = {**turns[-1], "content": turns[-1]["content"] + _JOINED + message["content"]}
        else:
            turns.append(message)
    return _JOINED.join(each["content"] for each in messages if each["role"] == "system"), turns


def _exchanges(turns: list[OpenAIMessage]) -> list[dict[str, Value]]:
    """Question by question, with the system message and the answer that belong to it; the last may have no answer."""
    done: list[dict[str, Value]] = []
    now = _exchange()
    for turn in turns:
        role = turn["role"]
        if (role == "system" and (now["Prompt"] or now["Response"])) or (role == "user" and now["Response"]):
            done.append(now)
            now = _exchange()
        field = {"system": "System", "user": "Prompt", "assistant": "Response"}.get(role)
        if field is not None:
            now[field] = turn["content"]
    return [*done, now]


def _exchange() -> dict[str, Value]:
    return {"System": "", "Prompt": "", "Response": ""}


def _struct(turn: OpenAIMessage) -> Struct:
    return Struct(
        Role=turn["role"],
        Content=turn["content"],
        Thinking=turn.get("reasoning", ""),
        Images=[],
        ToolCalls=[_call(index, call) for index, call in enumerate(turn.get("tool_calls", ()))],
        ToolName=turn.get("name", ""),
        ToolCallID=turn.get("tool_call_id", ""),
    )


def _call(index: int, call: dict[str, Any]) -> Struct:
    function = call["function"]
    try:
        arguments = msgspec.json.decode(function["arguments"] or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise bad_request(f"the arguments of the call of {function['name']} are no JSON object: {error}") from error
    return Struct(ID=call["id"], Function=Struct(Index=index, Name=function["name"], Arguments=Shown(arguments)))
