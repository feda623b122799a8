"""The repositories the local hub offers: what each model is, from which architecture, trained or random."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertModel,
    CLIPTextConfig,
    CLIPTextModel,
    CodeGenConfig,
    CodeGenForCausalLM,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from dev.models import check, training
from dev.models.words import CONTEXT, make_tokenizer

HEADS, LAYERS, WIDTH = 4, 3, 128


def chat(out: Path) -> str:
    """Llama, 0.65 M parameters, trained."""
    tokenizer = make_tokenizer()
    model = LlamaForCausalLM(LlamaConfig(**_llama(tokenizer)))
    training.train(out.name, model, tokenizer, training.Schedule())
    _save(model, tokenizer, out)
    return check.check(out)


def odd(out: Path) -> str:
    """CodeGen, trained alike: transformers serves it, vLLM 0.32 knows no such architecture."""
    tokenizer = make_tokenizer()
    shape = {
        "n_embd": WIDTH,
        "n_inner": 2 * WIDTH,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_positions": CONTEXT,
        "rotary_dim": WIDTH // HEADS,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }
    model = CodeGenForCausalLM(CodeGenConfig(**_common(tokenizer), **shape))
    training.train(out.name, model, tokenizer, training.Schedule(steps=1000, rate=2e-3))
    _save(model, tokenizer, out)
    return check.check(out)


def moe(out: Path) -> str:
    """Mixtral with four experts, random."""
    tokenizer = make_tokenizer()
    shape = {**_llama(tokenizer), "num_hidden_layers": 2, "num_local_experts": 4, "num_experts_per_tok": 2}
    _save(MixtralForCausalLM(MixtralConfig(**shape)), tokenizer, out)
    return "random weights"


def heavy(out: Path) -> str:
    """A random Llama of about 48 MB in two files: big enough for a pull to be killed at half."""
    tokenizer = make_tokenizer()
    shape = {**_llama(tokenizer), "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8}
    _save(LlamaForCausalLM(LlamaConfig(**shape)), tokenizer, out, max_shard_size="36MB")
    return "random weights"


def embed(out: Path) -> str:
    """BERT with mean pooling in the sentence-transformers layout, random."""
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokenizer = make_tokenizer(512)
    tokenizer.chat_template = None
    model = BertModel(BertConfig(**shape, vocab_size=_padded(tokenizer), max_position_embeddings=512, pad_token_id=0))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    steps = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(steps)
    ]
    (out / "modules.json").write_text(json.dumps(modules))
    pooling = {"word_embedding_dimension": 64, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (out / "1_Pooling").mkdir()
    (out / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return "random weights"


def diffusion(out: Path) -> str:
    """Stable-Diffusion-shaped, random: the picture is noise, the code path is real."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    tokenizer = make_tokenizer(77)
    tokenizer.chat_template = None
    unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=32,
        norm_num_groups=8,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 32),
        norm_num_groups=8,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = {"vocab_size": _padded(tokenizer), "eos_token_id": tokenizer.eos_token_id, "max_position_embeddings": 77}
    StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=CLIPTextModel(CLIPTextConfig(**text, **ids)),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(out)
    return "random weights"


KINDS: dict[str, Callable[[Path], str]] = {
    "tiny-chat": chat,
    "tiny-odd": odd,
    "tiny-moe": moe,
    "tiny-embed": embed,
    "tiny-diffusion": diffusion,
    "heavy-random": heavy,
}


def _common(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": _padded(tokenizer),
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _llama(tokenizer: Any) -> dict[str, Any]:
    return {
        **_common(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
    }


def _padded(tokenizer: Any) -> int:
    return (len(tokenizer) + 63) // 64 * 64


def _save(model: Any, tokenizer: Any, out: Path, **options: Any) -> None:
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model.generation_config = GenerationConfig(**ids, do_sample=False)
    model.to(torch.bfloat16).save_pretrained(out, **options)
    tokenizer.save_pretrained(out)
