"""transformers without a server: one prompt after the other, or in batches as they come. Runs in the engine's
environment, is told what to do by its arguments, and prints a line of JSON for each measurement.

    python -m bench.engines.plain FOLDER CLIENTS[,CLIENTS...]

A batch is padded to its longest prompt and decoded until its longest answer is made, for `generate` gives back no row
before that; only the tokens that were asked for count.
"""

import json
import sys
import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.engines.questions import Question, questions, total

MOST_ALONE = 8
"""Questions asked one after the other at most: their rate does not depend on how many wait."""


def main() -> None:
    folder, clients = sys.argv[1], [int(count) for count in sys.argv[2].split(",")]
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, device_map=device).eval()
    generate(model, tokenizer, questions(1)[:1])
    for count in clients:
        asked = questions(count)
        alone = asked[:MOST_ALONE]
        began = time.monotonic()
        for question in alone:
            generate(model, tokenizer, [question])
        tell("sequential", count, total(alone) / (time.monotonic() - began))
        if count == 1:
            continue  # a batch of one is no batch
        began = time.monotonic()
        for start in range(0, len(asked), count):
            generate(model, tokenizer, asked[start : start + count])
        tell("static", count, total(asked) / (time.monotonic() - began))


def generate(model: Any, tokenizer: Any, asked: list[Question]) -> None:
    """One call of `generate`; raises where it made fewer tokens than asked."""
    inputs = tokenizer([question.prompt for question in asked], return_tensors="pt", padding=True).to(model.device)
    length = max(question.tokens for question in asked)
    with torch.inference_mode():
        made = model.generate(**inputs, max_new_tokens=length, min_new_tokens=length, do_sample=False)
    if made.shape[1] - inputs["input_ids"].shape[1] != length:
        raise SystemExit(f"{made.shape[1] - inputs['input_ids'].shape[1]} tokens were made, {length} were asked for")


def tell(engine: str, clients: int, rate: float) -> None:
    print(json.dumps({"engine": engine, "clients": clients, "tokens_per_second": rate}), flush=True)


if __name__ == "__main__":
    main()
