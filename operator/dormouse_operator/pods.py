"""Asks the pods of pulls and copies for progress and waking runtime pods for their stage, about once a second each.

Owns the tasks and the last answers; knows nothing of what is made of them. A new answer asks for a look at the model.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
from pydantic import BaseModel, ValidationError

from dormouse_api.gpu import GpuReport
from dormouse_api.names import COMPONENT_RUNTIME, PORT_ADMIN
from dormouse_api.results import Progress
from dormouse_api.runtime import RuntimeState
from dormouse_operator.gpus import Gpus
from dormouse_operator.observed import Pod
from dormouse_operator.queue import Key

log = logging.getLogger(__name__)

TIMEOUT = aiohttp.ClientTimeout(total=3, sock_connect=1)
LARGEST_ANSWER = 64 * 1024


class HostileError(Exception):
    """An answer that no pod of ours gives."""


@dataclass
class _Followed:
    pod: Pod
    task: asyncio.Task[None]
    news: asyncio.Event
    """The pod has changed: ask at once, so that a start is told in full however short the waking that follows."""
    answer: BaseModel | None = None


class Pods:
    """At most one followed pod per model. Use as an async context manager."""

    def __init__(self, changed: Callable[[Key], None], every: float, port: int = PORT_ADMIN) -> None:
        """`changed` is called with a model's key when its pod says something new; `every` is in seconds."""
        self._changed = changed
        self._every = every
        self._port = port
        self._followed: dict[Key, _Followed] = {}
        self.gpus = Gpus(changed, port=port)

    async def __aenter__(self) -> "Pods":
        # pods are asked directly: a proxy of the environment knows nothing of the cluster's addresses
        self._session = aiohttp.ClientSession(
            timeout=TIMEOUT, trust_env=False, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [followed.task for followed in self._followed.values()]
        self._followed.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()

    def follow(self, key: Key, pod: Pod | None) -> None:
        """Ask this pod from now on, and no other of the model; None ends the asking."""
        known = self._followed.get(key)
        if known is not None and pod is not None and known.pod.uid == pod.uid:
            if known.pod != pod:
                known.pod = pod
                known.news.set()
            return
        if known is not None:
            known.task.cancel()
            del self._followed[key]
        if pod is not None:
            news = asyncio.Event()
            self._followed[key] = _Followed(pod, asyncio.create_task(self._ask(key, pod, news)), news)

    def watch(self, key: Key, hosts: Mapping[str, str]) -> None:
        """The model's ready pods that have GPUs to tell of, with their addresses."""
        self.gpus.watch(key, hosts)

    def warned(self, key: Key) -> Mapping[str, GpuReport] | None:
        """What the model's GPUs say, by pod; None where not all of them have been heard."""
        return self.gpus.of(key)

    def progress(self, key: Key) -> Progress | None:
        """The pull or quantize pod's last answer."""
        answer = self._answer(key)
        return answer if isinstance(answer, Progress) else None

    def state(self, key: Key) -> RuntimeState | None:
        """The runtime pod's last answer."""
        answer = self._answer(key)
        return answer if isinstance(answer, RuntimeState) else None

    def _answer(self, key: Key) -> BaseModel | None:
        followed = self._followed.get(key)
        return followed.answer if followed else None

    async def _ask(self, key: Key, pod: Pod, news: asyncio.Event) -> None:
        path, shape = ("/state", RuntimeState) if pod.component == COMPONENT_RUNTIME else ("/progress", Progress)
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        url = f"http://{host}:{self._port}{path}"
        while True:
            news.clear()
            try:
                # never where the pod points to: it could have the operator call what only the operator reaches
                async with self._session.get(url, allow_redirects=False) as response:
                    body = await _whole(response)
                    answer: BaseModel | None = shape.model_validate_json(body) if response.status == 200 else None
            except (aiohttp.ClientError, TimeoutError, OSError, ValidationError, HostileError) as error:
                log.debug("%s: %s does not answer: %r", key, url, error)
                answer = None
            followed = self._followed.get(key)
            if followed is None or followed.pod.uid != pod.uid:
                return
            if answer is not None and answer != followed.answer:
                followed.answer = answer
                self._changed(key)
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), self._every)


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """The body, which must not be larger than anything a pod of ours says."""
    body = b""
    async for block in response.content.iter_any():
        body += block
        if len(body) > LARGEST_ANSWER:
            raise HostileError(f"more than {LARGEST_ANSWER} bytes")
    return body
