"""The scripted engine keeps the runtime's contract and plays every fault it is told to."""

import asyncio
import base64
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam

from dev.cluster.processes import processor_seconds
from dormouse_api.results import Marker, Outcome
from dormouse_api.runtime import Attempt, RuntimeConfig, RuntimeState, Stage
from tests.engine.directives import UnknownDirectiveError, parse
from tests.engine.engine import Engine, scripted
from tests.engine.quantize import PERMANENT, quantize
from tests.engine.start import Script, Start, pulled, read_script

ROOT = Path(__file__).parents[2]
FRANCE = "What is the capital of France?"


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with scripted() as running:
        yield running


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"http://127.0.0.1:{engine.port}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, _strict_response_validation=True) as sdk:
        yield sdk


async def ask(client: openai.AsyncOpenAI, text: str, **more: object) -> openai.types.chat.ChatCompletion:
    messages = [{"role": "user", "content": text}]
    answer = await client.chat.completions.create(model="tiny", messages=messages, **more)  # type: ignore[call-overload]
    assert isinstance(answer, openai.types.chat.ChatCompletion)
    return answer


async def test_known_answer_and_usage(client: openai.AsyncOpenAI) -> None:
    answer = await ask(client, FRANCE)
    assert answer.choices[0].message.content == "Paris."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2
    assert answer.usage.prompt_tokens == 7


async def test_length_stop_and_choices(client: openai.AsyncOpenAI) -> None:
    short = await ask(client, "!say one two three four", max_tokens=2)
    assert (short.choices[0].message.content, short.choices[0].finish_reason) == ("one two", "length")
    stopped = await ask(client, "!say one two three four", stop=["thr"])
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("one two ", "stop")
    assert stopped.choices[0].to_dict()["stop_reason"] == "thr"
    several = await ask(client, "a story", n=3, temperature=1, seed=7)
    texts = [choice.message.content for choice in several.choices]
    assert len(set(texts)) == 3
    again = await ask(client, "a story", n=3, temperature=1, seed=7)
    assert [choice.message.content for choice in again.choices] == texts
    other = await ask(client, "a story", n=3, temperature=1, seed=8)
    assert [choice.message.content for choice in other.choices] != texts


async def test_logprobs(client: openai.AsyncOpenAI) -> None:
    answer = await ask(client, FRANCE, logprobs=True, top_logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [entry.token for entry in logprobs.content] == ["Paris", "."]
    assert all(len(entry.top_logprobs) == 2 and entry.logprob < 0 for entry in logprobs.content)


WEATHER: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.mark.parametrize(
    ("text", "more", "arguments"),
    [
        ("use get_weather for Paris", {}, {"city": "Paris"}),
        ('!tool get_weather {"city": "Rome"}', {}, {"city": "Rome"}),
        ("anything in Oslo", {"tool_choice": "required"}, {"city": "Oslo"}),
        (
            "anything in Bern",
            {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
            {"city": "Bern"},
        ),
        ("use get_weather for Paris", {"tool_choice": "none"}, None),
        ("anything", {}, None),
    ],
)
async def test_tools(
    client: openai.AsyncOpenAI, text: str, more: dict[str, object], arguments: dict[str, str] | None
) -> None:
    answer = await ask(client, text, tools=[WEATHER], **more)
    calls = answer.choices[0].message.tool_calls
    if arguments is None:
        assert not calls
        return
    assert calls
    assert calls[0].type == "function"
    assert json.loads(calls[0].function.arguments) == arguments
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_streamed_tool_call_carries_index_and_id_once(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "get_weather in Paris"}],
        tools=[WEATHER],
        stream=True,
    )
    deltas = [call async for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    assert [delta.index for delta in deltas] == [0] * len(deltas)
    assert [bool(delta.id) for delta in deltas] == [True] + [False] * (len(deltas) - 1)
    parts = [delta.function.arguments or "" for delta in deltas if delta.function]
    assert json.loads("".join(parts)) == {"city": "Paris"}


async def test_stream_with_usage_thoughts_and_odd_pieces(engine: Engine, client: openai.AsyncOpenAI) -> None:
    text = "!odd !think Hmm, grüße. !say Füchse 🦊 und Bären."
    stream = await client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": text}],
        stream=True,
        stream_options={"include_usage": True},
    )
    said, thought, usages = "", "", []
    async for chunk in stream:
        usages += [chunk.usage] if chunk.usage else []
        for choice in chunk.choices:
            said += choice.delta.content or ""
            thought += getattr(choice.delta, "reasoning", "")
    assert (said, thought, len(usages)) == ("Füchse 🦊 und Bären.", "Hmm, grüße.", 1)
    body = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": text}]}
    torn = 0
    async with (
        httpx.AsyncClient() as http,
        http.stream("POST", f"http://127.0.0.1:{engine.port}/v1/chat/completions", json=body) as response,
    ):
        async for piece in response.aiter_raw():
            try:
                piece.decode()
            except UnicodeDecodeError:
                torn += 1
    assert torn, "no piece ended inside a character"


