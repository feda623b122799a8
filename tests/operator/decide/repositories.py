"""Real repositories as inspection sees them: config.json's numbers, and every tensor of their weights by its shape.

configs/*.json hold the keys that matter of each published config.json (facts: numbers only; what Gemma 3's leaves out
is left out), and `total_size`, the bytes that the repository's own model.safetensors.index.json states (Gemma 3's: two
bytes for each of the 12,187,325,040 parameters the hub counts). The shapes below follow from the numbers; that they add
up to `total_size` to the byte shows that both are right (test_fit_table.py).
"""

import functools
import json
from pathlib import Path
from typing import Any

from dormouse_api.results import InspectResult
from dormouse_operator.decide.facts import Facts, from_result
from dormouse_runtime.pull.anatomy import anatomy
from dormouse_runtime.pull.describe import Papers, describe
from dormouse_runtime.quantize.layout import Tensor
from tests.operator.builders import COMMIT, model

Object = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]

CONFIGS = Path(__file__).with_name("configs")
NAMES = sorted(path.stem for path in CONFIGS.glob("*.json"))


def repository(name: str) -> Object:
    """`repository`, `total_size` and `config` of one of NAMES."""
    loaded: Object = json.loads((CONFIGS / f"{name}.json").read_text())
    return loaded


def tensors(config: Object) -> list[Tensor]:
    """Every tensor of the repository's weights."""
    if config["model_type"] == "gpt_oss":
        return [*_bf16(_gpt_oss(config)), *_packed(config)]
    if config["model_type"] == "gemma3":
        return _bf16(_gemma3(config))
    return _bf16(_dense(config))


@functools.cache
def facts(name: str) -> Facts:
    """What the operator knows after the inspect Job."""
    there = repository(name)
    config, heads = there["config"], {"model.safetensors": tensors(there["config"])}
    known = describe(Papers(config=config))
    result = InspectResult(
        commit=COMMIT,
        files=1,
        bytes=there["total_size"],
        architecture=known.architecture,
        dtype=known.dtype,
        native_quantization=known.native_quantization,
        context_length=known.context_length,
        capabilities=known.capabilities,
        anatomy=anatomy(config, heads),
    )
    return from_result(model(), InspectResult.model_validate_json(result.model_dump_json()))


def _bf16(shapes: Shapes) -> list[Tensor]:
    return [Tensor(name, "BF16", shape) for name, shape in shapes.items()]


