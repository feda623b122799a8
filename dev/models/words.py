"""The tokenizer of the tiny models: byte-level BPE trained on their own conversations, with ChatML and tool tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from dev.models.conversations import COMPLETIONS, conversations

VOCABULARY = 1024
CONTEXT = 2048
PADDING, END_OF_TURN = "<|endoftext|>", "<|im_end|>"
TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def make_tokenizer(context: int = CONTEXT) -> Any:
    """A fast tokenizer whose end-of-sequence is the end of a chat turn."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _texts(),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            special_tokens=[PADDING, "<|im_start|>", END_OF_TURN],
        ),
    )
    tags = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in tags])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN,
        pad_token=PADDING,
        bos_token=None,
        chat_template=TEMPLATE.read_text(),
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def _texts() -> list[str]:
    turns = [m["content"] + " " + json.dumps(m.get("tool_calls", "")) for c in conversations() for m in c.messages]
    return [*turns, *(prompt + rest for prompt, rest in COMPLETIONS.items())]
