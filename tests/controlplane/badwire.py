"""A wire between an operator and the real API server on which requests go wrong where a test wants it.

What the operator's own client asks for passes through `judge`; watches and whatever else passes as it is.
"""

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from tests.controlplane.operatorprocess import AGENT

Object = dict[str, Any]
HOP = ("Host", "Content-Length", "Transfer-Encoding", "Connection")


class Verdict(Enum):
    """What becomes of a request."""

    PASS = "pass"
    CONFLICT = 409
    TOO_MANY = 429
    INTERNAL = 500
    UNAVAILABLE = 503
    LOST_BEFORE = "the connection breaks before it is carried out"
    LOST_AFTER = "the connection breaks after it was carried out"
    KILLED_BEFORE = "the process is killed before it is carried out"
    KILLED_AFTER = "the process is killed after it was carried out"
    STALLED = "nothing comes until the test lets go"


Judge = Callable[[str, int], Verdict]
"""From a request's name (`PATCH jobs`) and how often it came, itself included."""


class BadWire:
    """A context manager; `kubeconfig` leads through it. `restart` kills the operator and starts it again."""

    def __init__(self, kubeconfig: Path, folder: Path, context: ssl.SSLContext) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        self._url = config["clusters"][0]["cluster"]["server"]
        self._context = context
        self.kubeconfig = folder / "badwire.kubeconfig"
        self.judge: Judge = lambda name, count: Verdict.PASS
        self.restart: Callable[[], object] = lambda: None
        self.went_wrong: list[tuple[str, Verdict]] = []
        self._count: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "BadWire":
        self._thread.start()
        port = self._do(self._open())
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": {}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close())
        self._do(self._rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def release(self) -> None:
        """Let go of what is stalled, and of whatever comes."""
        self.judge = lambda name, count: Verdict.PASS
        self._loop.call_soon_threadsafe(self._goes_on.set)

    def _do(self, work: Awaitable[Any]) -> Any:
        async def run() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(20)

    async def _open(self) -> int:
        connector = aiohttp.TCPConnector(ssl=self._context, limit=0)
        self._goes_on = asyncio.Event()
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _rest(self) -> None:
        """Handlers of watches outlive the runner's patience: what they still hold would be found by another test."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for _ in range(5):  # transports that were told to close do so in the next turns of the loop
            await asyncio.sleep(0)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        if not request.headers.get("User-Agent", "").startswith(AGENT):
            return await self._pass(request)
        name = f"{request.method} {resource(request.path)}"
        self._count[name] += 1
        verdict = self.judge(name, self._count[name])
        if verdict is Verdict.PASS:
            return await self._pass(request)
        self.went_wrong.append((name, verdict))
        if verdict is Verdict.STALLED:
            await self._goes_on.wait()
            return await self._pass(request)
        if isinstance(verdict.value, int):
            details = {"retryAfterSeconds": 1} if verdict is Verdict.TOO_MANY else {}
            return web.json_response({"message": "injected", "details": details}, status=verdict.value)
        if verdict in (Verdict.LOST_AFTER, Verdict.KILLED_AFTER):
            async with self._forward(request, await request.read()) as answer:
                await answer.read()
        if verdict in (Verdict.KILLED_BEFORE, Verdict.KILLED_AFTER):
            await asyncio.to_thread(self.restart)
        if request.transport is not None:
            request.transport.close()
        raise web.HTTPServiceUnavailable

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        async with self._forward(request, await request.read()) as answer:
            headers = {k: v for k, v in answer.headers.items() if k not in HOP}
            response = web.StreamResponse(status=answer.status, headers=headers)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    def _forward(self, request: web.Request, body: bytes) -> Any:
        headers = {k: v for k, v in request.headers.items() if k not in HOP}
        timeout = aiohttp.ClientTimeout(total=None)
        url = self._url + request.raw_path
        return self._session.request(request.method, url, headers=headers, data=body or None, timeout=timeout)


def resource(path: str) -> str:
    """`jobs` of /apis/batch/v1/namespaces/x/jobs/y, `inferencemodels/status` of one's status."""
    _, _, rest = path.partition("/namespaces/")
    if not rest:
        return path.split("/")[4] if path.startswith("/apis/") else path.split("/")[3]
    words = rest.split("/")[1:]
    return "/".join((words[0], *words[2:3]))