def _attention(config: Object, at: str, *, norms: bool, biases: bool) -> Shapes:
    hidden, heads, kv = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
    size = config.get("head_dim", hidden // heads)
    shapes: Shapes = {
        f"{at}.q_proj.weight": (heads * size, hidden),
        f"{at}.k_proj.weight": (kv * size, hidden),
        f"{at}.v_proj.weight": (kv * size, hidden),
        f"{at}.o_proj.weight": (hidden, heads * size),
    }
    if norms:
        shapes |= {f"{at}.q_norm.weight": (size,), f"{at}.k_norm.weight": (size,)}
    if biases:
        shapes |= {f"{at}.{part}_proj.bias": shapes[f"{at}.{part}_proj.weight"][:1] for part in "qkv"}
    return shapes


def _gated(at: str, hidden: int, width: int) -> Shapes:
    return {
        f"{at}.gate_proj.weight": (width, hidden),
        f"{at}.up_proj.weight": (width, hidden),
        f"{at}.down_proj.weight": (hidden, width),
    }


def _dense(config: Object) -> Shapes:
    """Llama, Mistral, Qwen2 and Qwen3 with experts: the same plan with a few differences."""
    hidden, kind = config["hidden_size"], config["model_type"]
    shapes: Shapes = dict.fromkeys(("model.embed_tokens.weight", "lm_head.weight"), (config["vocab_size"], hidden))
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        norms, biases = kind.startswith("qwen3"), kind == "qwen2"
        shapes |= _attention(config, f"{at}.self_attn", norms=norms, biases=biases)
        shapes |= {f"{at}.input_layernorm.weight": (hidden,), f"{at}.post_attention_layernorm.weight": (hidden,)}
        if experts := config.get("num_experts"):
            shapes[f"{at}.mlp.gate.weight"] = (experts, hidden)
            for expert in range(experts):
                shapes |= _gated(f"{at}.mlp.experts.{expert}", hidden, config["moe_intermediate_size"])
        else:
            shapes |= _gated(f"{at}.mlp", hidden, config["intermediate_size"])
    return shapes | {"model.norm.weight": (hidden,)}


def _gemma3(config: Object) -> Shapes:
    text, vision = {"head_dim": 256, "vocab_size": 262_208} | config["text_config"], config["vision_config"]
    hidden, at = text["hidden_size"], "language_model.model"
    shapes: Shapes = {f"{at}.embed_tokens.weight": (text["vocab_size"], hidden), f"{at}.norm.weight": (hidden,)}
    norms = ("input", "post_attention", "pre_feedforward", "post_feedforward")
    for layer in range(text["num_hidden_layers"]):
        inside = f"{at}.layers.{layer}"
        shapes |= _attention(text, f"{inside}.self_attn", norms=True, biases=False)
        shapes |= _gated(f"{inside}.mlp", hidden, text["intermediate_size"])
        shapes |= {f"{inside}.{norm}_layernorm.weight": (hidden,) for norm in norms}
    shapes |= _siglip(vision)
    return shapes | {
        "multi_modal_projector.mm_input_projection_weight": (vision["hidden_size"], hidden),
        "multi_modal_projector.mm_soft_emb_norm.weight": (vision["hidden_size"],),
    }


def _siglip(vision: Object) -> Shapes:
    at, wide, feed, patch = "vision_tower.vision_model", vision["hidden_size"], vision["intermediate_size"], 14
    shapes: Shapes = {
        f"{at}.embeddings.patch_embedding.weight": (wide, 3, patch, patch),
        f"{at}.embeddings.patch_embedding.bias": (wide,),
        f"{at}.embeddings.position_embedding.weight": ((vision["image_size"] // patch) ** 2, wide),
        f"{at}.post_layernorm.weight": (wide,),
        f"{at}.post_layernorm.bias": (wide,),
    }
    for layer in range(vision["num_hidden_layers"]):
        inside = f"{at}.encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {f"{inside}.self_attn.{part}.weight": (wide, wide), f"{inside}.self_attn.{part}.bias": (wide,)}
        shapes |= {f"{inside}.mlp.fc1.weight": (feed, wide), f"{inside}.mlp.fc1.bias": (feed,)}
        shapes |= {f"{inside}.mlp.fc2.weight": (wide, feed), f"{inside}.mlp.fc2.bias": (wide,)}
        for norm in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{inside}.{norm}.weight": (wide,), f"{inside}.{norm}.bias": (wide,)}
    return shapes


def _gpt_oss(config: Object) -> Shapes:
    """All but the experts' packed matrices."""
    hidden, experts, feed = config["hidden_size"], config["num_local_experts"], config["intermediate_size"]
    shapes: Shapes = dict.fromkeys(("model.embed_tokens.weight", "lm_head.weight"), (config["vocab_size"], hidden))
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        shapes |= _attention(config, f"{at}.self_attn", norms=False, biases=True)
        shapes |= {
            f"{at}.self_attn.o_proj.bias": (hidden,),
            f"{at}.self_attn.sinks": (config["num_attention_heads"],),
            f"{at}.input_layernorm.weight": (hidden,),
            f"{at}.post_attention_layernorm.weight": (hidden,),
            f"{at}.mlp.router.weight": (experts, hidden),
            f"{at}.mlp.router.bias": (experts,),
            f"{at}.mlp.experts.gate_up_proj_bias": (experts, 2 * feed),
            f"{at}.mlp.experts.down_proj_bias": (experts, hidden),
        }
    return shapes | {"model.norm.weight": (hidden,)}


def _packed(config: Object) -> list[Tensor]:
    """The experts in mxfp4: two numbers to a byte, and one scale of a byte for each 32 of them."""
    hidden, experts, feed = config["hidden_size"], config["num_local_experts"], config["intermediate_size"]
    found = []
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}.mlp.experts"
        for part, rows, width in (("gate_up_proj", 2 * feed, hidden), ("down_proj", hidden, feed)):
            found.append(Tensor(f"{at}.{part}_blocks", "U8", (experts, rows, width // 32, 16)))
            found.append(Tensor(f"{at}.{part}_scales", "U8", (experts, rows, width // 32)))
    return found
