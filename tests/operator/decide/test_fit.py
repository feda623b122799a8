"""What surrounds the table of real models: profiles that fix the cache, flags, unknown models, devices, copies."""

from typing import Any

import pytest

from dormouse_api.anatomy import Anatomy, CacheLayers
from dormouse_operator.decide.facts import Facts
from dormouse_operator.decide.fit import LEAST_CONTEXT, preflight, weight_bytes
from dormouse_operator.decide.memory import GIB, Terms, group_size, kv_cache, overhead_bytes, splits
from dormouse_operator.observed import Profile
from tests.operator.builders import facts, gpu, model, profile

# 10 GiB of weights, 160 KiB a token: 1,024 tokens are 160 MiB; the overhead is 1 GiB
LAYERS = CacheLayers(layers=40, heads=8, width=256)
PLAIN = Anatomy(tensor_bytes={"BF16": 10 * GIB}, copy_bytes={"int4": 4 * GIB}, cache=[LAYERS], attention_heads=32)
ROOM = {"context_length": 32_768, "bytes": 10 * GIB, "anatomy": PLAIN}


def card(memory: str = "24Gi", kv: str | None = None, **spec: Any) -> Profile:
    return gpu(memory, kvCacheMemory=kv, **spec)


def known(**more: Any) -> Facts:
    return facts(**(ROOM | more))


def test_the_message_holds_the_arithmetic() -> None:
    verdict = preflight(model(engine={"maxModelLen": 8192}), known(), card(maxNumSeqs=4), "none")
    assert verdict.fits
    # (512 + 1) blocks of 2.5 MiB, four times: 5,130 MiB
    assert verdict.message == (
        "10.0 GiB of weights + 5.0 GiB KV for 8,192 tokens x 4 + 1.0 GiB overhead = 16.0 of 24.0 GiB of profile cpu"
    )
    assert verdict.kv_bytes == 5130 * 2**20


def test_a_cache_that_nobody_fixes_leaves_a_twentieth_of_the_device_alone() -> None:
    verdict = preflight(model(engine={"maxModelLen": 8192}), known(), card(maxNumSeqs=64), "none")
    assert verdict.kv_bytes == int((24 - 10 - 1 - 24 / 20) * 1024) * 2**20


def test_one_sequence_may_use_what_is_left_alone_otherwise() -> None:
    # 24 - 10 - 1 = 13 GiB hold one of 83,200 tokens, though only 11.8 GiB would be shared out
    verdict = preflight(model(engine={"maxModelLen": 83_000}), known(context_length=131_072), card(), "none")
    assert verdict.fits
    assert verdict.kv_bytes > 11.8 * GIB


def test_without_an_asked_context_the_engine_takes_what_the_cache_holds() -> None:
    verdict = preflight(model(), known(context_length=131_072), card(), "none")
    # 11.8 GiB at 160 KiB a token
    assert "for 77,312 tokens x 1" in verdict.message
    assert preflight(model(), known(), card("11.2Gi"), "none").fits is False
    # 2,048 tokens and a block need 323 MiB
    assert preflight(model(), known(), card("11.4Gi"), "none").fits
    assert LEAST_CONTEXT == 2048


@pytest.mark.parametrize(
    ("kv", "context", "fits", "says"),
    [
        ("8Gi", 8192, True, "8.0 GiB KV for 8,192 tokens x 6"),
        ("1Gi", 8192, False, "1.0 GiB KV (where 8,192 tokens need 1.3 GiB)"),
        ("1Gi", 8192, False, "set engine.maxModelLen at most 6,400"),
        ("1Gi", 8192, False, "set the profile's kvCacheMemory from 1283Mi to 13312Mi, or leave it out"),
        ("14Gi", 8192, False, "= 25.0 GiB, more than the 24.0 GiB of profile cpu"),
        ("14Gi", 8192, False, "kvCacheMemory from 1283Mi to 13312Mi"),
    ],
)
def test_a_profile_that_fixes_the_cache(kv: str, context: int, fits: bool, says: str) -> None:
    verdict = preflight(model(engine={"maxModelLen": context}), known(), card(kv=kv), "none")
    assert verdict.fits is fits
    assert says in verdict.message


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--kv-cache-dtype=fp8"], "2.5 GiB KV for 8,192 tokens x 4"),
        (["--kv-cache-dtype=auto"], "5.0 GiB KV for 8,192 tokens x 4"),
        (["--max-num-seqs=2"], "2.5 GiB KV for 8,192 tokens x 2"),
        (["--max-num-seqs=no"], "x 4"),
    ],
)
def test_the_engines_flags_count(args: list[str], says: str) -> None:
    verdict = preflight(model(engine={"maxModelLen": 8192, "args": args}), known(), card(maxNumSeqs=4), "none")
    assert says in verdict.message


