"""Tiny random models that vLLM does not serve: `python -m ... FOLDER TOKENS PROMPT...`, in the engine's Python.

Prints, as JSON, what transformers itself makes of each prompt alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from dev.models.words import make_tokenizer


def main() -> None:
    folder, tokens, prompts = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    tokenizer = make_tokenizer()
    torch.manual_seed(7)
    common: dict[str, Any] = {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
    }
    bart = BartConfig(
        d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=128, decoder_ffn_dim=128, max_position_embeddings=256, init_std=0.3,
        bos_token_id=tokenizer.pad_token_id, forced_eos_token_id=None, **common,
    )  # fmt: skip
    t5 = T5Config(d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, **common)
    made = {"t5": T5ForConditionalGeneration(t5), "bart": BartForConditionalGeneration(bart)}
    told = {}
    for name, model in made.items():
        model.eval().save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        told[name] = [alone(model, tokenizer, prompt, tokens) for prompt in prompts]
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    sys.stdout.write(f"ANSWERS {json.dumps(told)}\n")


def alone(model: Any, tokenizer: Any, prompt: str, tokens: int) -> str:
    ids = tokenizer(prompt, return_tensors="pt")
    made = model.generate(
        input_ids=ids["input_ids"], attention_mask=ids["attention_mask"], do_sample=False, max_new_tokens=tokens,
        eos_token_id=None,
    )  # fmt: skip
    text: str = tokenizer.decode(made[0][1:], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


if __name__ == "__main__":
    main()
