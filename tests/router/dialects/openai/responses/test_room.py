"""Answers and conversations that an engine has no room for."""

import httpx
import pytest

from tests.router.dialects import engines
from tests.router.dialects.openai.responses.events import CREATED, TEXT, kinds
from tests.router.dialects.openai.responses.test_faults import BODY, STREAM, URL, events, refused
from tests.router.fakes import Engine, Exchange

pytestmark = pytest.mark.slow


async def test_an_answer_longer_than_the_context_is_shortened(client: httpx.AsyncClient, serving: Engine) -> None:
    async def short(exchange: Exchange) -> None:
        if exchange.json["max_tokens"] > 30:
            words = "This model's maximum context length is 50 tokens. However, you requested 50 output tokens "
            words += "and your prompt contains at least 20 input tokens"
            await exchange.answer({"error": {"message": words, "code": 400}}, 400)
        else:
            await engines.paris(exchange)

    serving.serve = short
    found = events((await client.post(URL, json=STREAM | {"max_output_tokens": 50})).text)
    assert kinds(found) == [*CREATED, *TEXT(3), "response.completed"]
    assert [exchange.json["max_tokens"] for exchange in serving.seen] == [50, 30]


async def test_a_prompt_longer_than_the_context(client: httpx.AsyncClient, serving: Engine) -> None:
    serving.serve = engines.refusing(400, {"error": {"message": "maximum context length is 50: 60 in the prompt"}})
    answer = await client.post(URL, json=BODY)
    assert refused(answer)[0:3:2] == (400, "context_length_exceeded")
    assert answer.json()["error"]["param"] == "input"


async def test_an_engine_that_never_has_room(client: httpx.AsyncClient, serving: Engine) -> None:
    async def never(exchange: Exchange) -> None:
        words = f"maximum context length is {exchange.json['max_tokens']}: 1 input tokens"
        await exchange.answer({"error": {"message": words, "code": 400}}, 400)

    serving.serve = never
    answer = await client.post(URL, json=STREAM | {"max_output_tokens": 50})
    assert refused(answer)[0:3:2] == (400, "context_length_exceeded")
    assert [exchange.json["max_tokens"] for exchange in serving.seen] == [50, 49, 48, 47, 46]


TALK = [
    {"role": "system", "content": "s"},
    *({"role": role, "content": 90 * "x"} for role in 5 * ("user", "assistant")),
]


@pytest.mark.parametrize("words", ["maximum context length is 400: {} in the prompt", "longer than max_model_len"])
async def test_a_conversation_is_cut_where_the_client_says_so(
    client: httpx.AsyncClient, serving: Engine, words: str
) -> None:
    async def small(exchange: Exchange) -> None:
        size = len(exchange.body)
        if size > 400:
            await exchange.answer({"error": {"message": words.format(size), "code": 400}}, 400)
        else:
            await engines.paris(exchange)

    serving.serve = small
    ask = STREAM | {"input": [*TALK, {"role": "user", "content": "well?"}]}
    assert refused(await client.post(URL, json=ask))[2] == "context_length_exceeded"
    found = events((await client.post(URL, json=ask | {"truncation": "auto"})).text)
    assert found[-1]["response"]["truncation"] == "auto"
    sent = serving.seen[-1].json["messages"]
    assert (sent[0]["role"], sent[1]["role"], sent[-1]["content"]) == ("system", "user", "well?")
    assert len(sent) < len(TALK)
    alone = STREAM | {"input": 500 * "x", "truncation": "auto"}
    assert refused(await client.post(URL, json=alone))[2] == "context_length_exceeded"
