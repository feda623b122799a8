"""A random Llama big enough that the model and not Python is what is measured. Runs in the engine's environment.

    python -m bench.engines.midsize FOLDER --width 768 --layers 10

These are 73 M parameters; about 12 x width x width x layers. The tokenizer is the sample models' own, so that any
text can be asked.
"""

import argparse
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from dev.models.words import CONTEXT, make_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--layers", type=int, required=True)
    options = parser.parse_args()
    build(options.folder, options.width, options.layers)


def build(out: Path, width: int, layers: int) -> None:
    """Write weights (bf16), configuration and tokenizer to `out`."""
    torch.manual_seed(7)
    tokenizer = make_tokenizer()
    shape = LlamaConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=width,
        intermediate_size=width * 8 // 3 // 64 * 64,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(shape).to(torch.bfloat16)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main()
