"""From the observation and the plan to the status a user reads. Pure.

Every message is a sentence for the user; a failure's sentence holds the fix. `lastTransitionTime` moves only when a
condition's status flips, so an unchanged model has a byte-equal status and nothing is written.
"""

from collections.abc import Mapping
from typing import Any

from dormouse_api import names
from dormouse_api.conditions import ConditionType, Reason
from dormouse_api.results import Failure
from dormouse_api.runtime import RuntimeState, Stage
from dormouse_api.status import (
    Condition,
    EngineAttempt,
    EngineStatus,
    InferenceModelStatus,
    QuantizedCopy,
)
from dormouse_api.text import told
from dormouse_api.versions import ModelVersion
from dormouse_operator import reading
from dormouse_operator.decide import accounting, adapting, coldstart, copies, draft, gpus, swaps, unplaced, versions
from dormouse_operator.decide.facts import capabilities, inspected
from dormouse_operator.decide.fit import can_become
from dormouse_operator.decide.names import served_names
from dormouse_operator.decide.progress import Doing, progress
from dormouse_operator.observed import Model, Observed
from dormouse_operator.plan.model import Plan
from dormouse_operator.verdicts import Verdict, verdicts

Verdicts = dict[ConditionType, Verdict]


def build(o: Observed, plan: Plan, refused: Failure | None, now: float) -> InferenceModelStatus:
    """The whole status. `refused`: what the API server said no to while the plan was applied."""
    old, facts, p = o.model.status, plan.pipeline.facts, plan.pipeline
    kept = facts is None or facts.commit == old.commit
    base = _with_facts(o, plan, now)
    # what runs as it was deployed before has another profile or quantization than the plan: no start of its kind
    kind = coldstart.Kind()
    if not plan.frozen:
        kind = coldstart.Kind(o.profile.name if o.profile else None, base.quantization)
    return base.model_copy(
        update={
            "conditions": conditions(o.model, verdicts(o, plan, refused), now),
            "observed_generation": o.model.generation,
            "served_names": served_names(o.model),
            "volume": plan.swept.volume,
            "adapters": list(plan.adapters.told) or None,
            "draft": p.draft or draft.recorded(o.model),
            "profile": o.profile.name if o.profile else old.profile,
            "device": o.profile.spec.device.value if o.profile else old.device,
            "retry_at": coldstart.stamp(p.step.retry_at) if p.step and p.step.retry_at is not None else None,
            **progress(Doing(p.stage, p.step, o.spot, facts.commit if facts else None), o.progress, old),
            "engine": _remembering(o, plan, _engine(o.state or plan.runtime.passed) or (old.engine if kept else None)),
            **_starts(o, plan, kind),
            **_turns(o, plan, now),
            "gpu_warnings": gpus.standing(old.gpu_warnings, o.gpus, now) if plan.runtime.ready else None,
            "cooldown": plan.failures,
            "unplaced": unplaced.after(o, now),
            "prewarm": plan.prewarm,
            "usage": accounting.settle(old.usage, accounting.holding(o, sleeps=_sleeps(plan)), o.tally, now),
            "replicas": plan.runtime.pods,
            "ready_replicas": plan.runtime.ready,
            "selector": f"{names.LABEL_MODEL}={o.model.name},{names.LABEL_COMPONENT}={names.COMPONENT_RUNTIME}",
        }
    )


def unreadable(raw: Mapping[str, Any], message: str, now: float) -> InferenceModelStatus:
    """The status of a model that cannot be planned (its spec or its profile is of another version): Ready says so.

    All else stays as it was, for it is the memory of what lies on the volume.
    """
    old, generation = reading.read_status(raw), raw["metadata"].get("generation", 1)
    known = {c.type: c for c in old.conditions or ()}
    before = known.get(ConditionType.READY.value)
    verdict = Verdict.no(Reason.INVALID_SPEC, message)
    ready = _condition(ConditionType.READY, verdict, generation, before.wire() if before else None, now)
    others = [c for c in old.conditions or () if c.type != ready.type]
    return old.model_copy(update={"conditions": [ready, *others], "observed_generation": generation})


def conditions(model: Model, said: Verdicts, now: float) -> list[Condition]:
    """The conditions, each with the time of its last flip."""
    known = {c.type: c.wire() for c in model.status.conditions or ()}
    return [_condition(kind, verdict, model.generation, known.get(kind.value), now) for kind, verdict in said.items()]


def _condition(
    kind: ConditionType, verdict: Verdict, generation: int, old: dict[str, Any] | None, now: float
) -> Condition:
    flipped = old is None or old["status"] != verdict.status
    return Condition(
        type=kind.value,
        status=verdict.status,
        reason=verdict.reason.value,
        message=told(verdict.message, 4000),
        observed_generation=generation,
        last_transition_time=coldstart.stamp(now) if flipped or old is None else old["lastTransitionTime"],
    )


