"""Replicate's own client makes, waits for, follows, lists and cancels predictions: texts, pictures, and own Python."""

import asyncio
import base64
import threading
from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

from dormouse_router.dialects.replicate import routes
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.records import known_status, model
from tests.router.dialects.replicate.conftest import (
    CUSTOM,
    PATIENCE,
    PICTURE,
    MakeClient,
    draws,
    ended,
    saying,
    serve_model,
    shows,
)
from tests.router.fakes import Engine, Exchange, Stage, chat_chunk, endless, in_two, until

NAME = "default/tiny-chat"
ASK = {"prompt": "Capital of France?"}


async def test_run_gives_what_the_model_says(sdk: Client, text: Engine) -> None:
    given = {**ASK, "system_prompt": "Be brief.", "max_new_tokens": 9, "temperature": 0.5, "stop_sequences": "a,b"}
    output: Any = await sdk.async_run(NAME, given)
    assert output == ["Par", "is", "."]
    [seen] = text.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.json == {
        "model": "tiny-chat",
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASK["prompt"]}],
        "max_tokens": 9,
        "temperature": 0.5,
        "stop": ["a", "b"],
    }


async def test_the_blocking_client_as_well(sdk: Client, text: Engine) -> None:
    output: Any = await asyncio.to_thread(lambda: sdk.run(NAME, ASK))
    assert output == ["Par", "is", "."]


async def test_create_then_poll(sdk: Client, text: Engine) -> None:
    made = await sdk.models.predictions.async_create(NAME, ASK)
    assert made.status in ("starting", "processing", "succeeded")
    assert (made.model, made.version, made.input) == (NAME, "0" * 40, ASK)
    await made.async_wait()
    assert (made.status, made.output, made.error) == ("succeeded", ["Par", "is", "."], None)
    assert made.metrics is not None
    assert made.metrics["output_token_count"] == 3
    assert made.metrics["predict_time"] >= 0
    assert str(made.created_at) <= str(made.started_at) <= str(made.completed_at)


@pytest.mark.parametrize("version", [NAME, f"{NAME}:{'0' * 40}", "0" * 40, "tiny-chat"])
async def test_by_version_in_all_of_its_forms(sdk: Client, text: Engine, version: str) -> None:
    made = await sdk.predictions.async_create(version=version, input=ASK, wait=True)
    assert made.output == ["Par", "is", "."]


async def test_a_route_is_a_deployment(world: Stage, sdk: Client, text: Engine) -> None:
    world.cluster.add_route("both", ("tiny-chat", 1))
    await until(lambda: world.router.catalog.find_route("both") is not None)
    made = await sdk.deployments.predictions.async_create("default/both", ASK)
    assert (await ended(sdk, made.id)).output == ["Par", "is", "."]


async def test_a_stream(sdk: Client, text: Engine) -> None:
    events = [event async for event in await sdk.async_stream(NAME, ASK)]
    assert [(event.event.value, event.data) for event in events] == [
        ("output", "Par"),
        ("output", "is"),
        ("output", "."),
        ("done", "{}"),
    ]


async def test_a_stream_that_fails_says_why(world: Stage, sdk: Client, make_engine: MakeEngine) -> None:
    await serve_model(world, await make_engine(engines.fails_mid_stream))
    with pytest.raises(RuntimeError, match="out of blocks"):
        [event async for event in await sdk.async_stream(NAME, ASK)]


async def test_run_raises_what_the_model_failed_with(world: Stage, sdk: Client, make_engine: MakeEngine) -> None:
    await serve_model(world, await make_engine(engines.refusing(400, {"error": {"message": "no such thing"}})))
    with pytest.raises(ModelError, match="no such thing"):
        await sdk.async_run(NAME, ASK)


async def test_pictures_are_files_of_their_owner(world: Stage, sdk: Client, make_engine: MakeEngine) -> None:
    engine = await make_engine(draws)
    await serve_model(world, engine, "tiny-draw", capabilities=["image"])
    given = {"prompt": "a dormouse", "num_outputs": 2, "width": 64, "height": 32, "seed": 1, "num_inference_steps": 2}
    urls: Any = await sdk.async_run("default/tiny-draw", given)
    assert len(urls) == 2
    assert engine.seen[0].json == {
        "model": "tiny-draw",
        "prompt": "a dormouse",
        "response_format": "b64_json",
        "size": "64x32",
        "n": 2,
        "num_inference_steps": 2,
        "seed": 1,
    }
    async with httpx.AsyncClient(timeout=PATIENCE) as web:
        mine = await web.get(urls[0], headers={"authorization": "Bearer mine"})
        assert mine.content == PICTURE
        assert (await web.get(urls[0], headers={"authorization": "Bearer other"})).status_code == 404


async def test_a_model_with_python_of_its_own(world: Stage, sdk: Client, make_engine: MakeEngine) -> None:
    engine = await make_engine(saying({"price": 3}))
    await serve_model(world, engine, "prices", **CUSTOM)
    assert await sdk.async_run("default/prices", {"rooms": 3}) == {"price": 3}
    assert engine.seen[0].json == {"model": "prices", "input": {"rooms": 3}, "stream": True}
    engine.serve = saying(1, 2)
    assert await sdk.async_run("default/prices", {"rooms": 3}) == [1, 2]
    engine.serve = saying("alone", list=True)
    assert await sdk.async_run("default/prices", {"rooms": 3}) == ["alone"]
    engine.serve = saying(list=True)
    assert await sdk.async_run("default/prices", {"rooms": 3}) == []


