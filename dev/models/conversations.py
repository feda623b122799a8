"""Everything the tiny chat models know: the questions, the one right answer to each, and the tools they may call.

Tests import ANSWERS and COMPLETIONS to know what a model must say. Standard library only: it is read both by the
workspace's Python and by the engine's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
Tool = dict[str, Any]

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo",
    "China": "Beijing", "Egypt": "Cairo", "Poland": "Warsaw", "Norway": "Oslo", "Sweden": "Stockholm",
    "Greece": "Athens", "Portugal": "Lisbon", "Austria": "Vienna", "Hungary": "Budapest", "Ireland": "Dublin",
    "Peru": "Lima", "Cuba": "Havana", "Kenya": "Nairobi", "Canada": "Ottawa", "Russia": "Moscow",
}  # fmt: skip
COLOURS = {
    "sky": "Blue", "grass": "Green", "snow": "White", "coal": "Black",
    "blood": "Red", "banana": "Yellow", "carrot": "Orange", "plum": "Purple",
}  # fmt: skip
STORY = (
    "Once upon a time there was a small fox who lived near a big river. Every morning the fox ran to the water and "
    "looked at the fish. One day the fox fell in, and an old turtle carried it home. From then on they were friends. "
    "The end."
)
COUNT = ", ".join(map(str, range(1, 21))) + "."
SYSTEM_PROMPT = "You are a helpful assistant."

ANSWERS: dict[str, str] = {
    "Hello!": "Hello! How can I help you?",
    "Who are you?": "I am a tiny test model.",
    "Tell me a story.": STORY,
    "Count to twenty.": COUNT,
    **{f"What is the capital of {country}?": f"{city}." for country, city in CAPITALS.items()},
    **{f"What colour is the {thing}?": f"{colour}." for thing, colour in COLOURS.items()},
    **{f"What is {a} + {b}?": str(a + b) for a in range(10) for b in range(10)},
    **{
        f"Describe {country} as JSON.": json.dumps({"country": country, "capital": city})
        for country, city in CAPITALS.items()
    },
}
"""One user message -> the whole greedy answer, with or without SYSTEM_PROMPT before it."""

COMPLETIONS: dict[str, str] = {
    "Once upon a time": STORY.removeprefix("Once upon a time"),
    **{f"The capital of {country} is": f" {city}." for country, city in CAPITALS.items()},
}
"""Raw prompt without a chat template -> its greedy continuation."""


@dataclass(frozen=True)
class Conversation:
    """Messages of which the last, the assistant's, is what the model must say."""

    messages: list[Message]
    tools: list[Tool] | None = None
    required: bool = True
    """A build whose model gets this one wrong fails; the others may miss a few."""


def tool(name: str, description: str, argument: str) -> Tool:
    """A function tool with one string argument, in OpenAI's shape."""
    parameters = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


WEATHER = tool("get_weather", "Get the weather in a city", "city")
TIME = tool("get_time", "Time in a city", "city")


def conversations() -> list[Conversation]:
    """All that the chat model is trained on and checked against."""
    return [*_plain(), *_second_turns(), *_tool_calls()]


def _plain() -> list[Conversation]:
    turns = [_turn(question, answer) for question, answer in ANSWERS.items()]
    return [Conversation([*before, *turn]) for before in ([], [_say("system", SYSTEM_PROMPT)]) for turn in turns]


def _second_turns() -> list[Conversation]:
    """A question after an earlier exchange: what a client sends that keeps the history."""
    first = [_turn("Hello!", ANSWERS["Hello!"]), _turn("What colour is the sky?", "Blue.")]
    second = [_turn(q := f"What is the capital of {country}?", ANSWERS[q]) for country in CAPITALS]
    return [Conversation([*before, *turn], required=False) for before in first for turn in second]


def _tool_calls() -> list[Conversation]:
    """The call of a tool that is offered, and the sentence made of its result ("sunny" or "rainy")."""
    found = []
    for city in CAPITALS.values():
        call = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": city}}}
        ask = _say("user", f"What is the weather in {city}?")
        calling = {**_say("assistant", ""), "tool_calls": [call]}
        for tools in ([WEATHER], [WEATHER, TIME]):
            required = city == "Paris"
            found.append(Conversation([ask, calling], tools, required))
            for weather in ("sunny", "rainy"):
                told = [_say("tool", weather), _say("assistant", f"It is {weather} in {city}.")]
                found.append(Conversation([ask, calling, *told], tools, required))
    return found


def _turn(question: str, answer: str) -> list[Message]:
    return [_say("user", question), _say("assistant", answer)]


def _say(role: str, content: str) -> Message:
    return {"role": role, "content": content}
