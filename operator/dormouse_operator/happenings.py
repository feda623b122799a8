"""What is worth a Kubernetes Event: the difference of two statuses in a user's words. Pure.

Derived from what was written, so a restarted operator repeats nothing and an unchanged model says nothing.
"""

from dataclasses import dataclass

from dormouse_api.ahead import Source
from dormouse_api.conditions import ConditionType, Reason, is_failure
from dormouse_api.status import ColdStart, Condition, InferenceModelStatus
from dormouse_operator.decide import coldstart, gpus
from dormouse_operator.decide.quantities import words

IN_TURN = (Reason.WAITING_FOR_ACCELERATOR.value, Reason.MAKING_ROOM.value)


@dataclass(frozen=True)
class Happening:
    """One event: `reason` is CamelCase, `action` what the operator was doing."""

    reason: str
    note: str
    action: str
    warning: bool = False
    once: str = ""
    """What makes it one of a kind: it is posted once, whoever posts it again."""


def happenings(name: str, old: InferenceModelStatus, new: InferenceModelStatus) -> list[Happening]:
    """The events between two statuses, in order."""
    found: list[Happening] = []
    before, after = _find(old, ConditionType.READY), _find(new, ConditionType.READY)
    if after is None:
        return found
    if before is None:
        found.append(Happening("Created", f"{name} is taken into care", "Create"))
    found += _pull(old, new)
    found += _copied(old, new)
    found += [
        Happening(f"Gpu{warned.kind}", f"{warned.pod}: {warned.message}", "Watch", warning=True)
        for warned in gpus.news(old.gpu_warnings, new.gpu_warnings)
    ]
    found += [started(start) for start in coldstart.news(old.cold_starts, new.cold_starts)]
    if before is not None and (before.reason, before.status) == (after.reason, after.status):
        return found
    if after.status == "False" and is_failure(after.reason):
        found.append(Happening(after.reason, after.message, "Serve", warning=True))
    elif after.reason == Reason.QUEUED.value:
        found.append(Happening("Queued", after.message, "Pull"))
    elif after.reason == Reason.QUANTIZING.value:
        found.append(Happening("QuantizeStarted", after.message, "Quantize"))
    elif after.reason == Reason.WAKING.value:
        found.append(Happening("Waking", _waking(name, old, new), "Wake"))
    elif after.reason in IN_TURN:
        found.append(Happening(after.reason, after.message, "Wake"))
    elif after.reason == Reason.SERVING.value:
        found.append(Happening("Awake", _awake(name, old, new), "Wake"))
    elif after.reason == Reason.SCALED_TO_ZERO.value:
        found.append(Happening("Asleep", _asleep(name, before), "Sleep"))
    return found


def started(start: ColdStart) -> Happening:
    """The one Event of a start."""
    return Happening("Started", coldstart.sentence(start), "Wake", once=start.at)


def _pull(old: InferenceModelStatus, new: InferenceModelStatus) -> list[Happening]:
    found: list[Happening] = []
    if old.commit != new.commit and new.commit is not None:
        found.append(Happening("Inspected", f"commit {new.commit}, {words(new.bytes or 0)}", "Inspect"))
    if new.pull is not None:
        if old.pull is None:
            found.append(Happening("PullStarted", f"pulling {words(new.pull.total)}", "Pull"))
        if new.pull.announced > (old.pull.announced if old.pull else 0):
            rate = words(new.pull.bytes_per_second)
            found.append(Happening("PullProgress", f"{new.pull.announced}% pulled, {rate}/s", "Pull"))
    if _true(new, ConditionType.MODEL_PULLED) and not _true(old, ConditionType.MODEL_PULLED):
        found.append(Happening("Pulled", f"{words(new.bytes or 0)} of commit {new.commit} are on the volume", "Pull"))
    return found


def _copied(old: InferenceModelStatus, new: InferenceModelStatus) -> list[Happening]:
    before, after = _find(old, ConditionType.QUANTIZED), _find(new, ConditionType.QUANTIZED)
    if (
        after is None
        or after.status != "True"
        or (before is not None and before.status == "True" and before.reason == after.reason)
    ):
        return []
    bad = after.reason == Reason.LOW_QUALITY.value
    return [Happening(after.reason, after.message, "Quantize", warning=bad)]


def _waking(name: str, old: InferenceModelStatus, new: InferenceModelStatus) -> str:
    ahead = new.prewarm.current if new.prewarm is not None else None
    if ahead is None or (old.prewarm is not None and old.prewarm.current == ahead):
        return f"{name} is called and wakes"
    why = "schedule" if ahead.source is Source.SCHEDULE else "history"
    return f"{name} is started ahead of {ahead.serves_at}, by its {why}"


def _asleep(name: str, before: Condition | None) -> str:
    reason = before.reason if before is not None else None
    if reason == Reason.MAKING_ROOM.value:
        return f"{name} sleeps: it made room for another model"
    if reason in (Reason.SERVING.value, Reason.WAKING.value):
        return f"{name} sleeps: nobody has called for a while"
    return f"{name} can be called; it sleeps until then"


def _awake(name: str, old: InferenceModelStatus, new: InferenceModelStatus) -> str:
    start = new.cold_starts[-1] if new.cold_starts else None
    engine = f" with {new.engine.name}" if new.engine else ""
    swap = new.swaps[-1] if new.swaps else None
    if swap is not None and new.swaps != old.swaps:
        return f"{name} serves{engine}, {swap.seconds} s after {swap.holder} was asked to make room"
    return f"{name} serves{engine}" + (f", {start.seconds} s after it was asked for" if start else "")


def _find(status: InferenceModelStatus, kind: ConditionType) -> Condition | None:
    return next((c for c in status.conditions or () if c.type == kind.value), None)


def _true(status: InferenceModelStatus, kind: ConditionType) -> bool:
    found = _find(status, kind)
    return found is not None and found.status == "True"
