"""Which stage a model is in: inspect, volume, pull, quantize, ready to run. Pure: the same observation, the same stage.

Each stage is judged from its Jobs until its result is recorded in the status; then its Jobs are not needed any more.
What lies on the volume is believed only for the claim it was seen on.
"""

from dataclasses import dataclass, replace

from dormouse_api.conditions import Reason
from dormouse_api.names import COMPONENT_PULL, COMPONENT_RUNTIME, LABEL_MODEL
from dormouse_api.results import Failure, QuantizeResult
from dormouse_api.speculative import DraftStatus
from dormouse_operator import reading
from dormouse_operator.decide import adapters, draft, remotecode
from dormouse_operator.decide import facts as known
from dormouse_operator.decide.attempts import Stage, Step, judge
from dormouse_operator.decide.facts import Facts
from dormouse_operator.decide.fit import Preflight, preflight, weight_bytes
from dormouse_operator.decide.quantization import Impossible, Serving, choose
from dormouse_operator.decide.volume import volume_bytes
from dormouse_operator.observed import Claim, Observed, Profile
from dormouse_operator.plan import jobs, sources
from dormouse_operator.plan.beginning import fitting, in_line, in_turn
from dormouse_operator.plan.jobs import Work
from dormouse_operator.plan.sharing import is_ours, taken
from dormouse_operator.plan.storage import claim_name
from dormouse_operator.plan.written import too_long
from dormouse_operator.settings import Settings

SOURCE_SECONDS = 3.0
"""Between two looks at a source's claim that is not there."""
FORGET_SECONDS = 0.5
"""Until a status that has forgotten its inspection is looked at: its own change wakes nobody."""


@dataclass(frozen=True)
class Pipeline:
    """How far the model has come. With no `stage` and nothing `blocked` the runtime can be deployed."""

    facts: Facts | None = None
    serving: Serving | None = None
    preflight: Preflight | None = None
    folders: tuple[str, ...] = ()
    """Whole folders on the present claim."""
    needed_bytes: int | None = None
    """Size of the volume, once it is known."""
    draft: DraftStatus | None = None
    """The draft model of speculative decoding, as far as it has come."""
    stage: str | None = None
    step: Stage | None = None
    work: Work | None = None
    blocked: Failure | None = None
    hands_off: bool = False
    """Nothing at all may be applied."""
    stale: bool = False
    """What was inspected is not there any more: it is to be forgotten, and inspected anew."""
    made: QuantizeResult | None = None
    """The quantized copy that was made just now."""
    copy_failure: Failure | None = None
    """The quantized copy could not be made, and another engine serves instead."""


def run(o: Observed, settings: Settings, now: float) -> Pipeline:
    """The pipeline of `o`. `o.jobs` may be None only where `needs_jobs` says so."""
    if problem := _foreign(o):
        return Pipeline(facts=known.recorded(o.model), blocked=problem, hands_off=True)
    if o.profile is None:
        return Pipeline(facts=known.recorded(o.model), blocked=_no_profile(o, settings))
    if words := too_long(o.model, o.profile):
        return Pipeline(facts=known.recorded(o.model), blocked=Failure(reason=Reason.INVALID_SPEC, message=words))
    p = _inspect(o, settings, now)
    if p.facts is None:
        return _sourced(o, p, now)
    p = _choose(o, o.profile, p, settings)
    if p.blocked or p.serving is None:
        return p
    if problem := _claim_problem(o):
        return replace(p, blocked=problem)
    if o.claim is None:
        return replace(p, stage=COMPONENT_PULL, step=Stage(Step.RUNNING))
    p = _pull(o, settings, replace(p, folders=_folders(o, o.claim)), now)
    if p.step is not None and _gone(o, p):
        forgotten = replace(p.step, step=Step.FAILED, look_at=now + FORGET_SECONDS)
        return Pipeline(stage=COMPONENT_PULL, step=forgotten, stale=True)
    if p.stage:
        return _sourced(o, p, now)
    p = _copy(o, settings, p, now)
    return p if p.stage else _draft(o, settings, p, now)


def needs_jobs(o: Observed, settings: Settings) -> bool:
    """Whether Jobs must be read: some stage is not recorded as done, or Jobs are left to clean up."""
    if any(pod.component != COMPONENT_RUNTIME for pod in o.pods):
        return True
    if o.model.status.volume is not None and o.model.status.volume.removing:
        return True
    p = run(replace(o, jobs=()), settings, 0.0)
    return p.stage is not None


