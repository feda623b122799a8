"""Every error, before the first byte with its status and after it in-band; models that sleep; clients that leave."""

import asyncio
from typing import Any

import httpx
import openai
import pytest

from dormouse_router.cluster import Resource
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.openai.responses.events import CREATED, TEXT, kinds, parsed
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Engine, Exchange, Serve, Stage, chat_chunk, endless, stage, until

pytestmark = pytest.mark.slow

URL = "/v1/responses"
COUNT = "/v1/responses/input_tokens"
BODY: dict[str, Any] = {"model": "tiny", "input": "Capital of France?"}
STREAM = {**BODY, "stream": True}
Error = tuple[int, str, str | None, str]


def refused(answer: httpx.Response) -> Error:
    """Status, type, code and message, the envelope checked."""
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["type"], error["code"], error["message"]


def events(text: str) -> list[Any]:
    """What a client reads of a stream: comments are skipped."""
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(":")]
    return parsed("".join(lines).replace("\n\n\n", "\n\n").lstrip("\n").encode())


# ---------------------------------------------------------------------------------------------------- before the first


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", URL, {**BODY, "model": "nobody"}, 404, "model_not_found"),
        ("POST", URL, {**STREAM, "model": "nobody"}, 404, "model_not_found"),
        ("POST", URL, {**STREAM, "temperature": 9}, 400, "invalid_value"),
        ("POST", COUNT, {**BODY, "model": "nobody"}, 404, "model_not_found"),
        ("POST", COUNT, {"model": "tiny"}, 400, "missing_required_parameter"),
        ("GET", URL, None, 405, "method_not_allowed"),
        ("DELETE", COUNT, None, 405, "method_not_allowed"),
        ("GET", f"{URL}/resp_1/nothing", None, 404, "unknown_url"),
        ("POST", f"{URL}/resp_1", None, 405, "method_not_allowed"),
        ("GET", f"{URL}/resp_1?starting_after=-1", None, 400, "invalid_value"),
    ],
)
async def test_a_refusal(client: httpx.AsyncClient, method: str, path: str, body: Any, status: int, code: str) -> None:
    assert refused(await client.request(method, path, json=body))[0:3:2] == (status, code)


@pytest.mark.parametrize("body", [BODY, STREAM])
@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", None),
        (404, "invalid_request_error", "model_not_found"),
        (422, "invalid_request_error", None),
        (429, "requests", None),
        (500, "server_error", None),
        (503, "service_unavailable", None),
    ],
)
async def test_an_engines_refusal_keeps_its_status_and_words(
    client: httpx.AsyncClient, serving: Engine, body: Any, status: int, kind: str, code: str | None
) -> None:
    async def refuse(exchange: Exchange) -> None:
        error = {"error": {"message": "temperature is odd", "type": "BadRequestError", "code": status}}
        await exchange.answer(error, status, "retry-after: 7\r\n")

    serving.serve = refuse
    answer = await client.post(URL, json=body)
    assert refused(answer) == (status, kind, code, "temperature is odd")
    assert answer.headers["retry-after"] == "7"


async def test_a_flag_of_the_engine_is_told_as_a_field_of_the_model(client: httpx.AsyncClient, serving: Engine) -> None:
    words = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    serving.serve = engines.refusing(400, {"error": {"message": words, "code": 400}})
    assert "spec.engine.toolCallParser" in refused(await client.post(URL, json=BODY))[3]


async def test_an_engine_that_cannot_count(client: httpx.AsyncClient, serving: Engine) -> None:
    serving.serve = engines.refusing(404, {"detail": "Not Found"})
    assert refused(await client.post(COUNT, json=BODY))[0::3] == (400, "The engine of 'tiny' cannot count tokens.")
    serving.serve = engines.refusing(400, {"error": {"message": "no template", "code": 400}})
    assert refused(await client.post(COUNT, json=BODY))[0::3] == (400, "no template")
    serving.serve = engines.refusing(200, {"nonsense": 1})
    assert refused(await client.post(COUNT, json=BODY))[:2] == (502, "server_error")


