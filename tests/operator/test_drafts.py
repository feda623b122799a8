"""Speculative decoding on the whole operator core: the draft is pulled last, told of to the pod, and done without."""

import json
from dataclasses import replace
from typing import Any

import pytest

from dormouse_api.anatomy import Anatomy
from dormouse_api.speculative import DraftStatus
from dormouse_api.status import InferenceModelStatus
from dormouse_operator.decide import draft, parsers
from dormouse_operator.decide.facts import Facts
from dormouse_operator.decide.fit import preflight
from dormouse_operator.decide.memory import adapter_bytes
from dormouse_operator.decide.quantization import Serving, choose
from dormouse_operator.observed import Model
from dormouse_operator.plan import runtime
from tests.operator.bench import Bench
from tests.operator.builders import COMMIT, facts, failure, gpu, model, profile, pulled
from tests.operator.world import Object, broken, done

DRAFT = "d" * 40
SPEC = {"speculative": {"method": "draft", "tokens": 3, "source": {"uri": "hf://org/small"}}}


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.world.jobs["pull"] = lambda pod: done(pulled(DRAFT if is_draft(made, pod) else COMMIT))
    return made


def is_draft(bench: Bench, pod: Object) -> bool:
    job = bench.world.objects["Job", "ns", pod["metadata"]["name"].removesuffix("-0")]
    env = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return {"name": "DORMOUSE_SOURCE", "value": "hf://org/small"} in env


def told(bench: Bench) -> Any:
    env = bench.world.objects["Deployment", "ns", "tiny-runtime"]["spec"]["template"]["spec"]["containers"][0]["env"]
    return json.loads(next(e["value"] for e in env if e["name"] == "DORMOUSE_RUNTIME"))["speculative"]


async def test_the_draft_is_pulled_and_the_pod_is_told_of_its_folder(bench: Bench) -> None:
    bench.world.model("tiny", engine=SPEC)
    await bench.settle()
    await bench.pass_time(5)
    assert told(bench)["draft_dir"] == f"/models/{DRAFT}"
    assert (told(bench)["method"], told(bench)["tokens"]) == ("draft", 3)
    status = bench.status()
    assert (status["draft"]["commit"], set(status["volume"]["folders"])) == (DRAFT, {COMMIT, DRAFT})
    assert bench.of_kind("Job") == []
    requests = len(bench.world.requests)
    bench.start()
    await bench.settle()
    assert len(bench.world.requests) == requests


async def test_one_that_cannot_be_pulled_is_told_of_and_done_without(bench: Bench) -> None:
    good = bench.world.jobs["pull"]
    bench.world.jobs["pull"] = lambda pod: (
        broken(42, failure("Gated", "accept its terms"), bench.world.now) if is_draft(bench, pod) else good(pod)
    )
    bench.world.model("tiny", engine=SPEC)
    await bench.settle()
    await bench.pass_time(5)
    assert bench.condition() == ("True", "ScaledToZero")
    assert told(bench) is None
    assert "could not be pulled: accept its terms" in bench.status()["draft"]["message"]
    made = len([id_ for id_ in bench.world.created if id_[0] == "Job"])
    await bench.pass_time(30)
    assert len([id_ for id_ in bench.world.created if id_[0] == "Job"]) == made, "it is not tried over and over"


async def test_without_it_the_folder_is_given_up(bench: Bench) -> None:
    bench.world.model("tiny", engine=SPEC)
    await bench.settle()
    bench.world.model("tiny", engine={})
    await bench.settle()
    await bench.pass_time(5)
    assert told(bench) is None
    assert "draft" not in bench.status()


def test_ngram_needs_no_model() -> None:
    asked = model(engine={"speculative": {"method": "ngram"}})
    serving = choose(asked, facts(), profile(), 2**40)
    assert isinstance(serving, Serving)
    found = runtime.config(asked, facts(), serving, profile()).speculative
    assert found is not None
    assert (found.method, found.tokens, found.draft_dir) == ("ngram", 4, None)


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [(None, "hermes", "hermes"), ("none", "hermes", None), ("mistral", "hermes", "mistral"), (None, None, None)],
)
def test_the_specs_parser_goes_before_the_familys(asked: str | None, found: str | None, expected: str | None) -> None:
    assert parsers.chosen(asked, found) == expected


def test_a_parser_adds_its_capability_and_none_takes_it_away() -> None:
    engine = model(engine={"toolCallParser": "none", "reasoningParser": "qwen3"}).spec.engine
    assert parsers.capabilities(("completion", "tools"), engine) == ("completion", "thinking")


def test_the_draft_and_the_room_for_adapters_count_in_preflight() -> None:
    layers = [{"layers": 10, "heads": 4, "width": 256}]
    shape = Anatomy.model_validate({"cache": layers, "hiddenSize": 1000, "intermediateSize": 3000})
    assert adapter_bytes(shape, 64, 4) == 4 * 10 * 64 * 2 * (8 * 1000 + 3 * 4000)
    assert adapter_bytes(None, 64, 4) == 0
    plain, adapted = model(), model(adapters=[])
    known = facts(anatomy=shape)
    assert planned(adapted, known) - planned(plain, known) == adapter_bytes(shape, 64, 4)
    guessed = model(engine=SPEC)
    place = draft.source(guessed)
    assert place is not None
    told = InferenceModelStatus(draft=DraftStatus(key=draft.key(place), commit=DRAFT, bytes=10**9))
    assert planned(replace(guessed, status=told), known) - planned(plain, known) == 10**9


def planned(asked: Model, known: Facts) -> int:
    found = preflight(asked, known, gpu(), "none").planned_bytes
    assert found is not None
    return found