def _foreign(o: Observed) -> Failure | None:
    """An object of somebody else under a name we would use: to apply over it would destroy it."""
    for (kind, name), raw in o.raw.items():
        meta = raw["metadata"]
        ours = (meta.get("labels") or {}).get(LABEL_MODEL) == o.model.name
        owned = any(owner["uid"] == o.model.uid for owner in meta.get("ownerReferences") or ())
        if kind != "PersistentVolumeClaim" and not ours and not owned:
            message = f"{kind} {name} exists and is not Dormouse's: give the model another name, or remove the {kind}"
            return Failure(reason=Reason.INVALID_SPEC, message=message)
    return None


def _no_profile(o: Observed, settings: Settings) -> Failure:
    name = o.model.spec.profile or settings.default_profile
    return Failure(
        reason=Reason.PROFILE_NOT_FOUND,
        message=f"there is no RuntimeProfile {name}: create it, or set spec.profile to one of kubectl get "
        "runtimeprofiles.dormouse.dev",
    )


def _inspect(o: Observed, settings: Settings, now: float) -> Pipeline:
    if facts := known.recorded(o.model):
        return Pipeline(facts=facts)
    work = jobs.inspect(o.model, settings)
    step = judge(o, work.stage, work.digest, now, settings.recheck_seconds)
    if step.step is Step.DONE and step.outcome and step.outcome.inspect:
        return Pipeline(facts=known.from_result(o.model, step.outcome.inspect))
    return Pipeline(stage=work.stage, step=_unfinished(step), work=work)


def _gone(o: Observed, p: Pipeline) -> bool:
    """Whether the source has replaced what was inspected before it was pulled. A hub keeps its commits; buckets and
    claims hold only what is there now, so another try of the same commit would be in vain."""
    step = p.step
    again = step is not None and step.step is Step.START and step.failure is not None
    lost = again and step is not None and step.failure is not None and step.failure.reason is Reason.NOT_FOUND
    return p.stage == COMPONENT_PULL and lost and not sources.keeps_commits(o.model.spec.source)


def _sourced(o: Observed, p: Pipeline, now: float) -> Pipeline:
    """The stage that reads the source, or why it cannot: no pod of it would start. Nothing tells of others' claims."""
    problem, step = sources.claim_problem(o.model, o.source), p.step
    if problem is None or step is None or step.step is Step.WAITING or (step.pod and step.pod.phase == "Running"):
        return p
    stands = Step.FAILED if step.step is Step.START else step.step
    return replace(p, step=replace(step, step=stands, failure=problem, retry_at=None, look_at=now + SOURCE_SECONDS))


def _choose(o: Observed, profile: Profile, p: Pipeline, settings: Settings) -> Pipeline:
    assert p.facts is not None  # noqa: S101 - for the type checker
    facts = p.facts
    serving = choose(o.model, facts, profile, settings.q4_threshold_bytes)
    if isinstance(serving, Impossible):
        return replace(p, blocked=Failure(reason=Reason.INVALID_SPEC, message=serving.message))
    if problem := remotecode.refusal(o.model, facts, profile):
        return replace(p, blocked=problem)
    verdict = preflight(o.model, facts, profile, serving.quantization)
    if verdict.fits is False:
        failure = Failure(reason=Reason.DOES_NOT_FIT, message=verdict.message[:2000])
        return replace(p, preflight=verdict, blocked=failure)
    beside = _staying(o, facts) + adapters.room(o)
    needed = volume_bytes(facts.bytes, weight_bytes(facts, serving.copy) if serving.copy else 0, beside)
    return replace(p, serving=serving, preflight=verdict, needed_bytes=needed)


def _staying(o: Observed, facts: Facts) -> int:
    """Bytes of other revisions that serve meanwhile, and have to stay on the volume until the new one does."""
    volume = o.model.status.volume
    if o.runtime is None or volume is None or o.claim is None or volume.claim_uid != o.claim.uid:
        return 0
    serving = reading.mentioned(o.runtime.template.get("spec", {}))
    sizes = (volume.folder_bytes or {}).items()
    return sum(size for folder, size in sizes if folder in serving and not folder.startswith(facts.commit))


