"""Everything that shall exist for one model, and when to look again. Pure: puts the other plans together."""

from dataclasses import dataclass, replace

from dormouse_api.names import COMPONENT_INSPECT, COMPONENT_PULL, COMPONENT_QUANTIZE
from dormouse_api.status import Cooldown
from dormouse_operator.decide import cooldown
from dormouse_operator.decide import facts as known
from dormouse_operator.decide.attempts import Step
from dormouse_operator.decide.coldstart import asked_at, stamp
from dormouse_operator.decide.contenders import waits_for_devices
from dormouse_operator.decide.eviction import Turn
from dormouse_operator.decide.quantization import copy_folder
from dormouse_operator.decide.replicas import Scale
from dormouse_operator.decide.runtime import RuntimeView, view
from dormouse_operator.observed import Job, Observed, Pod, Runtime
from dormouse_operator.plan import jobs, pipeline, runtime, service, storage
from dormouse_operator.plan.awake import Awake, awake
from dormouse_operator.plan.common import Object
from dormouse_operator.plan.lease import lease
from dormouse_operator.plan.pipeline import Pipeline
from dormouse_operator.settings import Settings

ORDER = (COMPONENT_INSPECT, COMPONENT_PULL, COMPONENT_QUANTIZE)
FOLLOW_READY = 60.0
"""Seconds after readiness during which a start's timeline is still asked for."""


@dataclass(frozen=True)
class Plan:
    """What to do, in this order: apply, write the status, delete."""

    pipeline: Pipeline
    scale: Scale
    wanted: bool
    """It has pods, or would have if it had not to wait for them."""
    made_room: bool
    """It sleeps because another model needed what it had."""
    runtime: RuntimeView
    deployed: bool
    """The runtime has a Deployment (or gets one now)."""
    frozen: bool
    """The runtime runs as it was, while what the spec asks for is not ready or not possible."""
    apply: tuple[Object, ...]
    delete: tuple[Job, ...]
    follow: Pod | None
    """Pod whose own endpoint shall be asked for progress."""
    woken_at: float | None
    asked_at: float | None
    """Since when it waits for its turn on a full accelerator."""
    look_at: float | None
    turn: Turn | None
    failures: Cooldown | None
    """Starts that failed, to be remembered."""
    resting: Cooldown | None
    """The same, while it is left alone for them."""


def plan(o: Observed, settings: Settings, now: float) -> Plan:
    """The plan for `o`."""
    p = pipeline.run(o, settings, now)
    up = awake(o, now)
    pods = _patient(o, view(o, now))
    ready_to_run = p.stage is None and p.blocked is None
    frozen = not ready_to_run and not p.hands_off and _can_stay(o)
    failures = cooldown.after(o.model, o.profile, pods, settings.cooldown_seconds, now)
    apply: list[Object] = []
    if ready_to_run or frozen:
        # first of all: a caller may be waiting for this wake. But a door is closed before it is noted that it is
        apply = [_deployment(o, p, up), service.service(o.model, closed=up.closed)]
        apply = apply[::-1] if up.closed else apply
    if not p.hands_off:
        apply += [lease(o.model), *_stage_objects(o, p)]
    times = (up.scale.look_at, p.step.retry_at if p.step else None, pods.look_at)
    return Plan(
        pipeline=p,
        scale=up.scale,
        wanted=up.wanted,
        made_room=up.scale.replicas == 0 and up.marks.turned_out is not None,
        runtime=pods,
        deployed=ready_to_run or frozen,
        frozen=frozen,
        apply=tuple(apply),
        delete=superseded(o, p),
        follow=_follow(o, p, pods, up.marks.woken_at, now),
        woken_at=up.marks.woken_at,
        asked_at=up.marks.asked_at,
        look_at=min((t for t in times if t is not None), default=None),
        turn=o.turn,
        failures=failures,
        resting=failures if failures is not None and cooldown.ends(failures) > now else None,
    )


def _patient(o: Observed, pods: RuntimeView) -> RuntimeView:
    """A pod that waits for what another model has is in line, and not in trouble."""
    in_line = o.turn is not None and o.turn.place is not None
    if in_line and pods.failure is not None and waits_for_devices(o, pods.failure.reason):
        return replace(pods, failure=None)
    return pods


