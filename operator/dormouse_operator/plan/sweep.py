"""What lies on a model's volume, what of it nobody needs any more, and the Job that removes that. Pure.

A folder leaves the status before it leaves the volume: what the status lists as whole is never half removed. What is
to go stands in `status.volume.removing` until the Job has told that it is gone.
"""

from dataclasses import dataclass

from dormouse_api import names
from dormouse_api.conditions import Reason
from dormouse_api.results import Failure
from dormouse_api.status import InferenceModelStatus, Volume
from dormouse_operator import reading
from dormouse_operator.decide.attempts import Step, judge
from dormouse_operator.decide.fit import weight_bytes
from dormouse_operator.decide.quantities import to_bytes
from dormouse_operator.decide.quantization import COPIES_TRANSFORMERS, COPIES_VLLM, copy_folder
from dormouse_operator.decide.volume import HEADROOM
from dormouse_operator.observed import Job, Observed
from dormouse_operator.plan import jobs
from dormouse_operator.plan.common import Object
from dormouse_operator.plan.pipeline import Pipeline
from dormouse_operator.settings import Settings

SPARES = 2
"""Folders that nobody needs and that stay, for a way back: the weights of the revision before, and a copy of them."""
MOST = 8
COPIES = COPIES_VLLM | COPIES_TRANSFORMERS
ENDED = frozenset({"Succeeded", "Failed"})
AGAIN_SECONDS = 10.0
"""Until it is looked again whether a pod of another model has left a folder."""


@dataclass(frozen=True)
class Sweep:
    """What the status shall say of the volume, and the Job that brings it about."""

    volume: Volume | None
    apply: tuple[Object, ...] = ()
    delete: tuple[Job, ...] = ()
    failure: Failure | None = None
    look_at: float | None = None


def asks(o: Observed) -> bool:
    """Whether folders of the present volume are to go."""
    volume = _recorded(o)
    return volume is not None and bool(volume.removing)


def needed_by(status: InferenceModelStatus) -> set[str]:
    """Folders that a model with this status may go back to at any moment."""
    found = set(status.volume.folders) if status.volume is not None else set()
    if status.draft is not None and status.draft.commit is not None:
        found.add(status.draft.commit)
    if status.commit is not None:
        found.add(status.commit)
        if status.quantization in COPIES:
            found.add(copy_folder(status.commit, status.quantization))
    if status.quantized is not None:
        found.add(status.quantized.folder)
    return found


def plan(o: Observed, p: Pipeline, settings: Settings, now: float) -> Sweep:
    """What becomes of the volume's contents."""
    if o.claim is None or o.model.spec.storage.existing_claim is not None:
        return Sweep(_as_is(o, p), delete=_left(o))
    old, used, whole = _recorded(o), _in_use(o, p), _whole(o, p)
    folders = tuple(f for f in whole if f not in used) + tuple(f for f in whole if f in used)
    spare = [f for f in folders if f not in used]
    goes = [*_abandoned(o, p), *(spare if _pressing(o, p, folders) else spare[: max(0, len(spare) - SPARES)])]
    if p.stage is not None and not _pressing(o, p, folders):
        goes = _abandoned(o, p)  # the way back stays open until the switch is complete
    removing = [f for f in dict.fromkeys([*((old.removing or []) if old else []), *goes]) if f not in used]
    removing = [f for f in removing if f not in o.needed][-MOST:]
    folders = tuple(f for f in folders if f not in removing)
    told = _volume(o, p, folders, removing)
    if not asks(o) or o.mounted is None or o.jobs is None:
        return Sweep(told, delete=_left(o))
    return _work(o, told, used, settings, now)


def _work(o: Observed, told: Volume, used: set[str], settings: Settings, now: float) -> Sweep:
    """The Job, for what the status as it was read says is to go."""
    mounted = o.mounted or frozenset()
    targets = sorted(f for f in told.removing or () if f not in mounted)
    if not targets:
        return Sweep(told, delete=_left(o), look_at=now + AGAIN_SECONDS if told.removing else None)
    assert o.claim is not None and o.profile is not None  # noqa: S101, PT018 - for the type checker
    keep = sorted({*told.folders, *used, *mounted, *o.needed, *needed_by(o.model.status)} - set(targets))
    work = jobs.sweep(o.model, settings, tuple(targets), tuple(keep), o.claim, o.profile)
    step = judge(o, work.stage, work.digest, now)
    if step.step is Step.DONE and step.outcome is not None and step.outcome.sweep is not None:
        rest = [f for f in told.removing or () if f not in targets]
        return Sweep(told.model_copy(update={"removing": rest or None}))
    if step.step is Step.START and _writes(o):
        return Sweep(told, look_at=now + AGAIN_SECONDS)
    body = (jobs.job(o.model, work, step.attempt),) if step.step is Step.START else ()
    gone = tuple(j for j in _sweeps(o) if j.inputs != work.digest or j.attempt < step.attempt)
    return Sweep(told, body, gone, step.failure, step.retry_at)


