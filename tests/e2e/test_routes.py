"""Routes in a whole cluster: two models behind one name, each woken by its share; names that Ollama derives."""

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import ollama

from dormouse_api.names import API_VERSION, ROUTE_KIND, ROUTE_PLURAL
from tests.e2e.samples import FRANCE, PARIS, model
from tests.e2e.story import ROUTER, Story, raw_chat, sdk

CALLS = 400


async def routed(story: Story, base: str, *variants: tuple[str, int], **spec: Any) -> str:
    """Apply a route over (model, weight) pairs; its name, once the router lists it."""
    name = story.name(base)
    shares = [{"model": each, "weight": weight} for each, weight in variants]
    body = {
        "apiVersion": API_VERSION,
        "kind": ROUTE_KIND,
        "metadata": {"name": name},
        "spec": {"variants": shares, **spec},
    }
    await story.cluster.create(ROUTE_PLURAL, story.namespace, body)
    await listed(name)
    return name


async def listed(name: str, there: bool = True) -> None:
    """Until the router lists the name, or does not any more."""
    async with asyncio.timeout(60), sdk() as client:
        while (name in {card.id async for card in client.models.list()}) is not there:  # noqa: ASYNC110 - a list tells nobody
            await asyncio.sleep(0.05)


async def variant(name: str, **more: Any) -> str:
    """Which variant answers one call."""
    answer = await raw_chat(name, "Hello", **more)
    assert answer.status_code == 200, answer.text
    found: str = answer.headers["x-dormouse-variant"]
    return found


async def echoed(name: str, **more: Any) -> dict[str, Any]:
    """The request as its engine got it."""
    answer = await raw_chat(name, "!echo", **more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = json.loads(answer.json()["choices"][0]["message"]["content"])["body"]
    return found


async def test_two_sleeping_models_share_a_name_by_weight(story: Story) -> None:
    old, new = await asyncio.gather(story.scripted("old"), story.scripted("new"))
    await asyncio.gather(story.ready(old, "ScaledToZero"), story.ready(new, "ScaledToZero"))
    name = await routed(story, "both", (old, 3), (new, 1))
    first = await asyncio.gather(*(variant(name) for _ in range(8)))
    assert set(first) == {old, new}, "both were woken, each by its own share"
    met = Counter([await variant(name) for _ in range(CALLS)])
    assert abs(met[new] / CALLS - 0.25) < 0.01
    await story.cluster.delete(ROUTE_PLURAL, story.namespace, name)
    await listed(name, there=False)
    assert (await raw_chat(name, FRANCE)).status_code == 404


async def test_a_user_always_meets_the_same_model(story: Story) -> None:
    old, new = await asyncio.gather(story.scripted("left"), story.scripted("right"))
    await asyncio.gather(story.ready(old, "ScaledToZero"), story.ready(new, "ScaledToZero"))
    name = await routed(story, "sticky", (old, 1), (new, 1), sticky={"by": "User"})
    users = [f"user-{number}" for number in range(16)]
    before = [await variant(name, user=user) for user in users]
    assert set(before) == {old, new}
    for _ in range(3):
        assert [await variant(name, user=user) for user in users] == before


async def test_another_model_answers_where_the_chosen_one_cannot(story: Story) -> None:
    """One that is missing, one whose weights are not on the hub, and one that fails while its first caller waits."""
    refuse = {"refuse": {"vllm": "out of luck", "transformers": "out of luck"}}
    good, broken = await asyncio.gather(story.scripted("good"), story.scripted("broken", refuse))
    nowhere = story.name("nowhere")
    await story.apply(model(nowhere, f"e2e/{nowhere}"))
    await asyncio.gather(story.ready(good, "ScaledToZero"), story.ready(broken, "ScaledToZero"), story.failing(nowhere))
    for each in (story.name("missing"), nowhere, broken):
        name = await routed(story, f"to-{each.split('-')[0]}", (each, 1), fallback=[good])
        answer = await raw_chat(name, FRANCE)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"] == PARIS
        assert answer.headers["x-dormouse-model"] == f"{story.namespace}/{good}"
    name = await routed(story, "alone", (nowhere, 1))
    refused = await raw_chat(name, FRANCE)
    assert refused.status_code == 503
    assert "cannot be served" in refused.json()["error"]["message"]


async def test_defaults_hold_where_the_client_says_nothing(story: Story) -> None:
    base = await story.scripted("plain")
    await story.ready(base, "ScaledToZero")
    defaults = {"system": "Be brief.", "temperature": 0.25, "maxTokens": 999}
    name = await routed(story, "brief", (base, 1), defaults=defaults)
    sent = await echoed(name, temperature=1)
    assert sent["model"] == base
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "!echo"}]
    assert (sent["temperature"], sent["max_tokens"]) == (1, 999)


async def test_ollamas_client_derives_copies_and_deletes(story: Story) -> None:
    base = await story.scripted("base")
    await story.ready(base, "ScaledToZero")
    derived, copied = f"Mario:{story.name('v')}", story.name("copy")
    async with ollama.AsyncClient(host=ROUTER, timeout=120) as client:
        steps = [
            step.status
            async for step in await client.create(
                derived, from_=base, system="You are Mario.", parameters={"temperature": 0.25}, stream=True
            )
        ]
        assert steps[-1] == "success"
        whole = await client.chat(model=derived, messages=[{"role": "user", "content": FRANCE}])
        assert whole.message.content == PARIS
        await client.copy(derived, copied)
        echo = await client.chat(model=copied, messages=[{"role": "user", "content": "!echo"}])
        sent = json.loads(echo.message.content or "")["body"]
        assert sent["messages"][0] == {"role": "system", "content": "You are Mario."}
        assert sent["temperature"] == 0.25
        shown = await client.show(copied)
        assert shown.details is not None
        assert shown.details.parent_model == f"{base}:latest"
        names = {row.model for row in (await client.list()).models}
        assert {derived, f"{copied}:latest", f"{base}:latest"} <= names
        async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=60) as http:
            kept = await http.request("DELETE", "/api/delete", json={"model": base})
        assert kept.status_code == 409, "its weights are what the derived names answer with"
        for name in (derived, copied):
            await client.delete(name)
    assert await story.cluster.find(ROUTE_PLURAL, story.namespace) == []
