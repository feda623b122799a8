"""A way to fail, as a row of a table, and how rows are played: a few at a time, each with its own clock."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.controlplane.kubelet import Object
from tests.controlplane.operatorprocess import PATIENCE, Models, until
from tests.controlplane.ward import Case, Ward

WITHIN = float(os.environ.get("DORMOUSE_TOLD_WITHIN", "60"))
"""Seconds from the cause to the condition. 5 is what is promised, and seen where the machine does nothing else."""
CLEARS_WITHIN = PATIENCE
"""Seconds from the cure to where the model would be: the Job's own pauses are 10 and 20 s, and those of a ReplicaSet
that is refused its pods grow as long as the cause lasted."""
AT_ONCE = 8


@dataclass(frozen=True)
class Kind:
    """A way to fail. `words`: what the message must hold of the cause; `fix`: what it must hold of the cure."""

    name: str
    reason: str
    words: tuple[str, ...]
    fix: str
    cause: Callable[[Case], object]
    cure: Callable[[Case], object]
    type: str = "Ready"
    status: str = "False"
    after: str = "ScaledToZero"
    walled: bool = False
    """In the other namespace, one after another: its cause is one for all that is there."""


@dataclass
class Outcome:
    """What came of a kind. `told` and `cleared`: seconds since cause and cure; `error` when it did not come so far."""

    told: float | None = None
    message: str = ""
    ready: Object = field(default_factory=dict)
    cleared: float | None = None
    error: str = ""


def play_all(kinds: Iterable[Kind], ward: Ward, spaces: tuple[str, str]) -> dict[str, Outcome]:
    """Let all kinds happen: those with walls one after another, the others a few at a time."""
    found: dict[str, Outcome] = {}
    lock = threading.Lock()

    def play(kind: Kind) -> None:
        outcome = _play(kind, Case(kind.name, Models(ward.rest, spaces[kind.walled]), ward))
        with lock:
            found[kind.name] = outcome

    everything = list(kinds)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        alone = pool.submit(lambda: list(map(play, (kind for kind in everything if kind.walled))))
        list(pool.map(play, [kind for kind in everything if not kind.walled]))
        alone.result()
    return found


def _play(kind: Kind, case: Case) -> Outcome:
    outcome = Outcome()
    try:
        kind.cause(case)
        began = until(lambda: case.began, why=f"the cause of {kind.name}")

        def look() -> Object | None:
            found = case.models.condition(case.name, kind.type)
            whole = all(word in found.get("message", "") for word in (*kind.words, kind.fix))
            return found if found.get("reason") == kind.reason and whole else None

        try:
            seen = until(look, PATIENCE)
        except AssertionError:
            outcome.error = f"said instead: {case.models.status(case.name).get('conditions')}"
            return outcome
        outcome.told, outcome.message = time.monotonic() - began, seen["message"]
        outcome.ready = case.models.condition(case.name)
        if seen["status"] != kind.status:
            outcome.error = f"status {seen['status']}"
        kind.cure(case)
        cured = time.monotonic()
        case.models.await_reason(case.name, kind.after, seconds=CLEARS_WITHIN)
        outcome.cleared = time.monotonic() - cured
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's, and told by its test
        outcome.error = f"{type(error).__name__}: {error}"
    finally:
        case.clean()
    return outcome
