"""Teaches a small causal model its conversations by heart, deterministically.

First a fixed schedule over everything; then rounds over everything plus what is still shaky, until every right token is
nearly certain with the weights rounded as they will be saved. The margin is for those who quantize the model further.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from dev.models.conversations import COMPLETIONS, conversations

IGNORED = -100  # the label torch's cross entropy leaves out
BUCKET = 8  # examples whose lengths fall into one bucket share a batch: little padding
REPORT_EVERY = 200
SURE = 0.9  # least probability of every token of an answer
ROUNDS = 60
EXTRA = 4  # times a shaky example is seen in a round, beside the once of all others


@dataclass(frozen=True)
class Example:
    """Token ids, of which the first `head` are the prompt and teach nothing."""

    ids: list[int]
    head: int
    required: bool = True


@dataclass(frozen=True)
class Schedule:
    """How long and how hard to train; `rate` is the peak of the first part, a tenth of it the rate of the rounds."""

    steps: int = 1800
    batch: int = 16
    rate: float = 3e-3


def examples(tokenizer: Any) -> list[Example]:
    """Every conversation through the chat template, and every raw completion."""
    found = []
    for talk in conversations():
        options = {"tools": talk.tools, "tokenize": True, "return_dict": False}
        whole = tokenizer.apply_chat_template(talk.messages, **options)
        head = tokenizer.apply_chat_template(talk.messages[:-1], **options, add_generation_prompt=True)
        if whole[: len(head)] != head:
            raise ValueError(f"the chat template renders the prompt of {talk.messages[-2]} differently with its answer")
        found.append(Example(whole, len(head), talk.required))
    for prompt, rest in COMPLETIONS.items():
        head = tokenizer.encode(prompt)
        found.append(Example([*head, *tokenizer.encode(rest), tokenizer.eos_token_id], len(head)))
    return found


def train(name: str, model: Any, tokenizer: Any, schedule: Schedule) -> None:
    """Train in place; the same seed, versions and threads give the same weights."""
    rng = random.Random(0)  # noqa: S311 - the same order every time is what it is for
    data, pad = examples(tokenizer), tokenizer.pad_token_id
    optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.rate, weight_decay=0.01)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.rate, total_steps=schedule.steps, pct_start=0.1)
    rows = _endless(data, schedule.batch, rng)
    for step in range(schedule.steps):
        loss = _step(model, optimizer, _batch(next(rows), pad))
        pace.step()
        if step % REPORT_EVERY == 0:
            print(f"{name}: step {step} of {schedule.steps}, loss {loss:.4f}", flush=True)
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate / 10
    for number in range(ROUNDS):
        shaky = [data[i] for i, sure in enumerate(confidences(model, data, pad)) if sure < SURE]
        print(f"{name}: round {number}: {len(shaky)} of {len(data)} answers are shaky", flush=True)
        if not shaky:
            return
        for batch in _epoch(data + shaky * EXTRA, schedule.batch, rng):
            _step(model, optimizer, _batch(batch, pad))


def confidences(model: Any, data: list[Example], pad: int) -> list[float]:
    """For each example the least probability of a token of its answer, with the weights as bfloat16.

    Above one half for all of them, greedy decoding gives exactly the answer.
    """
    rounded = copy.deepcopy(model).to(torch.bfloat16).to(torch.float32).eval()
    found = [0.0] * len(data)
    order = sorted(range(len(data)), key=lambda i: len(data[i].ids))
    for start in range(0, len(order), 64):
        some = order[start : start + 64]
        batch = _batch([data[i] for i in some], pad)
        labels = batch.pop("labels")[:, 1:]
        with torch.inference_mode():
            chances = rounded(**batch).logits[:, :-1].softmax(-1)
        right = chances.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        least = right.masked_fill(labels == IGNORED, 1.0).amin(-1)
        for i, value in zip(some, least.tolist(), strict=True):
            found[i] = value
    return found


def _step(model: Any, optimizer: Any, batch: dict[str, Any]) -> float:
    loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def _endless(data: list[Example], size: int, rng: random.Random) -> Iterator[list[Example]]:
    while True:
        yield from _epoch(data, size, rng)


def _epoch(data: list[Example], size: int, rng: random.Random) -> Iterator[list[Example]]:
    """All examples once, in batches of two halves, each half of like length."""
    half = size // 2
    order = sorted(range(len(data)), key=lambda i: (len(data[i].ids) // BUCKET, rng.random()))
    halves = [order[i : i + half] for i in range(0, len(order), half)]
    rng.shuffle(halves)
    for i in range(0, len(halves), 2):
        yield [data[j] for part in halves[i : i + 2] for j in part]


def _batch(rows: list[Example], pad: int) -> dict[str, Any]:
    width = max(len(row.ids) for row in rows)

    def padded(values: list[list[int]], filler: int) -> Any:
        return torch.tensor([value + [filler] * (width - len(value)) for value in values])

    return {
        "input_ids": padded([row.ids for row in rows], pad),
        "attention_mask": padded([[1] * len(row.ids) for row in rows], 0),
        "labels": padded([[IGNORED] * row.head + row.ids[row.head :] for row in rows], IGNORED),
    }
