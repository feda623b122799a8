"""What an engine sends, in vLLM's words, and how a client's events are read."""

import json
from itertools import pairwise
from typing import Any

from dormouse_router.dialects.openai.responses.answer import Stream
from dormouse_router.dialects.openai.responses.items import Ids
from dormouse_router.dialects.openai.responses.translate import Plan

Event = dict[str, Any]
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
LAST: Event = {"choices": [], "usage": USAGE}
IDENT = "resp_" + "0" * 32
BASE: Event = {"id": IDENT, "status": "in_progress", "output": [], "usage": None, "error": None, "store": True}
CREATED = ("response.created", "response.in_progress")


def TEXT(deltas: int) -> tuple[str, ...]:  # noqa: N802 - stands among the constants
    """The events of a message told in so many pieces."""
    return _item("response.output_text", deltas, part=True)


def THOUGHT(deltas: int) -> tuple[str, ...]:  # noqa: N802
    return _item("response.reasoning_text", deltas, part=True)


def CALL(deltas: int) -> tuple[str, ...]:  # noqa: N802
    return _item("response.function_call_arguments", deltas, part=False)


def _item(kind: str, deltas: int, *, part: bool) -> tuple[str, ...]:
    begun, done = (("response.content_part.added",), ("response.content_part.done",)) if part else ((), ())
    told = (f"{kind}.delta",) * deltas
    return ("response.output_item.added", *begun, *told, f"{kind}.done", *done, "response.output_item.done")


def plan(**more: Any) -> Plan:
    return Plan({}, **more)


def delta(finish: str | None = None, usage: Any = None, logprobs: Any = None, **fields: Any) -> Event:
    choice = {"index": 0, "delta": fields, "finish_reason": finish, "logprobs": logprobs}
    return {"choices": [choice], "usage": usage}


def tool(index: int, arguments: str | None = "", **first: Any) -> Event:
    function = {"arguments": arguments} | ({"name": first.pop("name")} if "name" in first else {})
    return delta(tool_calls=[{"index": index, "function": function, **first}])


def sse(*events: Any, done: bool = True) -> bytes:
    data = [json.dumps(event, ensure_ascii=False) for event in events] + (["[DONE]"] if done else [])
    return "".join(f"data: {line}\n\n" for line in data).encode()


def parsed(out: bytes) -> list[Event]:
    """The events, each checked to be one line of event and one of data which agree, and numbered from 0."""
    assert out.endswith(b"\n\n")
    found = []
    for number, text in enumerate(out.decode().split("\n\n")[:-1]):
        name, data = text.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == number
        found.append(event)
    return found


def begun(plan_: Plan | None = None) -> Stream:
    return Stream(plan_ or plan(), BASE, Ids(IDENT))


def run(stream: bytes, cuts: tuple[int, ...] = (), plan_: Plan | None = None) -> list[Event]:
    """What a client sees of an engine's stream that comes in these pieces."""
    found, edges = begun(plan_), [0, *sorted(cuts), len(stream)]
    out = b""
    for a, b in pairwise(edges):
        piece = found.feed(stream[a:b])
        assert piece.decode().endswith("\n\n") or not piece  # whole events, so no character is cut
        out += piece
    out += found.close()
    return parsed(out + found.last(found.became()))


def kinds(events: list[Event]) -> list[str]:
    return [event["type"] for event in events]


def output(events: list[Event]) -> list[tuple[str, str]]:
    """What was said, by the last event; checked to be what the deltas and the items told."""
    last = events[-1]["response"]["output"]
    assert [event["item"] for event in events if event["type"] == "response.output_item.done"] == last
    told = [_told(item) for item in last]
    for index, (_, text) in enumerate(told):
        deltas = [e["delta"] for e in events if e["type"].endswith(".delta") and e["output_index"] == index]
        assert "".join(deltas) == text
    return told


def _told(item: Event) -> tuple[str, str]:
    if item["type"] == "function_call":
        return item["name"], item["arguments"]
    return item["type"], item["content"][0]["text"]
