"""A pull's lines, state by state."""

from typing import Any

import pytest

from dormouse_router.dialects.ollama import names, pulling
from dormouse_router.dialects.ollama.describe import digest
from tests.router.dialects.records import condition, known_status, record


def state(ready: str, reason: str, *, pulled: bool = False, stage: str | None = None, done: int = 0) -> Any:
    conditions = [condition("Ready", ready, reason, "because")]
    conditions.append(condition("ModelPulled", "True" if pulled else "False", "Pulled" if pulled else "Pulling"))
    pull = {"stage": stage, "bytes": done, "total": 4_500_000, "bytesPerSecond": 1} if stage else None
    return record(status=known_status(conditions=conditions, pull=pull, bytes=4_500_000 if pulled else None))


def statuses(*records: Any) -> list[str]:
    report = pulling.Report()
    return [line["status"] for found in records for line in report.lines(found)]


def test_a_whole_pull() -> None:
    layer = f"pulling {digest(record())[:12]}"
    steps = [
        state("False", "Pending"),
        state("False", "Inspecting"),
        state("False", "Pulling", stage="fetching", done=10),
        state("False", "Pulling", stage="fetching", done=10),
        state("False", "Pulling", stage="fetching", done=4_000_000),
        state("False", "Pulling", stage="verifying", done=4_500_000),
        state("False", "Quantizing", pulled=True),
        state("True", "ScaledToZero", pulled=True),
        state("True", "ScaledToZero", pulled=True),
    ]
    assert statuses(*steps) == [
        "pulling manifest",
        layer,
        layer,
        layer,
        "verifying sha256 digest",
        "quantizing",
        "writing manifest",
        "success",
    ]


def test_a_layer_has_its_digest_and_bytes() -> None:
    report = pulling.Report()
    found = state("False", "Pulling", stage="fetching", done=7)
    [_, layer] = report.lines(found)
    assert layer == {
        "status": f"pulling {digest(found)[:12]}",
        "digest": f"sha256:{digest(found)}",
        "total": 4_500_000,
        "completed": 7,
    }
    assert not report.done


def test_a_model_that_is_there_is_pulled_at_once() -> None:
    report = pulling.Report()
    lines = list(report.lines(state("True", "Serving", pulled=True)))
    assert [line["status"] for line in lines][::4] == ["pulling manifest", "success"]
    assert lines[1]["completed"] == lines[1]["total"] == 4_500_000
    assert report.done


def test_a_failure_is_said_with_its_message() -> None:
    with pytest.raises(pulling.PullError, match="pull model default/tiny-chat: because"):
        statuses(state("False", "Gated"))
    with pytest.raises(pulling.PullError, match="pull model manifest: file does not exist"):
        statuses(state("False", "NotFound"))


@pytest.mark.parametrize(
    ("text", "name", "source", "kind", "alias"),
    [
        ("org/model", "org-model", {"uri": "hf://org/model", "revision": "main"}, "auto", "org/model"),
        ("hf.co/Org/Model", "org-model", {"uri": "hf://Org/Model", "revision": "main"}, "auto", "Org/Model"),
        (
            "org/model:q4_K_M",
            "org-model-int4",
            {"uri": "hf://org/model", "revision": "main"},
            "int4",
            "org/model:q4_K_M",
        ),
        ("org/model:v2", "org-model-v2", {"uri": "hf://org/model", "revision": "v2"}, "auto", "org/model:v2"),
    ],
)
def test_what_a_name_asks_for(text: str, name: str, source: dict[str, str], kind: str, alias: str) -> None:
    parsed = names.parse(text)
    assert parsed is not None
    wanted = pulling.request(parsed)
    wire = wanted.spec.wire()
    assert (wanted.name, wire["source"], wire["quantization"], wire["aliases"]) == (name, source, kind, [alias])


@pytest.mark.parametrize("text", ["llama3", "quay.io/org/model", "_x/model"])
def test_what_is_on_no_hub_does_not_exist(text: str) -> None:
    parsed = names.parse(text)
    assert parsed is not None
    with pytest.raises(pulling.PullError, match=r"^pull model manifest: file does not exist"):
        pulling.request(parsed)


def test_one_that_waits_for_others_says_where_it_stands() -> None:
    def queued(position: int) -> Any:
        queue = {"since": "2027-01-15T08:00:00.000000Z", "position": position, "of": 5, "after": "ns/a"}
        conditions = [condition("Ready", "False", "Queued", "because")]
        return record(status=known_status(conditions=conditions, queue=queue))

    told = [f"waiting for others to be pulled ({position} of 5)" for position in (3, 2)]
    assert statuses(queued(3), queued(3), queued(2)) == ["pulling manifest", *told]
    assert queued(2).stage == "Queued 2 of 5"
