"""The worker at work: from an upload to its files, over real sockets, with engines of every mood."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dormouse_router.batch import outcome, rota
from dormouse_router.batch.lifecycle import Status
from dormouse_router.dataplane.lane import Lane
from tests.router.batch.site import Site, ids, line, lines, site
from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Exchange, chat_completion, model, speak, until

pytestmark = pytest.mark.slow
SHARED = int(os.environ.get("DORMOUSE_TEST_SHARED", "1"))
"""How often two workers share a batch of models that share a device."""


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


def said(exchange: Exchange) -> str:
    text: str = exchange.json["messages"][0]["content"]
    return text


async def test_every_line_is_answered_once_with_its_own_answer(place: Site, make_engine: MakeEngine) -> None:
    async def repeat(exchange: Exchange) -> None:
        await exchange.answer(chat_completion(said(exchange)))

    await place.world.awake(await make_engine(repeat))
    place.hire()
    ended = await place.run(lines(300))
    ended.check(Status.COMPLETED, ids(300))
    for each in ended.output:
        body = each["response"]["body"]
        assert body["choices"][0]["message"]["content"] == f"Line {each['custom_id'][2:]}"
        assert body["model"] == "tiny"
        assert each["response"]["request_id"] == each["id"]
    assert (ended.batch.usage.input, ended.batch.usage.output) == (300 * 7, 300 * 2)
    assert ended.batch.model == "tiny"


async def test_what_an_engine_refuses_is_the_lines_result_and_what_it_fails_at_is_tried_again(
    place: Site, make_engine: MakeEngine
) -> None:
    tried: Counter[str] = Counter()

    async def moody(exchange: Exchange) -> None:
        number = int(said(exchange).split()[1])
        tried[f"r-{number}"] += 1
        again = tried[f"r-{number}"]
        if number % 10 == 1:
            await exchange.answer({"error": {"message": "No.", "code": 400, "type": "BadRequestError"}}, 400)
        elif number % 10 == 2 or (number % 10 == 3 and again < 3):
            await exchange.answer({"error": {"message": "Oh."}}, 500)
        elif number % 10 == 4 and again < 2:
            await exchange.answer({"error": {"message": "Busy."}}, 429, "retry-after: 0\r\n")
        elif number % 10 == 5 and again < 2:
            exchange.cut()
        elif number % 10 == 6 and again < 2:
            await exchange.answer(b"{not json")
        else:
            await exchange.answer(chat_completion("Fine."))

    await place.world.awake(await make_engine(moody))
    place.hire()
    ended = await place.run(lines(40))
    ended.check(Status.COMPLETED, ids(40))
    failed = {each["custom_id"]: each["response"] for each in ended.error}
    assert sorted(failed) == sorted(f"r-{tens}{ones}".replace("r-0", "r-") for tens in range(4) for ones in (1, 2))
    assert failed["r-1"]["status_code"] == 400
    assert failed["r-1"]["body"]["error"]["message"] == "No."
    assert failed["r-2"]["status_code"] == 500
    assert tried["r-1"] == 1
    assert tried["r-2"] == tried["r-3"] == 3
    assert tried["r-4"] == tried["r-6"] == 2
    assert all(each["error"] is None for each in ended.error)


async def test_a_sleeping_model_is_woken_by_one_line(place: Site, engine: Engine) -> None:
    await place.world.asleep()
    lane = place.world.router.plane.lane(("default", "tiny"))
    place.hire()
    batch = await place.create(lines(200))
    await until(lambda: len(lane.held) == 1)
    assert lane.stats.wakes == 1
    assert not engine.seen
    place.world.ready(engine)
    ended = await place.ended(batch)
    ended.check(Status.COMPLETED, ids(200))
    assert len(engine.seen) == 200
    progress = await place.keeping.batches.progress(ended.batch)
    assert progress.waited >= 0.0


async def test_a_line_is_asked_as_it_was_written_for_whose_batch_it_is(place: Site, make_engine: MakeEngine) -> None:
    await place.world.awake(engine := await make_engine(speak))
    place.hire()
    text = line(0, temperature=0.5, logit_bias={"5": 1}, seed=7, stop=["\u00e9"])
    (await place.run(text)).check(Status.COMPLETED, ids(1))
    asked = engine.seen[0].json
    assert asked.pop("priority") == 100
    assert asked.pop("messages") == [{"role": "user", "content": "Line 0"}]
    assert asked == {"model": "tiny", "temperature": 0.5, "logit_bias": {"5": 1}, "seed": 7, "stop": ["\u00e9"]}


async def test_a_batch_of_what_no_line_may_ask_fails_with_its_errors(place: Site, engine: Engine) -> None:
    await place.world.awake(engine)
    place.hire()
    ended = await place.run(lines(2, "tiny", "unheard-of"))
    assert ended.batch.status is Status.FAILED
    assert [(error.code, error.line) for error in ended.batch.errors] == [("model_not_found", 2)]
    assert not engine.seen


async def test_cancelling_lets_what_flies_land_and_tells_of_the_rest(place: Site, make_engine: MakeEngine) -> None:
    go_on = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await go_on.wait()
        if int(said(exchange).split()[1]) % 2:
            await exchange.answer({"error": {"message": "Busy."}}, 429)
        else:
            await speak(exchange)

    await place.world.awake(engine := await make_engine(slow))
    place.hire(in_flight=10)
    batch = await place.create(lines(100))
    await until(lambda: len(engine.seen) == 10)
    assert (await place.keeping.batches.cancel(batch.id, batch.owner)) is not None
    assert (await place.see(batch)).status is Status.CANCELLING
    crew = place.crews[0][0]
    await until(lambda: all(hand.closing for hand in crew.desk.hands.values()))
    go_on.set()
    ended = await place.ended(batch)
    ended.check(Status.CANCELLED, ids(100))
    assert ended.batch.counts.completed == 5, "what had to be asked again is not"
    assert {each["error"]["code"] for each in ended.error} == {"batch_cancelled"}
    assert len(engine.seen) == 10


async def test_two_workers_share_a_batch_and_ask_no_line_twice(place: Site, make_engine: MakeEngine) -> None:
    async def soon(exchange: Exchange) -> None:
        await asyncio.sleep(0.01)
        await speak(exchange)

    await place.world.awake(engine := await make_engine(soon))
    crews = [place.hire(in_flight=16) for _ in range(2)]
    ended = await place.run(lines(1200))
    ended.check(Status.COMPLETED, ids(1200))
    assert len(engine.seen) == 1200
    assert all(crew.lanes["tiny"].numbers.lines["completed"] > 0 for crew in crews)


async def test_a_worker_that_stops_gives_back_what_it_has_and_the_next_goes_on(
    place: Site, make_engine: MakeEngine
) -> None:
    async def soon(exchange: Exchange) -> None:
        await asyncio.sleep(0.01)
        await speak(exchange)

    await place.world.awake(engine := await make_engine(soon))
    place.hire(in_flight=8)
    batch = await place.create(lines(600))
    await until(lambda: len(engine.seen) > 100)
    await place.dismiss()
    stopped = await place.see(batch)
    assert stopped.counts.completed == len(engine.seen), "what was answered is kept"
    place.hire(in_flight=64)
    (await place.ended(batch)).check(Status.COMPLETED, ids(600))
    assert len(engine.seen) == 600


@pytest.mark.parametrize("workers", [1, *[2] * SHARED])
async def test_models_that_share_devices_are_swapped_in_once_each(
    place: Site, make_engine: MakeEngine, workers: int
) -> None:
    """One device: whoever is waited for gets it as soon as it is free, or its holder quiet; nobody is cut."""
    names = ("one", "two", "three")
    engines = {name: await make_engine(speak) for name in names}
    for name in names:
        place.world.cluster.add_model(model(name, status={"profile": "gpu"}))
    device = _Device(place, engines)
    for _ in range(workers):
        place.hire()
    batch = await place.create(lines(690, *names))
    turning = asyncio.create_task(device.turn())
    try:
        (await place.ended(batch)).check(Status.COMPLETED, ids(690))
    finally:
        turning.cancel()
    assert sorted(device.swaps) == sorted(names), "each once"


class _Device:
    """The operator's turns on one device, in short: a lease alone, which routers also renew when a call has ended, does
    not bring back who made room; a call that is held does."""

    def __init__(self, place: Site, engines: dict[str, Engine]) -> None:
        self._place, self._engines = place, engines
        self.swaps: list[str] = []

    async def turn(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            there = self.swaps[-1:]
            wanted = [name for name in self._engines if self._lane(name).held and name not in there]
            if wanted and not (there and self._lane(there[0]).in_flight):
                for old in there:
                    self._place.world.unready(self._engines[old], old)
                self.swaps.append(wanted[0])
                self._place.world.ready(self._engines[wanted[0]], name=wanted[0])

    def _lane(self, name: str) -> Lane:
        return self._place.world.router.plane.lane(("default", name))


ENDPOINTS: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "Hi"},
    "/v1/embeddings": {"input": ["a", "b"]},
    "/v1/responses": {"input": "Hi"},
    "/v1/score": {"text_1": "a", "text_2": "b"},
}


async def test_other_endpoints(place: Site, make_engine: MakeEngine) -> None:
    async def serve(exchange: Exchange) -> None:
        if exchange.path == "/v1/chat/completions":
            await speak(exchange)
        else:
            await exchange.answer({"object": "list", "data": [], "usage": {"prompt_tokens": 3, "total_tokens": 3}})

    await place.world.awake(await make_engine(serve))
    place.hire()
    batches = [await place.create(line(0, url=url, **body), url) for url, body in ENDPOINTS.items()]
    for batch in batches:
        ended = await place.ended(batch)
        ended.check(Status.COMPLETED, ids(1))
        assert ended.batch.usage.input > 0


async def test_a_router_that_is_away_costs_time_and_nothing_else(place: Site, engine: Engine) -> None:
    await place.world.awake(engine)
    place.hire(router_url="http://127.0.0.1:9")
    batch = await place.create(lines(3))
    crew = place.crews[0][0]
    await until(lambda: crew.metrics.duties != {})
    assert (await place.see(batch)).status is Status.VALIDATING, "nobody could say whether there is such a model"
    await place.dismiss()
    place.hire()
    (await place.ended(batch)).check(Status.COMPLETED, ids(3))


async def test_a_worker_of_which_a_part_died_ends_and_the_next_goes_on(
    place: Site, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.world.awake(engine)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rota, "plan", broken)
    place.hire()
    batch = await place.create(lines(3))
    with pytest.raises(RuntimeError, match="part of the worker died"):
        await place.crews.pop()[2]
    monkeypatch.undo()
    place.hire()
    (await place.ended(batch)).check(Status.COMPLETED, ids(3))


async def test_an_answer_that_nobody_can_read_gives_its_chunk_back(
    place: Site, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.world.awake(engine)
    faults = iter([True])

    def judge(answer: outcome.Answer, tries: outcome.Tries) -> outcome.Kind:
        if next(faults, False):
            raise ZeroDivisionError
        return honest(answer, tries)

    honest = outcome.judge
    monkeypatch.setattr(outcome, "judge", judge)
    place.hire()
    (await place.run(lines(20))).check(Status.COMPLETED, ids(20))
    assert next(faults, None) is None, "the fault was met"
