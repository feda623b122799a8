"""What users of other servers complain about, none of it true here. Each test names the reports it answers."""

import base64
import json
import struct
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionToolChoiceOptionParam, ChatCompletionToolParam

from dormouse_router.gateway import FOREVER
from tests.engine.engine import Engine as Scripted
from tests.router.dialects import engines
from tests.router.dialects.engines import HI
from tests.router.dialects.openai.streams import DONE, LAST, chunks, delta, saying, sse
from tests.router.fakes import Engine, Stage, speak

URL = "/v1/chat/completions"
CHAT: dict[str, Any] = {"model": "tiny", "messages": HI}
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
NAMED: ChatCompletionToolChoiceOptionParam = {"type": "function", "function": {"name": "weather"}}


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


CALL = ask('!tool weather {"city": "Oslo"}')


@pytest.mark.usefixtures("played")
async def test_streamed_calls_have_index_id_and_name(sdk: openai.AsyncOpenAI) -> None:
    """ollama#7881, vercel/ai#5885, openai-python#2806, mistral.rs PR1507, LibreChat#13987: clients crash without."""
    stream = await sdk.chat.completions.create(model="tiny", messages=CALL, tools=[WEATHER], stream=True)
    pieces = [call async for chunk in stream for call in (chunk.choices[0].delta.tool_calls or ())]
    assert {piece.index for piece in pieces} == {0}
    assert [bool(piece.id) for piece in pieces] == [True] + [False] * (len(pieces) - 1)
    assert pieces[0].function is not None
    assert pieces[0].function.name == "weather"
    assert json.loads("".join(piece.function.arguments or "" for piece in pieces if piece.function)) == {"city": "Oslo"}


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("choice", ["auto", "required", NAMED])
async def test_an_answer_that_calls_ends_for_it(
    sdk: openai.AsyncOpenAI, choice: ChatCompletionToolChoiceOptionParam
) -> None:
    """litellm#35663, model_server#3927, vllm PR25054, ollama PR7963: `stop` although tools were called."""
    whole = await sdk.chat.completions.create(model="tiny", messages=CALL, tools=[WEATHER], tool_choice=choice)
    assert whole.choices[0].finish_reason == "tool_calls"
    stream = await sdk.chat.completions.create(
        model="tiny", messages=CALL, tools=[WEATHER], tool_choice=choice, stream=True
    )
    assert [c.choices[0].finish_reason async for c in stream][-1] == "tool_calls"


@pytest.mark.parametrize("choice", ["none", "required", NAMED])
async def test_the_choice_of_tools_reaches_the_engine(
    client: httpx.AsyncClient, played: Scripted, choice: ChatCompletionToolChoiceOptionParam
) -> None:
    """ollama#17921, #8421: a forced call becomes text, none becomes a call."""
    answer = await client.post(URL, json=CHAT | {"messages": CALL, "tools": [WEATHER], "tool_choice": choice})
    assert json.loads(played.api.requests[0]["body"])["tool_choice"] == choice
    assert ("tool_calls" in answer.json()["choices"][0]["message"]) is (choice != "none")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(1800, 1800), ("30m", 1800), ("1h30m", 5400), ("300", 300), (0.5, 0.5), (0, 0), ("-1", FOREVER), (-1, FOREVER)],
)
@pytest.mark.parametrize("path", [URL, "/v1/completions"])
async def test_keep_alive_is_obeyed(
    world: Stage, client: httpx.AsyncClient, serving: Engine, path: str, given: object, seconds: float
) -> None:
    """ollama#11458: ignored on /v1; open-webui#753, karakeep#2409, Flowise#3576, ha-llmvision PR625: "-1" fails."""
    serving.serve = speak
    assert (await client.post(path, json=CHAT | {"prompt": "x", "keep_alive": given})).status_code == 200
    assert world.router.plane.lanes["default", "tiny-chat"].linger == seconds


async def test_a_keep_alive_that_is_none_is_refused(client: httpx.AsyncClient, serving: Engine) -> None:
    """The same: in words, not in silence."""
    answer = await client.post(URL, json=CHAT | {"keep_alive": "soon"})
    assert (answer.status_code, serving.seen) == (400, [])
    assert "keep_alive" in answer.json()["error"]["message"]


async def test_nothing_is_cut_in_silence(client: httpx.AsyncClient, serving: Engine) -> None:
    """ollama#4447, #2722, #2677, #6286: num_ctx cannot be set through /v1, and what is too long is cut off. Here the
    context is the model's own, its length is in the model's card, and what does not fit is told."""
    words = "This model's maximum context length is 64 tokens. However, your prompt contains 99 input tokens"
    serving.serve = engines.refusing(400, {"error": {"message": words, "type": "BadRequestError", "code": 400}})
    error = (await client.post(URL, json=CHAT)).json()["error"]
    assert (error["code"], error["param"], error["message"]) == ("context_length_exceeded", "messages", words)
    assert (await client.get("/v1/models/tiny")).json()["context_length"] == 2048


