"""Messages on their way to the engine."""

import base64
from typing import Any

import msgspec
import pytest

from dormouse_router.dialects.ollama.messages import data_uri, has_images, to_openai
from dormouse_router.dialects.ollama.requests import Message
from dormouse_router.request import Refusal

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 90).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + b"x" * 5).decode()
WEBP = base64.b64encode(b"RIFF\x00\x00\x00\x00WEBPVP8 ").decode()


def convert(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    return to_openai(msgspec.convert(list(messages), list[Message]))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"role": "user", "content": "hi"}, {"role": "user", "content": "hi"}),
        ({"role": "USER", "content": None}, {"role": "user", "content": ""}),
        ({"role": "developer", "content": "be brief"}, {"role": "system", "content": "be brief"}),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": "ab"},
        ),
        (
            {"role": "assistant", "content": "4", "thinking": "2+2"},
            {"role": "assistant", "content": "4", "reasoning": "2+2"},
        ),
        (
            {"role": "user", "content": "what?", "images": [PNG]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                ],
            },
        ),
        (
            {"role": "tool", "content": "sunny", "tool_name": "weather", "tool_call_id": "x"},
            {"role": "tool", "content": "sunny", "tool_call_id": "x", "name": "weather"},
        ),
    ],
)
def test_one_message(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert convert(given) == [wanted]


@pytest.mark.parametrize("arguments", [{"city": "Paris"}, '{"city":"Paris"}'])
def test_tool_arguments_become_a_string_from_either_form(arguments: object) -> None:
    [turn] = convert({"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": arguments}}]})
    assert turn["tool_calls"] == [
        {"id": "call_00000000", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
    ]


def test_results_without_ids_find_their_calls_by_name_else_in_order() -> None:
    call: dict[str, Any] = {"function": {"name": "a"}}
    turns = convert(
        {"role": "assistant", "tool_calls": [call, {"function": {"name": "b"}}, call, {"id": "mine", **call}]},
        {"role": "tool", "tool_name": "b", "content": "1"},
        {"role": "tool", "tool_name": "a", "content": "2"},
        {"role": "tool", "tool_call_id": "mine", "content": "3"},
        {"role": "tool", "content": "4"},
    )
    ids = [call["id"] for call in turns[0]["tool_calls"]]
    assert len(set(ids)) == 4
    assert [turn["tool_call_id"] for turn in turns[1:]] == [ids[1], ids[0], "mine", ids[2]]


@pytest.mark.parametrize(
    ("image", "mime"),
    [(PNG, "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp"), (f"data:image/gif;base64,{PNG}", "image/png")],
)
def test_the_type_of_an_image_is_read_from_its_bytes(image: str, mime: str) -> None:
    assert data_uri(image) == f"data:{mime};base64,{image.rpartition(',')[2]}"


def test_images_count_in_both_forms() -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    assert has_images(msgspec.convert([{"role": "user", "content": [part]}], list[Message]))
    assert has_images([Message(images=[PNG])])
    assert not has_images([Message(content="text")])


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "robot", "content": "x"}, 'invalid role "robot"'),
        ({"role": "user", "images": ["@@@@"]}, "illegal base64"),
        ({"role": "user", "images": ["abc"]}, "illegal base64"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]},
            "data: URI",
        ),
        ({"role": "user", "content": [{"type": "video"}]}, "content parts must be"),
    ],
)
def test_what_cannot_be_sent_is_refused(message: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        convert(message)
