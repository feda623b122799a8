"""The way to the API server: one session of the client library's, with its TLS and credentials.

Past the library's generated methods, which cost as much as everything below them. Knows no kinds and judges no answer.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import aiohttp
import msgspec
from kubernetes.aio import client, config

from dormouse_operator.answers import silence
from dormouse_operator.fence import Fence

Object = dict[str, Any]

JSON = "application/json"
NONE: Mapping[str, str] = MappingProxyType({})
TIMEOUT = aiohttp.ClientTimeout(total=20, sock_connect=5)
QUIET_SECONDS = 150.0
"""Bookmarks come every minute: a stream on which nothing comes for so long is dead."""
STREAMING = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=QUIET_SECONDS)
AGENT = "dormouse-operator"
WATCHER = "dormouse-watch"
"""User agents of calls and of watches: whoever reads an audit log can tell them apart."""


class Wire:
    """One per client."""

    def __init__(self, fence: Fence | None) -> None:
        """`fence`: asked once more when a write's connection is there."""
        self._fence = fence
        self._api: Any = None

    async def open(self) -> None:
        """Read the kubeconfig, or what the pod has, and be ready."""
        # the library keeps configurations in a process-wide default unless one is made this way
        configuration = type.__call__(client.Configuration)
        if "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(client_configuration=configuration)
        if self._fence is not None:
            configuration.trace_configs = [self._fence.tracing()]
        configuration.connection_pool_maxsize = 0  # callers bound their calls; streams take no place of theirs
        # a proxy of the environment knows nothing of the cluster; and each call would read ~/.netrc, in a thread
        configuration.client_session_kwargs = {"trust_env": False}
        self._api = client.ApiClient(configuration)

    async def close(self) -> None:
        """Every connection."""
        await self._api.close()

    async def ask(
        self,
        method: str,
        url: str,
        body: Object | bytes | None = None,
        headers: Mapping[str, str] = NONE,
        timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> tuple[int, Object]:
        """Status and decoded answer of one try; Silence when there is none."""
        try:
            response = await self._send(method, url, {"User-Agent": AGENT} | dict(headers), body, timeout)
            return response.status, decoded(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise silence(error) from error

    @asynccontextmanager
    async def stream(self, url: str, accept: str) -> AsyncIterator[tuple[int, AsyncIterator[Object]]]:
        """Status and decoded lines of an answer without an end; Silence when it breaks off."""
        headers = {"User-Agent": WATCHER, "Accept": accept}
        try:
            response = await self._send("GET", url, headers, None, STREAMING)
            async with response.response as answer:
                yield response.status, _lines(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise silence(error) from error

    async def _send(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Object | bytes | None,
        timeout: aiohttp.ClientTimeout,
    ) -> Any:
        # what is packed and unpacked costs both sides more than it saves the wire
        headers = {"Accept": JSON, "Content-Type": JSON, "Accept-Encoding": "identity"} | headers
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], url, method, None)
        return await self._api.rest_client.request(
            method, self._api.configuration.host + url, headers=headers, body=body, _request_timeout=timeout
        )


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[Object]:
    async for line in answer.content:
        yield decoded(line)


def decoded(raw: bytes) -> Object:
    """An answer; what is no JSON as a message."""
    try:
        found: Object = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"message": raw[:300].decode(errors="replace")}
    return found
