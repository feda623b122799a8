"""Adapters by name: found, listed, held until they are there, refused with the cause; nobody loads one himself."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from dormouse_router.cluster import Resource
from tests.router.fakes import Engine, Stage, model, until

URL = "/v1/chat/completions"
CHAT: dict[str, Any] = {"model": "tiny:pirate", "messages": [{"role": "user", "content": "Hello!"}]}
PIRATE = {"name": "pirate", "source": {"uri": "hf://org/pirate"}}


def adapted(reason: str = "Loaded", *, ready: bool = True, message: str = "loaded", **spec: Any) -> dict[str, Any]:
    """A model with an adapter that stands so."""
    made = model()
    made["spec"] |= {"adapters": [PIRATE], **spec}
    made["status"]["adapters"] = [{"name": "pirate", "ready": ready, "reason": reason, "message": message}]
    return made


def model_of(engine: Engine) -> str:
    return str(json.loads(engine.seen[-1].body)["model"])


async def put(world: Stage, made: dict[str, Any]) -> None:
    world.cluster.put(Resource.MODELS, made)
    wanted = (made["status"].get("adapters"), made["spec"].get("adapters"))
    await until(lambda: known(world) == wanted)


def known(world: Stage) -> tuple[Any, Any]:
    """(status, spec) of the adapters as the router has them."""
    entry = world.router.catalog.get(("default", "tiny"))
    assert entry is not None
    status: Any = entry.record.status.wire()
    spec: Any = entry.record.spec.wire()
    source = [{**each, "source": {"uri": each["source"]["uri"]}} for each in spec.get("adapters", [])]
    return status.get("adapters"), source or None


async def started(world: Stage, made: dict[str, Any], *engines: Engine) -> None:
    await world.asleep(made)
    if engines:
        await world.awake(*engines)


@pytest.mark.parametrize("name", ["tiny:pirate", "default/tiny:pirate"])
async def test_the_engine_is_asked_for_the_adapter_and_the_caller_hears_his_own_word(
    world: Stage, client: httpx.AsyncClient, engine: Engine, name: str
) -> None:
    await started(world, adapted(), engine)
    answer = await client.post(URL, json=CHAT | {"model": name})
    assert answer.status_code == 200, answer.text
    assert model_of(engine) == "tiny:pirate"
    assert answer.json()["model"] == name
    assert answer.headers["x-dormouse-adapter"] == "pirate"
    assert answer.headers["x-dormouse-model"] == "default/tiny"
    plain = await client.post(URL, json=CHAT | {"model": "tiny"})
    assert model_of(engine) == "tiny"
    assert "x-dormouse-adapter" not in plain.headers


async def test_every_dialect_reaches_it(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    await started(world, adapted(), engine)
    for path, body in (
        ("/api/chat", {"model": "tiny:pirate", "messages": CHAT["messages"], "stream": False}),
        ("/v1/messages", {"model": "tiny:pirate", "messages": CHAT["messages"], "max_tokens": 9}),
        ("/v1/responses", {"model": "tiny:pirate", "input": "Hello!"}),
    ):
        answer = await client.post(path, json=body)
        assert answer.status_code == 200, (path, answer.text)
        assert model_of(engine) == "tiny:pirate", path


async def test_lists_name_it_with_its_model(world: Stage, client: httpx.AsyncClient) -> None:
    await started(world, adapted())
    cards = {card["id"]: card for card in (await client.get("/v1/models")).json()["data"]}
    assert set(cards) == {"tiny", "tiny:pirate"}
    assert (cards["tiny:pirate"]["parent"], cards["tiny:pirate"]["root"]) == ("tiny", "hf://org/pirate")
    assert "parent" not in cards["tiny"]
    assert (await client.get("/v1/models/tiny:pirate")).json()["parent"] == "tiny"
    tags = {entry["name"]: entry for entry in (await client.get("/api/tags")).json()["models"]}
    assert tags["tiny:pirate"]["details"]["parent_model"] == "tiny:latest"


async def test_one_that_failed_is_refused_with_the_cause_and_is_not_listed(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await started(world, adapted("Gated", ready=False, message="accept its terms"), engine)
    answer = await client.post(URL, json=CHAT)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "Gated"
    assert "The adapter 'tiny:pirate' cannot be served: accept its terms" in answer.json()["error"]["message"]
    assert [card["id"] for card in (await client.get("/v1/models")).json()["data"]] == ["tiny"]
    assert (await client.post(URL, json=CHAT | {"model": "tiny"})).status_code == 200


async def test_a_call_is_held_until_the_adapter_is_there(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await started(world, adapted("Pulling", ready=False), engine)
    call = asyncio.create_task(client.post(URL, json=CHAT))
    await until(lambda: len(world.router.plane.lane(("default", "tiny")).held) == 1)
    assert engine.seen == []
    await put(world, adapted())
    assert (await call).status_code == 200
    assert model_of(engine) == "tiny:pirate"


async def test_a_held_call_hears_of_a_failure_and_of_a_removal(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await started(world, adapted("Pulling", ready=False), engine)
    for changed, status, words in (
        (adapted("Corrupt", ready=False, message="not whole"), 503, "not whole"),
        (adapted() | {"spec": model()["spec"]}, 404, "was removed while this request waited"),
    ):
        await put(world, adapted("Pulling", ready=False))
        call = asyncio.create_task(client.post(URL, json=CHAT))
        await until(lambda: len(world.router.plane.lane(("default", "tiny")).held) == 1)
        await put(world, changed)
        answer = await call
        assert (answer.status_code, words in answer.text) == (status, True), answer.text


async def test_who_does_not_want_to_wait_hears_what_it_waits_for(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await started(world, adapted("Pulling", ready=False, message="pulling hf://org/pirate"), engine)
    answer = await client.post(URL, json=CHAT, headers={"x-dormouse-hold-seconds": "0"})
    assert answer.status_code == 503
    assert "pulling hf://org/pirate" in answer.text


async def test_an_adapter_that_nobody_has_is_unknown(world: Stage, client: httpx.AsyncClient) -> None:
    await started(world, adapted())
    answer = await client.post(URL, json=CHAT | {"model": "tiny:parrot"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_an_alias_of_another_model_goes_first(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    await started(world, adapted())
    other = model("other")
    other["spec"]["aliases"] = ["tiny:pirate"]
    other["status"].pop("servedNames", None)
    await world.asleep(other)
    await world.awake(engine, name="other")
    assert (await client.post(URL, json=CHAT)).status_code == 200
    assert model_of(engine) == "other"


async def test_deleting_an_adapters_name_deletes_no_model(world: Stage, client: httpx.AsyncClient) -> None:
    await started(world, adapted())
    for answer in (
        await client.delete("/v1/models/tiny:pirate"),
        await client.request("DELETE", "/api/delete", json={"model": "tiny:pirate"}),
    ):
        assert answer.status_code == 400
        assert "spec.adapters" in answer.text
    assert ("default", "tiny") in world.cluster.objects[Resource.MODELS]


@pytest.mark.parametrize("path", ["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/adapters", "/adapters/pirate"])
async def test_no_client_loads_an_adapter_himself(
    world: Stage, client: httpx.AsyncClient, engine: Engine, path: str
) -> None:
    await started(world, adapted(), engine)
    body = {"model": "tiny", "lora_name": "evil", "lora_path": "/models"}
    assert (await client.post(path, json=body)).status_code == 404
    assert engine.seen == []


async def test_a_model_that_failed_holds_nobody_for_its_adapter(world: Stage, client: httpx.AsyncClient) -> None:
    made = adapted("Pending", ready=False)
    made["status"]["conditions"][0] |= {"status": "False", "reason": "Gated", "message": "accept its terms"}
    await started(world, made)
    answer = await client.post(URL, json=CHAT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "Gated")
