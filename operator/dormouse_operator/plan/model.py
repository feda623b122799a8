"""Everything that shall exist for one model, and when to look again. Pure: puts the other plans together."""

from dataclasses import dataclass

from dormouse_api.names import COMPONENT_INSPECT, COMPONENT_PULL, COMPONENT_QUANTIZE
from dormouse_operator.decide import facts as known
from dormouse_operator.decide.attempts import Step
from dormouse_operator.decide.autoscale import calm_seconds
from dormouse_operator.decide.coldstart import asked_at, stamp
from dormouse_operator.decide.quantization import copy_folder
from dormouse_operator.decide.replicas import Bounds, Scale, decide
from dormouse_operator.decide.runtime import RuntimeView, view
from dormouse_operator.observed import Job, Observed, Pod, Runtime
from dormouse_operator.plan import jobs, pipeline, runtime, service, storage
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
    look_at: float | None


def plan(o: Observed, settings: Settings, now: float) -> Plan:
    """The plan for `o`."""
    p = pipeline.run(o, settings, now)
    scale = decide(o.wish, bounds(o), o.demand, now, o.runtime.replicas if o.runtime is not None else 0)
    pods = view(o, now)
    ready_to_run = p.stage is None and p.blocked is None
    frozen = not ready_to_run and not p.hands_off and _can_stay(o)
    woken_at = _woken_at(o, scale)
    apply: list[Object] = []
    if ready_to_run or frozen:
        # first of all: a caller may be waiting for this wake
        apply.append(_deployment(o, p, scale.replicas, woken_at))
        apply.append(service.service(o.model))
    if not p.hands_off:
        apply += [lease(o.model), *_stage_objects(o, p)]
    times = (scale.look_at, p.step.retry_at if p.step else None, pods.look_at)
    return Plan(
        pipeline=p,
        scale=scale,
        runtime=pods,
        deployed=ready_to_run or frozen,
        frozen=frozen,
        apply=tuple(apply),
        delete=superseded(o, p),
        follow=_follow(o, p, pods, woken_at, now),
        woken_at=woken_at,
        look_at=min((t for t in times if t is not None), default=None),
    )


def _stage_objects(o: Observed, p: Pipeline) -> list[Object]:
    """The volume once its size is known, and the Job of the stage that is to start."""
    found: list[Object] = []
    if p.needed_bytes is not None and not o.model.spec.storage.existing_claim and p.blocked is None:
        found.append(storage.claim(o.model, p.needed_bytes, o.claim))
    if p.work is not None and p.step is not None and p.step.step is Step.START:
        found.append(jobs.job(o.model, p.work, p.step.attempt))
    return found


def bounds(o: Observed) -> Bounds:
    """The scaling bounds of the spec; a pod's load defaults to what its profile decodes at once."""
    scaling = o.model.spec.scaling
    slots = o.profile.spec.max_num_seqs if o.profile else 64
    starts = [start.seconds for start in o.model.status.cold_starts or ()]
    calm = calm_seconds(max(starts, default=None))
    return Bounds(scaling.min_replicas, scaling.max_replicas, scaling.target_in_flight or slots, calm)


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


def _deployment(o: Observed, p: Pipeline, replicas: int, woken_at: float | None) -> Object:
    profile, facts, serving = o.profile, p.facts, p.serving
    if p.stage is None and p.blocked is None and profile is not None and facts is not None and serving is not None:
        config = runtime.config(o.model, facts, serving, profile)
        template = runtime.template(o.model, config, profile, storage.claim_name(o.model))
        template = runtime.restarted(template, o.restarted)
        return runtime.deployment(o.model, template, runtime.strategy(profile), replicas, woken_at)
    template, strategy = runtime.frozen(_present(o))
    return runtime.deployment(o.model, runtime.restarted(template, o.restarted), strategy, replicas, woken_at)


def _present(o: Observed) -> Runtime:
    if o.runtime is None:
        raise AssertionError("a frozen plan needs a Deployment to keep")
    return o.runtime


def _woken_at(o: Observed, scale: Scale) -> float | None:
    """The moment of the present wake: the lease as it was when replicas left zero, kept until they return to it."""
    if scale.replicas == 0:
        return None
    if o.runtime is not None and o.runtime.replicas > 0:
        return o.runtime.woken_at
    return o.wish.renewed if o.wish is not None and scale.look_at is not None else None


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