async def test_completions_and_embeddings(engine: Engine, client: openai.AsyncOpenAI) -> None:
    text = await client.completions.create(model="tiny", prompt=[FRANCE, "!say x"], n=2, logprobs=1)
    assert [choice.text for choice in text.choices] == ["Paris.", "Paris.", "x", "x"]
    assert text.choices[0].logprobs is not None
    assert text.choices[0].logprobs.tokens == ["Paris", "."]
    vectors = await client.embeddings.create(model="tiny", input=["a", "b"], dimensions=8, encoding_format="float")
    assert sum(value * value for value in vectors.data[0].embedding) == pytest.approx(1, abs=1e-5)
    body = {"model": "tiny", "input": "a", "dimensions": 8, "encoding_format": "base64"}
    async with httpx.AsyncClient() as http:
        answer = (await http.post(f"http://127.0.0.1:{engine.port}/v1/embeddings", json=body)).json()
    packed = base64.b64decode(answer["data"][0]["embedding"])
    assert list(struct.unpack("<8f", packed)) == pytest.approx(vectors.data[0].embedding)


async def test_refusals(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match="no memory"):
        await ask(client, "!status 500 no memory")
    with pytest.raises(openai.BadRequestError, match="cannot play"):
        await ask(client, "!dance")
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="other", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="tiny", messages=[])


async def test_faults_mid_stream(client: openai.AsyncOpenAI) -> None:
    assert await _until_error(client, "!say a b c d e !error after 2 broken") == ("a b", openai.APIError)
    assert (await _until_error(client, "!say a b c d e !cut after 3"))[0] == "a b c"


async def _until_error(client: openai.AsyncOpenAI, text: str) -> tuple[str, type[Exception]]:
    said = ""
    try:
        stream = await client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": text}], stream=True
        )
        async for chunk in stream:
            said += chunk.choices[0].delta.content or ""
    except (openai.APIError, httpx.HTTPError) as error:
        return said, type(error)
    raise AssertionError("the stream ended as if nothing had happened")


async def test_client_that_leaves_cancels_the_work(engine: Engine) -> None:
    body = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "!slow 1000 tokens 5ms"}]}
    url = f"http://127.0.0.1:{engine.port}/v1/chat/completions"
    async with httpx.AsyncClient() as http, http.stream("POST", url, json=body) as response:
        await anext(response.aiter_raw())
        assert engine.api.in_flight == 1
    await asyncio.wait_for(engine.api.idle.wait(), 60)
    assert (engine.cancelled, engine.api.served) == (1, 0)


async def test_echo_and_record(engine: Engine, client: openai.AsyncOpenAI) -> None:
    answer = await ask(client, "!echo", top_p=0.5, extra_headers={"x-mark": "here"})
    seen = json.loads(answer.choices[0].message.content or "")
    assert seen["headers"]["x-mark"] == "here"
    assert seen["body"]["top_p"] == 0.5
    assert json.loads(engine.api.requests[-1]["body"])["messages"][0]["content"] == "!echo"


def test_directives_of_one_prompt() -> None:
    told = parse("please !slow 20 tokens 100ms !stall 3 after 2 !die after 5")
    assert (told.plain, told.tokens, told.pause, told.stall, told.stall_after, told.die_after) == (
        "please",
        20,
        0.1,
        3.0,
        2,
        5,
    )
    assert parse("Wow! Great!").plain == "Wow! Great!"
    with pytest.raises(UnknownDirectiveError):
        parse("!stall for ever")


