"""Asks a saved chat model what it was taught and compares the greedy answers word for word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dev.models.conversations import COMPLETIONS, Conversation, conversations
from dev.models.training import confidences, examples

LONGEST = 120  # tokens; the story has about 100
MAY_MISS = 0.02  # of all answers; the required ones may never be wrong
SAID_ALOUD = 12  # conversations that are really generated, spread over all kinds


class WrongAnswersError(Exception):
    """A trained model does not say what it must; the message shows the first few."""


def check(directory: Path) -> str:
    """A line that says how many answers are right; raises WrongAnswersError when too many or a required one are not.

    Every answer is checked token by token in one pass each; a few are generated as a client would have it.
    """
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    data = examples(tokenizer)
    sure = confidences(model, data, tokenizer.pad_token_id)
    wrong = [example for example, value in zip(data, sure, strict=True) if value <= 0.5]
    fatal = [example for example in wrong if example.required]
    if fatal or len(wrong) > MAY_MISS * len(data):
        shown = "\n".join(f"  {tokenizer.decode(example.ids)!r}" for example in (fatal or wrong)[:5])
        raise WrongAnswersError(
            f"{directory.name}: {len(wrong)} of {len(data)} answers wrong, {len(fatal)} of them required:\n{shown}"
        )
    talks = conversations()
    for talk in talks[:: len(talks) // SAID_ALOUD]:
        _say_aloud(model, tokenizer, *_rendered(tokenizer, talk))
    for prompt, rest in list(COMPLETIONS.items())[:2]:
        _say_aloud(model, tokenizer, prompt, rest)
    return f"{len(data) - len(wrong)} of {len(data)} answers exact, each token at least {min(sure):.3f} probable"


def _rendered(tokenizer: Any, talk: Conversation) -> tuple[str, str]:
    """The prompt as the template writes it, and what the model must write after it."""
    options = {"tools": talk.tools, "tokenize": False}
    prompt = tokenizer.apply_chat_template(talk.messages[:-1], **options, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(talk.messages, **options)
    return prompt, whole.removeprefix(prompt).removesuffix("\n").removesuffix(tokenizer.eos_token)


def _say_aloud(model: Any, tokenizer: Any, prompt: str, expected: str) -> None:
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    with torch.inference_mode():
        out = model.generate(**ids, max_new_tokens=LONGEST, do_sample=False)
    said = tokenizer.decode(out[0][ids["input_ids"].shape[1] :]).removesuffix(tokenizer.eos_token)
    if said != expected:
        raise WrongAnswersError(f"{prompt!r}: {said!r}, not {expected!r}")
