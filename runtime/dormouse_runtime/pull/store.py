"""s3:// sources, and the only module that talks to object storage.

A prefix of a bucket has no commits, so the digest of its listing is one, and every read says which ETag it means: what
was replaced meanwhile is refused by the store (412), never mixed with what came before.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from dormouse_api import __version__
from dormouse_api.conditions import Reason
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.refusals import Place, refusal
from dormouse_runtime.pull.selection import RemoteFile, select
from dormouse_runtime.pull.settings import Settings
from dormouse_runtime.pull.source import SMALL_FILE, first, pinned

if TYPE_CHECKING:  # stubs only
    from obstore.store import ClientConfig, S3Config

CONNECT_SECONDS = 10.0
LONGEST_REQUEST = timedelta(days=1)  # a stalled one ends by its silence, a long one is no fault
MOST_OBJECTS = 10_000
BLOCK = 256 << 10
MD5 = re.compile(r'"([0-9a-f]{32})"')
IDENTITY = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
"""What a cluster puts into a pod that has an identity of its own at the store's provider."""

T = TypeVar("T")


class Store:
    """One prefix of one bucket."""

    def __init__(self, settings: Settings, read_seconds: float) -> None:
        """`read_seconds` without a byte end a request as Stalled."""
        bucket, _, self._prefix = settings.place.partition("/")
        given = settings.credentials
        self._place = Place(
            uri=settings.source,
            bucket=bucket,
            endpoint=(given and given.endpoint) or os.environ.get("AWS_ENDPOINT_URL") or "the public S3 endpoint",
            read_seconds=read_seconds,
            signed=bool(given and given.access_key_id) or any(os.environ.get(name) for name in IDENTITY),
        )
        client: ClientConfig = {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, read_seconds)),
            "read_timeout": timedelta(seconds=read_seconds),
            "timeout": LONGEST_REQUEST,
        }
        if settings.ca_certificates:
            client["root_certificate"] = settings.ca_certificates
        config = _config(settings, signed=self._place.signed)
        self._store = self._asked(
            lambda: S3Store(bucket, config=config, client_options=client, retry_config={"max_retries": 0})
        )
        self._known: tuple[str, list[RemoteFile]] | None = None

    @property
    def remedy(self) -> str:
        return "put the file into the bucket again"

    @property
    def tools(self) -> dict[str, str]:
        return {"dormouse": __version__, "obstore": obstore.__version__}

    def close(self) -> None:
        """Connections end with the process."""

    def resolve(self, revision: str) -> str:
        """The digest of the listing. A revision that is such a digest is that state or none; any other word is now."""
        files = self._listing()
        commit = pinned(self._place.uri, revision, files)
        self._known = commit, files
        return commit

    def files(self, commit: str) -> list[RemoteFile]:
        if self._known is None or self._known[0] != commit:
            self.resolve(commit)
        assert self._known is not None  # noqa: S101 - for the type checker
        return self._checkable(commit, self._known[1])

    @contextlib.contextmanager
    def stream(
        self, commit: str, file: RemoteFile, start: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        found = self._asked(
            lambda: obstore.get(
                self._store,
                f"{self._prefix}/{file.path}",
                options={"if_match": file.version, "range": (start, end if end is not None else file.size)},
            ),
            file.path,
        )
        yield found.range[0], self._blocks(iter(found.stream(min_chunk_size=BLOCK)), file.path)

    def _blocks(self, blocks: Iterator[Any], path: str) -> Iterator[bytes]:
        while (block := self._asked(lambda: next(blocks, None), path)) is not None:
            yield memoryview(block).tobytes()

    def _listing(self) -> list[RemoteFile]:
        found: list[RemoteFile] = []
        listed = self._asked(lambda: iter(obstore.list(self._store, prefix=self._prefix)))
        while (batch := self._asked(lambda: next(listed, None))) is not None:
            found += [_remote_file(meta, self._prefix) for meta in batch]
            if len(found) > MOST_OBJECTS:
                raise PullError(
                    Reason.UNSUPPORTED,
                    f"{self._place.uri} holds more than {MOST_OBJECTS} objects: name the folder of one model",
                )
        if not found:
            raise PullError(
                Reason.NOT_FOUND,
                f"there is nothing under {self._place.uri} at {self._place.endpoint}: put the model's files there, or "
                "create the InferenceModel with another source.uri",
            )
        return select(found)

    def _checkable(self, commit: str, files: list[RemoteFile]) -> list[RemoteFile]:
        """The files, with the md5 of those whose ETag is one. Where the store encrypts with keys of its own (KMS) they
        look alike and are none, so one small file is read and asked first."""
        candidates = [file for file in files if 0 < file.size <= SMALL_FILE and file.md5]
        if candidates:
            smallest = min(candidates, key=lambda file: file.size)
            content = first(self, commit, smallest, smallest.size)
            if hashlib.md5(content, usedforsecurity=False).hexdigest() == smallest.md5:
                return files
        return [RemoteFile(file.path, file.size, version=file.version) for file in files]

    def _asked(self, call: Callable[[], T], path: str = "") -> T:
        try:
            return call()
        except (BaseError, FileNotFoundError) as error:
            raise refusal(str(error), self._place, path) from error


def _config(settings: Settings, *, signed: bool) -> S3Config:
    """Without credentials and identity requests go out unsigned: what a node may read is not for its pods' models."""
    config: S3Config = {}
    given = settings.credentials
    if not signed:
        config["skip_signature"] = True
    if given is None:
        return config
    if given.access_key_id:
        config["access_key_id"] = given.access_key_id
        config["secret_access_key"] = given.secret_access_key
    if given.session_token:
        config["session_token"] = given.session_token
    if given.endpoint:
        config["endpoint"] = given.endpoint.rstrip("/")
    if given.region:
        config["region"] = given.region
    return config


def _remote_file(meta: Any, prefix: str) -> RemoteFile:
    tag = meta["e_tag"] or ""
    md5 = MD5.fullmatch(tag)
    path = str(meta["path"]).removeprefix(f"{prefix}/")
    return RemoteFile(path, meta["size"], md5=md5[1] if md5 else None, version=tag)
