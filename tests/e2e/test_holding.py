"""Holds have bounds, and a start that cannot succeed is told to those who wait for it."""

import asyncio
import time
from collections.abc import Callable

import httpx
import openai
import pytest

from dormouse_api.conditions import ConditionType
from dormouse_api.names import runtime_name
from tests.e2e.cluster import Object
from tests.e2e.samples import FRANCE, PARIS
from tests.e2e.story import ROUTER, Story, chat, condition, raw_chat, streamed

NEVER = {"stages": [["loading", 0.1]], "wedge": True}


async def test_no_more_callers_than_allowed_are_held(story: Story) -> None:
    name = await story.scripted("crowded", {"stages": [["loading", 3]]}, scaling={"maxHeld": 3})
    await story.ready(name, "ScaledToZero")
    answers = await asyncio.gather(*(raw_chat(name, FRANCE) for _ in range(8)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 3 + [429] * 5
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["type"]


async def test_no_caller_is_held_longer_than_allowed(story: Story) -> None:
    name = await story.scripted("endless", NEVER, scaling={"holdSeconds": 3, "idleSeconds": 2})
    await story.ready(name, "ScaledToZero")
    began = time.monotonic()
    answer = await raw_chat(name, FRANCE)
    assert answer.status_code == 503
    assert 2.5 <= time.monotonic() - began <= 30
    assert int(answer.headers["retry-after"]) >= 1
    await story.asleep(name)


async def test_start_that_no_engine_survives_is_told_to_its_callers(story: Story) -> None:
    refuse = {"vllm": "the weights are of a kind unknown to vllm", "transformers": "the weights are upside down"}
    name = await story.scripted("doomed", {"stages": [["loading", 1]], "refuse": refuse})
    await story.ready(name, "ScaledToZero")
    whole, stream = asyncio.create_task(raw_chat(name, FRANCE)), asyncio.create_task(streamed(name, FRANCE))
    known = await story.failing(name)
    at = time.monotonic()
    assert "upside down" in known.message
    answer = await whole
    assert answer.status_code == 503
    assert "upside down" in answer.json()["error"]["message"]
    with pytest.raises(openai.APIError, match="upside down"):
        await stream
    assert time.monotonic() - at <= 20


async def test_engine_that_dies_is_started_again(story: Story) -> None:
    """Death in the middle of an answer is an error for that caller, and a wait for the next."""
    name = await story.scripted("mortal")
    await story.ready(name, "ScaledToZero")
    with pytest.raises(openai.APIError):
        await streamed(name, "!tokens 20 !die after 5")
    assert await chat(name, FRANCE) == PARIS
    assert len(await story.runtime_pods(name)) == 1


async def test_first_engine_refused_second_serves(story: Story) -> None:
    name = await story.scripted("second", {"refuse": {"vllm": "unknown architecture"}})
    await story.ready(name, "ScaledToZero")
    assert await chat(name, FRANCE) == PARIS
    status = (await story.seen(name, "its engine", lambda item: item["status"].get("engine")))["status"]["engine"]
    assert status["name"] == "transformers"
    assert [(tried["engine"], tried["message"]) for tried in status["attempts"]] == [("vllm", "unknown architecture")]


async def test_copy_that_cannot_be_made_is_done_without(story: Story) -> None:
    """The other engine quantizes while it loads, and the condition says why there is no copy."""
    name = await story.scripted("unpacked", {"quantize": {"fail": "the layers do not fit"}}, quantization="int8")
    found = await story.ready(name, "ScaledToZero")
    said = condition(found, ConditionType.QUANTIZED)
    assert (said.status, said.reason) == ("False", "QuantizationFailed")
    assert "the layers do not fit" in said.message
    assert await chat(name, FRANCE) == PARIS
    engine = (await story.seen(name, "its engine", lambda item: item["status"].get("engine")))["status"]["engine"]
    assert (engine["name"], engine["quantization"]) == ("transformers", "llm-int8")


async def test_keep_alive_rules_the_sleep(story: Story) -> None:
    """Ollama's keep_alive: at once, or longer than the model's own idle time."""
    name = await story.scripted("dozer", scaling={"idleSeconds": 300})
    await story.ready(name, "ScaledToZero")
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=60) as http:
        question = {"model": name, "prompt": FRANCE, "stream": False}
        answer = await http.post("/api/generate", json={**question, "keep_alive": "1h"})
        assert answer.json()["response"] == PARIS
        await story.cluster.until("leases", story.namespace, _hour(name), f"{name}: a lease of an hour")
        answer = await http.post("/api/generate", json={**question, "keep_alive": 0})
        assert answer.json()["response"] == PARIS
    await story.asleep(name)
    await story.ready(name, "ScaledToZero")


def _hour(name: str) -> Callable[[list[Object]], bool]:
    def holds(items: list[Object]) -> bool:
        mine = [item["spec"] for item in items if item["metadata"]["name"] == runtime_name(name)]
        return any(spec.get("leaseDurationSeconds", 0) > 3000 for spec in mine)

    return holds