def test_the_administrators_flags_count_too() -> None:
    spared = card("12Gi", args=["--cpu-offload-gb=4", "--max-model-len=4096"])
    verdict = preflight(model(engine={"maxModelLen": 32_768}), known(), spared, "none")
    assert "6.0 GiB of weights" in verdict.message
    assert "for 4,096 tokens" in verdict.message


def test_int4_with_a_shorter_context_where_neither_alone_would_do() -> None:
    refused = preflight(model(engine={"maxModelLen": 32_768}), known(), card("8Gi"), "none")
    # 8 - 4 - 1 = 3 GiB for one sequence
    assert "set quantization int4 with engine.maxModelLen at most 19,456" in refused.message
    assert preflight(model(engine={"maxModelLen": 19_456}), known(), card("8Gi"), "int4").fits


def test_what_cannot_be_copied_or_is_quantized_already_is_not_advised_int4() -> None:
    for anatomy in (PLAIN.model_copy(update={"copy_bytes": {}}), PLAIN):
        native = None if anatomy.copy_bytes == {} else "gptq"
        there = known(anatomy=anatomy, native_quantization=native)
        refused = preflight(model(engine={"maxModelLen": 8192}), there, card("8Gi"), native or "none")
        assert refused.fits is False
        assert "int4" not in refused.message


def test_a_profile_without_an_accelerator_is_not_measured() -> None:
    verdict = preflight(model(engine={"maxModelLen": 512}), known(), profile(), "none")
    assert verdict.fits is None
    assert verdict.message.endswith("profile cpu names no accelerator memory to compare this with")
    assert verdict.kv_bytes == GIB


def test_a_model_whose_layers_are_not_known() -> None:
    for there in (known(anatomy=None), known(anatomy=Anatomy())):
        verdict = preflight(model(), there, card(), "none")
        assert verdict.fits is None
        assert verdict.kv_bytes == int((24 - 10 - 1 - 24 / 20) * 1024) * 2**20
        refused = preflight(model(), there, card("11Gi"), "none")
        assert refused.fits is False
        assert "int4 (4.8 GiB in all)" in refused.message


def test_an_encoder_needs_no_cache_and_the_engine_is_not_told_to_take_all_there_is() -> None:
    encoder = facts(bytes=GIB, anatomy=Anatomy(tensor_bytes={"F16": GIB}, cache=[]), context_length=512)
    verdict = preflight(model(), encoder, card("4Gi"), "none")
    assert verdict.fits
    assert verdict.kv_bytes == GIB // 4


def test_heads_must_be_shared_out_evenly() -> None:
    verdict = preflight(model(), known(), card(count=3), "none")
    assert verdict.fits is False
    assert "32 attention heads cannot be shared out over 3 devices" in verdict.message
    assert "accelerator.count 1, 2, 4, 8, 16" in verdict.message


@pytest.mark.parametrize(
    ("heads", "kv", "devices", "even"),
    [(32, 8, 2, True), (32, 8, 16, True), (40, 8, 16, False), (28, 4, 8, False), (32, 8, 3, False), (12, 6, 4, False)],
)
def test_splits(heads: int, kv: int, devices: int, even: bool) -> None:
    cache = [CacheLayers(layers=1, heads=kv, width=2)]
    assert splits(Anatomy(attention_heads=heads, cache=cache), devices) is even
    assert splits(None, devices)


