"""Story 4: clients that know nothing of Dormouse talk to it unchanged, through real vLLM."""

import asyncio
import json
from typing import Any

import httpx
import ollama
import pytest

from tests.e2e.callers import curl
from tests.e2e.cluster import Cluster
from tests.e2e.samples import FRANCE, PARIS
from tests.e2e.story import ROUTER, Story, chat, sdk, streamed
from tests.e2e.test_quickstart import applied

NAME = "tiny-chat"
ALIAS = "tiny"
SERVICE = "http://dormouse.dormouse-system.svc.cluster.local"
CALL = {"model": NAME, "messages": [{"role": "user", "content": FRANCE}], "temperature": 0}


@pytest.fixture(autouse=True)
def quickstart(testbed: object) -> None:
    applied()


async def test_openai_sdk() -> None:
    assert await chat(NAME, FRANCE) == PARIS
    assert "".join(await streamed(ALIAS, FRANCE)) == PARIS
    async with sdk() as client:
        listed = {card.id async for card in client.models.list()}
        assert NAME in listed
        # without its template the model was taught nothing, and may end at once
        wish: dict[str, Any] = {"max_tokens": 4, "temperature": 0, "extra_body": {"ignore_eos": True}}
        text = await client.completions.create(model=NAME, prompt=FRANCE, **wish)
        assert text.usage is not None
        assert (text.usage.completion_tokens, text.model) == (4, NAME)
        stream = await client.chat.completions.create(
            model=ALIAS,
            messages=[{"role": "user", "content": FRANCE}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


async def test_ollama_sdk() -> None:
    async with ollama.AsyncClient(host=ROUTER, timeout=120) as client:
        await _talk(client)


async def _talk(client: ollama.AsyncClient) -> None:
    question = [{"role": "user", "content": FRANCE}]
    options = {"temperature": 0}
    whole = await client.chat(model=ALIAS, messages=question, options=options)
    assert whole.message.content == PARIS
    assert whole.done
    assert whole.eval_count
    pieces = [piece async for piece in await client.chat(model=NAME, messages=question, stream=True, options=options)]
    assert "".join(piece.message.content or "" for piece in pieces) == PARIS
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    generated = await client.generate(model=f"{NAME}:latest", prompt=FRANCE, options=options)
    assert generated.response == PARIS
    streamed_text = [part async for part in await client.generate(NAME, FRANCE, stream=True, options=options)]
    assert "".join(part.response or "" for part in streamed_text) == PARIS
    tags = await client.list()
    assert f"{NAME}:latest" in {row.model for row in tags.models}
    running = await client.ps()
    assert f"{NAME}:latest" in {row.model for row in running.models}
    shown = await client.show(NAME)
    assert "completion" in (shown.capabilities or [])


async def test_another_pod_by_the_service_name(cluster: Cluster, story: Story) -> None:
    """curl, with what its manual says: -f makes an HTTP error a failure, and no header says that this is JSON."""
    status, said = await curl(story, "caller", "-f", f"{SERVICE}/v1/chat/completions", "-d", json.dumps(CALL))
    assert status == 0, said
    assert json.loads(said)["choices"][0]["message"]["content"] == PARIS


async def test_native_pull_and_ollama_delete(story: Story) -> None:
    """A model that no manifest names: pulled, listed, called, deleted, all over HTTP."""
    repo = await story.publish("native")
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=60) as http:
        answer = await http.post("/pull", json={"model": repo})
        assert answer.status_code == 202, answer.text
        job = answer.json()["id"]
        async with asyncio.timeout(150):
            while (state := (await http.get(f"/jobs/{job}")).json())["status"] not in ("succeeded", "failed"):
                assert {"progress", "downloaded_bytes", "total_bytes"} <= state.keys()
                await asyncio.sleep(0.1)  # this API is made for polling
        assert state["status"] == "succeeded", state
        assert state["downloaded_bytes"] == state["total_bytes"] > 0
        assert job in {row["id"] for row in (await http.get("/jobs")).json()["jobs"]}
        tags = {row["name"] for row in (await http.get("/api/tags")).json()["models"]}
        assert f"{state['model']}:latest" in tags
        gone = await http.request("DELETE", "/api/delete", json={"model": state["model"]})
        assert gone.status_code == 200, gone.text
