"""A router with models of every kind, in a thread of its own, so that clients that block can call it.

Played are the API server (in memory), the operator (wakes what is wanted, pulls what is created), the engines and the
worker (one line after the other).
Nothing of the router itself is.
"""

import asyncio
import contextlib
import sqlite3
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx

from dormouse_api.lease import Wish
from dormouse_api.names import runtime_name
from dormouse_router.cluster import Object, Resource
from dormouse_router.store import open_store
from tests.engine.engine import Engine, scripted
from tests.router.batch.runner import Runner
from tests.router.batch.runner import running as at_work
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakecluster import FakeCluster
from tests.router.fakes import SETTINGS, Stage, slice_of, until

T = TypeVar("T")
DEADLINE = 30.0
CHAT, ALIAS = "tiny-chat", "tiny"
SLEEPER, SLEEPER_ALIAS = "sleeper", "Org/Sleeper"
EMBED, THINK, SEE, MEDIA, BOTH = "tiny-embed", "tiny-think", "tiny-vision", "tiny-media", "both"
ABILITIES = {
    CHAT: ("completion", "tools"),
    SLEEPER: ("completion", "tools"),
    EMBED: ("embedding",),
    THINK: ("completion", "tools", "thinking"),
    SEE: ("completion", "tools", "vision"),
    MEDIA: ("image", "audio", "speech"),
}
ALIASES = {CHAT: ALIAS, SLEEPER: SLEEPER_ALIAS}
SIZE = 4_500_000


