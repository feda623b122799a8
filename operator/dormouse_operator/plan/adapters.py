"""The adapters of a model: pulled behind it one at a time, then put on the list that its runtime pods read. Pure.

All that is remembered stands in `status.adapters`. What a pod made of the list it says itself; while no pod runs, an
adapter on the list counts as ready, because a start loads it before the pod takes calls.
"""

from dataclasses import dataclass

from dormouse_api import names
from dormouse_api.adapters import Adapter, AdapterEntry, AdapterList, AdapterReason, AdapterStatus
from dormouse_api.conditions import Reason, is_failure
from dormouse_api.results import AdapterResult
from dormouse_api.runtime import Stage as RuntimeStage
from dormouse_operator.decide import adapters as known
from dormouse_operator.decide.attempts import Stage, Step, judge
from dormouse_operator.decide.quantities import words
from dormouse_operator.observed import Claim, Job, Observed, Profile
from dormouse_operator.plan import jobs
from dormouse_operator.plan.beginning import fitting, in_turn
from dormouse_operator.plan.common import Object, weights
from dormouse_operator.plan.jobs import Work
from dormouse_operator.plan.pipeline import Pipeline
from dormouse_operator.plan.placement import beside, placement
from dormouse_operator.plan.sources import access
from dormouse_operator.settings import Settings

STAGES = frozenset({names.COMPONENT_ADAPTER, names.COMPONENT_BIND})


@dataclass(frozen=True)
class Adapters:
    """What the status shall say of them, and the Jobs that bring it about."""

    told: tuple[AdapterStatus, ...] = ()
    apply: tuple[Object, ...] = ()
    delete: tuple[Job, ...] = ()
    look_at: float | None = None
    listening: bool = False
    """A pod that serves has not said yet what became of one."""


def plan(o: Observed, p: Pipeline, settings: Settings, now: float) -> Adapters:
    """What becomes of them. They wait for the model's own weights, and never keep these from being served."""
    wanted, old = o.model.spec.adapters or [], {s.name: s for s in o.model.status.adapters or ()}
    if not wanted and not old:
        return Adapters(delete=_left(o, ()))
    if o.claim is None or o.profile is None or p.stage is not None or p.blocked is not None:
        return Adapters((*(_waiting(each, old.get(each.name)) for each in wanted), *_going(o)))
    look = _Look(o, settings, o.claim, o.profile, now)
    entries = tuple(look.one(adapter, old.get(adapter.name)) for adapter in wanted)
    entries = look.bind(entries)
    keys = {adapter.name: known.key(adapter) for adapter in wanted}
    told = tuple(_served(o, e, old.get(e.name)) if e.key == keys.get(e.name) else e for e in entries)
    listening = _ready(o) and any(s.reason in (AdapterReason.PULLED, AdapterReason.LOADING) for s in told)
    at = min(look.times, default=None)
    return Adapters(told, tuple(look.apply), _left(o, look.current), at, listening)


