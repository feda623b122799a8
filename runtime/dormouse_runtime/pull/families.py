"""Which of vLLM's parsers read a model's tool calls and its reasoning, told by its family and its chat template. Pure.

What a template writes goes before the family's name: a Llama that was trained on Hermes' format speaks Hermes. The
names are vLLM's; tests/runtime/engine asks the installed one whether it has them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parsers:
    """None: the model has no such thing, or nobody knows how it writes it."""

    tools: str | None = None
    reasoning: str | None = None


MARKS = (
    ("<function=", Parsers("qwen3_coder")),
    ("<tool_call>", Parsers("hermes")),
    ("[TOOL_CALLS]", Parsers("mistral")),
    ("<|tool▁calls▁begin|>", Parsers("deepseek_v3")),
    ("<|tool_calls_section_begin|>", Parsers("kimi_k2")),
    ("<start_function_call>", Parsers("functiongemma")),
    ("<|python_tag|>", Parsers("llama3_json")),
)
"""How a template writes a call, whatever the family; the first that is found counts."""

FAMILIES = {
    "llama": Parsers("llama3_json"),
    "mllama": Parsers("llama3_json"),
    "llama4": Parsers("llama4_pythonic"),
    "qwen2": Parsers("hermes"),
    "qwen2_moe": Parsers("hermes"),
    "qwen2_5_vl": Parsers("hermes"),
    "qwen3": Parsers("hermes", "qwen3"),
    "qwen3_moe": Parsers("hermes", "qwen3"),
    "qwen3_next": Parsers("hermes", "qwen3"),
    "mistral": Parsers("mistral", "mistral"),
    "mistral3": Parsers("mistral", "mistral"),
    "mixtral": Parsers("mistral"),
    "gemma3": Parsers("pythonic"),
    "gemma3_text": Parsers("pythonic"),
    "gemma4": Parsers("gemma4", "gemma4"),
    "gpt_oss": Parsers("openai", "openai_gptoss"),
    "deepseek_v3": Parsers("deepseek_v3", "deepseek_r1"),
    "glm4_moe": Parsers("glm45", "glm45"),
    "granite": Parsers("granite", "granite"),
    "granitemoe": Parsers("granite", "granite"),
    "granitemoehybrid": Parsers("granite4", "granite"),
    "phi3": Parsers("phi4_mini_json"),
    "kimi_k2": Parsers("kimi_k2", "kimi_k2"),
    "hunyuan_v1_moe": Parsers("hunyuan_a13b", "hunyuan_a13b"),
    "seed_oss": Parsers("seed_oss", "seed_oss"),
    "step3_vl": Parsers("step3", "step3"),
    "internlm2": Parsers("internlm"),
    "jamba": Parsers("jamba"),
}
OWN_WRITING = frozenset({"glm4_moe", "granitemoehybrid", "hunyuan_v1_moe", "seed_oss"})
"""Families whose templates hold another's mark and mean something else by it."""
THOUGHTS = "<think>"
THINKS = "deepseek_r1"
"""Reads what stands between <think> and </think>, of any family whose tokenizer has these as tokens: of others vLLM
would refuse every chat."""


def parsers(model_type: str | None, template: str, tokenizer: str, capabilities: tuple[str, ...]) -> Parsers:
    """The parsers of a model that, by its capabilities, takes tools and thinks, or does not. `tokenizer`: the text of
    its configuration."""
    family = FAMILIES.get(model_type or "", Parsers())
    marked = next((found for mark, found in MARKS if mark in template), None)
    if marked is None or model_type in OWN_WRITING:
        marked = family
    reasoning = family.reasoning or (THINKS if THOUGHTS in template and THOUGHTS in tokenizer else None)
    return Parsers(marked.tools if "tools" in capabilities else None, reasoning if "thinking" in capabilities else None)
