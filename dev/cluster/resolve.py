"""Turns a forwarding target into an address: literally, or through a Service's ClusterIP. Opens no sockets itself."""

from __future__ import annotations

import asyncio
import time
import urllib.error
from collections.abc import Callable
from typing import Any

_FRESH_SECONDS = 2.0
Address = tuple[str, int]
Read = Callable[[str], Any]
"""Reads one API path and returns the decoded object; raises `OSError`."""


class UnresolvedError(ConnectionError):
    """The target's Service cannot be dialled now; the message says why."""


class Resolver:
    """Remembers addresses: a known one is used at once and renewed behind the caller's back when it is old."""

    def __init__(self, read: Read, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._known: dict[str, tuple[Address, float]] = {}
        self._renewing: dict[str, asyncio.Task[Address]] = {}

    def known(self, target: str) -> str | None:
        """The last address of a target as text, without asking anybody."""
        literal = "/" not in target
        entry = self._known.get(target)
        if literal:
            return target
        return f"{entry[0][0]}:{entry[0][1]}" if entry else None

    async def address(self, target: str) -> Address:
        """The address to dial now; `UnresolvedError` when there is none."""
        if "/" not in target:
            host, port = target.rsplit(":", 1)
            return host, int(port)
        entry = self._known.get(target)
        if entry is None:
            return await self.renew(target)
        if self._clock() - entry[1] > _FRESH_SECONDS:
            self._start(target)
        return entry[0]

    async def renew(self, target: str) -> Address:
        """Asks the API server, together with everybody else who asks for the same target meanwhile."""
        if "/" not in target:
            return await self.address(target)
        return await asyncio.shield(self._start(target))

    def _start(self, target: str) -> asyncio.Task[Address]:
        task = self._renewing.get(target)
        if task is None:
            self._renewing[target] = task = asyncio.get_running_loop().create_task(self._ask(target))
            task.add_done_callback(lambda done: self._finished(target, done))
        return task

    def _finished(self, target: str, done: asyncio.Task[Address]) -> None:
        self._renewing.pop(target, None)
        if not done.cancelled() and done.exception() is None:
            self._known[target] = (done.result(), self._clock())

    async def _ask(self, target: str) -> Address:
        where, port = target.rsplit(":", 1)
        namespace, name = where.split("/")
        path = f"/api/v1/namespaces/{namespace}/services/{name}"
        try:
            service = await asyncio.to_thread(self._read, path)
        except urllib.error.HTTPError as error:
            error.close()
            raise UnresolvedError(f"service {where}: the API server says {error.code} {error.reason}") from None
        except OSError as error:
            raise UnresolvedError(f"service {where}: the API server does not answer ({error})") from None
        return cluster_address(service, where, port)


def cluster_address(service: dict[str, Any], where: str, port: str) -> Address:
    """The ClusterIP and number of a Service's port, given by number or name."""
    address = service["spec"].get("clusterIP")
    if not address or address == "None":
        raise UnresolvedError(f"service {where} is headless and has no address of its own: forward to another one")
    numbers = {str(entry["port"]): entry["port"] for entry in service["spec"].get("ports", [])}
    numbers |= {entry["name"]: entry["port"] for entry in service["spec"].get("ports", []) if "name" in entry}
    if port not in numbers:
        raise UnresolvedError(f"service {where} has no port {port}; it has: {', '.join(sorted(numbers))}")
    return address, numbers[port]
