"""What each condition says, as a function of observation and plan. Pure: no times, no writing."""

from dataclasses import dataclass

from dormouse_api.conditions import ConditionType, Reason
from dormouse_api.names import COMPONENT_INSPECT, COMPONENT_PULL, COMPONENT_QUANTIZE
from dormouse_api.results import Failure
from dormouse_operator.decide import cooldown, copies, prewarm, schedule
from dormouse_operator.decide.attempts import Stage, Step
from dormouse_operator.decide.eviction import Turn
from dormouse_operator.decide.places import Place
from dormouse_operator.decide.pulls import Spot
from dormouse_operator.decide.quantities import to_bytes, words
from dormouse_operator.observed import Claim, Observed
from dormouse_operator.plan.model import Plan
from dormouse_operator.plan.sweep import Sweep

STAGE_REASON = {
    COMPONENT_INSPECT: Reason.INSPECTING,
    COMPONENT_PULL: Reason.PULLING,
    COMPONENT_QUANTIZE: Reason.QUANTIZING,
}


@dataclass(frozen=True)
class Verdict:
    """A condition without its times."""

    status: str
    reason: Reason
    message: str

    @staticmethod
    def yes(reason: Reason, message: str) -> "Verdict":
        return Verdict("True", reason, message)

    @staticmethod
    def no(reason: Reason, message: str) -> "Verdict":
        return Verdict("False", reason, message)

    @staticmethod
    def failed(failure: Failure) -> "Verdict":
        return Verdict("False", failure.reason, failure.message)


def verdicts(o: Observed, plan: Plan, refused: Failure | None) -> dict[ConditionType, Verdict]:
    """One verdict per condition, in the order people read them."""
    blocked = plan.pipeline.blocked or refused
    return {
        ConditionType.READY: _ready(o, plan, blocked),
        ConditionType.PREFLIGHT: _preflight(o, plan),
        ConditionType.STORAGE_BOUND: _storage(o, plan, blocked),
        ConditionType.MODEL_PULLED: _pulled(o, plan),
        ConditionType.QUANTIZED: _quantized(o, plan),
        ConditionType.RUNTIME_AVAILABLE: _available(o, plan),
        ConditionType.IDLE: _idle(plan),
    }


def _ready(o: Observed, plan: Plan, blocked: Failure | None) -> Verdict:
    if plan.frozen:
        waits = blocked or (plan.pipeline.step.failure if plan.pipeline.step else None)
        why = waits.message if waits else _doing(o, plan)
        serving = _serving(plan)
        then = "but" if blocked is not None and blocked.reason is Reason.STORAGE_FAILED else "the new revision waits:"
        return Verdict(serving.status, serving.reason, f"{serving.message}; {then} {why}")
    if blocked is not None:
        return Verdict.failed(blocked)
    if plan.pipeline.stage is not None:
        return _stage(o, plan)
    return _serving(plan)


def _serving(plan: Plan) -> Verdict:
    """Ready, judged by the runtime alone."""
    pods = plan.runtime
    if pods.ready and (plan.made_room or (plan.turn is not None and plan.turn.leaving)):
        return Verdict.yes(Reason.MAKING_ROOM, _making_room(plan.turn))
    if pods.ready:
        return Verdict.yes(Reason.SERVING, f"{pods.ready} of {pods.pods} runtime pods ready")
    if plan.resting is not None:
        return Verdict.failed(cooldown.failure(plan.resting))
    if plan.turn is not None and plan.turn.place is not None:
        return Verdict.yes(Reason.WAITING_FOR_ACCELERATOR, _in_line(plan.turn.place))
    if plan.scale.replicas == 0 and not plan.wanted:
        why = "asleep, for it made room for another model" if plan.made_room else "asleep"
        return Verdict.yes(Reason.SCALED_TO_ZERO, f"{why}; the next request wakes it")
    if pods.failure is not None:
        return Verdict.failed(pods.failure)
    why = f"; {pods.hint.message}" if pods.hint is not None else ""
    return Verdict.yes(Reason.WAKING, f"waking; requests are held until it serves{why}")


def _in_line(place: Place) -> str:
    about = f", about {place.seconds} s" if place.seconds is not None else ""
    return f"waiting for an accelerator: {place.why}; position {place.position} of {place.of}{about}"


def _making_room(turn: Turn | None) -> str:
    heir = "/".join(turn.successor) if turn is not None and turn.successor is not None else "another model"
    return f"finishing its calls, then it makes room for {heir}; new requests are held until its next turn"


