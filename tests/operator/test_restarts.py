"""Runtime pods that are replaced because somebody asked, and a first start that nobody has to wait for."""

from typing import Any

import pytest

from dormouse_api import names
from dormouse_api.lease import Wish, micro_time
from dormouse_api.status import InferenceModelStatus
from dormouse_operator.decide import preload
from dormouse_operator.plan import runtime
from dormouse_operator.reading import read_restart
from tests.operator.bench import Bench
from tests.operator.builders import NOW, model

Object = dict[str, Any]
FIRST, SECOND = micro_time(NOW), micro_time(NOW + 60)


def annotated(text: str | None) -> Object:
    return {"metadata": {"annotations": {names.ANNOTATION_RESTARTED: text}} if text is not None else {}}


def deployment(text: str | None) -> Object:
    return {"spec": {"template": annotated(text)}}


@pytest.mark.parametrize(
    ("lease", "had", "wanted"),
    [
        (None, None, None),
        (None, deployment(None), None),
        (annotated(None), deployment(None), None),
        (annotated(FIRST), None, FIRST),
        (annotated(FIRST), deployment(None), FIRST),
        (annotated(SECOND), deployment(FIRST), SECOND),
        (annotated(FIRST), deployment(SECOND), SECOND),
        (annotated(FIRST), deployment(FIRST), FIRST),
        (annotated(None), deployment(FIRST), FIRST),
        (None, deployment(FIRST), FIRST),
        (annotated("soon"), deployment(FIRST), FIRST),
        (annotated("soon"), deployment(None), None),
        (annotated(""), deployment(None), None),
    ],
)
def test_the_later_restart_counts(lease: Object | None, had: Object | None, wanted: str | None) -> None:
    assert read_restart(lease, had) == wanted


def test_a_restart_is_one_annotation_of_the_template() -> None:
    template: Object = {"metadata": {"labels": {"a": "b"}, "annotations": {"theirs": "x"}}, "spec": {}}
    assert runtime.restarted(template, None) is template
    changed = runtime.restarted(template, FIRST)
    assert changed["metadata"] == {
        "labels": {"a": "b"},
        "annotations": {"theirs": "x", names.ANNOTATION_RESTARTED: FIRST},
    }
    assert changed["spec"] == template["spec"]


def ask(bench: Bench, at: str) -> None:
    """As a router does: an annotation of the Lease, and nothing else of it."""
    there = bench.world.objects["Lease", "ns", "tiny-runtime"]["metadata"].get("annotations", {})
    said = there | {names.ANNOTATION_RESTARTED: at}
    bench.world.put("Lease", "ns", "tiny-runtime", metadata={"annotations": said})


def pod_uid(bench: Bench) -> object:
    return bench.world.objects["Pod", "ns", "tiny-runtime-0"]["metadata"]["uid"]


async def test_a_restart_that_was_asked_for_replaces_the_pods_once(bench: Bench) -> None:
    bench.world.model("tiny")
    await bench.settle()
    bench.world.wake("tiny", 3600)
    await bench.settle()
    before, requests = pod_uid(bench), len(bench.world.requests)
    ask(bench, FIRST)
    await bench.settle()
    assert pod_uid(bench) != before
    assert [r for r in bench.world.requests[requests:] if r[0] == "Deployment"] == [
        ("Deployment", "apply", "tiny-runtime")
    ]
    assert bench.condition() == ("True", "Serving")
    served, requests = pod_uid(bench), len(bench.world.requests)
    bench.start()  # a new process looks at everything again
    await bench.settle()
    ask(bench, FIRST)
    await bench.settle()
    assert (pod_uid(bench), len(bench.world.requests)) == (served, requests)


async def test_a_lease_that_was_made_anew_restarts_nothing(bench: Bench) -> None:
    bench.world.model("tiny", scaling={"minReplicas": 1})
    await bench.settle()
    ask(bench, FIRST)
    await bench.settle()
    served = pod_uid(bench)
    bench.world.remove("Lease", "ns", "tiny-runtime")
    await bench.settle()
    anew = bench.world.objects["Lease", "ns", "tiny-runtime"]["metadata"].get("annotations", {})
    assert names.ANNOTATION_RESTARTED not in anew
    assert pod_uid(bench) == served


async def test_a_model_that_sleeps_goes_on_sleeping(bench: Bench) -> None:
    bench.world.model("tiny")
    await bench.settle()
    ask(bench, FIRST)
    await bench.settle()
    assert bench.replicas() == 0
    assert bench.condition() == ("True", "ScaledToZero")


def known(**more: Any) -> InferenceModelStatus:
    return InferenceModelStatus.model_validate(more)


def made(kind: str, status: str, at: str) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": "r",
        "message": "m",
        "observedGeneration": 1,
        "lastTransitionTime": at,
    }


AT = "2027-01-15T08:00:00Z"
SECONDS = 1_800_000_000.0
START: Object = {"at": AT, "seconds": 20, "engine": "vllm", "stages": []}
PULLED = made("ModelPulled", "True", AT)


@pytest.mark.parametrize(
    ("preloads", "status", "wanted"),
    [
        (None, known(conditions=[PULLED]), None),
        (False, known(conditions=[PULLED]), None),
        (True, known(), None),
        (True, known(conditions=[made("ModelPulled", "False", AT)]), None),
        (True, known(conditions=[PULLED]), Wish(SECONDS, 160)),
        (True, known(conditions=[PULLED, made("Quantized", "False", "2027-01-15T08:01:00Z")]), Wish(SECONDS, 160)),
        (True, known(conditions=[PULLED, made("Quantized", "True", "2027-01-15T08:01:00Z")]), Wish(SECONDS + 60, 160)),
        (True, known(conditions=[PULLED], coldStarts=[START]), Wish(SECONDS + 20, 60)),
    ],
)
def test_what_preloading_wishes(preloads: bool | None, status: InferenceModelStatus, wanted: Wish | None) -> None:
    scaling: Object = {"holdSeconds": 100, "idleSeconds": 60} | ({} if preloads is None else {"preload": preloads})
    preloaded = model(status, scaling=scaling)
    assert preload.wish(preloaded, None) == wanted
    written = Wish(5.0, 1)
    assert preload.wish(preloaded, written) == written


async def test_a_preloaded_model_serves_before_anybody_calls_and_then_sleeps(bench: Bench) -> None:
    bench.world.model("tiny", scaling={"preload": True, "idleSeconds": 60, "holdSeconds": 100})
    await bench.settle()
    assert bench.condition() == ("True", "Serving")
    await bench.pass_time(161)
    assert bench.condition() == ("True", "ScaledToZero")
    requests = len(bench.world.requests)
    await bench.pass_time(10_000)
    assert len(bench.world.requests) == requests


async def test_the_first_wish_ends_what_preloading_says(bench: Bench) -> None:
    bench.world.model("tiny", scaling={"preload": True, "idleSeconds": 600, "holdSeconds": 600})
    await bench.settle()
    assert bench.replicas() == 1
    bench.world.wake("tiny", 1)
    await bench.settle()
    await bench.pass_time(2)
    assert bench.condition() == ("True", "ScaledToZero")
