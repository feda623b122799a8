"""The native API on the real cluster: a pull that starts by itself, and a reload that no caller notices."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest_asyncio

from dormouse_api.names import LABEL_COMPONENT, LABEL_MODEL
from tests.e2e.samples import FRANCE, PARIS
from tests.e2e.story import ROUTER, Story, chat, streamed

Shown = dict[str, Any]


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=60) as client:
        yield client


async def shown(http: httpx.AsyncClient, path: str, holds: Callable[[Shown], bool], seconds: float) -> Shown:
    """What `path` shows once it `holds`."""
    found: Shown = {}
    try:
        async with asyncio.timeout(seconds):
            while not holds(found):
                await asyncio.sleep(0.2)
                answer = await http.get(path)
                assert answer.status_code == 200, answer.text
                found = answer.json()
    except TimeoutError:
        raise AssertionError(f"{path}: not within {seconds} s; last seen: {found}") from None
    return found


async def test_reload_while_calls_go_on(story: Story, http: httpx.AsyncClient) -> None:
    """What is in flight is finished by the pod that goes, what comes meanwhile by the one that comes."""
    name = await story.scripted("reloaded")
    await story.ready(name, "ScaledToZero")
    await shown(http, f"/models/{name}", lambda model: model.get("state") == "asleep", 60)  # the router has seen it too
    asleep = await http.post(f"/models/{name}/reload")
    assert (asleep.status_code, asleep.json()["status"]) == (200, "asleep")
    assert await chat(name, FRANCE) == PARIS
    before = (await story.pod(name, "runtime"))["metadata"]["uid"]
    stream = asyncio.create_task(streamed(name, "!slow 120 tokens 50ms"))
    await shown(http, f"/models/{name}", lambda model: model.get("in_flight") == 1, 60)
    told = await http.post(f"/models/{name}/reload")
    assert told.status_code == 202, told.text

    def another(pods: list[Shown]) -> bool:
        wanted = {LABEL_MODEL: name, LABEL_COMPONENT: "runtime"}
        mine = [pod for pod in pods if wanted.items() <= pod["metadata"].get("labels", {}).items()]
        return any(pod["metadata"]["uid"] != before for pod in mine)

    after = asyncio.create_task(chat(name, FRANCE))
    await story.cluster.until("pods", story.namespace, another, f"{name}: another pod", 120)
    assert len(await stream) == 120
    assert await after == PARIS
    asked = told.json()["requested_at"]
    await shown(http, told.json()["watch"], lambda model: (model.get("loaded_at") or "") > asked, 60)
    assert len(await story.runtime_pods(name)) == 1


async def test_a_pull_that_starts_by_itself(http: httpx.AsyncClient) -> None:
    """init: awake without any call, the job succeeded, and every name finds it."""
    name = "native-init"
    pull = {"model": "dormouse/tiny-chat", "name": name, "quantize": "no", "init": True}
    try:
        made = await http.post("/pull", json=pull)
        assert made.status_code == 202, made.text
        job = await shown(http, made.headers["location"], lambda job: job.get("status") == "succeeded", 180)
        assert (job["progress"], job["init"], job["downloaded_bytes"]) == (100.0, True, job["total_bytes"])

        def started(model: Shown) -> bool:
            # its endpoint and the record of its start come one after the other, by two watches
            return model.get("load_seconds") is not None and model["state"] == "awake"

        model = await shown(http, f"/models/default/{name}", started, 240)
        assert (model["loaded"], model["quantization"], model["last_used_at"]) == (True, "none", None)
        again = await http.post("/pull", json=pull)
        assert again.json()["id"] == made.json()["id"]

        def told(metrics: Shown) -> bool:
            # a pod has a second to answer: a busy one is told of as an error, until somebody asks again
            mine = [engine for engine in metrics.get("engines", ()) if engine["model"] == name]
            return len(mine) == 1 and mine[0]["error"] is None and (mine[0]["resident_bytes"] or 0) > 0

        await shown(http, "/metrics/gpu", told, 60)
    finally:
        await http.request("DELETE", "/api/delete", json={"model": name})