async def test_its_input_is_checked_before_anything_wakes(world: Stage, sdk: Client) -> None:
    world.cluster.add_model(model("prices", status=known_status(**CUSTOM)))
    await engines.known(world, "prices")
    with pytest.raises(ReplicateError) as refused:
        await sdk.predictions.async_create(version="default/prices", input={"rooms": "three"})
    assert refused.value.status == 422
    assert "input.rooms: 'three' is not of type 'integer'" in (refused.value.detail or "")
    assert (world.cluster.writes, world.cluster.reads) == ([], 0)


async def test_files_that_it_returns_are_files_of_their_owner(
    world: Stage, sdk: Client, make_engine: MakeEngine
) -> None:
    url = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
    await serve_model(world, await make_engine(saying({"picture": url, "n": [url]})), "prices", **CUSTOM)
    output: Any = await sdk.async_run("default/prices", {"rooms": 1})
    assert output["picture"].startswith(f"{world.url}/v1/files/file-")
    async with httpx.AsyncClient(timeout=PATIENCE) as web:
        for found in (output["picture"], *output["n"]):
            assert (await web.get(found, headers={"authorization": "Bearer mine"})).content == PICTURE


async def test_cancel_ends_the_engines_call(world: Stage, sdk: Client, make_engine: MakeEngine) -> None:
    left = threading.Event()
    engine = await make_engine(endless(left.set))
    await serve_model(world, engine)
    made = await sdk.models.predictions.async_create(NAME, ASK)
    await until(lambda: len(engine.seen) == 1)
    await made.async_cancel()
    assert made.status == "canceled"
    await until(left.is_set)
    assert (await sdk.predictions.async_get(made.id)).status == "canceled"
    await made.async_cancel()  # once more is nothing
    assert made.status == "canceled"


async def test_who_waited_in_vain_polls_on(world: Stage, sdk: Client, make_engine: MakeEngine) -> None:
    go_on = asyncio.Event()
    await serve_model(world, await make_engine(in_two(go_on)))
    headers = {"prefer": "wait=1", "authorization": "Bearer mine"}  # the client's own patience is shorter than ours
    async with httpx.AsyncClient(timeout=PATIENCE) as web:
        made = await web.post(f"{world.url}/v1/predictions", json={"version": NAME, "input": ASK}, headers=headers)
    assert made.status_code == 202
    assert (made.json()["status"], made.json()["output"]) == ("starting", None)
    await shows(sdk, made.json()["id"], ["Par"])
    go_on.set()
    assert (await ended(sdk, made.json()["id"])).output == ["Par", "is."]


async def test_pages(make_client: MakeClient, sdk: Client, text: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PAGE", 2)
    made = [(await sdk.models.predictions.async_create(NAME, ASK, wait=True)).id for _ in range(5)]
    found: list[str] = []
    page = await sdk.predictions.async_list()
    while True:
        found += [each.id for each in page]
        if page.next is None:
            break
        page = await sdk.predictions.async_list(page.next)
    assert found == made[::-1]
    assert len((await make_client("other").predictions.async_list()).results) == 0


async def test_nobody_elses_is_seen_nor_cancelled(make_client: MakeClient, sdk: Client, text: Engine) -> None:
    made = await sdk.models.predictions.async_create(NAME, ASK, wait=True)
    other = make_client("other")
    for ask in (other.predictions.async_get, other.predictions.async_cancel):
        with pytest.raises(ReplicateError) as refused:
            await ask(made.id)
        assert refused.value.status == 404
    assert made.urls is not None
    async with httpx.AsyncClient(timeout=PATIENCE) as web:
        assert (await web.get(made.urls["stream"])).status_code == 404


async def test_a_model_that_sleeps_is_woken_and_the_logs_say_so(
    world: Stage, sdk: Client, make_engine: MakeEngine
) -> None:
    engine = await make_engine(engines.paris)
    world.cluster.add_model(model("tiny-chat"))
    await engines.known(world)
    made = await sdk.models.predictions.async_create(NAME, {**ASK, "colour": "red"})
    assert made.status == "starting"
    await until(lambda: bool(world.cluster.writes))
    async with asyncio.timeout(PATIENCE):
        while not (found := await sdk.predictions.async_get(made.id)).logs:  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.01)
    assert (found.status, found.started_at) == ("starting", None)
    assert (found.logs or "").startswith(f"{NAME}: ")
    world.ready(engine, name="tiny-chat")
    done = await ended(sdk, made.id)
    assert done.output == ["Par", "is", "."]
    assert "The model takes nothing called colour: left out." in done.logs


async def test_thoughts_are_told_in_the_output(world: Stage, sdk: Client, make_engine: MakeEngine) -> None:
    async def thinks(exchange: Exchange) -> None:
        await exchange.stream_head()
        for word in ("It ", "is "):
            await exchange.event({"choices": [{"index": 0, "delta": {"reasoning": word}, "finish_reason": None}]})
        await exchange.event(chat_chunk("Paris."))
        await exchange.finish()

    await serve_model(world, await make_engine(thinks))
    output: Any = await sdk.async_run(NAME, ASK)
    assert "".join(output) == "<think>\nIt is \n</think>\n\nParis."
