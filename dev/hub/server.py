"""The hub as a server: puts the parts together, in this process or as a thread of it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dev.hub import api
from dev.hub.faults import Fault, FaultError, Faults, Log
from dev.hub.handler import Hub, Request
from dev.hub.repos import RepoError, Repos

REPOS = re.compile(r"/_repos/([^/]+/[^/]+)(?:/([^/]+))?")


class Handler(Request):
    """The methods: control pages here, everything else to `api`."""

    def do_HEAD(self) -> None:  # noqa: N802
        api.answer(self)

    def do_GET(self) -> None:  # noqa: N802
        if self.route == "/_health":
            self.reply(200, {"ok": True})
        elif self.route == "/_log":
            self.reply(200, self.hub.log.entries())
        else:
            api.answer(self)

    def do_POST(self) -> None:  # noqa: N802
        body = self._read()
        if self.route != "/_faults":
            self.fail(404, "", "no such page")
            return
        try:
            faults = [Fault.parse(value) for value in json.loads(body or b"[]")]
        except (ValueError, TypeError, FaultError) as error:
            self.fail(400, "", str(error))
            return
        self.hub.faults.set(faults)
        self.reply(200, {"faults": len(faults)})

    def do_PUT(self) -> None:  # noqa: N802
        body = self._read()
        found = REPOS.fullmatch(self.route)
        if not found:
            self.fail(404, "", "no such page")
            return
        try:
            tree = self.hub.repos.publish(found[1], found[2] or "main", io.BytesIO(body))
        except RepoError as error:
            self.fail(400, "", str(error))
            return
        self.reply(201, {"commit": tree.commit, "files": len(tree.files)})

    def do_DELETE(self) -> None:  # noqa: N802
        found = REPOS.fullmatch(self.route)
        if self.route == "/_log":
            self.hub.log.clear()
            self.reply(200, {})
        elif found and self.hub.repos.forget(found[1]):
            self.reply(200, {})
        else:
            self.fail(404, "", "no such page")

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


class Server(ThreadingHTTPServer):
    """Threads per connection; closing it ends idle keep-alive connections too."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], hub: Hub) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, type("HubHandler", (Handler,), {"hub": hub}))

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left in the middle is no news; anything else is a mistake of the hub's and is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            left = list(self._open)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_port}"


def make_server(root: Path, scratch: Path, address: tuple[str, int], verbose: bool = False) -> Server:
    """A bound server, not yet serving. `scratch` takes what is published at run time."""
    return Server(address, Hub(Repos(root, scratch), Faults(), Log(), verbose))


@contextlib.contextmanager
def running(root: Path) -> Iterator[str]:
    """A hub in a thread, on a free loopback port; gives its URL."""
    with tempfile.TemporaryDirectory() as scratch:
        server = make_server(root, Path(scratch), ("127.0.0.1", 0))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
