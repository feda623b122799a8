"""Predictions outlive their router: waiting for room, taken over, let go, kept through an outage; each has one end."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError

from dormouse_router.cluster import Resource
from dormouse_router.dialects.replicate import answers, desk, follow
from dormouse_router.keeping import Keeping
from dormouse_router.predicting import Predictions, StoredPrediction
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings
from dormouse_router.store import open_store
from dormouse_router.store.memory import in_memory
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.records import model
from tests.router.dialects.replicate.conftest import PATIENCE, MakeClient, ended, serve_model, shows
from tests.router.fakes import Engine, Exchange, Stage, chat_chunk, endless, in_two, stage, until

NAME = "default/tiny-chat"
ASK = {"prompt": "Capital of France?"}


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases and looks are a fraction of what they are."""
    monkeypatch.setattr(desk, "CLAIM_SECONDS", 0.02)
    monkeypatch.setattr(desk, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(desk, "LEASE_SECONDS", 30.0)
    monkeypatch.setattr(desk, "KEEP_SECONDS", 0.04)
    monkeypatch.setattr(desk, "AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(follow, "LOOK_SECONDS", 0.02)


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Keeping]:
    """A database that outlives the routers of a test."""
    async with open_store(
        replace(Settings(), database_url=f"sqlite:///{tmp_path}/one.db", files="file:///" + str(tmp_path / "files"))
    ) as made:
        await until(lambda: made.trouble() is None)
        yield made


async def test_what_finds_no_room_waits_for_it_oldest_first(make_engine: MakeEngine, make_client: MakeClient) -> None:
    go_on = asyncio.Event()
    engine = await make_engine(in_two(go_on))
    async with stage(predictions_most=1) as world:
        await serve_model(world, engine)
        sdk = make_client(url=world.url)
        made = [await sdk.models.predictions.async_create(NAME, {"prompt": str(n)}) for n in range(4)]
        await until(lambda: len(engine.seen) == 1)
        assert [(await sdk.predictions.async_get(each.id)).status for each in made[1:]] == ["starting"] * 3
        canceled = await sdk.predictions.async_cancel(made[2].id)
        assert canceled.status == "canceled"
        go_on.set()
        assert [(await ended(sdk, each.id)).status for each in made] == [
            "succeeded",
            "succeeded",
            "canceled",
            "succeeded",
        ]
        assert [seen.json["messages"][0]["content"] for seen in engine.seen] == ["0", "1", "3"]


async def test_an_owner_has_so_many_unfinished_ones(make_engine: MakeEngine, make_client: MakeClient) -> None:
    async with stage(predictions_owner=2, drain_seconds=0.1) as world:
        await serve_model(world, await make_engine(endless()))
        sdk = make_client(url=world.url)
        made = [await sdk.models.predictions.async_create(NAME, ASK) for _ in range(2)]
        with pytest.raises(ReplicateError) as refused:
            await sdk.models.predictions.async_create(NAME, ASK)
        assert refused.value.status == 429
        await make_client("other", world.url).models.predictions.async_create(NAME, ASK)
        await made[0].async_cancel()
        await sdk.models.predictions.async_create(NAME, ASK)


async def test_another_router_shows_follows_and_cancels_it(
    kept: Keeping, make_engine: MakeEngine, make_client: MakeClient
) -> None:
    left = asyncio.Event()
    engine = await make_engine(endless(left.set))
    async with stage(kept, pod_name="one") as one, stage(kept, pod_name="two") as two:
        for world in (one, two):
            await serve_model(world, engine)
        made = await make_client(url=one.url).models.predictions.async_create(NAME, ASK)
        there = make_client(url=two.url)
        await until(lambda: len(engine.seen) == 1)
        heard: list[str] = []

        async def listen() -> None:
            shown = await there.predictions.async_get(made.id)
            async for event in shown.async_stream():
                heard.append(event.event.value)  # noqa: PERF401 - each as it comes

        listening = asyncio.create_task(listen())
        await until(lambda: "output" in heard)
        assert (await there.predictions.async_get(made.id)).output == ["Par"]
        assert (await there.predictions.async_cancel(made.id)).status == "canceled"
        async with asyncio.timeout(PATIENCE):
            await left.wait()
            await listening
        assert heard == ["output", "done"]
        assert (await make_client(url=one.url).predictions.async_get(made.id)).status == "canceled"


async def die(world: Stage) -> None:
    """The router is gone without a word: nothing of it renews, keeps or ends anything."""
    [made] = [dialect.tend.__self__ for dialect in world.router._dialects if dialect.tend is not None]  # type: ignore[attr-defined]
    made._stopping = True
    made._predictions = Gone()
    for job in [*made._jobs.values()]:
        job.task.cancel()


class Gone:
    """A store that is not reached any more."""

    def __getattr__(self, name: str) -> Any:
        async def away(*_: object, **__: object) -> None:
            raise Refusal(503, "gone")

        return away


async def test_when_its_router_dies_another_one_begins_it_anew(
    kept: Keeping, make_engine: MakeEngine, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "LEASE_SECONDS", 1.0)
    engine = await make_engine(endless())
    async with stage(kept, pod_name="one") as one, stage(kept, pod_name="two", predictions_most=0) as two:
        for world in (one, two):
            await serve_model(world, engine)
        sdk = make_client(url=two.url)
        made = await make_client(url=one.url).models.predictions.async_create(NAME, ASK)
        await shows(sdk, made.id, ["Par"])
        engine.serve = engines.paris
        await die(one)
        async with stage(kept, pod_name="three") as three:
            await serve_model(three, engine)
            done = await ended(sdk, made.id)
    assert (done.status, done.output) == ("succeeded", ["Par", "is", "."])
    assert "made anew" in done.logs
    assert len(engine.seen) >= 2


async def test_a_router_that_stops_lets_go_of_what_it_cannot_finish(
    kept: Keeping, make_engine: MakeEngine, make_client: MakeClient
) -> None:
    engine = await make_engine(endless())
    async with stage(kept, pod_name="one", drain_seconds=0.1) as one:
        await serve_model(one, engine)
        made = await make_client(url=one.url).models.predictions.async_create(NAME, ASK)
        await until(lambda: len(engine.seen) == 1)
    engine.serve = engines.paris
    async with stage(kept, pod_name="two") as two:
        await serve_model(two, engine)
        done = await ended(make_client(url=two.url), made.id)
    assert (done.status, done.output) == ("succeeded", ["Par", "is", "."])


async def test_a_router_that_starts_waits_until_it_knows_the_models(
    kept: Keeping, make_engine: MakeEngine, make_client: MakeClient
) -> None:
    row = StoredPrediction("p1", "", time.time(), "starting", b"{}", b"{}", time.time() + 1000)
    await kept.predictions.add(row, None, 0.0, 10)
    made = desk.Desk(None, kept.predictions, Settings())  # type: ignore[arg-type]
    looked = asyncio.Event()

    def is_ready() -> bool:
        looked.set()
        return False

    running = asyncio.create_task(made.run(is_ready))
    async with asyncio.timeout(PATIENCE):
        await looked.wait()
        assert await kept.predictions.claim("somebody", time.time(), time.time() + 1, 5) != []
        await made.drain(1.0)
        await running


async def test_one_that_ends_its_routers_is_not_begun_for_ever(
    kept: Keeping, make_engine: MakeEngine, make_client: MakeClient
) -> None:
    engine = await make_engine(endless())
    async with stage(kept, pod_name="one", drain_seconds=0.05) as one:
        await serve_model(one, engine)
        made = await make_client(url=one.url).models.predictions.async_create(NAME, ASK)
        await until(lambda: len(engine.seen) == 1)
    for _ in range(desk.MOST_BEGINNINGS):
        [claimed] = await kept.predictions.claim("somebody", time.time(), time.time() - 1, 5)
        assert claimed.id == made.id
    async with stage(kept, pod_name="two") as two:
        await serve_model(two, engine)
        done = await ended(make_client(url=two.url), made.id)
    assert done.status == "failed"
    assert "begun 5 times" in done.error


class Slow:
    """Predictions of a store that takes its time to add one, until it is told."""

    def __init__(self, inner: Predictions) -> None:
        self._inner, self.go_on, self.renewed = inner, asyncio.Event(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def add(self, *given: Any) -> None:
        await self.go_on.wait()
        await self._inner.add(*given)

    async def renew(self, *given: Any) -> dict[str, int]:
        self.renewed += 1
        return await self._inner.renew(*given)


async def test_one_that_is_still_being_added_is_not_taken_for_lost(
    make_engine: MakeEngine, make_client: MakeClient
) -> None:
    keeping = in_memory()
    slow = Slow(keeping.predictions)
    slow.go_on.set()
    async with stage(replace(keeping, predictions=slow), drain_seconds=0.1) as world:
        await serve_model(world, await make_engine(endless()))
        sdk = make_client(url=world.url)
        await sdk.models.predictions.async_create(NAME, ASK)  # so that there is something to renew
        slow.go_on.clear()
        adding = asyncio.create_task(sdk.models.predictions.async_create(NAME, ASK))
        before = slow.renewed
        await until(lambda: slow.renewed > before + 1)
        slow.go_on.set()
        made = await adding
        await shows(sdk, made.id, ["Par"])


class Flaky:
    """Predictions of a store that is away when it is told to be."""

    def __init__(self, inner: Predictions) -> None:
        self._inner, self.away = inner, False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            return getattr(Gone(), name)
        return getattr(self._inner, name)


async def test_nobody_is_told_of_an_end_before_it_is_kept(make_engine: MakeEngine, make_client: MakeClient) -> None:
    keeping = in_memory()
    flaky = Flaky(keeping.predictions)
    go_on = asyncio.Event()
    async with stage(replace(keeping, predictions=flaky)) as world:
        await serve_model(world, await make_engine(in_two(go_on)))
        sdk = make_client(url=world.url)
        made = await sdk.models.predictions.async_create(NAME, ASK)
        await shows(sdk, made.id, ["Par"])
        flaky.away = True
        go_on.set()
        await asyncio.sleep(0.1)  # it has long come to its end
        assert (await sdk.predictions.async_get(made.id)).status == "processing"
        flaky.away = False
        assert (await ended(sdk, made.id)).output == ["Par", "is."]


async def test_its_longest_life(make_engine: MakeEngine, make_client: MakeClient) -> None:
    async with stage(prediction_run_seconds=0.3) as world:
        await serve_model(world, await make_engine(endless()))
        sdk = make_client(url=world.url)
        made = await sdk.models.predictions.async_create(NAME, ASK)
        done = await ended(sdk, made.id)
        assert done.status == "failed"
        assert done.output in (None, ["Par"])
        assert "not complete within" in done.error


async def test_an_engine_that_dies_is_told(world: Stage, sdk: Client, make_engine: MakeEngine) -> None:
    await serve_model(world, await make_engine(engines.dies_mid_stream))
    made = await sdk.models.predictions.async_create(NAME, ASK, wait=True)
    assert made.status == "failed"
    assert "broke off" in (made.error or "")


async def test_an_engine_without_room_is_asked_again(world: Stage, sdk: Client, make_engine: MakeEngine) -> None:
    async def full_at_first(exchange: Exchange) -> None:
        if len(engine.seen) == 1:
            await exchange.answer({"error": "too many"}, 429, headers="retry-after: 0\r\n")
        else:
            await engines.paris(exchange)

    engine = await make_engine(full_at_first)
    await serve_model(world, engine)
    made = await sdk.models.predictions.async_create(NAME, ASK, wait=True)
    assert (made.status, len(engine.seen)) == ("succeeded", 2)


async def test_a_model_that_is_gone_ends_what_waits_for_it(world: Stage, sdk: Client) -> None:
    world.cluster.add_model(model())
    await engines.known(world)
    made = await sdk.models.predictions.async_create(NAME, ASK)
    await until(lambda: bool(world.cluster.writes))
    world.cluster.remove(Resource.MODELS, "default", "tiny-chat")
    done = await ended(sdk, made.id)
    assert done.status == "failed"
    assert "tiny-chat" in done.error


async def test_too_much_output_is_too_much(
    world: Stage, sdk: Client, make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pours(exchange: Exchange) -> None:
        await exchange.stream_head()
        for _ in range(20):
            await exchange.event(chat_chunk("x" * 100))
        await exchange.finish()

    monkeypatch.setattr(answers, "MOST_OUTPUT", 1000)
    await serve_model(world, await make_engine(pours))
    made = await sdk.models.predictions.async_create(NAME, ASK, wait=True)
    assert made.status == "failed"
    assert "larger than 1000 bytes" in (made.error or "")


async def test_who_comes_back_to_a_stream_goes_on(world: Stage, sdk: Client, text: Engine) -> None:
    made = await sdk.models.predictions.async_create(NAME, ASK, wait=True)
    assert made.urls is not None
    async with httpx.AsyncClient(headers={"authorization": "Bearer mine"}, timeout=PATIENCE) as web:
        whole = (await web.get(made.urls["stream"])).text
        rest = (await web.get(made.urls["stream"], headers={"last-event-id": "2:0"})).text
    assert whole == (
        "event: output\nid: 1:0\ndata: Par\n\nevent: output\nid: 2:0\ndata: is\n\n"
        "event: output\nid: 3:0\ndata: .\n\nevent: done\nid: 3:0\ndata: {}\n\n"
    )
    assert whole.endswith(rest)
    assert rest.startswith("event: output\nid: 3:0\n")


@pytest.mark.parametrize(
    ("piece", "lines"),
    [
        ("a\nb", ["a", "b"]),
        (" a", [" a"]),
        ("a\r\nb\rc", ["a", "b", "c"]),
        ("", [""]),
        ({"a": [1]}, ['{"a":[1]}']),
    ],
)
def test_a_piece_is_as_many_lines_as_it_has(piece: object, lines: list[str]) -> None:
    now = {"status": "processing", "output": [piece], "logs": "", "error": None}
    [event] = follow.news(now, follow.Told())
    assert event.decode().splitlines()[2:-1] == [f"data: {line}" for line in lines]


def test_a_stream_of_one_that_was_begun_anew_says_so() -> None:
    told = follow.Told(outputs=3)
    [event] = follow.news({"status": "processing", "output": ["Par"], "logs": "", "error": None}, told)
    assert event.startswith(b"event: error\n")
    assert b"begun anew" in event