def _with_facts(o: Observed, plan: Plan, now: float) -> InferenceModelStatus:
    facts, serving = plan.pipeline.facts, plan.pipeline.serving
    if plan.pipeline.stale:
        return o.model.status.model_copy(update={"inspected": None})
    if facts is None:
        return o.model.status
    custom = o.profile is not None and o.profile.spec.custom is not None
    return o.model.status.model_copy(
        update={
            "commit": facts.commit,
            "bytes": facts.bytes,
            "architecture": facts.architecture,
            "parameters": facts.parameters,
            "context_length": facts.context_length,
            "capabilities": list(capabilities(facts, custom)) or None,
            "inspected": inspected(o.model, facts, custom),
            "quantization": serving.quantization if serving else None,
            "quantized": _copy(o, plan),
            "versions": _versions(o, plan, now),
        }
    )


def _versions(o: Observed, plan: Plan, now: float) -> list[ModelVersion] | None:
    """What has been on the volume, with what is whole there now."""
    known, facts, serving = o.model.status.versions, plan.pipeline.facts, plan.pipeline.serving
    if facts is None or facts.commit not in plan.pipeline.folders:
        return known
    version = ModelVersion(
        commit=facts.commit,
        revision=o.model.spec.source.revision,
        at=coldstart.stamp(now),
        quantization=serving.quantization if serving else None,
        bytes=facts.bytes,
    )
    return versions.seen(known, version)


def _copy(o: Observed, plan: Plan) -> QuantizedCopy | None:
    """The copy that is to serve, once it lies on the volume."""
    p = plan.pipeline
    folder = p.serving.folder if p.serving is not None else None
    return copies.told(p.made, o.model.status.quantized, folder if folder in p.folders else None)


def _starts(o: Observed, plan: Plan, kind: coldstart.Kind) -> dict[str, object]:
    """The start that is under way, and the last few that ended well."""
    known, runtime = o.model.status.cold_starts, plan.runtime
    if runtime.pod is not None and runtime.ready:
        start = coldstart.record(runtime.pod, o.state, plan.woken_at, kind) if o.state is not None else None
        first = coldstart.answered(runtime.pod, o.first_token, plan.woken_at)
        return {"starting": None, "cold_starts": coldstart.complete(coldstart.append(known, start), first)}
    going = plan.deployed and plan.scale.replicas > 0 and runtime.failure is None
    starting = coldstart.under_way(runtime.pod, o.state, plan.woken_at, kind) if going else None
    return {"starting": starting, "cold_starts": known}


def _sleeps(plan: Plan) -> bool:
    """Without pods on purpose, and the next call wakes it."""
    return plan.deployed and plan.scale.replicas == 0 and not plan.wanted and plan.resting is None


def _turns(o: Observed, plan: Plan, now: float) -> dict[str, object]:
    """Its place in the line for a full accelerator, and what the last few turns took."""
    old, known = o.model.status.line, o.model.status.swaps
    ready = plan.runtime.pod.ready_at if plan.runtime.pod is not None and plan.runtime.ready else None
    if ready is not None:
        return {"line": None, "swaps": swaps.served(known, old, ready)}
    if plan.turn is not None and plan.turn.place is not None:
        since = plan.asked_at or plan.woken_at or now
        return {"line": swaps.waiting(old, plan.turn.place, since), "swaps": known}
    starts = old is not None and plan.wanted and plan.runtime.failure is None
    return {"line": swaps.starting(old, now) if old is not None and starts else None, "swaps": known}


def _engine(state: RuntimeState | None) -> EngineStatus | None:
    """The engine that serves, or what the last start came to; one that is only being tried is in `starting`."""
    if state is None or state.stage not in (Stage.READY, Stage.FAILED):
        return None
    passed = [
        EngineAttempt(engine=p.engine, reason=p.reason.value, message=p.message, seconds=round(p.seconds))
        for p in state.passed
    ][-8:]
    name = state.engine or (state.failure.engine if state.failure else None) or (passed[-1].engine if passed else None)
    if name is None:
        return None
    return EngineStatus(
        name=name,
        quantization=state.quantization or "none",
        attempts=passed or None,
        input_schema=state.input_schema,
    )


def _remembering(o: Observed, plan: Plan, engine: EngineStatus | None) -> EngineStatus | None:
    """With what engine.adapt has changed."""
    if engine is None:
        return None
    state, facts, serving = o.state or plan.runtime.passed, plan.pipeline.facts, plan.pipeline.serving
    # what runs for another spec than the present one has learnt nothing of that
    same_spec = not plan.frozen and o.model.status.observed_generation == o.model.generation
    final = state if same_spec and state is not None and state.stage in (Stage.READY, Stage.FAILED) else None
    in_full = serving is not None and serving.quantization == "none" and facts is not None
    can = in_full and facts is not None and can_become(facts, adapting.COPY)
    return engine.model_copy(update=adapting.learnt(o.model, o.profile, final, can_shrink=can))


def same(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether the API server already holds `new`. Conditions are compared by type: others may add their own."""

    def split(status: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        listed = {c["type"]: c for c in status.get("conditions") or ()}
        return {key: value for key, value in status.items() if key != "conditions"}, listed

    (old_rest, old_conditions), (new_rest, new_conditions) = split(old), split(new)
    ours = {kind: old_conditions.get(kind) for kind in new_conditions}
    stale = [kind for kind in old_conditions if kind in set(ConditionType) and kind not in new_conditions]
    return old_rest == new_rest and ours == new_conditions and not stale
