"""Whether a model shall be awake before anybody calls it, and what that has brought. Pure; what is remembered is in the
model's status.

A schedule is the user's word and counts as minReplicas while its window lasts. A guess from the model's history is
worth a free device and nothing more: whoever is called goes first, and the hour is over for it once it was in vain.
"""

from dataclasses import dataclass
from datetime import datetime
from statistics import median
from zoneinfo import ZoneInfo

from dormouse_api.ahead import Ahead, History, Prewarm, Source
from dormouse_api.lease import Wish, micro_time, parse_time
from dormouse_api.status import ColdStart
from dormouse_operator.decide import history
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.decide.schedule import windows, zone
from dormouse_operator.observed import Model, Runtime

UNKNOWN_LEAD = 60.0
"""Seconds a start is taken to last where none has been recorded."""
LONGEST_LEAD = 1800.0
SHORTEST_SECONDS = 60.0
"""Of an hour, that time and budget must leave for a guess to be made."""


@dataclass(frozen=True)
class Wanted:
    """What is wanted ahead of calls at this moment."""

    replicas: int = 0
    """By schedules: kept as minReplicas are."""
    guess: bool = False
    """The model's history asks for one pod, if nothing else does."""
    ahead: Ahead | None = None
    """What a start is for that begins now."""
    zone: str = "UTC"
    """The time zone to tell of it in."""
    look_at: float | None = None
    """When the answer changes by itself (seconds since the epoch)."""


NOTHING = Wanted()


def wanted(model: Model, runtime: Runtime | None, now: float) -> Wanted:
    """What schedules and history want now."""
    scaling = model.spec.scaling
    if not scaling.schedules and scaling.learn is None:
        return NOTHING
    planned, guessed = _planned(model, now), _guessed(model, runtime, now)
    times = [at for at in (planned.look_at, guessed.look_at) if at is not None]
    first = planned if planned.ahead is not None else guessed
    return Wanted(planned.replicas, guessed.guess, first.ahead, first.zone, min(times, default=None))


def lead(starts: list[ColdStart] | None) -> float:
    """How much earlier a start begins: as much as the longest of those that are recorded took."""
    return min(LONGEST_LEAD, max((float(start.seconds) for start in starts or ()), default=UNKNOWN_LEAD))


def _planned(model: Model, now: float) -> Wanted:
    early = lead(model.status.cold_starts)
    found = windows(model.spec.scaling.schedules or (), now)
    inside = [window for window in found if window.begins - early <= now]
    edges = [window.ends if window in inside else window.begins - early for window in found]
    if not inside:
        return Wanted(look_at=min(edges, default=None))
    first = min(inside, key=lambda window: window.begins)
    until = max(window.ends for window in inside)
    ahead = Ahead(source=Source.SCHEDULE, at=micro_time(now), serves_at=stamp(first.begins), until=stamp(until))
    return Wanted(max(window.replicas for window in inside), False, ahead, first.zone, min(edges))


def _guessed(model: Model, runtime: Runtime | None, now: float) -> Wanted:
    learn, known = model.spec.scaling.learn, model.status.prewarm
    tz = zone(learn.time_zone) if learn is not None else None
    if learn is None or tz is None or known is None or known.history is None:
        return NOTHING
    turned_out = (runtime.turned_out if runtime is not None else None) or 0.0
    going = known.current
    if going is not None and going.source is Source.HISTORY:
        if now < parse_time(going.until) and turned_out < parse_time(going.at):
            return Wanted(0, True, going, learn.time_zone, parse_time(going.until))
        known = _closed(known, going, None, model, now)
    assert known.history is not None  # noqa: S101 - for the type checker
    early = lead(model.status.cold_starts)
    day = history.day(known.history, now + early, tz)
    left = learn.budget_minutes_per_day * 60.0 - _spent(known, _date(now + early, tz))
    hours = [hour for hour in day if hour.begins + history.HOUR - SHORTEST_SECONDS > now]
    chosen = [hour for hour in history.chosen(hours, left / 60.0) if not _over(known, hour, turned_out)]
    due = min((hour.begins for hour in chosen), default=None)
    if due is None or left < early + SHORTEST_SECONDS:
        return Wanted(look_at=history.day_ends(now + early, tz) - early)
    if due - early > now:
        return Wanted(look_at=due - early)
    until = min(due + history.HOUR, now + left)
    ahead = Ahead(source=Source.HISTORY, at=micro_time(now), serves_at=stamp(due), until=stamp(until))
    return Wanted(0, True, ahead, learn.time_zone, until)


def _over(known: Prewarm, hour: history.Hour, turned_out: float) -> bool:
    """Nothing more is guessed for this hour: all calls it usually has have come, or it was in vain already."""
    if turned_out > hour.begins:
        return True
    if known.last is None or parse_time(known.last) < hour.begins:
        return False
    return known.last_over or known.last_calls + 0.5 >= hour.wakes


