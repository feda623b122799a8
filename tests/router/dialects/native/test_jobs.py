"""A pull as a job, in every state of its model."""

from typing import Any

import pytest

from dormouse_router.dialects.native.jobs import job, job_id, key_of
from tests.router.dialects.records import condition, known_status, record


def state(ready: str, reason: str, *, pulled: bool = False, done: int = 0, **more: Any) -> dict[str, Any]:
    conditions = [condition("Ready", ready, reason, "because")]
    conditions.append(condition("ModelPulled", "True" if pulled else "False", "Pulled" if pulled else "Pulling"))
    pull = {"stage": "fetching", "bytes": done, "total": 1000, "bytesPerSecond": 50, "etaSeconds": 9} if done else None
    status = known_status(conditions=conditions, pull=pull, bytes=1000 if pulled else None, **more)
    return job(record(status=status))


@pytest.mark.parametrize(
    ("ready", "reason", "pulled", "done", "wanted"),
    [
        ("False", "Pending", False, 0, ("queued", 0.0, 0, None, None, None)),
        ("False", "Inspecting", False, 0, ("running", 0.0, 0, None, None, None)),
        ("False", "Pulling", False, 421, ("running", 42.1, 421, 1000, 9, None)),
        ("False", "Interrupted", False, 421, ("running", 42.1, 421, 1000, 9, None)),
        ("False", "Quantizing", True, 0, ("running", 100.0, 1000, 1000, None, None)),
        ("False", "Gated", False, 0, ("failed", 0.0, 0, None, None, "because")),
        ("False", "NoSpace", False, 700, ("failed", 70.0, 700, 1000, None, "because")),
        ("False", "RateLimited", False, 700, ("retrying", 70.0, 700, 1000, None, "because")),
        ("False", "QuantizationFailed", True, 0, ("failed", 100.0, 1000, 1000, None, "because")),
        ("True", "ScaledToZero", True, 0, ("succeeded", 100.0, 1000, 1000, None, None)),
        ("True", "Serving", True, 0, ("succeeded", 100.0, 1000, 1000, None, None)),
    ],
)
def test_states(ready: str, reason: str, pulled: bool, done: int, wanted: tuple[object, ...]) -> None:
    found = state(ready, reason, pulled=pulled, done=done)
    fields = ("status", "progress", "downloaded_bytes", "total_bytes", "eta_seconds", "error")
    assert tuple(found[field] for field in fields) == wanted


def test_a_model_nobody_has_looked_at_is_queued() -> None:
    found = job(record(status={}))
    assert (found["status"], found["stage"], found["commit"]) == ("queued", "Pending", None)


def test_a_job_names_its_model() -> None:
    found = state("True", "Serving", pulled=True)
    assert found["id"] == "default.tiny-chat"
    assert (found["source"], found["revision"], found["created_at"]) == (
        "hf://dormouse/tiny-chat",
        "main",
        "2026-05-01T10:00:00.000000Z",
    )


def test_ids_read_back() -> None:
    assert key_of(job_id("team-a", "tiny")) == ("team-a", "tiny")


@pytest.mark.parametrize("ident", ["", "tiny", ".tiny", "team.", "a.b.c"])
def test_what_is_no_id(ident: str) -> None:
    assert key_of(ident) is None