@pytest.mark.parametrize("said", [{"detail": "flat"}, {"message": "flat", "code": 400}, "flat", b"flat"])
async def test_an_error_is_never_flat(client: httpx.AsyncClient, serving: Engine, said: Any) -> None:
    """vllm#12886, ray#64833, autogen PR757: a flat body, `detail`, or a bare string."""
    serving.serve = engines.refusing(400, said)
    error = (await client.post(URL, json=CHAT)).json()["error"]
    assert error["message"].strip('"') == "flat"
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.usefixtures("played")
async def test_fields_that_nobody_knows_are_no_error(sdk: openai.AsyncOpenAI) -> None:
    """vllm PR10463, #10093, #5797, #10015, #6890: extra fields rejected."""
    extra = {"made_up": [1], "store": True, "metadata": {"a": "b"}, "num_ctx": 9}
    answer = await sdk.chat.completions.create(model="tiny", messages=ask("!say yes"), extra_body=extra)
    assert answer.choices[0].message.content == "yes"


@pytest.mark.usefixtures("played")
async def test_embeddings_come_in_the_form_that_was_asked_for(
    client: httpx.AsyncClient, sdk: openai.AsyncOpenAI
) -> None:
    """sglang PR28803, PR30434, text-embeddings-inference#288, infinity#349, openai-python#1490: base64 not honoured."""
    bodies = [{"model": "tiny", "input": "x", "encoding_format": form} for form in ("float", "base64")]
    plain, packed = [(await client.post("/v1/embeddings", json=body)).json()["data"][0]["embedding"] for body in bodies]
    assert isinstance(packed, str)
    unpacked = [value for (value,) in struct.iter_unpack("<f", base64.b64decode(packed))]
    assert unpacked == pytest.approx(plain)
    async with openai.AsyncOpenAI(base_url=sdk.base_url, api_key="any", max_retries=0) as usual:  # asks for base64
        found = (await usual.embeddings.create(model="tiny", input="x")).data[0].embedding
    assert found == pytest.approx(plain)


@pytest.mark.usefixtures("played")
async def test_no_chunk_comes_that_was_not_asked_for(sdk: openai.AsyncOpenAI) -> None:
    """apfel#100, ATOM PR1711, litellm#36553, cline PR8518: a usage, or no choices, crash the client."""
    said = [c async for c in await sdk.chat.completions.create(model="tiny", messages=ask("!say a b"), stream=True)]
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in said)
    asked = await sdk.chat.completions.create(
        model="tiny", messages=ask("!say a b"), stream=True, stream_options={"include_usage": True}
    )
    *rest, last = [chunk async for chunk in asked]
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in rest)
    assert last.choices == []
    assert last.usage is not None


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_is_where_either_kind_of_client_looks(client: httpx.AsyncClient, stream: bool) -> None:
    """vllm#27755, #38488, PR50624, dify#33342, strands#2182, mlx-vlm#1408: reasoning or reasoning_content."""
    answer = await client.post(URL, json=CHAT | {"messages": ask("!think Hm, well. !say yes"), "stream": stream})
    if stream:
        said = [chunk["choices"][0]["delta"] for chunk in chunks(answer.text)]
    else:
        said = [answer.json()["choices"][0]["message"]]
    for name in ("reasoning", "reasoning_content"):
        assert "".join(part.get(name) or "" for part in said) == "Hm, well."
    assert "".join(part.get("content") or "" for part in said) == "yes"


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("fault", ["!error after 1 out of blocks", "!cut after 1"])
async def test_an_error_mid_stream_is_no_end(sdk: openai.AsyncOpenAI, fault: str) -> None:
    """litellm#40578, #32086, any-llm PR847: swallowed, as if the answer were whole."""
    stream = await sdk.chat.completions.create(model="tiny", messages=ask(f"a b c {fault}"), stream=True)
    with pytest.raises(openai.APIError, match=r"out of blocks|broke off"):
        [_ async for _ in stream]


@pytest.mark.parametrize(
    ("stream", "kind"),
    [(None, "application/json"), (False, "application/json"), (True, "text/event-stream; charset=utf-8")],
)
@pytest.mark.usefixtures("played")
async def test_events_come_where_they_were_asked_for_and_nowhere_else(
    client: httpx.AsyncClient, stream: bool | None, kind: str
) -> None:
    """litellm PR25766: SSE for stream: false."""
    answer = await client.post(URL, json=CHAT | {"stream": stream})
    assert answer.headers["content-type"] == kind


async def test_an_end_without_a_choice_is_passed_on(client: httpx.AsyncClient, serving: Engine) -> None:
    """litellm#36553: what an engine says last reaches the client also where it says nothing else."""
    serving.serve = saying(sse(delta(role="assistant", content=""), delta("stop"), LAST) + DONE)
    answer = await client.post(URL, json=CHAT | {"stream": True, "stream_options": {"include_usage": True}})
    assert chunks(answer.text)[-1] == LAST


async def test_an_unknown_model_is_a_404_that_nobody_retries(client: httpx.AsyncClient, world: Stage) -> None:
    """litellm PR37199, #37148: unknown ids give 500, which is then retried."""
    answer = await client.post(URL, json=CHAT | {"model": "nobody"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert world.cluster.reads == 0