@pytest.mark.parametrize(
    ("cache", "tokens", "devices", "expected"),
    [
        # every device keeps its share of the heads, at least one
        ([(2, 8, 256, None)], 32, 1, (2 + 1) * 2 * 16 * 8 * 256 * 2),
        ([(2, 8, 256, None)], 32, 4, (2 + 1) * 2 * 16 * 2 * 256 * 2),
        ([(2, 8, 256, None)], 32, 16, (2 + 1) * 2 * 16 * 1 * 256 * 2),
        # a latent is not shared out (DeepSeek V3: 61 layers of 512 + 64)
        ([(61, 1, 576, None)], 1600, 8, (100 + 1) * 61 * 16 * 576 * 2),
        # 4,000 tokens of a window of 1,024: 1,023 and two batches are 5,119, more than there are: 250 blocks and one
        ([(4, 1, 2, 1024)], 4000, 1, (250 + 1 + 1) * 4 * 16 * 2 * 2),
        # 10 full, 52 windowed (Gemma 3 27B): groups of 10, the last of six padded with 8
        ([(10, 1, 2, None), (52, 1, 2, 1024)], 16_000, 1, 10 * (1000 + 6 * 321 + 1) * 16 * 2 * 2),
        ([], 8192, 1, 0),
        ([(2, 8, 256, None)], 0, 1, 0),
    ],
)
def test_the_cache_of_one_sequence(
    cache: list[tuple[int, int, int, int | None]], tokens: int, devices: int, expected: int
) -> None:
    layers = [CacheLayers(layers=n, heads=heads, width=width, window=window) for n, heads, width, window in cache]
    assert kv_cache(Anatomy(cache=layers), Terms(devices=devices)).bytes(tokens) == expected


@pytest.mark.parametrize(("layers", "size"), [([32], 32), ([12, 12], 12), ([12, 13], 13), ([8, 40], 8), ([10, 15], 10)])
def test_layers_that_share_a_block_table(layers: list[int], size: int) -> None:
    assert group_size(layers) == size


def test_the_longest_is_the_longest() -> None:
    cache = kv_cache(PLAIN, Terms())
    budget = cache.bytes(5000)
    found = cache.longest(budget, 32_768)
    assert found == 5008  # the last block's end
    assert cache.bytes(found) <= budget < cache.bytes(found + 1)
    assert cache.longest(budget, 4000) == 4000
    assert cache.longest(0, 4000) == 0


def test_overhead() -> None:
    wide = Anatomy(hidden_size=4096, intermediate_size=14_336, vocabulary=128_256)
    assert overhead_bytes(None, Terms(), senses=False) == GIB
    assert overhead_bytes(None, Terms(devices=2), senses=True) == 2 * GIB
    assert overhead_bytes(wide, Terms(slots=256), senses=False) == GIB + 256 * 128_256 * 24
    assert overhead_bytes(wide, Terms(batch_tokens=8192), senses=False) == GIB + 8192 * 2 * (4 * 4096 + 3 * 14_336)


@pytest.mark.parametrize(
    ("stored", "native", "quantization", "dtype", "expected"),
    [
        ({"BF16": 100}, None, "none", "auto", 100),
        ({"F32": 100, "BF16": 10}, None, "none", "auto", 60),
        ({"BF16": 100}, None, "none", "float32", 200),
        ({"F32": 100}, None, "none", "float32", 100),
        ({"U8": 90, "F32": 10}, "gptq", "gptq", "auto", 100),
        ({"BF16": 100}, None, "int8", "auto", 60),
        ({"F32": 200}, None, "llm-int8", "auto", 60),
        ({"BF16": 100}, None, "nf4", "auto", 35),
    ],
)
def test_weights_in_memory(
    stored: dict[str, int], native: str | None, quantization: str, dtype: str, expected: int
) -> None:
    there = facts(anatomy=Anatomy(tensor_bytes=stored), native_quantization=native)
    assert weight_bytes(there, quantization, dtype) == expected