def _stage_objects(o: Observed, p: Pipeline) -> list[Object]:
    """The volume once its size is known, and the Job of the stage that is to start."""
    found: list[Object] = []
    if p.needed_bytes is not None and not o.model.spec.storage.existing_claim and p.blocked is None:
        found.append(storage.claim(o.model, p.needed_bytes, o.claim))
    if p.work is not None and p.step is not None and p.step.step is Step.START:
        found.append(jobs.job(o.model, p.work, p.step.attempt))
    return found


def superseded(o: Observed, p: Pipeline) -> tuple[Job, ...]:
    """Jobs nobody needs: of a recorded stage, of other inputs, or of an attempt that has a successor.

    What was learnt in this very look is not in the status yet, so its Job is still the only evidence: it stays.
    """
    if p.blocked is not None:
        return ()
    current = ORDER.index(p.stage) if p.stage else len(ORDER)
    gone: list[Job] = []
    for job in o.jobs or ():
        if job.deleting or job.stage not in ORDER:
            continue
        if ORDER.index(job.stage) != current:
            unneeded = ORDER.index(job.stage) > current or _recorded(o, p, job.stage)
        else:
            unneeded = p.work is not None and (job.inputs != p.work.digest or job.attempt < _newest(o, job))
        if unneeded:
            gone.append(job)
    return tuple(gone)


def _newest(o: Observed, job: Job) -> int:
    return max(j.attempt for j in o.jobs or () if j.stage == job.stage and j.inputs == job.inputs)


def _recorded(o: Observed, p: Pipeline, stage: str) -> bool:
    """Whether the status, as it was read, already holds what `stage` found."""
    facts, volume = known.recorded(o.model), o.model.status.volume
    if stage == COMPONENT_INSPECT or facts is None:
        return facts is not None
    folders = volume.folders if volume and o.claim and volume.claim_uid == o.claim.uid else []
    if stage == COMPONENT_PULL:
        return facts.commit in folders
    copy = p.serving.copy if p.serving else None
    # a copy that failed keeps its Job: it says when to try again
    return copy is None or (copy_folder(facts.commit, copy) in folders and p.copy_failure is None)


def _can_stay(o: Observed) -> bool:
    """Whether the runtime as deployed can still start: its weights lie on the present claim."""
    volume = o.model.status.volume
    usable = o.claim is not None and not o.claim.deleting and not o.claim.lost
    return o.runtime is not None and usable and volume is not None and volume.claim_uid == (o.claim and o.claim.uid)


def _deployment(o: Observed, p: Pipeline, up: Awake) -> Object:
    profile, facts, serving = o.profile, p.facts, p.serving
    if p.stage is None and p.blocked is None and profile is not None and facts is not None and serving is not None:
        config = runtime.config(o.model, facts, serving, profile)
        template = runtime.template(o.model, config, profile, storage.claim_name(o.model))
        template = runtime.restarted(template, o.restarted)
        return runtime.deployment(o.model, template, runtime.strategy(profile), up.scale.replicas, up.marks)
    template, strategy = runtime.frozen(_present(o))
    template = runtime.restarted(template, o.restarted)
    return runtime.deployment(o.model, template, strategy, up.scale.replicas, up.marks)


def _present(o: Observed) -> Runtime:
    if o.runtime is None:
        raise AssertionError("a frozen plan needs a Deployment to keep")
    return o.runtime


def _follow(o: Observed, p: Pipeline, pods: RuntimeView, woken_at: float | None, now: float) -> Pod | None:
    """The pull or quantize pod while it works; the runtime pod until its start is recorded."""
    if p.stage in (COMPONENT_PULL, COMPONENT_QUANTIZE) and p.step is not None:
        pod = p.step.pod
        return pod if pod is not None and pod.phase == "Running" and pod.ip else None
    pod = pods.pod
    if pod is None or not pod.ip or pod.started_at is None:
        return None
    if pod.ready_at is None:
        return pod
    at = stamp(asked_at(pod, woken_at))
    known_start = any(start.at == at for start in o.model.status.cold_starts or ())
    return pod if not known_start and now < pod.ready_at + FOLLOW_READY else None