# -------------------------------------------------------------------------------------------- what has come of it


@dataclass(frozen=True)
class Moment:
    """What a look has found and decided."""

    now: float
    wish: Wish | None
    runtime: Runtime | None
    """As it was before this look."""
    replicas: int
    """From now on."""
    ahead: Wanted

    @property
    def called(self) -> bool:
        """A caller wants it awake."""
        return self.wish is not None and self.wish.ends > self.now


def after(model: Model, m: Moment) -> Prewarm | None:
    """What the status shall tell; None for a model that has never been started ahead and never shall be."""
    known, learn = model.status.prewarm, model.spec.scaling.learn
    if known is None and learn is None and not model.spec.scaling.schedules:
        return None
    tz = zone(learn.time_zone) if learn is not None else None
    new = known or Prewarm()
    if learn is None:
        new = new.model_copy(update={"history": None})
    elif new.history is None:
        new = new.model_copy(update={"history": history.began(m.now)})
    down = m.runtime is None or m.runtime.replicas == 0
    slept = down and (m.runtime is None or m.runtime.asked_at is None)
    called_at = m.wish.renewed if m.wish is not None and m.called and slept else None
    if new.current is not None:
        used = m.wish is not None and m.wish.renewed > parse_time(new.current.at)
        called_at = m.wish.renewed if m.wish is not None and used else called_at
        if used or m.replicas == 0 or m.now >= parse_time(new.current.until):
            new = _closed(new, new.current, called_at if used else None, model, m.now)
    if new.current is None and m.replicas > 0 and m.ahead.ahead is not None and not m.called:
        new = _opened(new, m.ahead.ahead.model_copy(update={"kept": not down}))
    if called_at is not None and new.history is not None and tz is not None:
        new = _counted(new, new.history, called_at, tz)
    return new


def _counted(known: Prewarm, seen: History, called_at: float, tz: ZoneInfo) -> Prewarm:
    hour = stamp(history.hour_of(called_at, tz))
    calls, over = (known.last_calls, known.last_over) if known.last == hour else (0, False)
    counts = history.counted(seen, called_at, tz)
    return known.model_copy(update={"history": counts, "last": hour, "last_calls": calls + 1, "last_over": over})


def _opened(known: Prewarm, ahead: Ahead) -> Prewarm:
    told: dict[str, object] = {"starts": known.starts + 1, "current": ahead}
    if ahead.source is Source.HISTORY and ahead.serves_at != known.last:
        told |= {"last": ahead.serves_at, "last_calls": 0, "last_over": False}
    return known.model_copy(update=told)


def _closed(known: Prewarm, going: Ahead, called_at: float | None, model: Model, now: float) -> Prewarm:
    """`going` is over: somebody called at that moment, or nobody did."""
    began = parse_time(going.at)
    ended = called_at if called_at is not None else min(now, parse_time(going.until))
    spent = max(0, round(ended - began))
    told: dict[str, object] = {"current": None, "seconds_spent": known.seconds_spent + spent}
    if called_at is None:
        told["unused"] = known.unused + 1
        told["last_over"] = known.last_over or going.source is Source.HISTORY
    else:
        took = usual(model.status.cold_starts)
        told["used"] = known.used + 1
        told["seconds_saved"] = known.seconds_saved + round(took if going.kept else min(took, ended - began))
    learn = model.spec.scaling.learn
    tz = zone(learn.time_zone) if learn is not None else None
    if going.source is Source.HISTORY and tz is not None:
        day = _date(parse_time(going.serves_at), tz)
        told |= {"day": day, "day_seconds": _spent(known, day) + spent}
    return known.model_copy(update=told)


def usual(starts: list[ColdStart] | None) -> float:
    """Seconds a caller waits for a start."""
    return median([float(start.seconds) for start in starts]) if starts else UNKNOWN_LEAD


def sentence(w: Wanted, known: Prewarm | None) -> str:
    """What it is awake for, and whether that has helped so far; empty where calls or minReplicas keep it awake."""
    if w.ahead is None or known is None or known.current is None:
        return ""
    at = datetime.fromtimestamp(parse_time(w.ahead.serves_at), zone(w.zone) or ZoneInfo("UTC"))
    why = "its schedule" if w.ahead.source is Source.SCHEDULE else "its history"
    text = f"prewarmed for {at:%H:%M} {w.zone} by {why}"
    over = known.used + known.unused
    if not over:
        return text
    saved, minutes = known.seconds_saved, known.seconds_spent // 60
    return f"{text}; {known.used} of {over} times a call came: {saved} s of waiting saved for {minutes} min awake"


def _spent(known: Prewarm, day: str) -> int:
    return known.day_seconds if known.day == day else 0


def _date(at: float, tz: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(at, tz):%Y-%m-%d}"
