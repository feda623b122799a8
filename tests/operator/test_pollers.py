"""Asking pods and routers over real sockets."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from dormouse_api import demand as wire
from dormouse_api.results import Progress
from dormouse_api.runtime import Stage
from dormouse_operator.demand import STANDS_SECONDS, WINDOW, Board, Demands, Words
from dormouse_operator.pods import LARGEST_ANSWER, Pods
from dormouse_operator.queue import Key
from tests.operator.builders import NOW, pod, state

KEY = Key("ns", "tiny")
Object = dict[str, Any]


@asynccontextmanager
async def server(routes: dict[str, Callable[[], web.Response]]) -> AsyncIterator[int]:
    """An HTTP server on a free loopback port; the port."""
    app = web.Application()

    def handler(answer: Callable[[], web.Response]) -> Callable[[web.Request], Any]:
        async def handle(_: web.Request) -> web.Response:
            return answer()

        return handle

    for path, answer in routes.items():
        app.router.add_get(path, handler(answer))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    try:
        yield site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("component", ["pull", "quantize"])
async def test_a_followed_pod_is_asked_until_it_is_not_followed_any_more(component: str) -> None:
    said = iter([10, 10, 20])
    count = {"asked": 0}
    changes: asyncio.Queue[Key] = asyncio.Queue()

    def progress() -> web.Response:
        count["asked"] += 1
        told = Progress(stage="fetching", bytes=next(said, 20), total=100, bytes_per_second=1)
        return web.json_response(told.model_dump())

    async with server({"/progress": progress}) as port, Pods(changes.put_nowait, 0.01, port) as pods:
        puller = pod(component, ip="127.0.0.1")
        pods.follow(KEY, puller)
        async with asyncio.timeout(60):
            assert await changes.get() == KEY
            assert await changes.get() == KEY
        seen = pods.progress(KEY)
        assert seen is not None
        assert seen.bytes == 20
        assert pods.state(KEY) is None
        assert changes.empty(), "an equal answer is no news"
        pods.follow(KEY, puller)
        assert pods.progress(KEY) is not None, "the same pod keeps its answer"
        pods.follow(KEY, None)
        assert pods.progress(KEY) is None
        asked = count["asked"]
        await asyncio.sleep(0.05)
        assert count["asked"] <= asked + 1


async def test_a_pod_that_changes_is_asked_at_once() -> None:
    stages = iter([Stage.WARMING, Stage.READY])
    changes: asyncio.Queue[Key] = asyncio.Queue()
    routes = {"/state": lambda: web.Response(text=state(stage=next(stages)).model_dump_json())}
    async with server(routes) as port, Pods(changes.put_nowait, 3600, port) as pods:
        pods.follow(KEY, pod(ip="127.0.0.1"))
        async with asyncio.timeout(60):
            await changes.get()
            pods.follow(KEY, pod(ip="127.0.0.1", ready_at=NOW))
            await changes.get()
        seen = pods.state(KEY)
        assert seen is not None
        assert seen.stage is Stage.READY


async def test_nonsense_and_silence_of_a_pod_are_no_answers() -> None:
    bodies = iter([web.Response(text="{"), web.Response(status=500), web.Response(text=state().model_dump_json())])
    changes: asyncio.Queue[Key] = asyncio.Queue()
    last = state().model_dump_json()
    routes = {"/state": lambda: next(bodies, web.Response(text=last))}
    async with server(routes) as port, Pods(changes.put_nowait, 0.01, port) as pods:
        pods.follow(KEY, pod(ip="127.0.0.1"))
        async with asyncio.timeout(60):
            await changes.get()
        seen = pods.state(KEY)
        assert seen is not None
        assert seen.stage is Stage.READY


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def told(**models: tuple[int, int]) -> wire.Demand:
    return wire.Demand(models={f"ns/{name}": wire.ModelDemand(in_flight=f, held=h) for name, (f, h) in models.items()})


def loads(board: Board, key: Key = KEY) -> list[tuple[float, int]] | None:
    """What is kept: seconds ago, and the load."""
    demand = board.of(key)
    return None if demand is None else [(demand.samples[-1].at - each.at, each.load) for each in demand.samples]


def test_demand_is_the_sum_over_routers_and_is_kept_for_a_while() -> None:
    clock = Clock()
    board = Board(clock)
    assert board.of(KEY) is None
    assert board.take([told(tiny=(3, 4)), told(tiny=(5, 0), other=(1, 0))]) == {KEY, Key("ns", "other")}
    assert loads(board) == [(0, 12)]
    clock.now += 2
    assert board.take([told(tiny=(1, 0), other=(1, 0))]) == set(), "less, but no end"
    assert loads(board) == [(2, 12), (0, 1)]
    clock.now += WINDOW - 1
    assert board.take([told(other=(1, 0))]) == {KEY}
    assert loads(board) == [(WINDOW - 1, 1), (0, 0)]
    clock.now += WINDOW + 1
    assert board.take([]) == {Key("ns", "other")}
    assert board.of(KEY) is None, "nothing is remembered of a model that nobody calls"


def test_of_a_model_of_several_pods_it_is_known_that_nobody_calls_it() -> None:
    """After a restart of the operator, too: else its pods would stay for ever."""
    clock = Clock()
    board = Board(clock)
    for _ in range(5):
        assert board.take([], {KEY}) == set()
        clock.now += WINDOW / 2
    assert loads(board) == [(WINDOW, 0), (0, 0)]
    for _ in range(2):
        assert board.take([told(tiny=(2, 0))], {KEY}) == {KEY}, "at every poll"
        clock.now += 2
    assert loads(board) == [(WINDOW / 2 + 2, 0), (2, 2), (0, 2)]


def test_a_router_that_is_silent_for_a_moment_has_what_it_had() -> None:
    """Else the pods of a burst would be taken away for a router that is too busy with it to answer."""
    clock = Clock()
    words = Words(clock)
    one, two, less = told(tiny=(3, 4)), told(tiny=(5, 0)), told(tiny=(1, 0))
    assert words.take({"10.0.0.1": None}) == [], "it never said anything"
    assert words.take({"10.0.0.1": one, "10.0.0.2": two}) == [one, two]
    clock.now += STANDS_SECONDS
    assert words.take({"10.0.0.1": None, "10.0.0.2": less}) == [one, less]
    clock.now += 1
    assert words.take({"10.0.0.1": None, "10.0.0.2": less}) == [less], "who can be asked no more is no reason for ever"
    assert words.take({"10.0.0.1": one, "10.0.0.2": None}) == [less, one]
    assert words.take({"10.0.0.1": None}) == [one], "the other is gone"


async def test_what_a_silent_router_said_last_counts_and_then_what_it_says() -> None:
    answers = iter([2, None, None, 1])
    asked, over = [0], asyncio.Event()

    def answer() -> web.Response:
        count = next(answers, 0)
        asked[0] += 1
        if asked[0] == 6:
            over.set()
        return web.Response(status=503) if count is None else web.json_response(told(tiny=(count, 0)).model_dump())

    async with server({"/demand": answer}) as port:
        demands = Demands(f"127.0.0.1:{port}", lambda key: None, 0.01)
        demands.size(KEY, True)
        task = asyncio.create_task(demands.run())
        async with asyncio.timeout(60):
            await over.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    demand = demands.of(KEY)
    assert demand is not None
    assert [sample.load for sample in demand.samples][:5] == [2, 2, 2, 1, 0]


async def test_routers_are_found_by_name_and_a_change_matters_most_to_models_of_several_pods() -> None:
    counts = iter([1, 2, 2, 0])
    changes: list[Key] = []
    over = asyncio.Event()

    def changed(key: Key) -> None:
        changes.append(key)
        if changes.count(one) == 2 and changes.count(many) == 4:
            over.set()

    def answer() -> web.Response:
        count = next(counts, 0)
        return web.json_response(told(one=(count, 0), many=(count, 0)).model_dump())

    one, many = Key("ns", "one"), Key("ns", "many")
    async with server({"/demand": answer}) as port:
        demands = Demands(f"localhost:{port}", changed, 0.01)
        demands.size(many, True)
        task = asyncio.create_task(demands.run())
        async with asyncio.timeout(60):
            await over.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert changes.count(one) == 2, "it began, it ended"
    assert changes.count(many) == 4
    demand = demands.of(many)
    assert demand is not None
    assert [sample.load for sample in demand.samples[-5:]].count(2) == 2


async def test_without_an_address_nobody_is_asked() -> None:
    async with asyncio.timeout(1):
        await Demands("", lambda key: None, 1).run()


def _elsewhere() -> web.Response:
    return web.Response(status=302, headers={"Location": "/secret"})


def _bomb() -> web.Response:
    return web.Response(body=gzip.compress(bytes(2**26)), headers={"Content-Encoding": "gzip"})


HOSTILE: dict[str, Callable[[], web.Response]] = {
    "redirect": _elsewhere,
    "compressed": _bomb,
    "large": lambda: web.Response(body=b"{" + b" " * (2 * LARGEST_ANSWER) + b"}"),
    "deep": lambda: web.Response(body=b'{"stage":' + b"[" * 30_000),
    "not text": lambda: web.Response(body=bytes(range(256))),
    "wrong": lambda: web.json_response({"stage": {}, "bytes": "many", "total": [], "bytes_per_second": None}),
    "error": lambda: web.Response(status=500, body=b'{"stage":"x","bytes":1,"total":1,"bytes_per_second":1}'),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_hostile_answer_is_none_and_the_asking_goes_on(case: str) -> None:
    changes: asyncio.Queue[Key] = asyncio.Queue()
    asked, secret = asyncio.Event(), asyncio.Event()
    answers = iter([HOSTILE[case]])
    good = Progress(stage="fetching", bytes=1, total=2, bytes_per_second=1)

    def progress() -> web.Response:
        asked.set()
        return next(answers, lambda: web.json_response(good.model_dump()))()

    def told() -> web.Response:
        secret.set()
        return web.json_response(good.model_copy(update={"bytes": 2}).model_dump())

    async with server({"/progress": progress, "/secret": told}) as port, Pods(changes.put_nowait, 0.01, port) as pods:
        pods.follow(KEY, pod("pull", ip="127.0.0.1"))
        async with asyncio.timeout(60):
            await changes.get()
        assert asked.is_set()
        assert pods.progress(KEY) == good
        assert not secret.is_set(), "the operator goes nowhere that a pod points to"
