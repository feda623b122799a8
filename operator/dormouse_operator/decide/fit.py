"""Whether a model fits the accelerators of a profile, and what would. Pure.

On each device: its share of the weights + KV cache + overhead must be at most `accelerator.memory`. The KV cache must
hold at least one sequence of the asked context (`engine.maxModelLen`; unset, the engine shortens the context itself,
and LEAST_CONTEXT must do); what is left then holds more of them, up to maxNumSeqs. A profile that sets kvCacheMemory
gives the cache exactly that. `memory.py` has the formulas.
"""

import math
from dataclasses import dataclass, replace

from dormouse_api.anatomy import Anatomy
from dormouse_api.profile import Accelerator, Device
from dormouse_operator.decide import draft
from dormouse_operator.decide.alone import only_engine, room
from dormouse_operator.decide.facts import Facts
from dormouse_operator.decide.memory import (
    GIB,
    Cache,
    Terms,
    adapter_bytes,
    default_batch_tokens,
    kv_cache,
    overhead_bytes,
    splits,
)
from dormouse_operator.decide.quantities import to_bytes
from dormouse_operator.observed import Model, Profile

COPY_OF = {"int4": "int4", "nf4": "int4", "int8": "int8", "llm-int8": "int8", "fp8": "fp8"}
"""The method whose copy has the size: bitsandbytes stores the same bits a weight, within a hundredth."""
SHARE = {"int4": 0.35, "int8": 0.6, "fp8": 0.6}
"""Size of a copy against 16-bit weights where inspection could not work it out."""
NUMBER_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
LEAST_CONTEXT = 2048
"""Tokens below which a model that asks for no context of its own is not worth starting."""
LEAST_KV = GIB // 4
"""KV cache of a model of which nobody knows what a token takes."""
COUNTS = (1, 2, 4, 8, 16)
SPARE = 20
"""Part of a device (one in so many) that is left alone beyond one sequence: the overhead is an estimate."""
GUESSES = 4
"""At the size of a larger device: the second is right, unless what inspection found is nonsense."""
MIB = 2**20
MOST_DIGITS = 9
"""Of a flag's number: beyond a billion there is no count of anything."""
ROUND = 256
"""Contexts are recommended in steps of so many tokens."""


@dataclass(frozen=True)
class Preflight:
    """The verdict. `fits` is None where the profile or the model's files do not tell."""

    fits: bool | None
    message: str
    kv_bytes: int
    """KV cache of each device, for the engine."""
    planned_bytes: int | None = None
    """Memory of each device that all of it is expected to take."""


