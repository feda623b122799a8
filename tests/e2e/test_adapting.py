"""An engine whose cache does not fit its pod: started again with less, remembered by the next wake. Real vLLM."""

import httpx
import pytest

from dormouse_api.names import API_VERSION, ENV_RUNTIME_CONFIG
from dormouse_api.runtime import RuntimeConfig
from tests.e2e.cluster import Object
from tests.e2e.samples import FRANCE, PARIS, model
from tests.e2e.story import ROUTER, Story, chat

WAKE_SECONDS = 300
MIB = 2**20
CACHE, HALF = 1536 * MIB, 768 * MIB


def profile(name: str) -> Object:
    """Room for the engine and half of that cache."""
    return {
        "apiVersion": API_VERSION,
        "kind": "RuntimeProfile",
        "metadata": {"name": name},
        "spec": {
            "image": "localhost/dormouse-runtime:dev",
            "device": "cpu",
            "kvCacheMemory": f"{CACHE // MIB}Mi",
            "maxNumSeqs": 4,
            "sharedMemory": "256Mi",
            "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        },
    }


def told(pod: Object) -> RuntimeConfig:
    env = pod["spec"]["containers"][0]["env"]
    return RuntimeConfig.model_validate_json(next(e["value"] for e in env if e["name"] == ENV_RUNTIME_CONFIG))


@pytest.mark.timeout(480)
async def test_a_cache_too_large_for_the_pod_is_halved_and_the_next_wake_begins_so(story: Story) -> None:
    name, small = story.name("adapts"), story.name("small")
    await story.cluster.create("runtimeprofiles", None, profile(small))
    try:
        engine = {"order": ["vllm"], "maxModelLen": 256, "adapt": True}
        await story.apply(model(name, "dormouse/tiny-chat", profile=small, engine=engine))
        await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
        assert await chat(name, FRANCE, seconds=WAKE_SECONDS) == PARIS
        found = await story.seen(name, "adapted", lambda item: "adapted" in item["status"].get("engine", {}))
        (step,) = found["status"]["engine"]["adapted"]
        assert (step["setting"], step["from"], step["to"]) == ("kvCacheMemory", str(CACHE), str(HALF))
        assert "do not fit the limit of 2.0 GiB" in step["because"]
        [first] = await story.runtime_pods(name)
        assert told(first).adapted == ()  # what serves is not replaced for what it has learnt
        async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=30) as http:
            await http.post("/api/generate", json={"model": name, "keep_alive": 0})
        await story.asleep(name)
        assert await chat(name, FRANCE, seconds=WAKE_SECONDS) == PARIS
        [second] = await story.runtime_pods(name)
        assert [(step.setting.value, step.after) for step in told(second).adapted] == [("kvCacheMemory", str(HALF))]
        assert second["status"]["containerStatuses"][0]["restartCount"] == 0
    finally:
        await story.cluster.delete("runtimeprofiles", None, small)
