"""Sessions of POST /chat: kept, trimmed, ended, nobody else's; over one router, a restart, and two with one Redis."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from dormouse_router.keeping import Message
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings
from dormouse_router.store import open_store
from dormouse_router.store.memory import MemorySessions, in_memory
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.native.chats import PROMPT, URL, chatting, events, saying, serving, text_of
from tests.router.fakes import Engine, Exchange, chat_chunk, stage, until
from tests.router.store.conftest import redis as redis

S: dict[str, Any] = {"model": "tiny", "session_id": "s"}
ANN, BOB = {"authorization": "Bearer ann"}, {"authorization": "Bearer bob"}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def said(text: str) -> Message:
    return {"role": "assistant", "content": text}


async def echo(exchange: Exchange) -> None:
    """An engine that says what it was told last."""
    await saying(f"re: {exchange.json['messages'][-1]['content']}")(exchange)


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    return await make_engine(echo)


async def ask(client: httpx.AsyncClient, text: str, **more: Any) -> dict[str, Any]:
    answer = await client.post(URL, json={**S, "prompt": text, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("stream", [False, True])
async def test_a_session_remembers_and_can_be_read_and_forgotten(engine: Engine, stream: bool) -> None:
    async with chatting(engine) as client:
        for text in ("one", "two"):
            answer = await client.post(URL, json={**S, "prompt": text, "stream": stream})
            last = events(answer)[-1] if stream else answer.json()
            assert last["session_id"] == "s"
            assert "session_error" not in last
        assert engine.seen[-1].json["messages"] == [user("one"), said("re: one"), user("two")]
        kept = await client.get("/sessions/s")
        history = [user("one"), said("re: one"), user("two"), said("re: two")]
        assert kept.json() == {"session_id": "s", "messages": history}
        assert (await client.head("/sessions/s")).status_code == 200
        assert (await client.delete("/sessions/s")).json() == {"session_id": "s", "deleted": True}
        for gone in (await client.get("/sessions/s"), await client.delete("/sessions/s")):
            assert gone.status_code == 404
            assert gone.json()["error"].startswith('there is no session "s"')
        await ask(client, "three")
        assert engine.seen[-1].json["messages"] == [user("three")]


async def test_without_a_session_nothing_is_kept(engine: Engine) -> None:
    async with chatting(engine) as client:
        answer = await client.post(URL, json=PROMPT)
        assert "session_id" not in answer.json()
        await client.post(URL, json=PROMPT)
        assert len(engine.seen[-1].json["messages"]) == 1


async def test_the_last_messages_only_are_shown_and_kept(engine: Engine) -> None:
    async with chatting(engine) as client:
        for number in range(4):
            await ask(client, str(number), max_history=4)
        shown = engine.seen[-1].json["messages"]
        assert [message["content"] for message in shown] == ["1", "re: 1", "2", "re: 2", "3"]
        kept = (await client.get("/sessions/s")).json()["messages"]
        assert [message["content"] for message in kept] == ["2", "re: 2", "3", "re: 3"]
        await ask(client, "4", max_history=3)
        assert [m["content"] for m in engine.seen[-1].json["messages"]] == ["3", "re: 3", "4"]
        await ask(client, "5", max_history=1)
        assert [m["content"] for m in engine.seen[-1].json["messages"]] == ["5"]


async def test_twenty_messages_are_the_default(engine: Engine) -> None:
    async with chatting(engine) as client:
        for number in range(12):
            await ask(client, str(number))
        assert len((await client.get("/sessions/s")).json()["messages"]) == 20


async def test_the_system_message_stays_and_can_be_replaced(engine: Engine) -> None:
    async with chatting(engine) as client:
        await ask(client, "0", system="Be brief.", max_history=2)
        for number in range(3):
            await ask(client, str(number), max_history=2)
        shown = engine.seen[-1].json["messages"]
        assert shown[0] == {"role": "system", "content": "Be brief."}
        assert [message["role"] for message in shown] == ["system", "user", "assistant", "user"]
        await ask(client, "x", system="Be long.", max_history=2)
        assert [m["content"] for m in engine.seen[-1].json["messages"] if m["role"] == "system"] == ["Be long."]
        await ask(client, "y", max_history=2)
        assert engine.seen[-1].json["messages"][0]["content"] == "Be long."


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [(ANN, BOB), (ANN, {}), ({"x-api-key": "ann"}, {"x-api-key": "bob"}), ({}, {"x-api-key": "bob"})],
)
async def test_sessions_of_two_keys_are_two(engine: Engine, mine: dict[str, str], theirs: dict[str, str]) -> None:
    async with chatting(engine) as client:
        await client.post(URL, json={**S, "prompt": "secret"}, headers=mine)
        await client.post(URL, json={**S, "prompt": "hello"}, headers=theirs)
        assert engine.seen[-1].json["messages"] == [user("hello")]
        await client.delete("/sessions/s", headers=theirs)
        assert (await client.get("/sessions/s", headers=theirs)).status_code == 404
        kept = (await client.get("/sessions/s", headers=mine)).json()["messages"]
        assert kept == [user("secret"), said("re: secret")]


async def test_a_key_is_the_same_in_either_header(engine: Engine) -> None:
    async with chatting(engine) as client:
        await client.post(URL, json={**S, "prompt": "one"}, headers=ANN)
        assert (await client.get("/sessions/s", headers={"x-api-key": "ann"})).status_code == 200


async def test_an_hour_without_a_turn_ends_a_session(engine: Engine) -> None:
    now = [0.0]
    keeping = replace(in_memory(), sessions=MemorySessions(lambda: now[0]))
    async with chatting(engine, keeping) as client:
        await ask(client, "one")
        now[0] = 3599.0
        await ask(client, "two")
        now[0] += 3599.0
        assert (await client.get("/sessions/s")).status_code == 200
        now[0] += 1.0
        assert (await client.get("/sessions/s")).status_code == 404
        await ask(client, "three")
        assert engine.seen[-1].json["messages"] == [user("three")]


async def test_a_history_too_long_for_the_model_loses_its_older_half(engine: Engine) -> None:
    async def short(exchange: Exchange) -> None:
        if len(exchange.json["messages"]) > 3:
            words = "This model's maximum context length is 50 tokens. However, your prompt contains 60"
            await exchange.answer({"error": {"message": words, "code": 400}}, 400)
        else:
            await echo(exchange)

    async with chatting(engine) as client:
        await ask(client, "0", system="s")
        for number in range(1, 6):
            await ask(client, str(number))
        engine.serve = short
        assert (await ask(client, "6"))["message"]["content"] == "re: 6"
        assert [len(e.json["messages"]) for e in engine.seen[-4:]] == [14, 8, 4, 2]
        assert [m["content"] for m in engine.seen[-1].json["messages"]] == ["s", "6"]


async def test_calls_of_a_session_meet_at_one_engine(make_engine: MakeEngine) -> None:
    both = [await make_engine(echo), await make_engine(echo)]
    async with stage() as world, httpx.AsyncClient(base_url=world.url, timeout=20) as client:
        await serving(world, *both)
        for number in range(12):  # with a history of one message none is shown, so the prompts begin differently
            await ask(client, f"{number}" * 50, max_history=1)
        assert sorted(len(engine.seen) for engine in both) == [0, 12]
        for number in range(12):
            await client.post(URL, json={"model": "tiny", "prompt": f"{number}" * 50})
        assert min(len(engine.seen) for engine in both) > 0


class Away(MemorySessions):
    """Sessions whose database is away for reading, or for writing."""

    def __init__(self, *ways: str) -> None:
        super().__init__()
        self._ways = ways

    async def history(self, owner: str, session: str) -> list[Message]:
        self._fail("read")
        return await super().history(owner, session)

    async def append(self, owner: str, session: str, messages: list[Message], keep: int, ttl: float) -> None:
        self._fail("write")
        await super().append(owner, session, messages, keep, ttl)

    def _fail(self, way: str) -> None:
        if way in self._ways:
            raise Refusal(503, "the database is away: send it again later", retry_after=5)


async def test_a_store_that_is_away_costs_only_what_needs_it(engine: Engine) -> None:
    async with chatting(engine, replace(in_memory(), sessions=Away("read"))) as client:
        answer = await client.post(URL, json={**S, "prompt": "x"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json() == {"error": "the database is away: send it again later"}
        assert (await client.get("/sessions/s")).status_code == 503
        assert engine.seen == []
        assert (await client.post(URL, json=PROMPT)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_cannot_be_kept_is_given_and_says_so(engine: Engine, stream: bool) -> None:
    async with chatting(engine, replace(in_memory(), sessions=Away("write"))) as client:
        answer = await client.post(URL, json={**S, "prompt": "x", "stream": stream})
        last = events(answer)[-1] if stream else answer.json()
        assert last["done"] is True
        assert last["session_error"] == "this turn is not in the history: the database is away: send it again later"


async def test_models_are_called_while_the_database_is_away(engine: Engine) -> None:
    async with (
        open_store(replace(Settings(), database_url="sqlite:////proc/none.db")) as keeping,
        chatting(engine, keeping) as client,
    ):
        body = {"model": "tiny", "messages": [user("hi")]}
        assert (await client.post("/v1/chat/completions", json={**body, "stream": True})).status_code == 200
        assert (await client.post(URL, json=PROMPT)).status_code == 200
        health = (await client.get("/health")).json()
        assert health["status"] == "degraded"
        assert "the router's log says why" in health["reasons"][0]
        refused = await client.post(URL, json={**S, "prompt": "x"})
        assert refused.status_code == 503
        assert "cannot be used now" in refused.json()["error"]


async def test_a_session_outlives_the_router(engine: Engine, tmp_path: Path) -> None:
    settings = replace(Settings(), database_url=f"sqlite:///{tmp_path}/router.db")
    for text in ("one", "two"):
        async with open_store(settings) as keeping:
            await until(lambda: keeping.trouble() is None)
            async with chatting(engine, keeping) as client:
                await ask(client, text)
    assert engine.seen[-1].json["messages"] == [user("one"), said("re: one"), user("two")]


@pytest.mark.slow
async def test_two_routers_over_one_redis_share_a_history(engine: Engine, redis: str) -> None:
    settings = replace(Settings(), database_url="memory", sessions=redis)
    async with (
        open_store(settings) as one,
        open_store(settings) as other,
        chatting(engine, one) as first,
        chatting(engine, other) as second,
    ):
        await ask(first, "one", session_id="shared")
        await ask(second, "two", session_id="shared")
        assert engine.seen[-1].json["messages"] == [user("one"), said("re: one"), user("two")]
        routers = (first, second)
        await asyncio.gather(*(ask(routers[n % 2], str(n), session_id="many", max_history=100) for n in range(20)))
        kept = (await second.get("/sessions/many")).json()["messages"]
        pairs = {(kept[i]["content"], kept[i + 1]["content"]) for i in range(0, 40, 2)}
        assert pairs == {(str(n), f"re: {n}") for n in range(20)}
        assert (await first.delete("/sessions/shared")).status_code == 200
        assert (await second.get("/sessions/shared")).status_code == 404


async def test_a_stream_says_done_only_when_the_turn_is_kept(engine: Engine) -> None:
    async with (
        chatting(engine) as client,
        client.stream("POST", URL, json={**S, "prompt": "x", "stream": True}) as answer,
    ):
        async for line in answer.aiter_lines():
            if '"done":true' in line:
                assert (await client.get("/sessions/s")).status_code == 200
                break
        else:
            pytest.fail("the stream never said done")


async def test_thinking_is_not_kept(engine: Engine) -> None:
    async def thinks(exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event({"choices": [{"index": 0, "delta": {"reasoning": "hm"}}]})
        await exchange.event(chat_chunk("Yes"))
        await exchange.event(chat_chunk("", finish="stop"))
        await engines.finish(exchange)

    engine.serve = thinks
    async with chatting(engine) as client:
        assert (await ask(client, "x"))["message"]["thinking"] == "hm"
        assert (await client.get("/sessions/s")).json()["messages"] == [user("x"), said("Yes")]
        streamed = events(await client.post(URL, json={**S, "prompt": "y", "stream": True}))
        assert text_of(streamed) == "Yes"
