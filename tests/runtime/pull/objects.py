"""A real object store behind a proxy that breaks what it is told to: the puller sees one endpoint.

The proxy passes heads on as they are, so that signatures (over the Host header, too) are checked by the store.
"""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store

from dev.hub.faults import Entry, Fault, Faults, Log
from dev.objectstore import BUCKET, REGION, Keys
from tests.runtime.pull.threaded import answering, listening

CHUNK = 64 << 10
ERROR = "<Error><Code>{code}</Code><Message>as ordered</Message></Error>"
HOP = frozenset({"connection", "transfer-encoding", "keep-alive"})


@dataclass
class Objects:
    """One model's prefix in the bucket, and the endpoint to reach it by."""

    url: str
    keys: Keys
    prefix: str
    faults: Faults
    log: Log
    _store: S3Store = field(init=False)

    def __post_init__(self) -> None:
        self._store = S3Store(
            BUCKET,
            config={
                "endpoint": f"http://127.0.0.1:{self.keys.port}",
                "region": REGION,
                "access_key_id": self.keys.access_key_id,
                "secret_access_key": self.keys.secret_access_key,
            },
            client_options={"allow_http": True},
        )

    @property
    def uri(self) -> str:
        return f"s3://{BUCKET}/{self.prefix}"

    def put(self, files: Mapping[str, bytes], *, parts: bool = False) -> None:
        """Store the files under the prefix; `parts`: as a multipart upload, whose ETag is no hash."""
        for path, content in files.items():
            more: dict[str, Any] = {"use_multipart": True, "chunk_size": 5 << 20} if parts else {"use_multipart": False}
            obstore.put(self._store, f"{self.prefix}/{path}", content, **more)

    def remove(self, path: str) -> None:
        obstore.delete(self._store, f"{self.prefix}/{path}")

    def secret(self, folder: Path, **more: str) -> Path:
        """The Secret's keys as files, as the kubelet lays them out."""
        folder.mkdir(exist_ok=True)
        values = {
            "accessKeyId": self.keys.access_key_id,
            "secretAccessKey": self.keys.secret_access_key,
            "endpoint": self.url,
        }
        for name, value in (values | more).items():
            (folder / name).write_text(value)
        return folder

    def order(self, *faults: Mapping[str, Any]) -> None:
        self.faults.set([Fault.parse(fault) for fault in faults])

    def sent(self, path: str) -> list[dict[str, Any]]:
        """Entries of the GETs of one object."""
        return [entry for entry in self.log.entries() if entry["path"].endswith(f"/{self.prefix}/{path}")]


@contextlib.contextmanager
def behind_proxy(keys: Keys, prefix: str) -> Iterator[Objects]:
    """The store at a port of its own that obeys faults."""
    with listening() as server:
        there = Objects(f"http://127.0.0.1:{server.server_port}", keys, prefix, Faults(), Log())
        with answering(server, type("Proxy", (_Handler,), {"there": there})):
            yield there


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    there: Objects

    def do_GET(self) -> None:
        fault = self.there.faults.take(self.command, self.path) or Fault("none")
        entry = Entry(self.command, self.path, self.headers.get("Range"), "Authorization" in self.headers, fault.status)
        self.there.log.add(entry)
        if fault.kind == "status":
            self._refuse(fault)
            return
        asked = http.client.HTTPConnection("127.0.0.1", self.there.keys.port, timeout=30)
        with contextlib.closing(asked):
            asked.putrequest("GET", self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                asked.putheader(name, value)
            asked.endheaders()
            answer = asked.getresponse()
            body = answer.read()
            entry.status = answer.status
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP | {"content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self._send(body, fault, entry)

    def _refuse(self, fault: Fault) -> None:
        body = ERROR.format(code=fault.code).encode() if fault.code else b""
        self.send_response(fault.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, body: bytes, fault: Fault, entry: Entry) -> None:
        """The body with the fault worked in; `after` counts from the start of this answer."""
        if fault.kind == "corrupt":
            body = body[: fault.after] + bytes([body[fault.after] ^ 0xFF]) + body[fault.after + 1 :]
        with contextlib.suppress(OSError):  # the puller left, or was killed
            while entry.sent < len(body):
                if fault.kind in ("cut", "stall") and entry.sent >= fault.after:
                    if fault.kind == "cut":
                        self.close_connection = True
                        return
                    time.sleep(fault.seconds)
                    fault = Fault("none")
                until = fault.after if fault.kind in ("cut", "stall") else len(body)
                block = body[entry.sent : min(entry.sent + CHUNK, until)]
                entry.sent += len(block)
                self.wfile.write(block)
                if fault.kind == "slow":
                    time.sleep(len(block) / fault.rate)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Not wanted."""
