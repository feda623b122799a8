"""What the status tells of a pull, or of the making of a copy: how far it is, or where it stands in line. Pure."""

from dataclasses import dataclass

from dormouse_api.lease import micro_time
from dormouse_api.names import COMPONENT_PULL, COMPONENT_QUANTIZE
from dormouse_api.results import Progress
from dormouse_api.status import InferenceModelStatus, PullStatus, Queue
from dormouse_operator.decide.attempts import Stage, Step
from dormouse_operator.decide.pulls import Spot

STEP = 25
"""Per cent between two events."""


@dataclass(frozen=True)
class Doing:
    """The stage that is under way."""

    stage: str | None
    step: Stage | None
    spot: Spot | None
    commit: str | None


def progress(doing: Doing, told: Progress | None, old: InferenceModelStatus) -> dict[str, object]:
    """The fields of the status that say how far it is. `told`: what the Job's pod says of itself."""
    nothing: dict[str, object] = {"pull": None, "quantize": None, "progress": None, "queue": None}
    if doing.stage not in (COMPONENT_PULL, COMPONENT_QUANTIZE) or doing.step is None:
        return nothing
    field = "pull" if doing.stage == COMPONENT_PULL else "quantize"
    before: PullStatus | None = getattr(old, field) if old.commit == doing.commit else None
    now = _live(told, before) if told is not None else _kept(before, doing.step)
    found = nothing | {field: now, "progress": f"{now.percent}%" if now is not None else None}
    if doing.step.step is Step.WAITING and doing.spot is not None:
        spot = doing.spot
        found["queue"] = Queue(
            since=micro_time(spot.since),
            position=spot.position,
            of=spot.of,
            after="/".join(spot.after) if spot.after is not None else None,
        )
        found["progress"] = f"queued {spot.position}/{spot.of}"
    return found


def _live(told: Progress, before: PullStatus | None) -> PullStatus:
    percent = min(100, told.bytes * 100 // told.total) if told.total else 0
    eta = told.eta_seconds
    return PullStatus(
        stage=told.stage,
        bytes=told.bytes,
        total=told.total,
        bytes_per_second=round(told.bytes_per_second),
        eta_seconds=None if eta is None else round(eta),
        percent=percent,
        file=told.file,
        announced=max(before.announced if before is not None else 0, min(percent // STEP, 100 // STEP - 1) * STEP),
    )


def _kept(before: PullStatus | None, step: Stage) -> PullStatus | None:
    """What was told last, while nobody tells: the operator was started anew, or the pull is tried again later."""
    if before is None or step.step is Step.RUNNING:
        return before
    return before.model_copy(update={"bytes_per_second": 0, "eta_seconds": None})
