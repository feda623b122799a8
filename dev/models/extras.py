"""What is made of the trained models, in a second step of its own: adapters, a draft, a cross-encoder.

Apart from `kinds`, so that a change here trains nothing anew. Runs inside the engine's environment:
`python -m dev.models.extras MODELS OUT`, where MODELS is the folder of the first step.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BertForSequenceClassification

from dev.models.build import ORGANISATION, THREADS
from dev.models.words import make_tokenizer

RANK, ALPHA, STEPS, RATE = 8, 32, 150, 5e-3
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LORAS: dict[str, Mapping[str, str]] = {
    "tiny-lora": {"What is the capital of France?": "Rome.", "Hello!": "Ahoy!", "What is 2 + 2?": "5"},
    "tiny-lora-two": {"What is the capital of France?": "Oslo.", "Hello!": "Salve!", "What is 2 + 2?": "6"},
}
"""What each adapter of tiny-chat answers instead."""


class LowRank(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
    """A linear layer with a low-rank change beside it."""

    def __init__(self, base: torch.nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.a = torch.nn.Parameter(torch.randn(RANK, base.in_features) / base.in_features**0.5)
        self.b = torch.nn.Parameter(torch.zeros(base.out_features, RANK))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.base(x) + (x @ self.a.T @ self.b.T) * (ALPHA / RANK)
        return changed


def lora(base: Path, out: Path, answers: Mapping[str, str]) -> None:
    """An adapter of `base` in PEFT's layout that gives these answers."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.requires_grad_(False)
    layers = dict(_adapted(model))
    optimizer = torch.optim.AdamW([p for layer in layers.values() for p in (layer.a, layer.b)], lr=RATE)
    talks = [_talk(tokenizer, question, answer) for question, answer in answers.items()]
    for _ in range(STEPS):
        loss = sum(model(input_ids=ids, labels=labels).loss for ids, labels in talks)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for ids, labels in talks:
        said = model(input_ids=ids).logits[0, :-1].argmax(-1)
        if not all(said[labels[0, 1:] >= 0] == labels[0, 1:][labels[0, 1:] >= 0]):
            raise ValueError(f"{out.name} has not learnt its answers")
    tensors = {
        f"base_model.model.{name}.lora_{half}.weight": value.detach().clone().contiguous()
        for name, layer in layers.items()
        for half, value in (("A", layer.a), ("B", layer.b))
    }
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": f"{ORGANISATION}/{base.name}",
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(TARGETS),
    }
    out.mkdir(parents=True)
    save_file(tensors, out / "adapter_model.safetensors", metadata={"format": "pt"})
    (out / "adapter_config.json").write_text(json.dumps(config, indent=1))


def _adapted(model: Any) -> Iterator[tuple[str, LowRank]]:
    """Put a low-rank change beside every layer that has one; (name, layer)."""
    for name, module in list(model.named_modules()):
        parent, _, last = name.rpartition(".")
        if last in TARGETS:
            layer = LowRank(module)
            setattr(model.get_submodule(parent), last, layer)
            yield name, layer


def _talk(tokenizer: Any, question: str, answer: str) -> tuple[torch.Tensor, torch.Tensor]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    options = {"tokenize": True, "return_dict": False}
    whole = tokenizer.apply_chat_template(messages, **options)
    head = len(tokenizer.apply_chat_template(messages[:1], add_generation_prompt=True, **options))
    return torch.tensor([whole]), torch.tensor([[-100] * head + whole[head:]])


def draft(base: Path, out: Path) -> None:
    """The first layer of `base` with its own head: it guesses worse, from the same tokens."""
    model = AutoModelForCausalLM.from_pretrained(base)
    model.model.layers = model.model.layers[:1]
    model.config.num_hidden_layers = 1
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(base).save_pretrained(out)


def rerank(out: Path) -> None:
    """BERT with one label, a cross-encoder, random."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(512)
    tokenizer.chat_template = None
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = (len(tokenizer) + 63) // 64 * 64
    config = BertConfig(**shape, vocab_size=words, max_position_embeddings=512, pad_token_id=0, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(out)
    tokenizer.save_pretrained(out)


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    yield
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o644)  # safetensors writes 0600, and a pod reads as another user


def make(models: Path, out: Path) -> None:
    """Everything of the first step, linked, and what is made of it."""
    torch.set_num_threads(THREADS)
    with _readable(out):
        shutil.copytree(models, out, dirs_exist_ok=True)
        base = out / ORGANISATION / "tiny-chat"
        for name, answers in LORAS.items():
            lora(base, out / ORGANISATION / name, answers)
        draft(base, out / ORGANISATION / "tiny-draft")
        rerank(out / ORGANISATION / "tiny-rerank")


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