class _Look:
    """One look at all of them: at most one Job is begun."""

    def __init__(self, o: Observed, settings: Settings, claim: Claim, profile: Profile, now: float) -> None:
        self._o, self._settings, self._now = o, settings, now
        self._claim, self._profile = claim, profile
        self.apply: list[Object] = []
        self.current: list[str] = []
        """Inputs of the Jobs that are still wanted."""
        self.times: list[float] = []
        self._busy = any(_works(job) for job in o.jobs or () if job.stage in STAGES)

    def one(self, adapter: Adapter, old: AdapterStatus | None) -> AdapterStatus:
        """An adapter, as far as its pull has come."""
        if (there := known.pulled(adapter, old, self._claim)) is not None:
            return there
        work = _pull(self._o, adapter, self._settings, self._claim, self._profile)
        step = judge(self._o, work.stage, work.digest, self._now, self._settings.recheck_seconds)
        self.current.append(work.digest)
        if step.step is Step.DONE and step.outcome is not None and step.outcome.adapter is not None:
            return _learnt(adapter, step.outcome.adapter, self._claim, old)
        step = in_turn(self._o, fitting(self._o, step), self._now)
        reason: str = AdapterReason.PULLING
        message = f"pulling {adapter.source.uri} at {adapter.source.revision}"
        if step.step is Step.START and not self._busy:
            self._begin(work, step)
        elif step.step is Step.START:
            reason, message = AdapterReason.PENDING, "it waits for the pull of another adapter"
        self._again(step)
        if step.failure is not None:
            reason, message = step.failure.reason.value, step.failure.message
        elif step.hint is not None:
            message = f"{message}; {step.hint.message}"
        return _kept(adapter, old, self._claim, reason, message)

    def bind(self, entries: tuple[AdapterStatus, ...]) -> tuple[AdapterStatus, ...]:
        """With the list on the volume brought up to date, or about to be; those that go leave once they are off it."""
        if not known.due(self._o, entries, self._claim):
            return entries
        listed = known.listed(self._o, entries)
        work = _list(self._o, listed, known.dropped(self._o, listed), self._settings, (self._claim, self._profile))
        step = judge(self._o, work.stage, work.digest, self._now, self._settings.recheck_seconds)
        self.current.append(work.digest)
        if step.step is Step.DONE and step.outcome is not None and step.outcome.bind is not None:
            missing, commits = set(step.outcome.bind.missing), dict(listed)
            return tuple(_bound(entry, commits.get(entry.name), missing) for entry in entries)
        step = in_turn(self._o, step, self._now)
        if step.step is Step.START and not self._busy:
            self._begin(work, step)
        self._again(step)
        why = f": {step.failure.message}" if step.failure is not None else ""
        return tuple(_loading(entry, why) for entry in entries) + _going(self._o)

    def _begin(self, work: Work, step: Stage) -> None:
        self.apply.append(jobs.job(self._o.model, work, step.attempt))
        self._busy = True

    def _again(self, step: Stage) -> None:
        self.times += [at for at in (step.retry_at, step.look_at) if at is not None]


def _going(o: Observed) -> tuple[AdapterStatus, ...]:
    """Those that are to leave once their turn comes."""
    if o.claim is None:
        return ()
    stay = {adapter.name for adapter in o.model.spec.adapters or ()}
    return tuple(_removed(s) for s in known.leaving(o, stay, o.claim))


def _waiting(adapter: Adapter, old: AdapterStatus | None) -> AdapterStatus:
    if old is not None and old.key == known.key(adapter):
        return old
    said = AdapterStatus(name=adapter.name, ready=False, reason=AdapterReason.PENDING, message="")
    said = old if old is not None else said
    return said.model_copy(update={"message": "it is pulled once the model's own weights are there"})


def _learnt(adapter: Adapter, result: AdapterResult, claim: Claim, old: AdapterStatus | None) -> AdapterStatus:
    kept = _kept(adapter, old, claim, AdapterReason.LOADING, "")
    return kept.model_copy(
        update={
            "key": known.key(adapter),
            "claim_uid": claim.uid,
            "commit": result.pull.commit,
            "bytes": result.pull.bytes,
            "rank": result.rank,
            "base": result.base,
        }
    )


def _kept(adapter: Adapter, old: AdapterStatus | None, claim: Claim, reason: str, message: str) -> AdapterStatus:
    """One that is not pulled as the spec wants it: what was on the list before is served on meanwhile."""
    if old is None or old.claim_uid != claim.uid:
        return AdapterStatus(name=adapter.name, ready=False, reason=reason, message=message[:2048])
    ready = old.ready and old.bound is not None
    return old.model_copy(update={"ready": ready, "reason": reason, "message": message[:2048]})


def _bound(entry: AdapterStatus, commit: str | None, missing: set[str]) -> AdapterStatus:
    if commit in missing:
        lost = "it did not lie on the volume any more, and is pulled again"
        return AdapterStatus(name=entry.name, ready=False, reason=AdapterReason.PENDING, message=lost)
    return entry.model_copy(update={"bound": commit})


def _removed(entry: AdapterStatus) -> AdapterStatus:
    doing = "it is being unloaded, and removed from the volume"
    return entry.model_copy(update={"ready": False, "reason": AdapterReason.REMOVING, "message": doing})


def _loading(entry: AdapterStatus, why: str) -> AdapterStatus:
    if is_failure(entry.reason) or entry.reason in (AdapterReason.PULLING, AdapterReason.PENDING):
        return entry
    if entry.bound == entry.commit and entry.bound is not None:
        return entry
    doing = f"pulled; it is put on the list of what runtime pods load{why}"
    return entry.model_copy(update={"reason": AdapterReason.LOADING, "message": doing[:2048]})