def _queued(spot: Spot) -> str:
    pulls = "the one pull" if spot.places == 1 else f"one of {spot.places} pulls"
    after = f": after {'/'.join(spot.after)}" if spot.after is not None else ""
    return (
        f"position {spot.position} of {spot.of} in the line for {pulls}{after}; "
        "raise spec.priority, or the chart's maxConcurrentPulls"
    )


def _doing(o: Observed, plan: Plan) -> str:
    uri = o.model.spec.source.uri
    if plan.pipeline.step is not None and plan.pipeline.step.step is Step.WAITING and o.spot is not None:
        return _queued(o.spot)
    revision, facts = o.model.spec.source.revision, plan.pipeline.facts
    if plan.pipeline.stage == COMPONENT_INSPECT or facts is None:
        return f"inspecting {uri} at {revision}"
    if plan.pipeline.stage == COMPONENT_QUANTIZE and plan.pipeline.serving is not None:
        return f"making the {plan.pipeline.serving.copy} copy of {uri}"
    if plan.pipeline.draft is not None and o.model.spec.engine.speculative is not None:
        place = o.model.spec.engine.speculative.source
        return f"pulling the draft model {place.uri if place is not None else ''}"
    return f"pulling {uri} at {facts.commit} ({words(facts.bytes)})"


def _stage(o: Observed, plan: Plan) -> Verdict:
    """The running stage, or what is wrong with it."""
    stage, step = plan.pipeline.stage, plan.pipeline.step
    if stage is None:
        return Verdict.no(Reason.PENDING, "not started yet")
    if step is not None and step.step is Step.WAITING and o.spot is not None:
        tried = f"; the last try failed: {step.failure.message}" if step.failure is not None else ""
        return Verdict.no(Reason.QUEUED, _queued(o.spot) + tried)
    if step is not None and step.failure is not None:
        return Verdict.no(step.failure.reason, step.failure.message + _retries(step))
    if plan.volume is not None and stage == COMPONENT_PULL:
        return Verdict.failed(plan.volume)
    why = f"; {step.hint.message}" if step is not None and step.hint is not None else ""
    return Verdict.no(STAGE_REASON[stage], _doing(o, plan) + why)


def _retries(step: Stage) -> str:
    if step.retry_at is None:
        return ""
    return f" (attempt {step.attempt + 1}; tried again by itself)"


def _preflight(o: Observed, plan: Plan) -> Verdict:
    found = plan.pipeline.preflight
    wrong = schedule.problems(o.model.spec.scaling)
    if wrong and (found is None or found.fits is not False):
        return Verdict.no(Reason.INVALID_SPEC, f"{'; '.join(wrong)}; until then these are passed over")
    blocked = plan.pipeline.blocked if plan.pipeline.facts is not None and not plan.pipeline.hands_off else None
    if found is None and blocked is not None and blocked.reason in (Reason.INVALID_SPEC, Reason.REMOTE_CODE_FORBIDDEN):
        return Verdict.failed(blocked)
    if found is None:
        return Verdict("Unknown", Reason.PENDING, "worked out once the weights are inspected and the profile is there")
    if found.fits is None:
        return Verdict("Unknown", Reason.NOT_MEASURABLE, found.message)
    reason = Reason.FITS if found.fits else Reason.DOES_NOT_FIT
    return Verdict(str(found.fits), reason, found.message)


def _storage(o: Observed, plan: Plan, blocked: Failure | None) -> Verdict:
    if blocked is not None and blocked.reason is Reason.STORAGE_FAILED:
        return Verdict.failed(blocked)
    if plan.volume is not None:
        return Verdict.failed(plan.volume)
    if o.claim is None:
        return Verdict.no(Reason.PENDING, "the volume is made once the size of the weights is known")
    if o.claim.bound:
        return _bound(o.claim, plan.swept)
    return Verdict.no(
        Reason.WAITING_FOR_CONSUMER,
        f"PersistentVolumeClaim {o.claim.name} is not bound yet: it may wait for its first pod, or no StorageClass "
        "serves it (kubectl get storageclass)",
    )


