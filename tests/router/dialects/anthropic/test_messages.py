"""Anthropic's conversation as the engine gets it, block by block."""

from tests.router.dialects.anthropic.bodies import (
    CALL,
    CALL_SENT,
    CAPABLE,
    HI,
    PICTURE,
    PICTURE_PART,
    WEATHER,
    said,
    sent,
)


def test_blocks_of_text_and_images() -> None:
    text = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}, "citations": None}
    more = {"type": "text", "text": "b"}
    assert said([{"role": "user", "content": [text, more]}]) == [{"role": "user", "content": "a\nb"}]
    url = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    assert said([{"role": "user", "content": [PICTURE, text, url]}]) == [
        {
            "role": "user",
            "content": [
                PICTURE_PART,
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            ],
        }
    ]


def test_documents_and_search_results_are_text() -> None:
    documents = [
        {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "one"}},
        {"type": "document", "source": {"type": "content", "content": "two"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "three"}]}},
        {"type": "search_result", "source": "s", "title": "F", "content": [{"type": "text", "text": "four"}]},
    ]
    assert said([{"role": "user", "content": documents}])[0]["content"] == "T\none\ntwo\nthree\nF\ns\nfour"


def test_the_system_prompt_is_one_message_at_the_beginning() -> None:
    blocks = [{"type": "text", "text": "x-anthropic-billing-header: cc=1"}, {"type": "text", "text": "be brief"}]
    talk = [*HI, {"role": "system", "content": "and kind"}, {"role": "user", "content": "more"}]
    assert said(talk, system=blocks) == [
        {"role": "system", "content": "be brief\n\nand kind"},
        {"role": "user", "content": "hi\nmore"},
    ]


def test_turns_of_one_role_are_one_turn() -> None:
    talk = [*HI, *HI, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}, *HI]
    assert [(turn["role"], turn["content"]) for turn in said(talk)] == [
        ("user", "hi\nhi"),
        ("assistant", "ab"),
        ("user", "hi"),
    ]


def test_a_tool_conversation() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "AAAA"}
    second = {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}}
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
        {"type": "text", "text": "so?"},
        {
            "type": "tool_result",
            "tool_use_id": "toolu_2",
            "is_error": True,
            "content": [{"type": "text", "text": "no clock"}, PICTURE],
        },
    ]
    talk = [
        *HI,
        {"role": "assistant", "content": [thought, hidden, {"type": "text", "text": "I look."}, CALL, second]},
        {"role": "user", "content": results},
    ]
    assert said(talk, tools=[WEATHER]) == [
        *HI,
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning": "hm",
            "tool_calls": [
                CALL_SENT,
                {"id": "toolu_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "Error: no clock"},
        {"role": "user", "content": [PICTURE_PART, {"type": "text", "text": "so?"}]},
    ]


def test_a_result_without_content() -> None:
    talk = [*HI, {"role": "assistant", "content": [CALL]}]
    talk.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]})
    *_, call, result = said(talk, tools=[WEATHER])
    assert (call["content"], call["tool_calls"]) == ("", [CALL_SENT])
    assert result == {"role": "tool", "tool_call_id": "toolu_1", "content": ""}


def test_the_beginning_of_an_answer_is_gone_on_with() -> None:
    found = sent(messages=[*HI, {"role": "assistant", "content": "The answer is ( "}])
    assert found["messages"][-1] == {"role": "assistant", "content": "The answer is ("}
    assert (found["add_generation_prompt"], found["continue_final_message"]) == (False, True)
    called = sent(CAPABLE, [*HI, {"role": "assistant", "content": [CALL]}])
    assert "continue_final_message" not in called
