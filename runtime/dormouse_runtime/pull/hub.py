"""The only module that talks to the model hub: commits, listings, small files, streams from an offset.

Every error that leaves it is a PullError. It never retries: whoever asks knows how patient to be.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    NotASafetensorsRepoError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RevisionNotFoundError,
    SafetensorsParsingError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from dormouse_api import __version__
from dormouse_api.conditions import Reason
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.selection import RemoteFile
from dormouse_runtime.pull.settings import Settings
from dormouse_runtime.quantize.layout import Tensor

CONNECT_SECONDS = 10.0
SMALL_FILE = 32 << 20  # bytes; a tokenizer.json may have 20 MB
LIBRARY = "dormouse"


class Hub:
    """One repository on one hub, with one pool of connections. Safe to use from several threads."""

    def __init__(self, settings: Settings, read_seconds: float) -> None:
        """`read_seconds` without a byte end a request as Stalled."""
        self._settings = settings
        self._headers = build_hf_headers(token=settings.token or False, library_name=LIBRARY)
        timeout = httpx2.Timeout(read_seconds, connect=min(CONNECT_SECONDS, read_seconds))
        self._client = httpx2.Client(follow_redirects=True, timeout=timeout)
        self._api = HfApi(endpoint=settings.endpoint, token=settings.token or False)
        self._read_seconds = read_seconds

    def close(self) -> None:
        self._client.close()

    def resolve(self, revision: str) -> str:
        """The commit a branch, tag or commit stands for now."""
        url = f"{self._settings.endpoint}/api/models/{self._settings.repo}/revision/{quote(revision, safe='')}"
        with self._answer(url) as answer:
            commit = _parsed(answer, dict).get("sha")
        if not isinstance(commit, str) or not commit.isalnum():
            raise PullError(
                Reason.NETWORK, f"{self._settings.endpoint} named no commit of {revision}: check hub.endpoint"
            )
        return commit

    def files(self, commit: str) -> list[RemoteFile]:
        """All files of the commit, over all pages of the listing."""
        url = f"{self._settings.endpoint}/api/models/{self._settings.repo}/tree/{commit}?recursive=true"
        found: list[RemoteFile] = []
        while url:
            with self._answer(url) as answer:
                found += [_remote_file(entry) for entry in _parsed(answer, list) if entry.get("type") == "file"]
                url = answer.links.get("next", {}).get("url", "")
        return found

    def read(self, commit: str, path: str) -> bytes:
        """A small file, whole."""
        with self.stream(commit, path) as (_, blocks):
            content = b""
            for block in blocks:
                content += block
                if len(content) > SMALL_FILE:
                    raise PullError(
                        Reason.UNSUPPORTED, f"{path} is larger than {SMALL_FILE} bytes: not a model's {path}"
                    )
        return content

    @contextlib.contextmanager
    def stream(self, commit: str, path: str, start: int = 0) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The file from byte `start` on: the offset the hub really starts at (0 when it ignores ranges), and blocks."""
        url = hf_hub_url(self._settings.repo, path, revision=commit, endpoint=self._settings.endpoint)
        # Compressed on the way, a file has other offsets than the ones that are asked for.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with self._answer(url, headers) as answer:
            yield (start if answer.status_code == httpx2.codes.PARTIAL_CONTENT else 0), answer.iter_bytes()

    def tensors(self, commit: str, path: str) -> list[Tensor]:
        """Name, dtype and shape of each tensor, from the head of a safetensors file."""
        with self._translated():
            try:
                head = self._api.parse_safetensors_file_metadata(
                    self._settings.repo, path, revision=commit, timeout=self._read_seconds
                )
            except (SafetensorsParsingError, NotASafetensorsRepoError) as error:
                raise PullError(
                    Reason.UNSUPPORTED, f"{path} is no safetensors file: choose another revision"
                ) from error
        return [Tensor(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in head.tensors.items()]

    @contextlib.contextmanager
    def _answer(self, url: str, headers: dict[str, str] | None = None) -> Iterator[httpx2.Response]:
        if urlsplit(url).netloc != urlsplit(self._settings.endpoint).netloc:
            raise PullError(
                Reason.NETWORK, f"the hub points to another host ({urlsplit(url).netloc}): check hub.endpoint"
            )
        with (
            self._translated(),
            # The client drops the token by itself when a redirect leads to another origin, such as a CDN.
            self._client.stream("GET", url, headers={**self._headers, **(headers or {})}) as answer,
        ):
            if answer.is_error:
                answer.read()
            hf_raise_for_status(answer)
            yield answer

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except HfHubHTTPError as error:
            raise self._refused(error) from error
        except httpx2.ReadTimeout as error:
            raise PullError(
                Reason.STALLED, f"{self._settings.endpoint} sent nothing for {self._read_seconds:g} s"
            ) from error
        except HFValidationError as error:
            raise PullError(Reason.NOT_FOUND, f"the hub allows no such name: {error}") from error
        except (httpx2.HTTPError, OfflineModeIsEnabled) as error:
            words = str(error) or type(error).__name__
            raise PullError(
                Reason.NETWORK,
                f"no good answer from {self._settings.endpoint} ({words}): check that the pod can reach it, "
                "or set the chart's hub.endpoint to a mirror",
            ) from error

    def _refused(self, error: HfHubHTTPError) -> PullError:
        """What the hub's refusal means for the model's owner."""
        status, code = error.response.status_code, error.response.headers.get("X-Error-Code", "")
        repo, revision = self._settings.repo, self._settings.commit or self._settings.revision
        with_token = "spec.source.tokenSecretRef" + (
            " to a token whose account may read it" if self._settings.token else " to a Secret with your hub token"
        )
        if isinstance(error, GatedRepoError) or status == httpx2.codes.FORBIDDEN:
            return PullError(Reason.GATED, f"{repo} is gated: accept its terms on the hub and set {with_token}")
        if isinstance(error, RevisionNotFoundError):
            return PullError(
                Reason.NOT_FOUND, f"{repo} has no revision {revision!r}: set spec.source.revision to one it has"
            )
        if isinstance(error, RemoteEntryNotFoundError):
            return PullError(
                Reason.NOT_FOUND, f"a file of {repo} is gone from the hub: {urlsplit(str(error.request.url)).path}"
            )
        if status == httpx2.codes.NOT_FOUND or code == "RepoNotFound":
            return PullError(
                Reason.NOT_FOUND,
                f"{repo} does not exist on {self._settings.endpoint}, or is private: check spec.source.uri, "
                f"or set {with_token}",
            )
        if status == httpx2.codes.UNAUTHORIZED:
            return PullError(
                Reason.UNAUTHORIZED, f"the hub refused the token for {repo} (401): set {with_token} that is still valid"
            )
        if status == httpx2.codes.TOO_MANY_REQUESTS:
            wait = _seconds(error.response.headers.get("Retry-After"))
            return PullError(
                Reason.RATE_LIMITED,
                "the hub is answering too many requests (429); it is asked again"
                + (f" in {wait:g} s" if wait else " later")
                + "; a token in spec.source.tokenSecretRef raises the limit",
                wait,
            )
        return PullError(
            Reason.NETWORK,
            f"{self._settings.endpoint} answered {status}: it is asked again; if it stays, check the hub",
        )


def tool_versions() -> dict[str, str]:
    """Versions of what makes a model folder, for its marker."""
    return {"dormouse": __version__, "huggingface_hub": version("huggingface_hub")}


def _parsed(answer: httpx2.Response, shape: type) -> Any:
    """The answer's JSON, which must be a list or dict as the hub's own is."""
    answer.read()
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, shape):
        raise PullError(Reason.NETWORK, f"{answer.url.host} does not answer as a model hub does: check hub.endpoint")
    return found


def _remote_file(entry: dict[str, Any]) -> RemoteFile:
    lfs = entry.get("lfs")
    if lfs:
        return RemoteFile(entry["path"], lfs["size"], sha256=lfs["oid"])
    return RemoteFile(entry["path"], entry["size"], git_sha1=entry["oid"])


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdigit() else None
