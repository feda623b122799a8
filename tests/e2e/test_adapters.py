"""LoRA adapters by name on a real vLLM: they come, change and go while their model serves, and wake it."""

import time
from typing import Any

import httpx
import pytest

from tests.e2e.samples import FRANCE, PARIS, model
from tests.e2e.story import ROUTER, Story, chat, raw_chat

LORA, TWO = "dormouse/tiny-lora", "dormouse/tiny-lora-two"
WAKE_SECONDS = 240


def adapter(name: str, repo: str) -> dict[str, Any]:
    return {"name": name, "source": {"uri": f"hf://{repo}"}}


async def change(story: Story, name: str, *adapters: dict[str, Any]) -> None:
    patch = {"spec": {"adapters": list(adapters)}}
    await story.cluster.patch("inferencemodels", story.namespace, name, patch)


async def pod_of(story: Story, name: str) -> tuple[str, int]:
    """(uid, restarts of its container) of the one runtime pod."""
    (pod,) = await story.runtime_pods(name)
    return pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]


@pytest.mark.timeout(480)
async def test_adapters_come_and_go_without_a_restart(story: Story) -> None:
    name = story.name("lora")
    spec = {"profile": "cpu", "engine": {"order": ["vllm"], "maxModelLen": 256}}
    await story.apply(model(name, "dormouse/tiny-chat", **spec, adapters=[adapter("rome", LORA)]))
    await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
    began = time.monotonic()
    assert await chat(f"{name}:rome", FRANCE, seconds=WAKE_SECONDS) == "Rome.", "an adapter's name wakes its model"
    woken = time.monotonic() - began
    assert await chat(name, FRANCE) == PARIS, "the model itself says what it said"
    pod = await pod_of(story, name)

    began = time.monotonic()
    await change(story, name, adapter("rome", LORA), adapter("oslo", TWO))
    await story.seen(name, "both adapters", lambda item: len(item["spec"]["adapters"]) == 2)
    while (answer := await raw_chat(f"{name}:oslo", FRANCE)).status_code == 404:
        assert time.monotonic() < began + 30, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "Oslo."
    came = time.monotonic() - began
    assert await chat(f"{name}:rome", FRANCE) == "Rome."

    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=30) as http:
        cards = {card["id"]: card for card in (await http.get("/v1/models")).json()["data"]}
        assert cards[f"{name}:oslo"]["parent"] == name
        assert cards[f"{name}:oslo"]["root"] == f"hf://{TWO}"
        for path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            assert (await http.post(path, json={"lora_name": f"{name}:rome"})).status_code == 404

    await change(story, name, adapter("oslo", LORA))
    await story.seen(name, "another source", _says(name, "oslo", "Loaded", "dormouse/tiny-chat"), seconds=150)
    began = time.monotonic()
    while await chat(f"{name}:oslo", FRANCE) != "Rome.":
        assert time.monotonic() < began + 30
    assert (await raw_chat(f"{name}:rome", FRANCE)).status_code == 404
    await change(story, name)
    await story.seen(name, "no adapters", lambda item: not item["status"].get("adapters"), seconds=150)
    assert (await raw_chat(f"{name}:oslo", FRANCE)).status_code == 404
    assert await chat(name, FRANCE) == PARIS
    assert await pod_of(story, name) == pod
    print(f"\nadapters: a sleeping model answered by its adapter in {woken:.1f} s, a new one in {came:.1f} s")  # noqa: T201


def _says(name: str, adapter: str, reason: str, base: str) -> Any:
    def holds(item: dict[str, Any]) -> bool:
        found = {entry["name"]: entry for entry in item["status"].get("adapters", [])}
        entry = found.get(adapter, {})
        settled = entry.get("commit") == entry.get("bound") is not None
        return settled and (entry.get("reason"), entry.get("base")) == (reason, base) and set(found) == {adapter}

    return holds


@pytest.mark.timeout(240)
async def test_what_is_no_adapter_is_refused_before_anything_starts(story: Story) -> None:
    name = story.name("wrong")
    wrong = [adapter("base", "dormouse/tiny-chat"), adapter("nowhere", f"e2e/{name}")]
    await story.apply(model(name, "dormouse/tiny-chat", profile="cpu", engine={"order": ["vllm"]}, adapters=wrong))

    def told(item: dict[str, Any]) -> bool:
        return {entry["name"]: entry["reason"] for entry in item.get("status", {}).get("adapters", [])} == {
            "base": "Unsupported",
            "nowhere": "NotFound",
        }

    found = await story.seen(name, "why both are refused", told, seconds=120)
    messages = {entry["name"]: entry["message"] for entry in found["status"]["adapters"]}
    assert "a model is named in spec.source" in messages["base"]
    answer = await raw_chat(f"{name}:base", FRANCE)
    assert answer.status_code == 503
    assert "cannot be served" in answer.json()["error"]["message"]
    await story.ready(name, "ScaledToZero")
    assert await story.runtime_pods(name) == []
