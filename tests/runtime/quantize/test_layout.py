"""Which tensors a copy holds, by name and shape alone."""

from __future__ import annotations

import re

import pytest

from dormouse_runtime.quantize import layout
from dormouse_runtime.quantize.layout import LayoutError, Tensor

LAYER = "model.layers.0."


def llama(width: int = 256, dtype: str = "BF16") -> list[Tensor]:
    return [
        Tensor("model.embed_tokens.weight", dtype, (1024, width)),
        Tensor(f"{LAYER}self_attn.q_proj.weight", dtype, (width, width)),
        Tensor(f"{LAYER}mlp.down_proj.weight", dtype, (width, 2 * width)),
        Tensor(f"{LAYER}input_layernorm.weight", dtype, (width,)),
        Tensor("lm_head.weight", dtype, (1024, width)),
    ]


def made(method: str, tensors: list[Tensor]) -> dict[str, tuple[str, tuple[int, ...]]]:
    planned = layout.plan(method, {"model.safetensors": tensors})
    return {t.name: (t.dtype, t.shape) for part in planned.files["model.safetensors"] for t in part.becomes}


def test_int4_packs_linear_layers_and_leaves_the_rest() -> None:
    down = f"{LAYER}mlp.down_proj."
    copy = made("int4", llama())
    assert copy[f"{down}weight_packed"] == ("I32", (256, 64))
    assert copy[f"{down}weight_scale"] == ("BF16", (256, 4))
    assert copy[f"{down}weight_shape"] == ("I64", (2,))
    assert f"{down}weight" not in copy
    for kept in ("model.embed_tokens.weight", "lm_head.weight", f"{LAYER}input_layernorm.weight"):
        assert copy[kept][0] == "BF16"


@pytest.mark.parametrize(("method", "dtype"), [("int8", "I8"), ("fp8", "F8_E4M3")])
def test_eight_bits_have_one_scale_per_row(method: str, dtype: str) -> None:
    copy = made(method, llama())
    assert copy[f"{LAYER}self_attn.q_proj.weight"] == (dtype, (256, 256))
    assert copy[f"{LAYER}self_attn.q_proj.weight_scale"] == ("F32", (256, 1))


@pytest.mark.parametrize(
    ("widths", "group"), [((256, 512), 128), ((192, 384), 64), ((96, 288), 32), ((100,), 32), ((4096, 11008), 128)]
)
def test_the_group_divides_every_width(widths: tuple[int, ...], group: int) -> None:
    assert layout.group_size(widths) == group


def test_a_layer_of_odd_width_stays_and_the_engine_is_told() -> None:
    odd = Tensor("model.layers.0.mlp.odd_proj.weight", "BF16", (64, 100))
    planned = layout.plan("int4", {"a": [*llama(), odd]})
    assert not next(part for part in planned.files["a"] if part.source is odd).quantized
    (pattern,) = [entry for entry in planned.config["ignore"] if "odd_proj" in entry]
    assert re.match(pattern.removeprefix("re:"), "model.layers.27.mlp.odd_proj")
    assert not re.match(pattern.removeprefix("re:"), "model.layers.27.mlp.down_proj")


@pytest.mark.parametrize(
    ("name", "shape", "linear"),
    [
        ("model.layers.3.mlp.gate_proj.weight", (8, 8), True),
        ("model.layers.3.block_sparse_moe.experts.0.w2.weight", (8, 8), True),
        ("transformer.layers.3.attn.query_key_value.weight", (8, 8), True),
        ("model.layers.3.block_sparse_moe.gate.weight", (8, 8), False),
        ("model.layers.3.mlp.gate_proj.bias", (8,), False),
        ("model.layers.3.self_attn.q_proj.weight", (8, 8, 1), False),
        ("vision_tower.encoder.layers.3.mlp.fc1.weight", (8, 8), False),
        ("transformer.h.3.attn.c_proj.weight", (8, 8), False),
        ("lm_head.weight", (8, 8), False),
    ],
)
def test_only_matrices_of_the_language_models_layers(name: str, shape: tuple[int, ...], linear: bool) -> None:
    assert layout.is_linear(Tensor(name, "BF16", shape)) is linear


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ([Tensor("transformer.h.0.attn.c_attn.weight", "F32", (8, 8))], "no linear layer"),
        ([*llama(), Tensor("model.layers.0.mlp.experts.gate_up_proj", "BF16", (4, 8, 8))], "all experts in one tensor"),
    ],
)
def test_what_no_kernel_could_load_is_refused_with_the_way_out(tensors: list[Tensor], words: str) -> None:
    with pytest.raises(LayoutError, match=words) as refused:
        layout.plan("int4", {"a": tensors})
    assert "use quantization none" in str(refused.value)


def test_sizes_are_known_before_a_byte_is_written() -> None:
    full, int4 = llama(), layout.plan("int4", {"a": llama()})
    assert int4.source_bytes == sum(tensor.bytes for tensor in full)
    quarter = sum(tensor.bytes for tensor in full[1:3]) // 4
    scales = 256 * (2 + 4) * 2 + 2 * 16
    assert int4.bytes == full[0].bytes + full[3].bytes + full[4].bytes + quarter + scales
