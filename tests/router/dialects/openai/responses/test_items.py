"""Items of the input as the messages of a chat, row by row."""

from typing import Any

import pytest

from dormouse_router.dialects.openai.responses.conversation import without_oldest
from dormouse_router.dialects.openai.responses.items import is_reference
from tests.router.dialects.openai.responses.bodies import CALL, CALL_SENT, HI, PNG, RESULT, RESULT_SENT, sent, wish


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ("hi", [HI]),
        ([HI], [HI]),
        (
            [{"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "text", "text": "b"}]}],
            [{"role": "user", "content": "a\nb"}],
        ),
        ([HI, {"type": "message", "role": "user", "content": "ho"}], [{"role": "user", "content": "hi\nho"}]),
        (
            [{"role": "developer", "content": "d"}, HI, {"role": "system", "content": "s"}],
            [{"role": "system", "content": "d\n\ns"}, HI],
        ),
        ([HI, {"role": "assistant", "content": "yes"}, HI], [HI, {"role": "assistant", "content": "yes"}, HI]),
        (
            [HI, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
            [HI, {"role": "assistant", "content": "no"}],
        ),
        (
            [HI, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
            [HI, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
        ),
        ([HI, CALL, RESULT], [HI, {"role": "assistant", "content": "", "tool_calls": [CALL_SENT]}, RESULT_SENT]),
        (
            [
                HI,
                {
                    "type": "reasoning",
                    "id": "rs_1",
                    "summary": [],
                    "content": [{"type": "reasoning_text", "text": "hm"}],
                },
                {"role": "assistant", "content": "I look."},
                CALL,
                CALL | {"call_id": "d"},
                RESULT,
                RESULT | {"call_id": "d"},
            ],
            [
                HI,
                {
                    "role": "assistant",
                    "content": "I look.",
                    "reasoning": "hm",
                    "tool_calls": [CALL_SENT, CALL_SENT | {"id": "d"}],
                },
                RESULT_SENT,
                RESULT_SENT | {"tool_call_id": "d"},
            ],
        ),
        (
            [
                HI,
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "short"}]},
                {"role": "assistant", "content": "x"},
            ],
            [HI, {"role": "assistant", "content": "x", "reasoning": "short"}],
        ),
        ([HI, CALL | {"status": "incomplete"}, HI], [{"role": "user", "content": "hi\nhi"}]),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": PNG}],
                }
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "see"},
                        {"type": "image_url", "image_url": {"url": PNG, "detail": "auto"}},
                    ],
                }
            ],
        ),
        (
            [
                HI,
                CALL,
                RESULT
                | {
                    "output": [
                        {"type": "input_text", "text": "look"},
                        {"type": "input_image", "image_url": PNG, "detail": "low"},
                    ]
                },
                {"role": "user", "content": "well?"},
            ],
            [
                HI,
                {"role": "assistant", "content": "", "tool_calls": [CALL_SENT]},
                RESULT_SENT | {"content": "look"},
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                        {"type": "text", "text": "well?"},
                    ],
                },
            ],
        ),
    ],
)
def test_items(given: Any, messages: Any) -> None:
    assert sent(given)["messages"] == messages


def test_references() -> None:
    request = wish([{"id": "msg_1"}, {"type": "item_reference", "id": "msg_2"}, HI, {"id": "x", **HI}])
    assert isinstance(request.input, list)
    assert [is_reference(item) for item in request.input] == [True, True, False, False]


@pytest.mark.parametrize(
    ("roles", "share", "left"),
    [
        ("user assistant user assistant user", 0.7, "user assistant user"),
        ("system user assistant user assistant user", 0.7, "system user assistant user"),
        ("user assistant user assistant user", 0.1, "user"),
        ("user assistant tool assistant user assistant tool", 0.6, "user assistant tool"),
        ("system user assistant tool", 0.5, None),
    ],
)
def test_the_oldest_exchanges_go_first_and_whole(roles: str, share: float, left: str | None) -> None:
    found = without_oldest([{"role": role, "content": "same"} for role in roles.split()], share)
    assert (found and " ".join(message["role"] for message in found)) == left
