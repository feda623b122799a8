"""The runtime pod's process: port 8001 from the first moment, port 8000 once ready, a drain at the end."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engine.api import Api
from tests.engine.start import Script, Start
from tests.engine.wire import Reply, Request, Server

HOLD_PROBE = 25.0
"""Seconds that /readyz waits for readiness before it says 503, as the real supervisor does."""
LINGER = 0.2
"""Seconds a draining engine still takes requests that were already on their way."""
TERMINATION_LOG = Path("/dev/termination-log")


def default_config(model: str) -> dict[str, Any]:
    """A runtime configuration for play outside a cluster."""
    attempt = {"engine": "vllm", "model_dir": "/models/none", "quantization": "none"}
    return {"model": model, "commit": "0" * 40, "source": "hf://dormouse/none", "attempts": [attempt]}


@dataclass(frozen=True)
class Listen:
    host: str = "0.0.0.0"
    serving: int = 8000
    admin: int = 8001


class Engine:
    """A whole scripted runtime. `port` and `admin_port` are known once `open` has returned (`port`: once ready)."""

    def __init__(self, config: dict[str, Any], script: Script, listen: Listen) -> None:
        self._config = config
        self._listen = listen
        self.start = Start(config, script)
        self.api = Api(config["model"], config.get("max_model_len") or 4096, config.get("media", False))
        self._serving = Server(self.api.handle)
        self._admin = Server(self._answer_admin)
        self.port = 0
        self.admin_port = 0

    @property
    def cancelled(self) -> int:
        """Requests whose client left early."""
        return self._serving.cancelled

    async def open(self) -> None:
        self.admin_port = await self._admin.listen(self._listen.host, self._listen.admin)

    async def play(self) -> bool:
        """Go through the start and begin to serve; False where every engine was refused."""
        if not await self.start.run():
            self._last_words()
            return False
        self.port = await self._serving.listen(self._listen.host, self._listen.serving)
        self.start.arrive()
        return True

    def _last_words(self) -> None:
        with contextlib.suppress(OSError):
            TERMINATION_LOG.write_text(json.dumps(self.start.state()))

    async def drain(self, seconds: float) -> None:
        """Leave: not ready any more, but what is in flight ends."""
        self.start.drain()
        await asyncio.sleep(LINGER)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.api.idle.wait(), seconds)
        await self.close()

    async def close(self) -> None:
        await self._serving.close()
        await self._admin.close()

    async def _answer_admin(self, request: Request, reply: Reply) -> None:
        match request.path:
            case "/livez":
                await reply.send(200, "ok", "text/plain")
            case "/readyz":
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.start.ready.wait(), HOLD_PROBE)
                await reply.send(200 if self.start.ready.is_set() else 503, self.start.stage, "text/plain")
            case "/state":
                await reply.send(200, self.start.state())
            case "/metrics":
                stage = f'dormouse_runtime_stage{{stage="{self.start.stage}"}} 1.0\n'
                await reply.send(200, stage + self.api.metrics(), "text/plain; version=0.0.4")
            case _:
                await reply.send(404, {"detail": "Not Found"})


@contextlib.asynccontextmanager
async def scripted(model: str = "tiny", script: Script | None = None, media: bool = False) -> AsyncIterator[Engine]:
    """An engine inside the test's own process, on free ports of the loopback, ready. `!die` closes its ports.

    `media`: it draws, speaks and listens, too.
    """
    quick = script or Script(stages=())
    engine = Engine(default_config(model) | {"media": media}, quick, Listen("127.0.0.1", 0, 0))
    await engine.open()
    await engine.play()
    mortal = asyncio.ensure_future(_die(engine))
    try:
        yield engine
    finally:
        mortal.cancel()
        await engine.close()


async def _die(engine: Engine) -> None:
    await engine.api.died.wait()
    await engine.close()