async def test_a_model_that_failed_is_refused_at_once(world: Stage, client: httpx.AsyncClient) -> None:
    gated = known_status(conditions=[condition("Ready", "False", "Gated", "Accept the licence first.")])
    world.cluster.add_model(model("gated", status=gated))
    await engines.known(world, "gated")
    answer = await client.post(URL, json={**STREAM, "model": "gated"})
    assert refused(answer)[:2] == (503, "service_unavailable")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", [URL, COUNT])
@pytest.mark.parametrize("body", [BODY, STREAM])
async def test_an_engine_that_dies_before_its_answer(
    client: httpx.AsyncClient, serving: Engine, body: Any, path: str
) -> None:
    async def die(exchange: Exchange) -> None:
        exchange.cut()

    serving.serve = die
    assert refused(await client.post(path, json=body))[:2] == (502, "server_error")


@pytest.mark.parametrize("serve", [engines.dies_mid_stream, engines.paris])
async def test_an_answer_that_breaks_off_or_cannot_be_read_is_no_response(
    client: httpx.AsyncClient, serving: Engine, serve: Serve
) -> None:
    serving.serve = serve  # it streams although it was not asked to
    assert refused(await client.post(URL, json=BODY))[:2] == (502, "server_error")


async def test_a_failure_that_is_the_first_word_has_its_status(client: httpx.AsyncClient, serving: Engine) -> None:
    async def fail(exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event({"error": {"message": "no room", "type": "X", "code": 503}})
        await exchange.finish()

    serving.serve = fail
    assert refused(await client.post(URL, json=STREAM)) == (503, "service_unavailable", None, "no room")


# ---------------------------------------------------------------------------------------------------- after the first


@pytest.mark.parametrize(
    ("serve", "words"),
    [(engines.dies_mid_stream, "The answer broke off"), (engines.fails_mid_stream, "out of blocks")],
)
async def test_a_failure_mid_stream_is_told_whole_and_kept(
    client: httpx.AsyncClient, serving: Engine, sdk: openai.AsyncOpenAI, serve: Serve, words: str
) -> None:
    serving.serve = serve
    found = events((await client.post(URL, json=STREAM)).text)
    assert kinds(found) == [*CREATED, *TEXT(1), "error", "response.failed"]
    last = found[-1]["response"]
    assert (last["status"], last["error"]["code"]) == ("failed", "server_error")
    assert words in last["error"]["message"]
    assert (last["output"][0]["status"], last["output"][0]["content"][0]["text"]) == ("incomplete", "Par")
    assert (await client.get(f"{URL}/{last['id']}")).json() == last
    again = parsed((await client.get(f"{URL}/{last['id']}?stream=true")).content)
    assert kinds(again) == kinds(found)
    seen = [event async for event in await sdk.responses.create(**STREAM)]
    assert [event.type for event in seen] == kinds(found)


async def test_a_client_that_leaves_ends_the_engines_work(client: httpx.AsyncClient, serving: Engine) -> None:
    left = asyncio.Event()

    serving.serve = endless(left.set)
    async with client.stream("POST", URL, json=STREAM) as answer:
        assert (await anext(answer.aiter_lines())) == "event: response.created"
    async with asyncio.timeout(10):
        await left.wait()


# ---------------------------------------------------------------------------------------------------- asleep


async def test_a_held_stream_is_told_how_the_wake_goes(engine: Engine) -> None:
    async with stage(comment_after=0.02, comment_every=0.02) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep()
        lines: list[str] = []
        async with client.stream("POST", URL, json=STREAM) as answer:
            assert answer.headers["openai-version"] == "2020-10-01"
            async for line in answer.aiter_lines():
                lines.append(line)
                if len(lines) == 4:
                    world.ready(engine)
    assert lines[0].startswith(": tiny Scheduling waited=") or lines[0].startswith(": tiny Waking waited=")
    assert kinds(events("\n".join(lines) + "\n")) == [*CREATED, *TEXT(3), "response.completed"]


async def test_the_sdk_reads_past_the_comments(engine: Engine) -> None:
    async with stage(comment_after=0.01, comment_every=0.01) as world:
        await world.asleep()
        async with (
            openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key="x", max_retries=0) as sdk,
            sdk.responses.stream(**BODY) as stream,
        ):
            world.ready(engine)
            assert (await stream.get_final_response()).output_text == "Paris."


