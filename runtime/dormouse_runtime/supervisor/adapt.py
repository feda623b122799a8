"""The ladder of settings that need less memory, for an engine that ran out of it. Pure.

Owns which setting comes next and what a configuration looks like with it. Why an engine failed is `choose`'s; starting
it again is `run`'s. A quantized copy, the last rung, is made by a Job: the operator takes that one.

Each rung changes one thing, the cheapest for callers first. Fewer sequences only make a queue. A context is shortened
only where nobody asked for one: `maxModelLen` is a promise to callers and never undercut. The KV cache is what engines
reserve at once, so halving it frees most, and shortens what one sequence may hold. Eager mode spares captured graphs
and costs speed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dormouse_api.conditions import Reason
from dormouse_api.model import Engine
from dormouse_api.runtime import MAX_ADAPTED, Adaptation, Passed, RuntimeConfig, Setting

MOST_STEPS = 8
"""Of one engine, all starts together: each costs a start."""
LEAST_SEQUENCES = 4
LEAST_CONTEXT = 1024
LEAST_KV = 64 * 2**20
ENGINE_BYTES = 2**30
"""Of memory that an engine's own processes take at least, beside weights and cache."""

FLAGS: Mapping[Setting, tuple[str, ...]] = {
    Setting.SEQUENCES: ("--max-num-seqs",),
    Setting.CONTEXT: ("--max-model-len",),
    Setting.KV_CACHE: ("--kv-cache-memory-bytes", "--gpu-memory-utilization"),
    Setting.EAGER: ("--enforce-eager",),
}
"""Flags that say the same and, coming last, would win."""
SHORTAGE = re.compile(
    r"larger than the available KV cache memory|No available memory for the cache blocks", re.IGNORECASE
)
"""The cache is too small for one sequence: a smaller one is no help."""
ESTIMATE = re.compile(r"estimated maximum model length is (\d{1,9})")


@dataclass(frozen=True)
class Wants:
    """What is asked for before anything was adapted."""

    sequences: int
    context: int | None
    """What spec or profile demand; None: nobody does."""
    own: int | None
    """The context the model was made for, where its config.json tells."""
    kv_bytes: int
    eager: bool


def effective(config: RuntimeConfig, engine: Engine) -> RuntimeConfig:
    """`config` with what was adapted for `engine`."""
    for step in config.adapted:
        if step.engine == engine.value:
            config = _with(config, step)
    return config


def next_step(config: RuntimeConfig, engine: Engine, passed: Passed, own: int | None) -> Adaptation | None:
    """The next rung for `engine`, which ended as `passed` says with `config` as adapted so far; None: there is none.

    `own`: the context the model was made for.
    """
    taken = [step for step in config.adapted if step.engine == engine.value]
    if passed.reason is not Reason.OUT_OF_MEMORY or len(taken) >= MOST_STEPS or len(config.adapted) >= MAX_ADAPTED:
        return None
    now = wants(effective(config, engine), own)
    demanded = wants(config, own).context
    found = _shorter(now, demanded, passed) if SHORTAGE.search(passed.message) else _rung(config, now, demanded, taken)
    if found is None:
        return None
    setting, before, after = found
    return Adaptation(engine=engine.value, setting=setting, before=before, after=after, because=passed.message)


def suggestion(config: RuntimeConfig, engine: Engine, passed: Passed, own: int | None) -> str:
    """What to set by hand where nothing is adapted by itself; empty where nothing would help."""
    step = None if config.adapt else next_step(config, engine, passed, own)
    if step is None:
        return ""
    by_hand = {
        Setting.SEQUENCES: f"spec.engine.args --max-num-seqs={step.after}",
        Setting.CONTEXT: f"spec.engine.maxModelLen {step.after}",
        Setting.KV_CACHE: f"the profile's kvCacheMemory to {int(step.after) // 2**20}Mi"
        if step.after.isdigit()
        else "",
        Setting.EAGER: "spec.engine.args --enforce-eager",
    }[step.setting]
    return f"set {by_hand}, or spec.engine.adapt: true to have smaller settings tried"