def _writes(o: Observed) -> bool:
    """Whether a Job of anybody's works on the volume."""
    mine = any(not j.complete and j.failed_reason is None for j in o.jobs or () if _on_volume(j))
    return mine or bool(o.at_work)


def _on_volume(job: Job) -> bool:
    return job.stage != names.COMPONENT_INSPECT


def _left(o: Observed) -> tuple[Job, ...]:
    """Jobs of sweeps that are recorded."""
    return () if asks(o) else _sweeps(o)


def _sweeps(o: Observed) -> tuple[Job, ...]:
    """Those that have ended: one that works is never cut off, for what it began to remove must be gone."""
    mine = (job for job in o.jobs or () if job.stage == names.COMPONENT_SWEEP and not job.deleting)
    return tuple(job for job in mine if job.complete or job.failed_reason is not None)


def _recorded(o: Observed) -> Volume | None:
    volume = o.model.status.volume
    return volume if volume is not None and o.claim is not None and volume.claim_uid == o.claim.uid else None


def _whole(o: Observed, p: Pipeline) -> tuple[str, ...]:
    """Whole folders, also where the plan did not come as far as the volume."""
    recorded = _recorded(o)
    return p.folders or tuple(recorded.folders if recorded is not None else ())


def _in_use(o: Observed, p: Pipeline) -> set[str]:
    """What the plan wants, and what the Deployment was told of."""
    serving = reading.mentioned(o.runtime.template.get("spec", {})) if o.runtime is not None else frozenset()
    facts = p.facts
    wanted = {facts.commit} if facts is not None else set()
    if p.draft is not None and p.draft.commit is not None:
        wanted.add(p.draft.commit)
    if p.serving is not None and p.serving.folder is not None:
        wanted.add(p.serving.folder)
    return wanted | set(serving)


def _abandoned(o: Observed, p: Pipeline) -> list[str]:
    """The commit that another one has replaced before it was whole."""
    before = o.model.status.commit
    stale = before is not None and p.facts is not None and p.facts.commit != before
    return [before] if before is not None and stale and before not in _whole(o, p) else []


def _pressing(o: Observed, p: Pipeline, folders: tuple[str, ...]) -> bool:
    """Whether what comes next needs the room of what nobody needs."""
    failures = (p.copy_failure, p.step.failure if p.step is not None else None)
    if any(f is not None and f.reason is Reason.NO_SPACE for f in failures):
        return True
    if p.stage not in (names.COMPONENT_PULL, names.COMPONENT_QUANTIZE) or p.facts is None or o.claim is None:
        return False
    sizes, wanted = _sizes(o, p), _wanted_bytes(p)
    other = sum(sizes.get(f, 0) for f in folders if not f.startswith(p.facts.commit))
    have = to_bytes(o.claim.capacity)
    return bool(have) and other > 0 and int((wanted + other) * HEADROOM) > have


def _wanted_bytes(p: Pipeline) -> int:
    if p.facts is None:
        return 0
    copied = p.serving.copy if p.serving is not None else None
    return p.facts.bytes + (weight_bytes(p.facts, copied) if copied else 0)


def _sizes(o: Observed, p: Pipeline) -> dict[str, int]:
    recorded = _recorded(o)
    sizes = dict(recorded.folder_bytes or {}) if recorded is not None else {}
    if p.facts is not None:
        sizes[p.facts.commit] = p.facts.bytes
        if p.serving is not None and p.serving.copy is not None and p.serving.folder is not None:
            sizes[p.serving.folder] = weight_bytes(p.facts, p.serving.copy)
    return sizes


def _volume(o: Observed, p: Pipeline, folders: tuple[str, ...], removing: list[str]) -> Volume:
    assert o.claim is not None  # noqa: S101 - for the type checker
    sizes = {f: size for f, size in sorted(_sizes(o, p).items()) if f in folders}
    return Volume(
        claim=o.claim.name,
        claim_uid=o.claim.uid,
        folders=list(folders[-MOST:]),
        folder_bytes=sizes or None,
        removing=removing or None,
    )


def _as_is(o: Observed, p: Pipeline) -> Volume | None:
    """A volume of the user's own is never cleared. One that is not there is remembered until another one is."""
    return o.model.status.volume if o.claim is None else _volume(o, p, _whole(o, p), [])
