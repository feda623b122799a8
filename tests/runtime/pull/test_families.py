"""Which parsers a model gets, by its family and by what its template writes."""

import pytest

from dormouse_runtime.pull.families import Parsers, parsers

CALLS = "{% if tools %}"
BOTH = ("completion", "tools", "thinking")


@pytest.mark.parametrize(
    ("model_type", "template", "expected"),
    [
        ("llama", CALLS + "<|python_tag|>", Parsers("llama3_json")),
        ("llama", CALLS + "<tool_call>", Parsers("hermes")),
        ("llama4", CALLS, Parsers("llama4_pythonic")),
        ("qwen2", CALLS + "<tool_call>", Parsers("hermes")),
        ("qwen3", CALLS + "<tool_call> <think>", Parsers("hermes", "qwen3")),
        ("qwen3_moe", CALLS + "<tool_call>\n<function=", Parsers("qwen3_coder", "qwen3")),
        ("mistral", CALLS + "[TOOL_CALLS]", Parsers("mistral", "mistral")),
        ("gemma3", CALLS, Parsers("pythonic")),
        ("gpt_oss", CALLS, Parsers("openai", "openai_gptoss")),
        ("deepseek_v3", CALLS + "<|tool▁calls▁begin|>", Parsers("deepseek_v3", "deepseek_r1")),
        ("qwen2", "<think>", Parsers("hermes", "deepseek_r1")),
        ("glm4_moe", CALLS + "<tool_call>", Parsers("glm45", "glm45")),
        ("granite", CALLS, Parsers("granite", "granite")),
        ("phi3", CALLS, Parsers("phi4_mini_json")),
        ("deepseek_v3", CALLS + "<|tool_calls_section_begin|>", Parsers("kimi_k2", "deepseek_r1")),
        ("nobody", CALLS, Parsers()),
        (None, "<tool_call><think>", Parsers("hermes", "deepseek_r1")),
    ],
)
def test_the_template_goes_first_and_then_the_family(model_type: str | None, template: str, expected: Parsers) -> None:
    assert parsers(model_type, template, "<think>", BOTH) == expected


def test_a_template_without_tools_or_thoughts_gets_no_parser() -> None:
    assert parsers("qwen3", "<tool_call>", "", ("thinking",)) == Parsers(None, "qwen3")
    assert parsers("qwen3", "<tool_call>", "", ("tools",)) == Parsers("hermes", None)


def test_thoughts_that_are_no_tokens_have_no_parser() -> None:
    assert parsers("llama", "<think>", "no such token", BOTH).reasoning is None
