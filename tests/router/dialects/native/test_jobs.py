"""A pull as a job, in every state of its model."""

from typing import Any

import pytest

from dormouse_router.dialects.native.jobs import Filter, job, job_id, key_of, read_filter, select
from dormouse_router.request import Refusal
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
        ("False", "Queued", False, 0, ("queued", 0.0, 0, None, None, None)),
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


def test_a_copy_in_the_making_tells_its_own_pace() -> None:
    quantize = {"stage": "quantizing", "bytes": 3, "total": 10, "bytesPerSecond": 5, "etaSeconds": 2, "percent": 30}
    found = state("False", "Quantizing", pulled=True, quantize=quantize)
    assert (found["stage"], found["stage_progress"], found["bytes_per_second"], found["eta_seconds"]) == (
        "Quantizing",
        30,
        5,
        2,
    )


def test_times() -> None:
    waiting = job(record(status={}))
    assert (waiting["started_at"], waiting["finished_at"]) == (None, None)
    running = state("False", "Pulling", done=1)
    assert (running["started_at"], running["finished_at"]) == (running["created_at"], None)
    assert state("True", "Serving", pulled=True)["finished_at"] == "2026-05-01T10:02:00.000000Z"
    assert state("False", "Gated")["finished_at"] is None


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, Filter()),
        ({"state": "failed"}, Filter(frozenset({"failed"}))),
        ({"state": "Failed, queued"}, Filter(frozenset({"failed", "queued"}))),
        ({"state": ""}, Filter()),
        ({"model": "tiny"}, Filter(model="tiny")),
        ({"limit": "1", "after": "default.a"}, Filter(limit=1, after="default.a")),
        ({"limit": "1000"}, Filter(limit=1000)),
    ],
)
def test_filters(query: dict[str, str], wanted: Filter) -> None:
    assert read_filter(**({"state": None, "model": None, "limit": None, "after": None} | query)) == wanted


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"state": "done"}, "state"),
        ({"state": "failed,done"}, "state"),
        *(({"limit": limit}, "limit") for limit in ("0", "-1", "1001", "x", "1.5", "\u0661", "9" * 5000)),
    ],
)
def test_filters_that_make_no_sense(query: dict[str, str], field: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_filter(**({"state": None, "model": None, "limit": None, "after": None} | query))
    assert (refused.value.status, refused.value.param) == (400, field)
    assert len(refused.value.message) < 300


def test_selecting_and_paging() -> None:
    failed = {"conditions": [condition("Ready", "False", "Gated", "because")]}
    records = [record("c"), record("b", status=failed), record("a", aliases=["Org/A"])]

    def names(**more: Any) -> tuple[list[str], bool]:
        found, rest = select(records, Filter(**more))
        return [entry.name for entry in found], rest

    assert names() == (["c", "b", "a"], False)
    assert names(limit=2) == (["c", "b"], True)
    assert names(limit=2, after="default.b") == (["a"], False)
    assert names(limit=3) == (["c", "b", "a"], False)
    assert names(states=frozenset({"failed"})) == (["b"], False)
    for name in ("a", "Org/A", "default/a", "hf://dormouse/a", "dormouse/a"):
        assert names(model=name) == (["a"], False), name
    assert names(model="nobody") == ([], False)
    with pytest.raises(Refusal, match="begin again without it"):
        names(after="default.gone")