def _claim_problem(o: Observed) -> Failure | None:
    name, claim, own = claim_name(o.model), o.claim, o.model.spec.storage.existing_claim is None
    message = ""
    if claim is None:
        if not own:
            message = f"there is no PersistentVolumeClaim {name}: create it, or remove storage.existingClaim"
    elif claim.deleting:
        message = f"PersistentVolumeClaim {name} is being deleted: it goes once no pod uses it (a model that serves "
        message += "does so until it sleeps), then a new one is made and the weights are pulled again"
    elif claim.lost:
        message = f"PersistentVolumeClaim {name} has lost its volume: delete the claim, and the weights are pulled anew"
    elif own and not is_ours(claim, o.model):
        message = f"PersistentVolumeClaim {name} exists and is not Dormouse's: set storage.existingClaim to {name}"
    elif own and (others := taken(claim, o.model)):
        message = f"PersistentVolumeClaim {name} holds the weights of {', '.join(others)}: give the model another name"
    return Failure(reason=Reason.STORAGE_FAILED, message=message) if message else None


def _folders(o: Observed, claim: Claim) -> tuple[str, ...]:
    volume = o.model.status.volume
    return tuple(volume.folders) if volume and volume.claim_uid == claim.uid else ()


def _pull(o: Observed, settings: Settings, p: Pipeline, now: float) -> Pipeline:
    assert p.facts is not None and o.claim is not None and o.profile is not None  # noqa: S101, PT018 - for the type checker
    if p.facts.commit in p.folders:
        return p
    work = jobs.pull(o.model, settings, p.facts, o.claim, o.profile)
    step = judge(o, work.stage, work.digest, now, settings.recheck_seconds)
    if step.step is Step.DONE and step.outcome and step.outcome.pull:
        return replace(p, folders=_with(p.folders, p.facts.commit))
    return replace(p, stage=work.stage, step=in_line(o, in_turn(o, fitting(o, _unfinished(step)), now)), work=work)


def _copy(o: Observed, settings: Settings, p: Pipeline, now: float) -> Pipeline:
    assert p.facts is not None and p.serving is not None and o.claim is not None and o.profile is not None  # noqa: S101, PT018
    method, folder = p.serving.copy, p.serving.folder
    if method is None or folder is None or folder in p.folders:
        return p
    work = jobs.quantize(o.model, p.facts, method, o.claim, o.profile)
    step = judge(o, work.stage, work.digest, now, settings.recheck_seconds)
    if step.step is Step.DONE and step.outcome and step.outcome.quantize:
        return replace(p, folders=_with(p.folders, folder), made=step.outcome.quantize)
    others = tuple(a for a in p.serving.attempts if not a.model_dir.endswith(f"/{folder}"))
    if step.step is Step.FAILED and others:
        return replace(p, serving=replace(p.serving, attempts=others), copy_failure=step.failure, step=step)
    return replace(p, stage=work.stage, step=in_turn(o, fitting(o, _unfinished(step)), now), work=work)


def _draft(o: Observed, settings: Settings, p: Pipeline, now: float) -> Pipeline:
    """The draft model's pull, the last of all. One that cannot be pulled is told of, and done without."""
    place, told = draft.source(o.model), draft.recorded(o.model)
    if place is None or o.claim is None or o.profile is None:
        return p
    if told is not None and told.commit is not None and told.commit in p.folders:
        return replace(p, draft=told)
    work, told = jobs.draft(place, settings, o.claim, o.profile), DraftStatus(key=draft.key(place))
    step = judge(o, work.stage, work.digest, now, settings.recheck_seconds)
    if step.step is Step.DONE and step.outcome and (pulled := step.outcome.pull):
        told = told.model_copy(update={"commit": pulled.commit, "bytes": pulled.bytes})
        return replace(p, draft=told, folders=_with(p.folders, pulled.commit))
    if step.step is Step.FAILED and step.failure is not None:
        why = f"served without its draft model, which could not be pulled: {step.failure.message}"
        return replace(p, draft=told.model_copy(update={"message": why[:2048]}), step=step)
    step = in_line(o, in_turn(o, fitting(o, _unfinished(step)), now))
    return replace(p, draft=told, stage=work.stage, step=step, work=work)


def _with(folders: tuple[str, ...], folder: str) -> tuple[str, ...]:
    return (*(f for f in folders if f != folder), folder)[-8:]


def _unfinished(step: Stage) -> Stage:
    """A Job that ended well with another stage's result has broken the contract: that is a failure, not a result."""
    if step.step is not Step.DONE:
        return step
    message = "the Job ended without a result, its image does not belong to this operator's version: let the chart's "
    message += "image.tag, or the profile's image, be of that version"
    return replace(step, step=Step.FAILED, failure=Failure(reason=Reason.JOB_FAILED, message=message))
