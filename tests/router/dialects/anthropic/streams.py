"""What an engine sends, in vLLM's words, and how a client's events are read."""

import json
from itertools import pairwise
from typing import Any

from dormouse_router.dialects.anthropic.answer import Stream
from dormouse_router.dialects.anthropic.translate import Plan

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
LAST: dict[str, Any] = {"choices": [], "usage": USAGE}
Event = dict[str, Any]


def plan(**more: Any) -> Plan:
    return Plan({}, **more)


def delta(finish: str | None = None, stop: Any = None, usage: Any = None, **fields: Any) -> Event:
    choice = {"index": 0, "delta": fields, "finish_reason": finish, "logprobs": None, "stop_reason": stop}
    return {"choices": [choice], "usage": usage}


def tool(index: int, arguments: str | None = "", **first: Any) -> Event:
    function = {"arguments": arguments} | ({"name": first.pop("name")} if "name" in first else {})
    return delta(tool_calls=[{"index": index, "function": function, **first}])


def sse(*events: Any, done: bool = True) -> bytes:
    data = [json.dumps(event, ensure_ascii=False) for event in events] + (["[DONE]"] if done else [])
    return "".join(f"data: {line}\n\n" for line in data).encode()


def parsed(out: bytes) -> list[Event]:
    """The events, each checked to be one line of event and one of data which agree."""
    assert out.endswith(b"\n\n")
    found = []
    for text in out.decode().split("\n\n")[:-1]:
        name, data = text.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def run(stream: bytes, cuts: tuple[int, ...] = (), plan_: Plan | None = None) -> list[Event]:
    found, edges = Stream(plan_ or plan(), "Tiny"), [0, *sorted(cuts), len(stream)]
    out = b""
    for a, b in pairwise(edges):
        piece = found.feed(stream[a:b])
        assert piece.decode().endswith("\n\n") or not piece  # whole events, so no character is cut
        out += piece
    return parsed(out + found.finish())


def told(events: list[Event]) -> list[Any]:
    """The stream in short, its order checked: one list per block of what its deltas carry."""
    first, *middle, last, stop = events
    assert (first["type"], last["type"], stop) == ("message_start", "message_delta", {"type": "message_stop"})
    blocks: list[Any] = []
    is_open = False
    for event in middle:
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == len(blocks)
                blocks.append([event["content_block"]["type"]])
                is_open = True
            case "content_block_delta":
                assert is_open
                assert event["index"] == len(blocks) - 1
                blocks[-1] += [value for key, value in event["delta"].items() if key != "type"]
            case "content_block_stop":
                assert is_open
                assert event["index"] == len(blocks) - 1
                is_open = False
            case other:
                raise AssertionError(other)
    assert not is_open
    return blocks


def ending(events: list[Event]) -> tuple[Any, Any]:
    ended = events[-2]["delta"]
    return ended["stop_reason"], ended["stop_sequence"]


def completion(*, finish: str = "stop", stop: Any = None, used: Any = USAGE, **message: Any) -> bytes:
    said = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [], **message}
    choice = {"index": 0, "message": said, "finish_reason": finish, "stop_reason": stop}
    return json.dumps({"id": "chatcmpl-1", "choices": [choice], "usage": used}).encode()