@dataclass(frozen=True)
class Case:
    """One way to serve a model on some devices; bytes are those of each device."""

    terms: Terms
    cache: Cache | None
    """None: nobody knows what a token takes."""
    weights: int
    overhead: int
    memory: int
    fixed_kv: int | None
    context: int | None
    """Tokens the spec asks for."""
    own: int
    """Tokens the model was made for."""

    @property
    def tokens(self) -> int:
        """The context that must be held, in tokens."""
        return self.context or min(self.own, LEAST_CONTEXT)

    @property
    def free(self) -> int:
        return self.memory - self.weights - self.overhead

    def one(self, tokens: int) -> int:
        """KV bytes of one sequence."""
        return LEAST_KV if self.cache is None else self.cache.bytes(tokens)

    @property
    def kv(self) -> int:
        """KV cache of each device: what the profile says, else what is free and of use."""
        if self.fixed_kv is not None:
            return self.fixed_kv
        of_use = self.one(self.context or self.own) * self.terms.slots if self.cache else self.free
        spared = min(self.free - self.memory // SPARE, of_use) // MIB * MIB
        # never 0, which an engine takes for "as much as there is": an encoder needs none and uses none
        return max(0, min(self.free, max(self.one(self.tokens), spared))) or LEAST_KV

    @property
    def needed(self) -> int:
        """Bytes without which nothing starts."""
        return self.weights + self.overhead + (self.one(self.tokens) if self.fixed_kv is None else self.fixed_kv)

    @property
    def holds(self) -> bool:
        return self.needed <= self.memory and self.one(self.tokens) <= max(self.kv, 0)


def preflight(model: Model, facts: Facts, profile: Profile, quantization: str) -> Preflight:
    """The verdict on serving `facts` as `quantization` (none, what the weights carry, or a copy's method)."""
    if alone := only_engine(facts, profile):
        fits, message = room(alone, weight_bytes(facts, quantization, model.spec.engine.dtype.value), profile)
        return Preflight(fits, message, 0)
    accelerator = _accelerator(profile)
    if accelerator is None:
        case = _case(model, facts, profile, quantization, devices=1)
        message = f"{_sum(case)}; profile {profile.name} names no accelerator memory to compare this with"
        return Preflight(None, message, case.kv)
    case = _case(model, facts, profile, quantization, devices=accelerator.count)
    where = f"of profile {profile.name}"
    if accelerator.count > 1:
        where = f"on each of the {accelerator.count} devices {where}"
    whole, memory = _gib(case.weights + case.overhead + _shown(case)), f"{_gib(case.memory)} GiB {where}"
    if not splits(facts.anatomy, accelerator.count):
        heads = facts.anatomy.attention_heads if facts.anatomy else 0
        counts = [n for n in COUNTS if splits(facts.anatomy, n)]
        message = f"{heads} attention heads cannot be shared out over {accelerator.count} devices: use a profile with "
        return Preflight(False, f"{message}accelerator.count {', '.join(map(str, counts))}", 0)
    if not case.holds:
        over = case.needed > case.memory
        total = f"{_sum(case)} = {whole} GiB" + (f", more than the {memory}" if over else f" of {memory}")
        return Preflight(False, f"{total}: {', or '.join(_fixes(model, facts, profile, quantization, case))}", 0)
    total, planned = f"{_sum(case)} = {whole} of {memory}", case.weights + case.overhead + _shown(case)
    if case.cache is None:
        return Preflight(
            None, f"{total}; its config.json does not tell what a token takes in the KV cache", case.kv, planned
        )
    return Preflight(True, total, case.kv, planned)


def weight_bytes(facts: Facts, quantization: str, dtype: str = "auto") -> int:
    """Bytes of all the weights in memory, served as `quantization`."""
    anatomy = facts.anatomy or Anatomy()
    method = COPY_OF.get(quantization)
    if method is not None and method in (anatomy.copy_bytes or {}):
        return (anatomy.copy_bytes or {})[method]
    if anatomy.tensor_bytes is None:
        plain = facts.bytes
    elif facts.native_quantization:
        plain = sum(anatomy.tensor_bytes.values())
    else:
        # engines load every float as the dtype they compute in, and `auto` never computes in 32 bits
        wide = 4 if dtype == "float32" else 2
        plain = sum(size * wide // NUMBER_BYTES.get(kind, wide) for kind, size in anatomy.tensor_bytes.items())
    return int(plain * SHARE[method]) if method else plain


def _accelerator(profile: Profile) -> Accelerator | None:
    return profile.spec.accelerator if profile.spec.device is Device.CUDA else None


def _case(model: Model, facts: Facts, profile: Profile, quantization: str, devices: int) -> Case:
    spec, engine, accelerator = profile.spec, model.spec.engine, _accelerator(profile)
    flags = dict(arg.partition("=")[::2] for arg in (*(spec.args or ()), *(engine.args or ())))
    memory = to_bytes(accelerator.memory) if accelerator else 0
    wide = 4 if engine.dtype.value == "float32" else 2
    terms = Terms(
        devices=devices,
        slots=_count(flags, "--max-num-seqs") or spec.max_num_seqs,
        batch_tokens=_count(flags, "--max-num-batched-tokens") or default_batch_tokens(memory),
        number_bytes=1 if flags.get("--kv-cache-dtype", "auto").startswith(("fp8", "int8")) else wide,
    )
    fixed = to_bytes(spec.kv_cache_memory) if spec.kv_cache_memory else None if accelerator else GIB
    weights = weight_bytes(facts, quantization, engine.dtype.value) + _guesser(model)
    context = _count(flags, "--max-model-len") or engine.max_model_len
    return Case(
        terms=terms,
        cache=kv_cache(facts.anatomy, terms) if facts.anatomy and facts.anatomy.cache is not None else None,
        weights=max(0, -(-weights // devices) - _count(flags, "--cpu-offload-gb") * GIB),
        overhead=overhead_bytes(facts.anatomy, terms, bool({"vision", "audio"} & set(facts.capabilities)))
        + _adapters(model, facts),
        memory=memory,
        fixed_kv=fixed,
        context=context,
        own=facts.context_length or context or LEAST_CONTEXT,
    )


def _guesser(model: Model) -> int:
    """Bytes of the draft model, once it is pulled and so known."""
    told = draft.recorded(model)
    return told.bytes or 0 if told is not None else 0


def _adapters(model: Model, facts: Facts) -> int:
    """Bytes that the engine keeps for adapters, where the spec has any."""
    kept = model.spec.engine.lora
    return 0 if model.spec.adapters is None else adapter_bytes(facts.anatomy, kept.max_rank, kept.max_active)


def _count(flags: dict[str, str], name: str) -> int:
    """The number of a flag; 0 where it is none that an engine could take, for the engine to complain about."""
    text = flags.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else 0


def _sum(case: Case) -> str:
    """The arithmetic in words. The overhead is that of an accelerator."""
    kv = f"{_gib(_shown(case))} GiB KV"
    if case.cache and case.one(case.tokens) > _shown(case):
        kv += f" (where {case.tokens:,} tokens need {_gib(case.one(case.tokens))} GiB)"
    elif case.cache:
        held = case.context or max(case.tokens, case.cache.longest(case.kv, case.own))
        sequences = _shown(case) // max(1, case.one(held))
        kv += f" for {held:,} tokens x {max(1, min(case.terms.slots, sequences))}"
    overhead = f" + {_gib(case.overhead)} GiB overhead" if case.memory else ""
    return f"{_gib(case.weights)} GiB of weights + {kv}{overhead}"


def _shown(case: Case) -> int:
    """The KV cache as it is, or as the least that would do where there is no room for it."""
    return case.kv if case.holds or case.fixed_kv is not None else case.one(case.tokens)


def _fixes(model: Model, facts: Facts, profile: Profile, quantization: str, case: Case) -> list[str]:
    """What would fit, with numbers, the smallest change first. Never empty."""
    found = [_shorter(case, "")]
    if quantization not in COPY_OF and not facts.native_quantization and can_become(facts, "int4"):
        small = _case(model, facts, profile, "int4", case.terms.devices)
        whole = f"set quantization int4 ({_gib(small.needed)} GiB in all)"
        found.append(whole if small.holds else _shorter(small, "quantization int4 with "))
    if case.fixed_kv is not None:
        found.append(_own_kv(case))
    accelerator = _accelerator(profile)
    for count in (n for n in COUNTS if accelerator and n > accelerator.count and splits(facts.anatomy, n)):
        more = _case(model, facts, profile, quantization, count)
        if more.holds:
            found.append(f"use a profile with {count} such devices ({_gib(more.needed)} GiB of each)")
            break
    found.append(_larger(model, facts, profile, quantization, case))
    return [fix for fix in found if fix]


def _larger(model: Model, facts: Facts, profile: Profile, quantization: str, case: Case) -> str:
    """The least device on which it fits. Larger ones may take larger batches, which take more themselves."""
    spec, accelerator, tail = profile.spec, profile.spec.accelerator, ""
    if case.fixed_kv is not None and case.one(case.tokens) > case.fixed_kv:
        spec, tail = spec.model_copy(update={"kv_cache_memory": None}), " and leave out its kvCacheMemory"
    size, larger = 0, case
    for _ in range(GUESSES):
        size = max(size + 1, math.ceil(_least(larger) / GIB))
        devices = accelerator.model_copy(update={"memory": f"{size}Gi"}) if accelerator else None
        there = Profile(profile.name, spec.model_copy(update={"accelerator": devices}))
        larger = _case(model, facts, there, quantization, case.terms.devices)
        if larger.holds:
            break
    return f"use a profile whose devices have {size} GiB{tail}"


def _least(case: Case) -> int:
    return case.weights + case.overhead + max(case.one(case.tokens), case.fixed_kv or 0)


def _shorter(case: Case, words: str) -> str:
    """The longest context that fits, unless it is too short to be of use."""
    budget = case.free if case.fixed_kv is None else case.fixed_kv
    if case.context is None or case.cache is None or budget > case.free:
        return ""
    tokens = case.cache.longest(budget, case.context) // ROUND * ROUND
    return f"set {words}engine.maxModelLen at most {tokens:,}" if tokens >= min(LEAST_CONTEXT, case.context) else ""


def _own_kv(case: Case) -> str:
    """The kvCacheMemory that would do."""
    least = case.one(case.tokens)
    if not replace(case, fixed_kv=None).holds:
        return ""
    return f"set the profile's kvCacheMemory from {-(-least // MIB)}Mi to {case.free // MIB}Mi, or leave it out"


def can_become(facts: Facts, method: str) -> bool:
    """Whether a quantized copy can be made of these weights, as far as inspection knows."""
    known = facts.anatomy.copy_bytes if facts.anatomy else None
    return known is None or COPY_OF[method] in known


def _gib(count: int) -> str:
    return f"{count / GIB:.1f}"
