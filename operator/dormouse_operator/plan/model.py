"""Everything that shall exist for one model, and when to look again. Pure: puts the other plans together."""

from dataclasses import dataclass, replace

from dormouse_api.ahead import Prewarm
from dormouse_api.conditions import Reason
from dormouse_api.names import COMPONENT_INSPECT, COMPONENT_PULL, COMPONENT_QUANTIZE
from dormouse_api.results import Failure
from dormouse_api.status import Cooldown
from dormouse_operator import reading
from dormouse_operator.decide import adapting, cooldown, notices, recheck, remotecode, swaps, unplaced
from dormouse_operator.decide import facts as known
from dormouse_operator.decide.attempts import Step
from dormouse_operator.decide.coldstart import asked_at, stamp
from dormouse_operator.decide.contenders import waits_for_devices
from dormouse_operator.decide.eviction import Turn
from dormouse_operator.decide.prewarm import Wanted
from dormouse_operator.decide.replicas import Scale
from dormouse_operator.decide.runtime import RuntimeView, view
from dormouse_operator.decide.troubles import claim_trouble
from dormouse_operator.decide.volume import short_of
from dormouse_operator.observed import Job, Observed, Pod, Runtime
from dormouse_operator.plan import adapters, jobs, pipeline, runtime, service, storage, sweep
from dormouse_operator.plan.adapters import Adapters
from dormouse_operator.plan.awake import Awake, awake
from dormouse_operator.plan.common import Object
from dormouse_operator.plan.lease import lease
from dormouse_operator.plan.pipeline import Pipeline
from dormouse_operator.plan.sweep import Sweep
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
    volume: Failure | None
    """Why the claim gets no volume, as far as the cluster says."""
    frozen: bool
    """The runtime runs as it was, while what the spec asks for is not ready or not possible."""
    swept: Sweep
    """What becomes of what lies on the volume."""
    adapters: Adapters
    apply: tuple[Object, ...]
    delete: tuple[Job, ...]
    follow: Pod | None
    """Pod whose own endpoint shall be asked for progress."""
    woken_at: float | None
    asked_at: float | None
    """Since when it waits for its turn on a full accelerator."""
    look_at: float | None
    turn: Turn | None
    ahead: Wanted
    """What schedules and history want."""
    prewarm: Prewarm | None
    """What the status tells of starts ahead."""
    failures: Cooldown | None
    """Starts that failed, to be remembered."""
    resting: Cooldown | None
    """The same, while it is left alone for them."""


def plan(o: Observed, settings: Settings, now: float) -> Plan:
    """The plan for `o`."""
    p = pipeline.run(o, settings, now)
    up, found = _unwoken(o, awake(o, now)), view(o, now)
    pods = _tried(o, _patient(o, found, now), now)
    failures = cooldown.after(o.model, o.profile, pods, settings.cooldown_seconds, now)
    if cooldown.outlived(o.model, o.profile, found):
        # its pod goes first: a container that is started anew in place would wait for its kubelet's back-off
        up = replace(up, scale=replace(up.scale, replicas=0))
        pods = replace(pods, failure=None, passed=None, hint=None)
    ready_to_run = p.stage is None and p.blocked is None
    frozen = not ready_to_run and not p.hands_off and _can_stay(o)
    revoked = frozen and remotecode.revoked(p.blocked, o.runtime)
    if revoked:
        up = replace(up, scale=replace(up.scale, replicas=0), wanted=False)
    swept, beside = sweep.plan(o, p, settings, now), adapters.plan(o, p, settings, now)
    apply: list[Object] = []
    if ready_to_run or frozen:
        # first of all: a caller may be waiting for this wake. But a door is closed before it is noted that it is
        apply = [_deployment(o, p, up, settings), service.service(o.model, closed=up.closed)]
        apply = apply[::-1] if up.closed else apply
    if not p.hands_off:
        apply += [lease(o.model), *_stage_objects(o, p, swept)]
    if p.blocked is None:
        apply += [*swept.apply, *beside.apply]
    stage = (p.step.retry_at, p.step.look_at) if p.step else ()
    times = (up.scale.look_at, *stage, pods.look_at, swept.look_at, beside.look_at, notices.look_at(o, now))
    return Plan(
        pipeline=p,
        scale=up.scale,
        wanted=up.wanted,
        made_room=up.scale.replicas == 0 and up.marks.turned_out is not None,
        runtime=pods,
        deployed=ready_to_run or frozen,
        volume=claim_trouble(o, now),
        frozen=frozen and not revoked,
        apply=tuple(apply),
        delete=(*superseded(o, p), *swept.delete, *beside.delete),
        swept=swept,
        adapters=beside,
        follow=(pods.pod if beside.listening else None) or _follow(o, p, pods, up.marks.woken_at, now),
        woken_at=up.marks.woken_at,
        asked_at=up.marks.asked_at,
        look_at=min((t for t in (*times, _unseen(o, p, now)) if t is not None), default=None),
        turn=o.turn,
        ahead=up.ahead,
        prewarm=up.prewarmed,
        failures=failures,
        resting=cooldown.lasting(failures, o.model, o.profile, now),
    )


