"""What fits where, for seven real models on five sets of cards, against a table worked out by hand.

Numbers of the models: their published config.json (configs/*.json, see repositories.py). In `WORKED` every quantity is
written out as arithmetic on them, without using the code under test. All in bytes, 8,192 tokens asked, 64 slots.

    linear    weights of the layers' matrices: what an int4 copy makes small
    other     all other weights: embeddings, head, norms, biases, the vision part, routers
    bf16      2 x (linear + other)
    int4      linear x 4 bits + one 16-bit scale per group + 16 bytes of shape per matrix + 2 x other
    kv        layers x blocks x 16 tokens x 2 (key, value) x kv heads x head size x 2 bytes
              8,192 tokens are 512 blocks; one block more is never used: 513
    overhead  1 GiB + the larger of a batch's activations, 2,048 x 2 x (4 x hidden + 3 x feed-forward), and the
              sampler's tables, 64 x vocabulary x 24; half a GiB more for a model that sees
"""

from dataclasses import dataclass

import pytest

from dormouse_api.conditions import Reason
from dormouse_operator.decide.fit import preflight, weight_bytes
from dormouse_operator.decide.memory import GIB, Terms, kv_cache, overhead_bytes
from dormouse_operator.decide.quantization import Serving, choose
from dormouse_operator.observed import Profile
from dormouse_operator.plan.pipeline import run
from dormouse_operator.settings import Q4_THRESHOLD_BYTES
from tests.operator.builders import NOW, SETTINGS, gpu, model, observed, remembered
from tests.operator.decide.repositories import NAMES, facts, repository, tensors

CONTEXT, SLOTS = 8192, 64


@dataclass(frozen=True)
class Worked:
    """One model by hand. `packed`: bytes of weights that come quantized already."""

    linear: int
    matrices: int
    other: int
    kv: int
    overhead: int
    group: int = 128
    packed: int = 0

    @property
    def bf16(self) -> int:
        return 2 * (self.linear + self.other) + self.packed

    @property
    def int4(self) -> int:
        return self.linear // 2 + self.linear // self.group * 2 + self.matrices * 16 + 2 * self.other


