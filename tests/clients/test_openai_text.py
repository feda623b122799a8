"""OpenAI's Python SDK, strict: completions, embeddings and the list of models."""

import json
from typing import Any

import ollama
import openai
import pytest

from tests.clients.world import ABILITIES, ALIAS, BOTH, CHAT, EMBED, SLEEPER, SLEEPER_ALIAS, World
from tests.engine import words

pytestmark = pytest.mark.asyncio(loop_scope="module")
FRANCE = "What is the capital of France?"


async def test_a_completion(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.completions.create(model=ALIAS, prompt=FRANCE, logprobs=1)
    [choice] = answer.choices
    assert (choice.text, choice.finish_reason, answer.object, answer.model) == (
        "Paris.",
        "stop",
        "text_completion",
        ALIAS,
    )
    assert choice.logprobs is not None
    assert choice.logprobs.tokens == ["Paris", "."]
    assert answer.usage is not None
    assert answer.usage.total_tokens == 9


async def test_a_streamed_completion(lenient: openai.AsyncOpenAI) -> None:
    """Its type has no null finish_reason, which OpenAI's own streams have until their last piece."""
    stream = await lenient.completions.create(
        model=CHAT, prompt=FRANCE, stream=True, stream_options={"include_usage": True}
    )
    got = [chunk async for chunk in stream]
    assert "".join(choice.text for chunk in got for choice in chunk.choices) == "Paris."
    assert [chunk.usage is not None for chunk in got] == [False] * (len(got) - 1) + [True]
    assert [choice.finish_reason for chunk in got for choice in chunk.choices][-1] == "stop"


@pytest.mark.parametrize(
    ("more", "texts"),
    [
        ({"prompt": [FRANCE, "!say x"]}, ["Paris.", "x"]),
        ({"prompt": FRANCE, "n": 2}, ["Paris.", "Paris."]),
        ({"prompt": FRANCE, "echo": True}, [f"{FRANCE}Paris."]),
        ({"prompt": "!say one two three", "max_tokens": 1}, ["one"]),
        ({"prompt": "!say one two three", "stop": [" two"]}, ["one"]),
    ],
)
async def test_completions_of_every_kind(sdk: openai.AsyncOpenAI, more: dict[str, Any], texts: list[str]) -> None:
    answer = await sdk.completions.create(model=CHAT, **more)
    assert [choice.text for choice in answer.choices] == texts
    assert [choice.index for choice in answer.choices] == list(range(len(texts)))


async def test_a_completion_of_token_ids(sdk: openai.AsyncOpenAI) -> None:
    for prompt in ([1, 2, 3], [[1, 2], [3]]):
        answer = await sdk.completions.create(model=CHAT, prompt=prompt)
        assert all(choice.text for choice in answer.choices)


async def test_embeddings(sdk: openai.AsyncOpenAI) -> None:
    got = await sdk.embeddings.create(model=EMBED, input=["a", "b"], encoding_format="float")
    assert [(row.index, row.object) for row in got.data] == [(0, "embedding"), (1, "embedding")]
    assert got.data[0].embedding == pytest.approx(words.embedding("a"), abs=1e-6)
    assert (got.object, got.model, got.usage.prompt_tokens) == ("list", EMBED, 2)
    short = await sdk.embeddings.create(model=EMBED, input="a", dimensions=4, encoding_format="float")
    assert len(short.data[0].embedding) == 4
    for ids, count in (([1, 2, 3], 1), ([[1, 2], [3]], 2)):
        assert len((await sdk.embeddings.create(model=EMBED, input=ids, encoding_format="float")).data) == count


async def test_embeddings_in_base64(lenient: openai.AsyncOpenAI, router: World) -> None:
    """As the SDK asks unless it is told. It checks strictly before it unpacks, so only a lenient one can unpack."""
    got = await lenient.embeddings.create(model=EMBED, input=["a", "b"])
    assert json.loads(router.asked(EMBED)[-1]["body"])["encoding_format"] == "base64"
    assert got.data[0].embedding == pytest.approx(words.embedding("a"), abs=1e-6)


async def test_the_models(sdk: openai.AsyncOpenAI, router: World) -> None:
    router.sleeps()
    cards = {card.id: card async for card in sdk.models.list()}
    assert set(cards) >= {*ABILITIES, BOTH}
    assert all(card.object == "model" and card.owned_by == "dormouse" for card in cards.values())
    assert cards[CHAT].to_dict()["max_model_len"] == 2048
    assert (await sdk.models.retrieve(SLEEPER_ALIAS)).id == SLEEPER_ALIAS
    with pytest.raises(openai.NotFoundError) as missing:
        await sdk.models.retrieve("no/such")
    assert missing.value.code == "model_not_found"
    assert not router.awake(SLEEPER), "looking wakes nothing"


async def test_a_route_answers_by_its_models(sdk: openai.AsyncOpenAI) -> None:
    raw = await sdk.completions.with_raw_response.create(model=BOTH, prompt=FRANCE)
    assert raw.headers["x-dormouse-route"] == f"default/{BOTH}"
    completion = raw.parse()
    assert completion.choices[0].text == "Paris."
    assert completion.model == BOTH


async def test_a_model_is_deleted(sdk: openai.AsyncOpenAI, router: World) -> None:
    async with ollama.AsyncClient(host=router.url, timeout=20) as other:
        await other.pull("clients/doomed")
    gone = await sdk.models.delete("clients/doomed")
    assert (gone.id, gone.deleted, gone.object) == ("clients/doomed", True, "model")
    with pytest.raises(openai.NotFoundError):
        await sdk.models.delete("clients/doomed")