class Played(FakeCluster):
    """An API server beside an operator: a wish brings a sleeping model's engine up, and its end takes it away."""

    def __init__(self, engines: dict[str, Engine], start: Callable[[str], Awaitable[Engine]]) -> None:
        super().__init__()
        self._engines, self._start = engines, start
        self._names = {runtime_name(name): name for name in engines}
        self._pulls: set[asyncio.Task[None]] = set()
        self.on_lease_write = self._wished

    def _wished(self, namespace: str, lease: str, wish: Wish) -> None:
        name = self._names[lease]
        if wish.ends > time.time():
            self.put(Resource.SLICES, slice_of(name, self._engines[name].port))
        else:
            self.sleep(namespace, name)

    def sleep(self, namespace: str, name: str) -> None:
        with contextlib.suppress(KeyError):
            self.remove(Resource.SLICES, namespace, f"{name}-{self._engines[name].port}")

    async def create_model(self, meta: Object, spec: Object, *, dry_run: bool = False) -> None:
        await super().create_model(meta, spec, dry_run=dry_run)
        namespace, name = meta["namespace"], meta["name"]
        task = asyncio.create_task(self._pull(namespace, name))
        self._pulls.add(task)
        task.add_done_callback(self._pulls.discard)

    async def _pull(self, namespace: str, name: str) -> None:
        """What the operator writes while a Job pulls: bytes, then a model that sleeps."""
        found = self.objects[Resource.MODELS][namespace, name]
        if "missing" in found["spec"]["source"]["uri"]:
            self._tell(found, [condition("Ready", "False", "NotFound", "the hub knows no such repository")])
            return
        pulling = [condition("Ready", "False", "Pulling"), condition("ModelPulled", "False", "Pulling")]
        for done in (0, SIZE // 2, SIZE):
            progress = {"stage": "fetching", "bytes": done, "total": SIZE, "bytesPerSecond": 1}
            self._tell(found, pulling, pull=progress, bytes=None)
            await asyncio.sleep(0.01)  # so that the router meets each of them
        self._engines[name] = await self._start(name)
        self._names[runtime_name(name)] = name
        self._tell(found, known_status()["conditions"], bytes=SIZE)

    def _tell(self, found: Object, conditions: list[Object], **status: Any) -> None:
        self.put(Resource.MODELS, found | {"status": known_status(conditions=conditions, **status)})


class World:
    """The running router. What a test does to the cluster it does through `call`, in the router's own thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, stage: Stage, engines: dict[str, Engine], hands: Runner, database: Path
    ) -> None:
        self._loop, self._stage, self._engines = loop, stage, engines
        self._hands, self._database = hands, database
        self.url = stage.url
        self.openai = f"{stage.url}/v1"

    def call(self, what: Callable[..., T], *args: Any) -> T:
        """The result of `what(*args)`, called in the router's thread."""

        async def run() -> T:
            return what(*args)

        return _result(self._loop, run())

    def sleeps(self, name: str = SLEEPER) -> None:
        """Put a model to sleep; returns when the router knows."""

        async def settle() -> None:
            self._stage.cluster.steal(Wish(time.time() - 2, 1), name)
            cluster = self._stage.cluster
            assert isinstance(cluster, Played)
            cluster.sleep("default", name)
            await until(lambda: not self._stage.endpoints(name))

        _result(self._loop, settle())

    def awake(self, name: str = SLEEPER) -> bool:
        return self.call(self._stage.endpoints, name) > 0

    def asked(self, name: str = CHAT) -> list[dict[str, Any]]:
        """What the model's engine was asked, oldest first."""
        return self.call(lambda: list(self._engines[name].api.requests))

    @contextlib.contextmanager
    def no_hands(self) -> Iterator[None]:
        """Nobody works on batches; what is under way was ended before."""
        self._hands.resting = True
        self.call_in_loop(self._hands.at_rest())
        try:
            yield
        finally:
            self._hands.resting = False

    def call_in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which runs in the router's thread."""
        return _result(self._loop, work)

    def validate(self) -> None:
        """The oldest batch that waits for it."""
        self.call_in_loop(self._hands.step())

    def ages(self, batch: str, seconds: float) -> None:
        """As if it had been made so long ago."""
        with contextlib.closing(sqlite3.connect(self._database, timeout=DEADLINE)) as database:
            words = "UPDATE batches SET created_at = created_at - ?, window_ends = window_ends - ? WHERE id = ?"
            database.execute(words, (seconds, seconds, batch))
            database.commit()


@contextlib.contextmanager
def world() -> Iterator[World]:
    """A router with every kind of model, listed and ready."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="router")
    thread.start()
    stack = contextlib.AsyncExitStack()
    try:
        yield _result(loop, _open(loop, stack))
    finally:
        _result(loop, stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE)
        loop.close()


def _result(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result(DEADLINE)


async def _open(loop: asyncio.AbstractEventLoop, stack: contextlib.AsyncExitStack) -> World:
    engines = {name: await stack.enter_async_context(scripted(name, media=name == MEDIA)) for name in ABILITIES}

    def start(name: str) -> Awaitable[Engine]:
        return stack.enter_async_context(scripted(name))

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dormouse-clients-")))
    database = folder / "router.db"
    settings = replace(SETTINGS, database_url=f"sqlite:///{database}", files=f"file://{folder}/files")
    keeping = await stack.enter_async_context(open_store(settings))
    stage = Stage(settings, Played(engines, start), keeping)
    _furnish(stage, engines)
    running = asyncio.create_task(stage.router.run(stage.stop))

    async def end() -> None:
        stage.stop.set()
        await running

    stack.push_async_callback(end)
    await until(lambda: stage.router.unready() is None and stage.endpoints(CHAT) > 0)
    client = await stack.enter_async_context(httpx.AsyncClient(base_url=stage.url, timeout=DEADLINE))
    assert keeping.work is not None
    hands = Runner(keeping.work, client, settings)
    await stack.enter_async_context(at_work(hands))
    return World(loop, stage, engines, hands, database)


def _furnish(stage: Stage, engines: dict[str, Engine]) -> None:
    for name, engine in engines.items():
        aliases = [ALIASES[name]] if name in ALIASES else []
        status = known_status(capabilities=list(ABILITIES[name]))
        stage.cluster.add_model(model(name, aliases=aliases, status=status))
        if name != SLEEPER:
            stage.cluster.put(Resource.SLICES, slice_of(name, engine.port))
    stage.cluster.add_route(BOTH, (CHAT, 1), (SEE, 1))