async def test_start_with_a_refused_engine() -> None:
    attempts = [{"engine": name, "model_dir": "/models/x", "quantization": "none"} for name in ("vllm", "transformers")]
    config = {"model": "m", "commit": "c", "attempts": attempts}
    start = Start(config, Script(stages=(("loading", 0.0),), refuse={"vllm": "unknown architecture"}))
    assert await start.run()
    start.arrive()
    state = RuntimeState.model_validate(start.state())
    assert (state.stage, state.engine, state.passed[0].message) == (Stage.READY, "transformers", "unknown architecture")
    assert [entry.stage for entry in state.timeline] == ["starting", "loading", "loading", "ready"]
    doomed = Start(config, Script(stages=(), refuse={"vllm": "a", "transformers": "b"}))
    assert not await doomed.run()
    failed = RuntimeState.model_validate(doomed.state())
    assert failed.failure is not None
    assert (failed.stage, failed.failure.message) == (Stage.FAILED, "b")


def test_script_travels_with_the_weights(tmp_path: Path) -> None:
    (tmp_path / "abc").mkdir()
    (tmp_path / "abc" / "script.json").write_text('{"stages": [["loading", 2]], "wedge": true}')
    script = read_script(pulled(str(tmp_path / "abc-int8"), "abc"), None)
    assert (script.stages, script.wedge) == ((("loading", 2.0),), True)
    assert read_script(tmp_path / "abc", '{"exit": 3}').exit == 3
    assert read_script(tmp_path, None) == Script()


def test_quantize_writes_marker_and_outcome(tmp_path: Path) -> None:
    log = tmp_path / "log"
    config = {"out_dir": str(tmp_path / "abc-int4"), "method": "int4", "source": "hf://a/b", "commit": "abc"}
    assert quantize(config, Script(quantize_seconds=0), log) == 0
    done = Outcome.model_validate_json(log.read_text()).quantize
    assert done is not None
    assert done.directory == "abc-int4"
    marker = Marker.model_validate_json((tmp_path / "abc-int4" / ".dormouse.json").read_text())
    assert marker.quantization == "int4"
    assert quantize(config, Script(quantize_fail="no room"), log) == PERMANENT
    failure = Outcome.model_validate_json(log.read_text()).failure
    assert failure is not None
    assert failure.message == "no room"


def _process(script: dict[str, object]) -> tuple["subprocess.Popen[str]", int, int]:
    """A real engine process, ready, on free ports."""
    attempt = Attempt.model_validate({"engine": "vllm", "model_dir": "/models/x"})
    config = RuntimeConfig(
        model="tiny", commit="c", source="hf://a/b", attempts=(attempt,), kv_cache_bytes=1, serving_port=0, admin_port=0
    )
    environment = os.environ | {"DORMOUSE_RUNTIME": config.model_dump_json(), "DORMOUSE_SCRIPT": json.dumps(script)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.engine", "serve", "--host", "127.0.0.1"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline().split()
    return process, int(line[2].strip(":,")), int(line[4].strip(":"))


def test_process_starts_fast_serves_and_drains() -> None:
    process, port, admin = _process({"stages": []})
    took = processor_seconds(process.pid)
    with process, httpx.Client(timeout=60) as http:
        assert http.get(f"http://127.0.0.1:{admin}/readyz").status_code == 200
        state = RuntimeState.model_validate_json(http.get(f"http://127.0.0.1:{admin}/state").text)
        assert (state.stage, state.engine) == (Stage.READY, "vllm")
        body = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "!slow 40 tokens 10ms"}]}
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        with http.stream("POST", url, json=body) as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert process.wait(60) == 0
    assert took < 5, f"{took:.1f} s of a processor to start"


def test_process_dies_mid_stream() -> None:
    process, port, _ = _process({"stages": []})
    body = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "!tokens 20 !die after 5"}]}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    with process, httpx.Client(timeout=60) as http:
        with pytest.raises(httpx.RemoteProtocolError), http.stream("POST", url, json=body) as response:
            list(response.iter_lines())
        assert process.wait(60) == 137
