"""Compares a quantized copy with its original, token by token: `python -m ... SOURCE TARGET [--remote-code]`.

The sample is the model's own: the original answers a few neutral questions, greedily, in its own chat template. Both
then read these texts, and at every token of an answer their next-token distributions are compared. Both are read by
transformers, whichever engine will serve: what is judged is the weights. One of the two is in memory at a time.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging

from dormouse_api.results import Quality
from dormouse_runtime.quantize.quality import MARK

QUESTIONS = (
    "Hello!",
    "What is the capital of France?",
    "What is 7 + 8?",
    "Write three sentences about the sea.",
    "How does a bicycle stay upright?",
    "Translate 'good morning' into French, German and Spanish.",
    "Write a Python function that reverses a string.",
    "Name the planets of the solar system in order.",
)
TOKENS = 48
"""Of each answer, at most."""
WRITING_SECONDS = 180.0
READING_SECONDS = 180.0
"""For the original to write, and to read what it wrote; on slow machines fewer tokens are compared."""


@dataclass(frozen=True)
class Text:
    """A question with its answer as tokens; the answer begins at `start`."""

    tokens: tuple[int, ...]
    start: int


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--remote-code", action="store_true")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(0)
    with torch.inference_mode():
        found = compare(options.source, options.target, options.remote_code)
    print(MARK + found.model_dump_json(exclude_none=True), flush=True)  # noqa: T201 - the line is the answer


def compare(source: Path, target: Path, remote_code: bool) -> Quality:
    """Agreement and mean divergence over the original's own answers."""
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=remote_code)
    original = _load(source, remote_code)
    texts = write(original, tokenizer)
    if not texts:
        return Quality(tokens=0, skipped="the original answers nothing to neutral questions")
    told: list[torch.Tensor] = []
    began = time.monotonic()
    for text in texts:
        if told and time.monotonic() - began > READING_SECONDS:
            break
        told.append(read(original, text))
    del original
    gc.collect()
    copy = _load(target, remote_code)
    agreed, divergence = 0, 0.0
    for text, expected in zip(texts, told, strict=False):
        said = read(copy, text)
        agreed += int((said.argmax(-1) == expected.argmax(-1)).sum())
        # A damaged copy says nan: it agrees nowhere, and is infinitely far.
        apart = (expected.exp() * (expected - said)).sum(-1).nan_to_num(nan=1e6, posinf=1e6).clamp(0, 1e6)
        divergence += float(apart.sum())
    count = sum(len(expected) for expected in told)
    return Quality(tokens=count, agreement=agreed / count, divergence=divergence / count)


def write(model: Any, tokenizer: Any) -> list[Text]:
    """What the model answers, greedily, all questions at once."""
    prompts = [_prompt(tokenizer, question) for question in QUESTIONS]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    eos = _eos(model, tokenizer)
    rules = GenerationConfig(
        do_sample=False, max_new_tokens=TOKENS, max_time=WRITING_SECONDS, eos_token_id=sorted(eos), pad_token_id=pad
    )
    made = model.generate(ids, attention_mask=mask, generation_config=rules)
    answers = (_until(made[row, width:].tolist(), eos) for row in range(len(prompts)))
    return [Text((*p, *answer), len(p)) for p, answer in zip(prompts, answers, strict=True) if answer]


def read(model: Any, text: Text) -> torch.Tensor:
    """Log-probabilities of every next token, at each token of the answer: [answer, vocabulary]."""
    logits = model(torch.tensor([text.tokens[:-1]])).logits[0, text.start - 1 :]
    return torch.log_softmax(logits.float(), -1)


def _load(folder: Path, remote_code: bool) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", device_map="cpu", trust_remote_code=remote_code, use_safetensors=True
    ).eval()


def _prompt(tokenizer: Any, question: str) -> list[int]:
    if not tokenizer.chat_template:
        return list(tokenizer(question)["input_ids"])
    message = [{"role": "user", "content": question}]
    return list(tokenizer.apply_chat_template(message, tokenize=True, add_generation_prompt=True, return_dict=False))


def _eos(model: Any, tokenizer: Any) -> set[int]:
    told = model.generation_config.eos_token_id
    told = tokenizer.eos_token_id if told is None else told
    return set(told) if isinstance(told, list) else set() if told is None else {told}


def _until(answer: Sequence[int], ends: set[int]) -> tuple[int, ...]:
    """The answer with the token that ends it, without what pads it."""

    def kept() -> Iterator[int]:
        for token in answer:
            yield token
            if token in ends:
                return

    return tuple(kept())


if __name__ == "__main__":
    main()