def wants(config: RuntimeConfig, own: int | None) -> Wants:
    """The settings in force: flags come last, so they win."""
    flags = _flags(config.args)
    context = flags.get("--max-model-len", "")
    sequences, kv = flags.get("--max-num-seqs", ""), flags.get("--kv-cache-memory-bytes", "")
    return Wants(
        sequences=int(sequences) if sequences.isdigit() else config.max_num_seqs,
        context=int(context) if context.isdigit() else config.max_model_len,
        own=own,
        kv_bytes=int(kv) if kv.isdigit() else config.kv_cache_bytes,
        eager="--enforce-eager" in flags or config.device == "cpu",
    )


def own_context(folder: Path) -> int | None:
    """The context of the model in `folder`, as its config.json tells."""
    try:
        told = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return None
    told = told.get("text_config", told) if isinstance(told, dict) else {}
    length = told.get("max_position_embeddings") if isinstance(told, dict) else None
    return length if isinstance(length, int) and 0 < length < 2**31 else None


def foreseen(config: RuntimeConfig, engine: Engine, weights: int, limit: int | None) -> Adaptation | None:
    """On a CPU, the smaller KV cache that `limit` (bytes of the container) leaves room for beside `weights`: what does
    not fit would end in the kernel killing the container, the supervisor too.
    """
    now = wants(effective(config, engine), None)
    if limit is None or config.device != "cpu" or len(config.adapted) >= MAX_ADAPTED:
        return None
    room, fits = limit - weights - ENGINE_BYTES, now.kv_bytes
    while fits > room and fits >= 2 * LEAST_KV:
        fits //= 2
    if fits == now.kv_bytes:
        return None
    because = f"{gib(now.kv_bytes)} GiB KV and {gib(weights)} GiB of weights do not fit the limit of {gib(limit)} GiB"
    return Adaptation(
        engine=engine.value, setting=Setting.KV_CACHE, before=str(now.kv_bytes), after=str(fits), because=because
    )


def gib(count: int) -> str:
    return f"{count / 2**30:.1f}"


Rung = tuple[Setting, str, str]


def _rung(config: RuntimeConfig, now: Wants, demanded: int | None, taken: Sequence[Adaptation]) -> Rung | None:
    """Memory ran out: the first rung that is left."""
    settings = [step.setting for step in taken]
    if now.sequences > LEAST_SEQUENCES and settings.count(Setting.SEQUENCES) < 1:
        return Setting.SEQUENCES, str(now.sequences), str(max(LEAST_SEQUENCES, now.sequences // 4))
    context = now.context or now.own
    if demanded is None and context and context >= 2 * LEAST_CONTEXT and settings.count(Setting.CONTEXT) < 1:
        return Setting.CONTEXT, str(context), str(context // 2)
    if now.kv_bytes >= 2 * LEAST_KV and settings.count(Setting.KV_CACHE) < _halvings(config):
        return Setting.KV_CACHE, str(now.kv_bytes), str(now.kv_bytes // 2)
    if not now.eager:
        return Setting.EAGER, "false", "true"
    return None


def _halvings(config: RuntimeConfig) -> int:
    """A CPU's cache is a guess of the administrator's; a GPU's is worked out from what the weights leave."""
    return 5 if config.device == "cpu" else 2


def _shorter(now: Wants, demanded: int | None, passed: Passed) -> Rung | None:
    """The cache does not hold one sequence: a shorter one, as the engine says, or half of it."""
    context = now.context or now.own
    if demanded is not None or context is None:
        return None
    told = ESTIMATE.search(passed.message)
    after = min(int(told[1]) // 16 * 16 if told else context // 2, context - 1)
    return (Setting.CONTEXT, str(context), str(after)) if after >= 16 else None


def _with(config: RuntimeConfig, step: Adaptation) -> RuntimeConfig:
    """`config` with one step; the flags that say otherwise go."""
    flags = FLAGS.get(step.setting, ())
    args = tuple(arg for arg in config.args if arg.partition("=")[0] not in flags)
    if step.setting is Setting.EAGER:
        return config.model_copy(update={"args": (*args, "--enforce-eager")})
    field = {
        Setting.SEQUENCES: "max_num_seqs",
        Setting.CONTEXT: "max_model_len",
        Setting.KV_CACHE: "kv_cache_bytes",
    }.get(step.setting)
    if field is None or not step.after.isdigit():
        return config
    return config.model_copy(update={"args": args, field: int(step.after)})


def _flags(args: Sequence[str]) -> dict[str, str]:
    return dict(arg.partition("=")[::2] for arg in args)