async def test_comments_can_be_declined() -> None:
    async with stage(comment_after=0.01, comment_every=0.01) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep(model("tiny"))
        call = asyncio.create_task(client.post(URL, json=STREAM, headers={"x-dormouse-comments": "off"}))
        await until(lambda: bool(world.cluster.writes))
        full = known_status(conditions=[condition("Ready", "False", "NoSpace", "Full.")])
        world.cluster.put(Resource.MODELS, model("tiny", status=full))
        assert refused(await call)[:2] == (503, "service_unavailable")


@pytest.mark.parametrize("cause", ["model", "engine", "death"])
async def test_a_failure_after_the_first_comment_is_an_event(make_engine: MakeEngine, cause: str) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "no such parser", "code": 400}}, status=400)

    async with stage(comment_after=0.01, comment_every=0.01) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep(model("tiny"))
        async with client.stream("POST", URL, json=STREAM) as answer:
            lines = answer.aiter_lines()
            assert (await anext(lines)).startswith(": tiny ")
            if cause == "model":
                full = known_status(conditions=[condition("Ready", "False", "NoSpace", "Full.")])
                world.cluster.put(Resource.MODELS, model("tiny", status=full))
            else:
                world.ready(await make_engine(refuse if cause == "engine" else engines.dies_mid_stream))
            found = events("\n".join(["", *[line async for line in lines]]) + "\n")
    assert kinds(found)[:2] == [*CREATED]
    assert kinds(found)[-2:] == ["error", "response.failed"]
    expected = {
        "model": ("server_error", "Full."),
        "engine": ("invalid_prompt", "no such parser"),
        "death": ("server_error", "The answer broke off"),
    }
    error = found[-1]["response"]["error"]
    assert error["code"] == expected[cause][0]
    assert expected[cause][1] in error["message"]


@pytest.mark.parametrize("more", [{"temperature": 9}, {"input": []}, {"stream": True, "tools": [{"type": "mcp"}]}])
async def test_nothing_but_a_good_request_wakes_a_model(
    world: Stage, client: httpx.AsyncClient, more: dict[str, Any]
) -> None:
    await world.asleep()
    assert (await client.post(URL, json=BODY | more)).status_code == 400
    assert (await client.post(COUNT, json=BODY | {"tool_choice": "most"})).status_code == 400
    assert (await client.post(URL, json=BODY, headers={"x-dormouse-hold-seconds": "soon"})).status_code == 400
    assert world.cluster.writes == []


async def test_a_cut_inside_a_character(client: httpx.AsyncClient, serving: Engine) -> None:
    async def odd(exchange: Exchange) -> None:
        await exchange.stream_head()
        data = 'data: {"choices": [{"index": 0, "delta": {"content": "süß 🦥"}}]}\n\n'.encode()
        for at in range(len(data)):
            await exchange.chunk(data[at : at + 1])
        await exchange.event(chat_chunk("", finish="stop"))
        await exchange.finish()

    serving.serve = odd
    async with client.stream("POST", URL, json=STREAM) as answer:
        pieces = [piece async for piece in answer.aiter_raw()]
    assert all(piece.decode() for piece in pieces)  # no client sees half a character either
    found = parsed(b"".join(pieces))
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == "süß 🦥"
