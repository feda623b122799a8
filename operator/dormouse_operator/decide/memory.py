"""What a served model takes on each device: weights, KV cache, overhead. Pure arithmetic, all in bytes.

The KV cache follows the engine's own accounting (vLLM 0.32, v1/core/kv_cache_utils.py and v1/kv_cache_interface.py),
so that what is promised here is what the engine then finds enough:

    a token in a layer   heads on the device x width x bytes of a number
    a layer, all tokens  ceil(tokens / 16) blocks of 16 tokens
    a windowed layer     ceil(min(window - 1 + batches in flight, tokens) / 16) + 1 blocks
    a model              layers in equal groups, each padded to the group's size; one block more is never used

The overhead is an estimate: nothing but a start on the real device tells it. Its parts are named below.
"""

from dataclasses import dataclass

from dormouse_api.anatomy import Anatomy, CacheLayers

GIB = 2**30
BLOCK = 16
"""Tokens of a KV block."""
BATCHES_IN_FLIGHT = 2
"""Asynchronous scheduling prepares a batch while another runs, and a window frees nothing before a batch is done."""
BATCH_TOKENS = 2048
LARGE_BATCH_TOKENS, LARGE_DEVICE = 8192, 70 * GIB
"""vLLM's own default of --max-num-batched-tokens, for a server, below and from this device memory on."""
DEVICE_BYTES = GIB
"""The driver's context and the kernels (about 0.5 GiB), CUDA graphs and the allocator's holes (about 0.5 GiB)."""
PEER_BYTES = GIB // 2
"""Buffers of the collective operations, where several devices share a model."""
SENSES_BYTES = GIB // 2
"""The encoder's work on a picture or a sound."""
SAMPLER_BYTES = 24
"""Per sequence and word of the vocabulary: logits in float32, their sorted copy and its 64-bit places, and the
probabilities and sums over them."""


@dataclass(frozen=True)
class Terms:
    """What the memory depends on beside the model's anatomy."""

    devices: int = 1
    slots: int = 64
    """Sequences decoded at once."""
    batch_tokens: int = BATCH_TOKENS
    number_bytes: int = 2
    """Bytes of one number in the KV cache."""


@dataclass(frozen=True)
class Cache:
    """The KV cache of one sequence on each device, as a function of its length."""

    rows: tuple[tuple[int, int | None], ...]
    """Per kind of layer: bytes of one block in all its layers, padding included, and the most blocks it keeps."""
    spare: int
    """Bytes of the block that is never used."""

    def bytes(self, tokens: int) -> int:
        """Bytes of a sequence of `tokens`."""
        if tokens <= 0 or not self.rows:
            return 0
        blocks, total = -(-tokens // BLOCK), self.spare
        for size, most in self.rows:
            total += size * (blocks if most is None else min(blocks + 1, most))
        return total

    def longest(self, budget: int, most: int) -> int:
        """The longest sequence, up to `most` tokens, whose cache fits `budget` bytes."""
        low, high = 0, max(0, most)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.bytes(middle) <= budget else (low, middle - 1)
        return low


def kv_cache(anatomy: Anatomy, terms: Terms) -> Cache:
    """The cache of a model whose layers are known."""
    groups = anatomy.cache or []
    if not groups:
        return Cache((), 0)
    size = group_size([group.layers for group in groups])
    rows = tuple((-(-g.layers // size) * size * _block_bytes(g, terms), _most_blocks(g, terms)) for g in groups)
    return Cache(rows, size * max(_block_bytes(group, terms) for group in groups))


def group_size(layers: list[int]) -> int:
    """Layers that share a block table: as many as the rarest kind has, or all where the kinds are about equal."""
    least, most = min(layers), max(layers)
    return most if most < least * 1.5 else least


def overhead_bytes(anatomy: Anatomy | None, terms: Terms, senses: bool) -> int:
    """Everything else on each device: a batch's activations or the sampler's tables, whichever is more, and the fixed
    parts."""
    known = anatomy or Anatomy()
    hidden, feed, words = known.hidden_size or 0, known.intermediate_size or 0, known.vocabulary or 0
    # residual, its norm, and attention's input and output, beside gate, up and their product; 16 bits each
    activations = terms.batch_tokens * 2 * (4 * hidden + 3 * feed // terms.devices)
    sampling = terms.slots * words * SAMPLER_BYTES
    peers = PEER_BYTES if terms.devices > 1 else 0
    return DEVICE_BYTES + max(activations, sampling) + peers + (SENSES_BYTES if senses else 0)


def adapter_bytes(anatomy: Anatomy | None, rank: int, slots: int) -> int:
    """Room that an engine keeps for adapters on a device: for each slot both halves, of the highest rank, of the four
    matrices of attention and the three of the feed-forward, 16 bits a number. 0 where nobody knows its shape."""
    known = anatomy or Anatomy()
    hidden, feed = known.hidden_size or 0, known.intermediate_size or 0
    layers = sum(group.layers for group in known.cache or ())
    return slots * layers * rank * 2 * (4 * 2 * hidden + 3 * (hidden + feed))


def splits(anatomy: Anatomy | None, devices: int) -> bool:
    """Whether the attention heads can be shared out evenly over `devices`: tensor parallelism needs it."""
    heads = anatomy.attention_heads if anatomy else None
    if devices == 1 or not heads:
        return True
    kv = max((group.heads for group in (anatomy.cache if anatomy else None) or ()), default=1)
    return heads % devices == 0 and (kv % devices == 0 or devices % kv == 0)


def default_batch_tokens(device_bytes: int) -> int:
    """The engine's default on a device of this size."""
    return LARGE_BATCH_TOKENS if device_bytes >= LARGE_DEVICE else BATCH_TOKENS


def _block_bytes(group: CacheLayers, terms: Terms) -> int:
    heads = -(-group.heads // terms.devices)
    return BLOCK * heads * group.width * terms.number_bytes


def _most_blocks(group: CacheLayers, terms: Terms) -> int | None:
    if group.window is None:
        return None
    return -(-(group.window - 1 + BATCHES_IN_FLIGHT * terms.batch_tokens) // BLOCK) + 1