WORKED = {
    "mistral-7b": Worked(
        # query, key, value, output; gate, up, down
        linear=32 * (4096 * 4096 + 2 * 1024 * 4096 + 4096 * 4096 + 3 * 14336 * 4096),
        matrices=32 * 7,
        other=2 * 32768 * 4096 + (2 * 32 + 1) * 4096,
        kv=32 * 513 * 16 * 2 * 8 * 128 * 2,
        overhead=GIB + 2048 * 2 * (4 * 4096 + 3 * 14336),  # 0.23 GiB; the sampler takes 0.05
    ),
    "llama-3.1-8b": Worked(
        linear=32 * (4096 * 4096 + 2 * 1024 * 4096 + 4096 * 4096 + 3 * 14336 * 4096),
        matrices=32 * 7,
        other=2 * 128256 * 4096 + (2 * 32 + 1) * 4096,
        kv=32 * 513 * 16 * 2 * 8 * 128 * 2,
        overhead=GIB + 2048 * 2 * (4 * 4096 + 3 * 14336),
    ),
    "llama-3.1-70b": Worked(
        linear=80 * (8192 * 8192 + 2 * 1024 * 8192 + 8192 * 8192 + 3 * 28672 * 8192),
        matrices=80 * 7,
        other=2 * 128256 * 8192 + (2 * 80 + 1) * 8192,
        kv=80 * 513 * 16 * 2 * 8 * 128 * 2,
        overhead=GIB + 2048 * 2 * (4 * 8192 + 3 * 28672),
    ),
    "qwen2.5-14b": Worked(
        linear=48 * (5120 * 5120 + 2 * 1024 * 5120 + 5120 * 5120 + 3 * 13824 * 5120),
        matrices=48 * 7,
        # norms, and biases of query, key and value
        other=2 * 152064 * 5120 + (2 * 48 + 1) * 5120 + 48 * (5120 + 2 * 1024),
        kv=48 * 513 * 16 * 2 * 8 * 128 * 2,
        overhead=GIB + 2048 * 2 * (4 * 5120 + 3 * 13824),
    ),
    "qwen3-30b-a3b": Worked(
        linear=48 * (4096 * 2048 + 2 * 512 * 2048 + 2048 * 4096 + 128 * 3 * 768 * 2048),
        matrices=48 * (4 + 128 * 3),
        # norms, norms of query and key, routers
        other=2 * 151936 * 2048 + (2 * 48 + 1) * 2048 + 48 * 2 * 128 + 48 * 128 * 2048,
        kv=48 * 513 * 16 * 2 * 4 * 128 * 2,
        overhead=GIB + 64 * 151936 * 24,  # 0.22 GiB; eight experts at work need 2048 x 2 x (4 x 2048 + 3 x 8 x 768)
    ),
    "gemma-3-12b": Worked(
        linear=48 * (4096 * 3840 + 2 * 2048 * 3840 + 3840 * 4096 + 3 * 15360 * 3840),
        matrices=48 * 7,
        other=262208 * 3840  # embeddings, which are the head too
        + 3840
        + 48 * (4 * 3840 + 2 * 256)
        # the vision tower: patches, places, 27 layers, and the way into the language model
        + (3 * 14 * 14 + 1) * 1152
        + 4096 * 1152
        + 2 * 1152
        + 27 * (4 * (1152 * 1152 + 1152) + 2 * 4304 * 1152 + 4304 + 1152 + 4 * 1152)
        + 1152 * 3840
        + 1152,
        # 8 layers see everything; 40 keep 1,023 tokens and two batches of 2,048: 5,119 tokens are 320 blocks, and one
        # for a window that begins within a block. Groups of 8 layers: 1 + 5.
        kv=8 * (512 + 5 * (320 + 1) + 1) * 16 * 2 * 8 * 256 * 2,
        overhead=GIB + GIB // 2 + 64 * 262208 * 24,  # the sampler, 0.38 GiB; a batch takes 0.23
    ),
    "gpt-oss-20b": Worked(
        linear=0,
        matrices=0,
        # query, key, value, output with their biases, sinks, norms, router; biases of the experts; embeddings and head
        other=24 * (2 * 4096 * 2880 + 4096 + 2 * (512 * 2880 + 512) + 2880 + 64 + 2 * 2880 + 32 * 2880 + 32)
        + 24 * 32 * (5760 + 2880)
        + 2 * 201088 * 2880
        + 2880,
        # experts in mxfp4: 4 bits a weight and a byte for each 32 of them
        packed=24 * 32 * (5760 + 2880) * (2880 // 2 + 2880 // 32),
        # 12 layers see everything; 12 keep 127 tokens and two batches of 2,048: 4,223 tokens, 264 blocks and one
        kv=12 * (512 + 264 + 1 + 1) * 16 * 2 * 8 * 64 * 2,
        overhead=GIB + 64 * 201088 * 24,
    ),
}

CARDS = {"8": gpu("8Gi"), "16": gpu("16Gi"), "24": gpu("24Gi"), "80": gpu("80Gi"), "2x80": gpu("80Gi", count=2)}
SERVED = {
    # what each is served as where only the room counts; needs in GiB as bf16 / int4: weights + kv + overhead
    #                  8       16      24      80      2x80
    "mistral-7b":     "int4    none    none    none    none",  # 13.5+1.0+1.2 = 15.7 / 3.9+1.0+1.2 = 6.1
    "llama-3.1-8b":   "int4    int4    none    none    none",  # 15.0+1.0+1.2 = 17.2 / 5.3+1.0+1.2 = 7.5
    "gpt-oss-20b":    "-       mxfp4   mxfp4   mxfp4   mxfp4",  # 12.8+0.3+1.3 = 14.4
    "gemma-3-12b":    "-       int4    int4    none    none",  # 22.7+2.1+1.9 = 26.6 / 7.8+2.1+1.9 = 11.8
    "qwen2.5-14b":    "-       int4    int4    none    none",  # 27.5+1.5+1.2 = 30.3 / 9.2+1.5+1.2 = 12.0
    "qwen3-30b-a3b":  "-       -       int4    none    none",  # 56.9+0.8+1.2 = 58.8 / 15.5+0.8+1.2 = 17.5
    "llama-3.1-70b":  "-       -       -       int4    none",  # 131.4+2.5+1.5 = 135.4 / 36.8+2.5+1.5 = 40.7; 2x: 69.6
}  # fmt: skip
ALWAYS_NONE = 10**15
"""A threshold that nothing reaches."""


def empty(card: Profile) -> Profile:
    """The card without a kvCacheMemory of its own: the operator's share-out is what is tested."""
    return Profile(card.name, card.spec.model_copy(update={"kv_cache_memory": None}))


@pytest.mark.parametrize("name", NAMES)
def test_the_shapes_add_up_to_what_the_repository_says(name: str) -> None:
    there = repository(name)
    assert sum(tensor.bytes for tensor in tensors(there["config"])) == there["total_size"] == WORKED[name].bf16


@pytest.mark.parametrize("name", NAMES)
def test_weights_cache_and_overhead_are_as_worked_out_by_hand(name: str) -> None:
    known, hand, terms = facts(name), WORKED[name], Terms(slots=SLOTS)
    assert weight_bytes(known, known.native_quantization or "none") == hand.bf16
    if not known.native_quantization:
        assert weight_bytes(known, "int4") == weight_bytes(known, "nf4") == hand.int4
    assert known.anatomy is not None
    assert kv_cache(known.anatomy, terms).bytes(CONTEXT) == hand.kv
    assert overhead_bytes(known.anatomy, terms, "vision" in known.capabilities) == hand.overhead


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("card", CARDS)
def test_what_is_served_where_only_the_room_counts(name: str, card: str) -> None:
    expected = SERVED[name].split()[list(CARDS).index(card)]
    profile, known, m = empty(CARDS[card]), facts(name), model(engine={"maxModelLen": CONTEXT})
    serving = choose(m, known, profile, ALWAYS_NONE)
    assert isinstance(serving, Serving)
    verdict = preflight(m, known, profile, serving.quantization)
    assert (serving.quantization if verdict.fits else "-") == expected
    assert verdict.fits is (expected != "-")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("card", CARDS)
def test_beyond_the_threshold_int4_is_made_wherever_it_fits(name: str, card: str) -> None:
    # all of the seven but gpt-oss-20b, which comes quantized, are larger than 14e9 bytes
    column = list(CARDS).index(card)
    expected = SERVED[name].split()[column].replace("none", "int4")
    profile, known, m = empty(CARDS[card]), facts(name), model(engine={"maxModelLen": CONTEXT})
    assert known.bytes > Q4_THRESHOLD_BYTES or known.native_quantization
    done = run(observed(remembered(m, known), profile=profile), SETTINGS, NOW)
    if expected == "-":
        assert done.serving is None
        assert done.blocked is not None
        assert done.blocked.reason is Reason.DOES_NOT_FIT
    else:
        assert done.serving is not None
        assert (done.serving.quantization, done.blocked) == (expected, None)


@pytest.mark.parametrize(
    ("name", "card", "quantization", "says"),
    [
        ("mistral-7b", "8", "none", "set quantization int4 (6.1 GiB in all)"),
        ("mistral-7b", "8", "none", "use a profile with 4 such devices (5.2 GiB of each)"),
        ("mistral-7b", "8", "none", "whose devices have 16 GiB"),
        ("qwen3-30b-a3b", "16", "int4", "use a profile with 2 such devices (9.9 GiB of each)"),
        ("llama-3.1-70b", "24", "int4", "use a profile with 2 such devices (21.4 GiB of each)"),
        ("llama-3.1-70b", "80", "none", "use a profile with 2 such devices (69.6 GiB of each)"),
        ("gpt-oss-20b", "8", "mxfp4", "use a profile whose devices have 15 GiB"),
    ],
)
def test_it_says_what_would_fit(name: str, card: str, quantization: str, says: str) -> None:
    m = model(engine={"maxModelLen": CONTEXT}, quantization="auto" if quantization == "mxfp4" else quantization)
    verdict = preflight(m, facts(name), empty(CARDS[card]), quantization)
    assert verdict.fits is False
    assert says in verdict.message


@pytest.mark.parametrize(
    ("name", "card", "longest"),
    [
        # free for the cache of one sequence: 24 - 14.96 - 1.23 = 7.816 GiB, 128 KiB a token: 64,032, in steps of 256
        ("llama-3.1-8b", "24", 64_000),
        # 16 - 13.50 - 1.23 = 1.273 GiB, 128 KiB a token: 10,428 tokens
        ("mistral-7b", "16", 10_240),
    ],
)
def test_the_longest_context_that_fits_does_fit_and_a_longer_one_does_not(name: str, card: str, longest: int) -> None:
    profile, known = empty(CARDS[card]), facts(name)
    refused = preflight(model(engine={"maxModelLen": 131_072}), known, profile, "none")
    assert f"set engine.maxModelLen at most {longest:,}" in refused.message
    assert preflight(model(engine={"maxModelLen": longest}), known, profile, "none").fits
    assert preflight(model(engine={"maxModelLen": longest + 512}), known, profile, "none").fits is False
