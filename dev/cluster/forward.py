"""The forwarder: listens on the machine's loopback and connects inside the cluster's network namespace.

One process per cluster, started by `up`. It keeps a table of rules, loopback port to target, obeys a control socket
(`forwarding.py` is its client) and saves the table for the next start. The target of a rule is `address:port`, or
`namespace/service:port`, which is looked up at the API server whenever connections are made, so a Service may be
replaced under a running rule. Changing a rule leaves open connections alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.cluster import netns, probe
from dev.cluster.layout import API_PORT, Layout
from dev.cluster.relay import Accepted
from dev.cluster.resolve import Resolver, UnresolvedError

API_TARGET = f"127.0.0.1:{API_PORT}"
_BACKLOG = 4096
_CONNECT_SECONDS = 10.0

Bind = Callable[[int], socket.socket]


def bind_loopback(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes any free one."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


@dataclass
class _Rule:
    target: str
    server: asyncio.Server | None = None  # None: the port could not be had when the rule was restored
    open_sides: set[Accepted] = field(default_factory=set)


class Forwarder:
    """The table of rules and the listening sockets behind it."""

    def __init__(self, bind: Bind, resolver: Resolver, saved: Path) -> None:
        self._bind = bind
        self.resolver = resolver
        self._saved = saved
        self._rules: dict[int, _Rule] = {}

    async def restore(self, wanted_api_port: int = API_PORT) -> None:
        """Listens for every saved rule, and for the API server on the saved, the wanted or any free port."""
        table: dict[str, str] = json.loads(self._saved.read_text()) if self._saved.exists() else {}
        before = [int(port) for port, target in table.items() if target == API_TARGET]
        for text, target in table.items():
            if target != API_TARGET:
                self._rules[int(text)] = rule = _Rule(target)
                with contextlib.suppress(OSError):
                    rule.server = await self._listen(int(text), rule)
        for port in (*before, wanted_api_port, 0):
            with contextlib.suppress(OSError):
                await self.set(port, API_TARGET)
                return

    async def set(self, port: int, target: str) -> int:
        """Adds or redirects a rule and returns its port; `OSError` when somebody else has the port."""
        rule = self._rules.get(port) or _Rule(target)
        self._keep_api(rule, target)
        if rule.server is None:
            rule.server = await self._listen(port, rule)
            port = rule.server.sockets[0].getsockname()[1]
        rule.target = target
        self._rules[port] = rule
        self._save()
        return port

    async def remove(self, port: int) -> None:
        """Stops listening; connections that are open stay until they end."""
        rule = self._rules.get(port)
        if rule is None:
            return
        self._keep_api(rule, None)
        del self._rules[port]
        if rule.server:
            rule.server.close()
        self._save()

    def close(self) -> None:
        """Stops listening everywhere; the saved table stays."""
        for rule in self._rules.values():
            if rule.server:
                rule.server.close()

    def table(self) -> list[dict[str, Any]]:
        """Every rule: port, target, whether it listens, open connections, last known address."""
        return [
            {
                "port": port,
                "target": rule.target,
                "listening": rule.server is not None,
                "open": len(rule.open_sides),
                "address": self.resolver.known(rule.target),
            }
            for port, rule in sorted(self._rules.items())
        ]

    async def _listen(self, port: int, rule: _Rule) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        listener = self._bind(port)

        def accepted() -> Accepted:
            return Accepted(lambda: self._dial(rule), rule.open_sides)

        return await loop.create_server(accepted, sock=listener, backlog=_BACKLOG)

    async def _dial(self, rule: _Rule) -> socket.socket:
        address = await self.resolver.address(rule.target)
        try:
            return await connect(address)
        except OSError:
            fresh = await self.resolver.renew(rule.target)
            if fresh == address:
                raise
            return await connect(fresh)

    def _keep_api(self, rule: _Rule, target: str | None) -> None:
        if rule.target == API_TARGET and target != API_TARGET:
            raise ValueError("this port leads to the API server, which kubectl needs: choose another port")

    def _save(self) -> None:
        scratch = self._saved.with_name(f".{self._saved.name}.new")
        scratch.write_text(json.dumps({str(port): rule.target for port, rule in self._rules.items()}, indent=1))
        scratch.rename(self._saved)


async def connect(address: tuple[str, int]) -> socket.socket:
    """A connected socket made in the calling thread's namespace; `OSError` (also for a time-out) when it fails."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


def check_target(target: str) -> str:
    """Returns the target, or raises `ValueError` naming the two forms it may have."""
    host, _, port = target.rpartition(":")
    with contextlib.suppress(ValueError):
        if host.count("/") == 1 and all(host.split("/")) and port:
            return target
        ipaddress.ip_address(host)
        if 0 < int(port) < 65536:
            return target
    raise ValueError(f"{target!r} is no target: give namespace/service:port or address:port")


async def _serve_control(forwarder: Forwarder, path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            reply: dict[str, Any] = {"ok": True, **await _obey(forwarder, json.loads(await reader.readline()))}
        except (OSError, ValueError, KeyError, UnresolvedError) as error:
            reply = {"ok": False, "error": str(error)}
        writer.write(json.dumps(reply).encode() + b"\n")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    # Removes a stale socket by itself; the folder above lets only root in.
    server = await asyncio.start_unix_server(answer, path)
    async with server:
        await server.serve_forever()


async def _obey(forwarder: Forwarder, order: dict[str, Any]) -> dict[str, Any]:
    if order["do"] == "set":
        await forwarder.set(int(order["port"]), check_target(order["target"]))
    elif order["do"] == "remove":
        await forwarder.remove(int(order["port"]))
    elif order["do"] == "resolve":
        await forwarder.resolver.renew(check_target(order["target"]))
    return {"rules": forwarder.table()}


async def _main(layout: Layout) -> None:
    home = netns.open_own()
    cluster = os.open(layout.network, os.O_RDONLY | os.O_CLOEXEC)

    def bind(port: int) -> socket.socket:
        # No await in between, so nothing else of this thread ever runs in the wrong namespace.
        netns.enter(home)
        try:
            return bind_loopback(port)
        finally:
            netns.enter(cluster)

    netns.enter(cluster)
    resolver = Resolver(probe.Api(f"https://{API_TARGET}", layout.pki).json)
    forwarder = Forwarder(bind, resolver, layout.forwards)
    await forwarder.restore()
    control = asyncio.ensure_future(_serve_control(forwarder, layout.forward_socket))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, control.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await control
    forwarder.close()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_main(Layout(state=Path(sys.argv[1]), run=Path(sys.argv[2]))))