def _unwoken(o: Observed, up: Awake) -> Awake:
    """No pod is added where none could be placed: the scheduler takes none for a claim that is being deleted."""
    if o.claim is None or not o.claim.deleting:
        return up
    present = o.runtime.replicas if o.runtime is not None else 0
    return replace(up, scale=replace(up.scale, replicas=min(up.scale.replicas, present)))


def _patient(o: Observed, pods: RuntimeView, now: float) -> RuntimeView:
    """A pod that waits for what another model has, or has just left, is in line, and not in trouble."""
    why = pods.failure or pods.hint
    if why is None or not waits_for_devices(o, why.reason):
        return pods
    if o.turn is not None and o.turn.place is not None:
        return replace(pods, failure=None, hint=None)
    until = swaps.placing_until(o.model.status.line, now)
    return pods if until is None or until <= now else replace(pods, failure=None, hint=None, look_at=until)


def _tried(o: Observed, pods: RuntimeView, now: float) -> RuntimeView:
    """A pod that found no device although nobody else has one says so."""
    told, at = unplaced.after(o, now), unplaced.look_at(o, now)
    pods = replace(pods, look_at=min((t for t in (pods.look_at, at) if t is not None), default=None))
    if told is None or pods.failure is None or not waits_for_devices(o, pods.failure.reason):
        return pods
    return replace(pods, failure=unplaced.explained(pods.failure, told))


def _unseen(o: Observed, p: Pipeline, now: float) -> float | None:
    """When to look again at what blocks it and would change without an event of ours."""
    blind = p.blocked is not None and (p.hands_off or p.blocked.reason is Reason.STORAGE_FAILED)
    return now + recheck.again_in(o.model, now) if blind else None


def _stage_objects(o: Observed, p: Pipeline, swept: Sweep) -> list[Object]:
    """The volume once its size is known, and the Job of the stage that is to start."""
    found: list[Object] = []
    facts = known.recorded(o.model)  # what was learnt just now is told first: others may have such a volume
    own = o.model.spec.storage.existing_claim is None and p.blocked is None
    if own and facts is not None and p.needed_bytes is not None and o.profile is not None:
        claim = storage.claim(o.model, o.profile, facts.commit, _size(o, p, p.needed_bytes, swept), o.claim)
        found += [] if storage.settled(claim, o) else [claim]
    if p.work is not None and p.step is not None and p.step.step is Step.START:
        found.append(jobs.job(o.model, p.work, p.step.attempt))
    return found


def _size(o: Observed, p: Pipeline, needed: int, swept: Sweep) -> int:
    """Bytes the volume shall have. It grows where its class can, and for what was found short only when nothing on it
    can go instead.
    """
    if o.claim is None:
        return needed
    if not o.expandable:
        return 0
    if p.step is None or (swept.volume is not None and swept.volume.removing):
        return needed
    return max(needed, short_of(p.step.failure, o.claim))


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
        # a draft model that failed keeps its Job: it says when to try again
        return facts.commit in folders and (p.draft is None or p.draft.message is None)
    copy = p.serving.folder if p.serving else None
    # a copy that failed keeps its Job: it says when to try again
    return copy is None or (copy in folders and p.copy_failure is None)


def _can_stay(o: Observed) -> bool:
    """Whether the runtime as deployed can still start: its weights lie on the present claim."""
    volume = o.model.status.volume
    # a claim that is being deleted goes when its last pod has ended: until then they serve, and fall asleep as always
    serves = o.runtime is not None and o.runtime.replicas > 0
    usable = o.claim is not None and not o.claim.lost and (serves or not o.claim.deleting)
    if o.runtime is None or not usable or volume is None or volume.claim_uid != (o.claim and o.claim.uid):
        return False
    return bool(volume.folders) and reading.mentioned(o.runtime.template.get("spec", {})) <= set(volume.folders)


def _deployment(o: Observed, p: Pipeline, up: Awake, settings: Settings) -> Object:
    profile, facts, serving = o.profile, p.facts, p.serving
    if p.stage is None and p.blocked is None and profile and facts and serving and o.claim:
        known = adapting.remembered(o.model, profile)
        config = adapting.settled(runtime.config(o.model, facts, serving, profile, p.draft), known, o.runtime)
        template = runtime.template(o.model, config, profile, o.claim, dict(settings.engine_traces))
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