def _bound(claim: Claim, swept: Sweep) -> Verdict:
    """How large it is, and what goes on with it."""
    said = f"PersistentVolumeClaim {claim.name} of {claim.requested}"
    grows = claim.capacity != "0" and to_bytes(claim.capacity) < to_bytes(claim.requested)
    if grows and claim.grow_failed:
        words = (
            f"{said} has only {claim.capacity} and could not grow ({claim.growing}): mend what its storage complains "
        )
        words += "of; what is pulled already serves on"
        return Verdict.no(Reason.STORAGE_FAILED, words)
    if grows:
        why = f" ({claim.growing})" if claim.growing else ""
        said += f", which grows from {claim.capacity}{why}"
    if swept.failure is not None:
        said += f"; what nobody needs any more could not be removed: {swept.failure.message}"
    elif swept.volume is not None and swept.volume.removing:
        said += f"; {', '.join(swept.volume.removing)} will be removed once nothing uses it"
    return Verdict.yes(Reason.BOUND, said)


def _pulled(o: Observed, plan: Plan) -> Verdict:
    p = plan.pipeline
    if p.facts is not None and p.facts.commit in p.folders:
        return Verdict.yes(Reason.PULLED, f"commit {p.facts.commit}, {words(p.facts.bytes)}")
    if p.stage in (COMPONENT_INSPECT, COMPONENT_PULL):
        return _stage(o, plan)
    return Verdict.no(Reason.PENDING, "not started yet")


def _quantized(o: Observed, plan: Plan) -> Verdict:
    p = plan.pipeline
    if p.serving is None:
        return Verdict("Unknown", Reason.PENDING, "decided once the weights are inspected")
    if p.copy_failure is not None:
        return Verdict.no(p.copy_failure.reason, f"{p.copy_failure.message}; served without the copy instead")
    if p.serving.copy is None:
        return Verdict.no(Reason.NOT_WANTED, f"no copy is needed to serve the weights as {p.serving.quantization}")
    if p.stage is None and p.blocked is None:
        copy = copies.told(p.made, o.model.status.quantized, p.serving.folder)
        if bad := copies.warning(copy):
            return Verdict.yes(Reason.LOW_QUALITY, bad)
        return Verdict.yes(Reason.QUANTIZED, copies.sentence(p.serving.copy, copy))
    if p.stage == COMPONENT_QUANTIZE and p.step is not None and p.step.failure is not None:
        return Verdict.failed(p.step.failure)
    if p.stage == COMPONENT_QUANTIZE:
        return Verdict.no(Reason.QUANTIZING, f"making the {p.serving.copy} copy")
    return Verdict.no(Reason.PENDING, "starts once the weights are pulled")


def _available(o: Observed, plan: Plan) -> Verdict:
    pods = plan.runtime
    if pods.ready:
        return Verdict.yes(Reason.POD_READY, f"{pods.ready} of {pods.pods} pods ready")
    if not plan.deployed:
        return Verdict.no(Reason.PENDING, "starts once the weights are ready")
    if plan.resting is not None:
        return Verdict.failed(cooldown.failure(plan.resting))
    if plan.turn is not None and plan.turn.place is not None:
        return Verdict.no(Reason.WAITING_FOR_ACCELERATOR, _in_line(plan.turn.place))
    if plan.scale.replicas == 0:
        return Verdict.no(Reason.NO_POD, "asleep: no pod is wanted")
    if pods.failure is not None:
        return Verdict.failed(pods.failure)
    if pods.hint is not None:
        return Verdict.failed(pods.hint)
    if o.state is not None:
        engine = f" ({o.state.engine})" if o.state.engine else ""
        passed = "".join(f"; {each.engine}, {each.reason.value}: {each.message}" for each in o.state.passed)
        return Verdict.no(Reason.WAKING, f"{o.state.stage.value}{engine}{passed}")
    return Verdict.no(Reason.WAKING, "the pod is being started")


def _idle(plan: Plan) -> Verdict:
    if not plan.deployed:
        return Verdict.no(Reason.PENDING, "the model has not been made ready yet")
    if plan.scale.replicas == 0 and plan.wanted:
        return Verdict.no(Reason.IN_USE, "somebody calls it, and it waits for its turn")
    if plan.resting is not None:
        return Verdict.no(Reason(plan.resting.reason), "its start failed: it is left alone for a while")
    if plan.scale.replicas == 0:
        why = "it made room for another model" if plan.made_room else "nobody has called for a while"
        return Verdict.yes(Reason.SCALED_TO_ZERO, why)
    if ahead := prewarm.sentence(plan.ahead, plan.prewarm):
        return Verdict.no(Reason.IN_USE, ahead)
    return Verdict.no(Reason.IN_USE, "a lease or scaling.minReplicas keeps it awake")
