"""Story 5: which engine serves, why the first did not, and copies quantized once. Real vLLM and transformers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dormouse_api.conditions import ConditionType
from tests.e2e.cluster import Cluster
from tests.e2e.samples import FRANCE, PARIS, model
from tests.e2e.story import ROUTER, Condition, Hub, Story, begun, chat, component, condition

WAKE_SECONDS = 240
AT_ONCE = 2
"""Engines that start at the same time: an import of torch fills one core."""


@dataclass(frozen=True)
class Case:
    quantization: str
    engine: str
    again: bool = False
    """Sleep and wake once more."""
    repo: str = "dormouse/tiny-chat"


CASES = {
    "int4": Case("int4", "vllm", again=True),
    "nf4": Case("nf4", "transformers", again=True),
    "int8": Case("int8", "vllm"),
    "llm-int8": Case("llm-int8", "transformers"),
    "odd": Case("none", "transformers", repo="dormouse/tiny-odd"),
}


@dataclass(frozen=True)
class Outcome:
    quantized: Condition
    answers: list[str]
    status: dict[str, Any]
    """After the last start."""
    copies: list[int]
    """Quantize Jobs ever made, as counted after each answer."""
    pods: int
    """Runtime pods ever made."""


async def _play(story: Story, base: str, case: Case) -> Outcome:
    name = story.name(base)
    answers, copies = [], []
    async with story.recorded("pods", "jobs") as seen:
        spec: dict[str, Any] = {"profile": "cpu", "quantization": case.quantization, "engine": {"maxModelLen": 256}}
        await story.apply(model(name, case.repo, **spec))
        found = await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
        for start in range(2 if case.again else 1):
            if start:
                await _sleep(story, name)
            answers.append(await chat(name, FRANCE, seconds=WAKE_SECONDS))
            copies.append(len(component(seen["jobs"], name, "quantize")))
            found = await _started(story, name, start + 1)
        quantized = condition(found, ConditionType.QUANTIZED)
        await _sleep(story, name)
        return Outcome(quantized, answers, found["status"], copies, len(component(seen["pods"], name, "runtime")))


async def _started(story: Story, name: str, starts: int) -> dict[str, Any]:
    return await story.seen(name, f"{starts} starts", lambda item: len(item["status"].get("coldStarts", [])) == starts)


async def _sleep(story: Story, name: str) -> None:
    """Ollama's way to send a model to sleep now."""
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=30) as http:
        answer = await http.post("/api/generate", json={"model": name, "keep_alive": 0})
    assert answer.json()["done_reason"] == "unload", answer.text
    await story.asleep(name)


Outcomes = dict[str, asyncio.Task[Outcome]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def outcomes(cluster: Cluster, hub: Hub) -> AsyncIterator[Outcomes]:
    """Every case, a few at a time; each test awaits its own."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def play(story: Story, base: str, case: Case) -> Outcome:
        async with turns:
            return await _play(story, base, case)

    async with begun(cluster, hub, "engines") as story:
        tasks = {base: asyncio.create_task(play(story, base, case)) for base, case in CASES.items()}
        yield tasks
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("base", [base for base in CASES if base != "odd"])
async def test_quantized_copy_is_made_once_and_served(outcomes: Outcomes, base: str) -> None:
    case, outcome = CASES[base], await outcomes[base]
    starts = 2 if case.again else 1
    assert outcome.quantized.status == "True", outcome.quantized
    assert outcome.answers == [PARIS] * starts
    assert outcome.copies == [1] * starts
    assert outcome.pods == starts
    engine = outcome.status["engine"]
    assert (engine["name"], engine["quantization"]) == (case.engine, case.quantization)
    for start in outcome.status["coldStarts"]:
        stages = {entry["stage"] for entry in start["stages"]}
        assert {"requested", "loading", "ready"} <= stages
        assert "quantizing" not in stages


@pytest.mark.timeout(600)
async def test_architecture_that_vllm_refuses_is_served_by_transformers(outcomes: Outcomes) -> None:
    outcome = await outcomes["odd"]
    assert outcome.answers == [PARIS]
    engine = outcome.status["engine"]
    assert engine["name"] == "transformers"
    (passed,) = engine["attempts"]
    assert (passed["engine"], passed["reason"]) == ("vllm", "Unsupported")
    assert "not supported" in passed["message"]
