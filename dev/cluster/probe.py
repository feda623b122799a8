"""Asking whether something is ready, and waiting for it with a deadline. Knows URLs and certificates, no components."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.cluster.layout import ClusterError
from dev.cluster.processes import Processes

_REQUEST_SECONDS = 3.0
_POLL_SECONDS = 0.05


def get(url: str, context: ssl.SSLContext | None = None) -> bytes:
    """The body behind a URL; raises `OSError` for anything but a success. Proxy settings are ignored."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    with urllib.request.build_opener(*handlers).open(url, timeout=_REQUEST_SECONDS) as answer:
        body: bytes = answer.read()
    return body


def unverified(url: str) -> bytes:
    """Like `get`, for loopback health ports with certificates of their own making."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return get(url, context)


@dataclass(frozen=True)
class Api:
    """Reads from the API server as the administrator."""

    url: str
    pki: Path

    def raw(self, path: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.load_cert_chain(self.pki / "admin.crt", self.pki / "admin.key")
        return get(self.url + path, context)

    def json(self, path: str) -> Any:
        return json.loads(self.raw(path))


@dataclass(frozen=True)
class Waiter:
    """Waits for conditions of one cluster and explains with a log when one does not come true."""

    processes: Processes

    def until(self, what: str, condition: Callable[[], object], *, of: str, seconds: float = 90.0) -> None:
        """Returns once `condition` is truthy; `OSError` in it means not yet. `of` names the process to blame."""
        deadline = time.monotonic() + seconds
        last: object = "no answer"
        while True:
            try:
                if condition():
                    return
            except urllib.error.HTTPError as error:
                last = f"HTTP {error.code}"
                error.close()
            except (OSError, KeyError, ValueError) as error:
                last = error
            if not self.processes.alive(of):
                raise ClusterError(f"{of} died before {what}; the end of its log:\n{self.processes.tail(of)}")
            if time.monotonic() > deadline:
                log = self.processes.tail(of)
                raise ClusterError(f"no {what} within {seconds:.0f} s (last: {last}); the end of {of}'s log:\n{log}")
            time.sleep(_POLL_SECONDS)