def _served(o: Observed, entry: AdapterStatus, old: AdapterStatus | None) -> AdapterStatus:
    """With what pods make of it."""
    if (why := known.too_high(o, entry)) is not None:
        return entry.model_copy(update={"ready": False, "reason": Reason.INVALID_SPEC.value, "message": why})
    if entry.bound is None or entry.bound != entry.commit:
        return entry
    same = old is not None and old.bound == entry.bound
    if not _ready(o):
        failed = same and old is not None and is_failure(old.reason)
        return entry if failed else _say(o, entry, True, AdapterReason.PULLED, "loaded when the model wakes")
    state = o.state if o.state is not None and o.state.stage is RuntimeStage.READY else None
    said = next((a for a in state.adapters if a.name == entry.name), None) if state is not None else None
    if said is not None and said.commit == entry.bound:
        if said.loaded:
            return _say(o, entry, True, AdapterReason.LOADED, "loaded")
        return entry.model_copy(update={"ready": False, "reason": Reason.ENGINE_FAILED, "message": said.message[:2048]})
    if same:
        return entry
    return _say(o, entry, entry.ready, AdapterReason.LOADING, "the runtime pods are loading it")


def _say(o: Observed, entry: AdapterStatus, ready: bool, reason: str, doing: str) -> AdapterStatus:
    """`doing`, with what it is; and with a doubt, where it says that it was made for another model."""
    size = f", {words(entry.bytes)}" if entry.bytes is not None else ""
    message = f"{doing}: rank {entry.rank}{size}, called as {o.model.name}:{entry.name}"
    if entry.base is not None and not _same_model(entry.base, o.model.spec.source.uri):
        message += f"; it says it was made for {entry.base}, and the model is {o.model.spec.source.uri}"
    return entry.model_copy(update={"ready": ready, "reason": reason, "message": message[:2048]})


def _same_model(base: str, uri: str) -> bool:
    """By the last part of their names: a training often knows its base by a path of its own machine."""
    return base.rstrip("/").rpartition("/")[2].lower() == uri.rpartition("/")[2].lower()


def _ready(o: Observed) -> bool:
    alive = (pod for pod in o.pods_of(names.COMPONENT_RUNTIME) if not pod.deleting)
    return any(pod.ready_at is not None for pod in alive)


def _pull(o: Observed, adapter: Adapter, settings: Settings, claim: Claim, profile: Profile) -> Work:
    source = adapter.source
    container = jobs.puller(source, settings, "adapter", {"DORMOUSE_REVISION": source.revision})
    volume, mount = weights(claim.name, read_only=False)
    container["volumeMounts"].append(mount)
    inputs = (source.uri, source.revision, claim.uid, *jobs.puller_inputs(source, settings))
    volumes = (*access(source, settings).volumes, volume)
    pod = placement(profile) | beside(claim)
    return Work(names.COMPONENT_ADAPTER, inputs, container, volumes, pod, jobs.LONGEST_SECONDS, claim)


def _list(
    o: Observed, listed: known.Listed, dropped: tuple[str, ...], settings: Settings, place: tuple[Claim, Profile]
) -> Work:
    wanted = AdapterList(adapters=tuple(AdapterEntry(name=name, commit=commit) for name, commit in listed))
    values = {
        names.ENV_ADAPTERS: wanted.model_dump_json(),
        "DORMOUSE_LIST": o.model.uid,
        "DORMOUSE_DROP": ",".join(dropped),
    }
    inputs = (o.model.uid, *(f"{name}={commit}" for name, commit in listed), "", *dropped)
    return jobs.housekeeping(names.COMPONENT_BIND, settings, values, inputs, place)


def _left(o: Observed, current: list[str] | tuple[str, ...]) -> tuple[Job, ...]:
    """Jobs whose result is recorded, or that nobody wants any more. One that writes is never cut off."""
    mine = [job for job in o.jobs or () if job.stage in STAGES and not job.deleting]
    newest = {inputs: max(j.attempt for j in mine if j.inputs == inputs) for inputs in {j.inputs for j in mine}}
    old = (job for job in mine if job.inputs not in current or job.attempt < newest[job.inputs])
    return tuple(job for job in old if not _works(job))


def _works(job: Job) -> bool:
    return not job.deleting and not job.complete and job.failed_reason is None
