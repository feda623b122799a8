"""What users report of servers that speak Ollama's API, and that it is not true of this one: a test per report."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.router.dialects import engines
from tests.router.dialects.engines import BODY, HI, lines
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Engine, Exchange, Stage, chat_chunk

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_called_tool_is_whole_and_numbered(client: httpx.AsyncClient, serving: Engine, stream: bool) -> None:
    """ollama#7881, LibreChat#13987: calls without an index, an id or a name crash clients."""
    serving.serve = engines.tools
    found = await client.post("/api/chat", json={**BODY, "tools": [TOOL], "stream": stream})
    answers = lines(found) if stream else [found.json()]
    [call] = [call for line in answers for call in line["message"].get("tool_calls", [])]
    assert call["function"] == {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}
    assert len(call["id"]) == len("call_12345678")


@pytest.mark.parametrize("arguments", [{"city": "Paris"}, '{"city": "Paris"}'])
async def test_arguments_are_an_object_here_and_either_from_clients(
    client: httpx.AsyncClient, serving: Engine, arguments: Any
) -> None:
    """ollama#6155, cai#76, openclaw PR50749: arguments as text where an object is due, and the other way round."""
    turns = [*HI, {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": arguments}}]}]
    turns.append({"role": "tool", "tool_name": "weather", "content": "sunny"})
    assert (await client.post("/api/chat", json={"model": "tiny", "messages": turns})).status_code == 200
    sent = serving.seen[-1].json["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert (type(sent), json.loads(sent)) == (str, {"city": "Paris"})


async def test_parts_of_content_are_taken(client: httpx.AsyncClient, serving: Engine) -> None:
    """litellm#11273: a list of content parts is refused by /api/chat."""
    parts = [{"type": "text", "text": "Capital "}, {"type": "text", "text": "of France?"}]
    answer = await client.post("/api/chat", json={"model": "tiny", "messages": [{"role": "user", "content": parts}]})
    assert answer.status_code == 200
    assert serving.seen[-1].json["messages"] == [{"role": "user", "content": "Capital of France?"}]


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("form", ["-1", "300", "5m", "1h30m", "0s", "-1m", 5, 0.5, -1, 0, None, ""])
async def test_every_form_of_keep_alive_is_taken(client: httpx.AsyncClient, form: Any) -> None:
    """open-webui#753, karakeep#2409, Flowise#3576, ha-llmvision PR625: "-1" as text fails."""
    answer = await client.post("/api/chat", json={**BODY, "keep_alive": form, "stream": False})
    assert (answer.status_code, answer.json()["done"]) == (200, True)


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", "{"),
        ("/api/chat", json.dumps({**BODY, "model": "nobody"})),
        ("/api/generate", json.dumps({"model": "tiny", "prompt": "x", "options": {"top_k": "x"}})),
        ("/api/show", json.dumps({"model": 7})),
        ("/api/embed", json.dumps({"model": "tiny", "input": "x"})),
        ("/api/pull", "[]"),
        ("/api/create", json.dumps({"model": "x"})),
        ("/api/push", json.dumps({"model": "x"})),
    ],
)
async def test_errors_are_an_object_with_a_sentence(client: httpx.AsyncClient, path: str, body: str) -> None:
    """vllm#12886, ray#64833, autogen PR757: the error is flat, in `detail`, or a bare string."""
    answer = await client.post(path, content=body)
    assert 400 <= answer.status_code < 500
    assert list(answer.json()) == ["error"]
    assert len(answer.json()["error"]) > len("error")


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/show", "/api/pull", "/api/copy", "/api/create"])
async def test_unknown_fields_are_ignored(client: httpx.AsyncClient, path: str) -> None:
    """vllm PR10463 (#10093, #5797, #10015, #6890): what is not known is rejected."""
    known = {"model": "tiny", "messages": HI, "prompt": "x", "source": "tiny", "destination": "copy", "from": "tiny"}
    if path == "/api/create":
        known["model"] = "new"
    answer = await client.post(
        path, json={**known, "chat_id": "c", "user": {"a": 1}, "tool_ids": None, "stream": False}
    )
    assert answer.status_code == 200


async def test_the_reasoning_of_any_engine_is_thinking(
    client: httpx.AsyncClient, world: Stage, serving: Engine
) -> None:
    """vllm#27755, #38488, PR50624, dify#33342, strands#2182: `reasoning` or `reasoning_content`, and one is lost."""

    async def thinks(exchange: Exchange) -> None:
        await exchange.stream_head()
        for delta in ({"reasoning_content": "h"}, {"reasoning": "m"}, {"content": "4"}):
            await exchange.event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        await exchange.event(chat_chunk("", finish="stop"))
        await engines.finish(exchange)

    serving.serve = thinks
    whole = (await client.post("/api/chat", json={**BODY, "stream": False})).json()
    assert whole["message"] == {"role": "assistant", "content": "4", "thinking": "hm"}


@pytest.mark.parametrize("serve", [engines.dies_mid_stream, engines.fails_mid_stream])
async def test_a_failure_is_never_a_normal_end(client: httpx.AsyncClient, serving: Engine, serve: Any) -> None:
    """litellm#40578, #32086, any-llm PR847: errors in a stream are swallowed."""
    serving.serve = serve
    found = lines(await client.post("/api/chat", json=BODY))
    assert list(found[-1]) == ["error"]
    assert not any(line.get("done") for line in found)


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/pull"])
async def test_who_does_not_want_a_stream_gets_one_object(client: httpx.AsyncClient, path: str) -> None:
    """litellm PR25766: a stream for `stream: false`."""
    answer = await client.post(path, json={**BODY, "prompt": "x", "stream": False})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert "error" not in answer.json()


async def test_editors_find_what_they_look_for(world: Stage, client: httpx.AsyncClient) -> None:
    """vscode#287494, #282931, exo PR2091, copilot-ollama#2: no bare version, no `model_info`, no "tools"."""
    world.cluster.add_model(model("new", status={}))
    world.cluster.add_model(model("able", status=known_status(capabilities=["completion", "tools"])))
    await engines.known(world, "able")
    await engines.known(world, "new")
    version = (await client.get("/api/version")).json()["version"]
    assert [int(part) for part in version.split(".")] >= [0, 6, 4]
    for name in ("new", "able"):
        shown = (await client.post("/api/show", json={"model": name})).json()
        arch = shown["model_info"]["general.architecture"]
        assert isinstance(shown["model_info"][f"{arch}.context_length"], int)
    assert "tools" in shown["capabilities"]


async def test_there_are_tags(client: httpx.AsyncClient) -> None:
    """lmstudio#190, llama-swap#200: no /api/tags."""
    assert (await client.get("/api/tags")).json() == {"models": []}


async def test_every_read_of_the_network_is_whole_lines(world: Stage, serving: Engine) -> None:
    """continue#751, raycast#12495: lines are cut over several chunks."""
    wide = "süß \U0001f600 " * 40

    async def slowly(exchange: Exchange) -> None:
        await exchange.stream_head()
        event = b"data: " + json.dumps(chat_chunk(wide), ensure_ascii=False).encode() + b"\n\n"
        for start in range(0, len(event), 97):  # cut anywhere, within characters too
            await exchange.chunk(event[start : start + 97])
            await asyncio.sleep(0)
        await exchange.event(chat_chunk("", finish="stop"))
        await engines.finish(exchange)

    serving.serve = slowly
    chunks = [chunk async for chunk in chunks_of(world, json.dumps(BODY).encode())]
    assert len(chunks) == 2
    assert all(chunk.endswith(b"\n") and chunk.isascii() for chunk in chunks)
    assert json.loads(chunks[0])["message"]["content"] == wide


async def chunks_of(world: Stage, body: bytes) -> AsyncIterator[bytes]:
    """The chunks of an answer of /api/chat as they are on the wire."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
    head = f"POST /api/chat HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    async with asyncio.timeout(20):
        await reader.readuntil(b"\r\n\r\n")
        while size := int(await reader.readuntil(b"\r\n"), 16):
            yield (await reader.readexactly(size + 2))[:-2]
    writer.close()
    await writer.wait_closed()
