"""What /metrics tells of streams and of the hold: each counted once, and only where it means something."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dormouse_api import metrics as names
from dormouse_router.metrics import BETWEEN_TOKENS, ModelStats
from tests.router.conftest import MakeEngine
from tests.router.fakes import Exchange, Stage, chat_chunk, chat_completion, model

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
URL = "/v1/chat/completions"
TINY = {"model": "default/tiny"}


async def value(world: Stage, name: str, **labels: str) -> float | None:
    """The sample with exactly these labels."""
    async with httpx.AsyncClient(base_url=world.ops) as ops:
        text = (await ops.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return next((s.value for s in samples if s.name == name and s.labels == labels), None)


async def counts(world: Stage) -> tuple[float | None, float | None]:
    """How many streams were timed to their first token, and between their tokens."""
    first = await value(world, f"{names.FIRST_TOKEN_SECONDS}_count", **TINY)
    return first, await value(world, f"{names.INTER_TOKEN_SECONDS}_count", **TINY)


@pytest.mark.parametrize(
    ("words", "usage", "between"),
    [
        pytest.param(4, True, 1.0, id="by the engine's own count"),
        pytest.param(4, False, 1.0, id="by its pieces, where it tells no usage"),
        pytest.param(1, True, 0.0, id="one token has nothing between"),
    ],
)
async def test_a_stream_is_timed_once(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, words: int, usage: bool, between: float
) -> None:
    async def stream(exchange: Exchange) -> None:
        await exchange.stream_head()
        for _ in range(words):
            await exchange.event(chat_chunk("a"))
        if usage:
            told = {"prompt_tokens": 3, "completion_tokens": words, "total_tokens": 3 + words}
            await exchange.event(chat_chunk("") | {"choices": [], "usage": told})
        await exchange.finish()

    await world.awake(await make_engine(stream))
    answer = await client.post(URL, json=CHAT | {"stream": True})
    assert answer.text.count("data: {") == words, "its client did not ask for the usage, and so does not see it"
    assert await counts(world) == (1.0, between)


async def test_a_whole_answer_has_no_first_token(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def whole(exchange: Exchange) -> None:
        await exchange.answer(chat_completion("Paris"))

    await world.awake(await make_engine(whole))
    assert (await client.post(URL, json=CHAT)).status_code == 200
    assert await counts(world) == (0.0, 0.0)
    assert await value(world, f"{names.FIRST_BYTE_SECONDS}_count", **TINY) == 1.0


async def test_a_stream_that_breaks_off_tells_nothing_of_the_time_between_tokens(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def die(exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event(chat_chunk("Par"))
        await exchange.event(chat_chunk("is"))
        exchange.cut()

    await world.awake(await make_engine(die))
    answer = await client.post(URL, json=CHAT | {"stream": True})
    assert "engine_lost" in answer.text
    assert await counts(world) == (1.0, 0.0)


async def test_a_refused_stream_has_no_first_token(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def fails(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "no"}}, 400)

    await world.awake(await make_engine(fails))
    assert (await client.post(URL, json=CHAT | {"stream": True})).status_code == 400
    assert await counts(world) == (0.0, 0.0)


async def test_the_limit_of_the_hold_is_beside_what_is_held(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def whole(exchange: Exchange) -> None:
        await exchange.answer(chat_completion("Paris"))

    world.cluster.add_model(model("tiny", scaling={"maxHeld": 7}))
    await world.awake(await make_engine(whole))
    await client.post(URL, json=CHAT)
    assert await value(world, names.HELD, **TINY) == 0.0
    assert await value(world, names.HELD_LIMIT, **TINY) == 7.0


def test_the_time_between_tokens_is_the_mean_of_a_stream() -> None:
    stats = ModelStats()
    stats.streamed(5, 0.08)  # four times 20 ms
    stats.streamed(1, 3.0)
    stats.streamed(0, 3.0)
    shown = dict(stats.between_tokens.buckets())
    assert (shown["0.015"], shown["0.02"], shown["+Inf"]) == (0, 1, 1)
    assert stats.between_tokens.total == pytest.approx(0.02)
    assert len(stats.between_tokens.counts) == len(BETWEEN_TOKENS) + 1
