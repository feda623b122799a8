"""The cases of story 5, played: real vLLM and transformers, a few at a time, beside the stories that need no engine.

`engines_at_work` starts them; `test_engines.py` says what must have come of each.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from dormouse_api.conditions import ConditionType
from tests.e2e.cluster import Cluster
from tests.e2e.samples import FRANCE, model
from tests.e2e.story import ROUTER, Condition, Hub, Story, begun, chat, component, condition

WAKE_SECONDS = 240
AT_ONCE = 2
"""Engines that start at the same time: an import of torch fills one core."""


@dataclass(frozen=True)
class Case:
    quantization: str
    engine: str
    repo: str = "dormouse/tiny-chat"
    starts: int = 2
    """How often it wakes; it sleeps in between."""


CASES = {
    "int4": Case("int4", "vllm"),
    "nf4": Case("nf4", "transformers"),
    "int8": Case("int8", "vllm"),
    "llm-int8": Case("llm-int8", "transformers"),
    "odd": Case("none", "transformers", repo="dormouse/tiny-odd", starts=1),
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
        for start in range(case.starts):
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


@contextlib.asynccontextmanager
async def engines_at_work(cluster: Cluster, hub: Hub) -> AsyncIterator[Outcomes]:
    """Every case, `AT_ONCE` at a time; whoever wants an outcome awaits its task."""
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
