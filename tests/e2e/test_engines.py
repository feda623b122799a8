"""Story 5: which engine serves, why the first did not, and copies quantized once. Real vLLM and transformers."""

from dataclasses import dataclass

import httpx
import pytest

from dormouse_api.conditions import ConditionType
from tests.e2e.cluster import Seen
from tests.e2e.samples import FRANCE, PARIS, model
from tests.e2e.story import ROUTER, Story, chat, component, condition

WAKE_SECONDS = 240


@dataclass(frozen=True)
class Case:
    repo: str
    quantization: str
    engine: str
    copies: int = 0
    """Quantize Jobs in all."""
    again: bool = False
    """Sleep and wake once more."""


CASES = {
    "int4": Case("dormouse/tiny-chat", "int4", "vllm", copies=1, again=True),
    "int8": Case("dormouse/tiny-chat", "int8", "vllm", copies=1),
    "nf4": Case("dormouse/tiny-chat", "nf4", "transformers", copies=1, again=True),
    "llm-int8": Case("dormouse/tiny-chat", "llm-int8", "transformers", copies=1),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("base", CASES)
async def test_quantized_copy_is_made_once_and_served(story: Story, base: str) -> None:
    case, name = CASES[base], story.name(base)
    engine = {"maxModelLen": 512}
    async with story.recorded("pods", "jobs") as seen:
        await story.apply(model(name, case.repo, profile="cpu", quantization=case.quantization, engine=engine))
        found = await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
        assert condition(found, ConditionType.QUANTIZED).status == "True"
        assert await chat(name, FRANCE, seconds=WAKE_SECONDS) == PARIS
        serving = await story.ready(name, "Serving")
        status = serving["status"]["engine"]
        assert (status["name"], status["quantization"]) == (case.engine, case.quantization)
        assert _copies(seen["jobs"], name) == case.copies
        if case.again:
            await _sleep(story, name)
            assert await chat(name, FRANCE, seconds=WAKE_SECONDS) == PARIS
            assert _copies(seen["jobs"], name) == case.copies
            again = await story.seen(name, "two starts", lambda item: len(item["status"].get("coldStarts", [])) == 2)
            assert again["status"]["engine"]["name"] == case.engine
            assert len(component(seen["pods"], name, "runtime")) == 2
            stages = {entry["stage"] for start in again["status"]["coldStarts"] for entry in start["stages"]}
            assert {"requested", "loading", "ready"} <= stages
            assert "quantizing" not in stages


@pytest.mark.timeout(600)
async def test_architecture_that_vllm_refuses_is_served_by_transformers(story: Story) -> None:
    name = story.name("odd")
    await story.apply(model(name, "dormouse/tiny-odd", profile="cpu", engine={"maxModelLen": 256}))
    await story.ready(name, "ScaledToZero")
    assert await chat(name, FRANCE, seconds=WAKE_SECONDS) == PARIS
    status = (await story.ready(name, "Serving"))["status"]["engine"]
    assert status["name"] == "transformers"
    (passed,) = status["attempts"]
    assert passed["engine"] == "vllm"
    assert passed["reason"] == "Unsupported"
    assert "not supported" in passed["message"]


async def _sleep(story: Story, name: str) -> None:
    """Ollama's way to send a model to sleep now."""
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=30) as http:
        answer = await http.post("/api/generate", json={"model": name, "keep_alive": 0})
    assert answer.json()["done_reason"] == "unload", answer.text
    await story.asleep(name)


def _copies(jobs: Seen, name: str) -> int:
    return len(component(jobs, name, "quantize"))
