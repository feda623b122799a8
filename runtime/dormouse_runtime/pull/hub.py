"""hf:// sources, and the only module that talks to the model hub: commits, listings, streams of bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from huggingface_hub import hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    build_hf_headers,
    hf_raise_for_status,
    parse_ratelimit_headers,
)

from dormouse_api import __version__
from dormouse_api.conditions import Reason
from dormouse_runtime.pull.authorities import trust
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.selection import RemoteFile
from dormouse_runtime.pull.settings import DEFAULT_ENDPOINT, Settings
from dormouse_runtime.pull.trust import is_hash, is_size

CONNECT_SECONDS = 10.0
LIBRARY = "dormouse"
MOST_DIGITS = 9  # of a Retry-After


class Hub:
    """One repository on one hub, with one pool of connections. Safe to use from several threads."""

    def __init__(self, settings: Settings, read_seconds: float) -> None:
        """`read_seconds` without a byte end a request as Stalled."""
        self._settings = settings
        self._headers = build_hf_headers(token=settings.token or False, library_name=LIBRARY)
        timeout = httpx2.Timeout(read_seconds, connect=min(CONNECT_SECONDS, read_seconds))
        verify = trust(settings.ca_certificates)
        self._client = httpx2.Client(follow_redirects=True, timeout=timeout, verify=verify)
        self._read_seconds, self._repo = read_seconds, settings.place

    @property
    def remedy(self) -> str:
        return "if the hub is a mirror, clear its cache; else report it to the repository's owner"

    @property
    def tools(self) -> dict[str, str]:
        return {"dormouse": __version__, "huggingface_hub": version("huggingface_hub")}

    @property
    def _where(self) -> str:
        """The hub, or the mirror by its address: its owner is somebody else."""
        return "the hub" if self._settings.endpoint == DEFAULT_ENDPOINT else self._settings.endpoint

    def close(self) -> None:
        self._client.close()

    def resolve(self, revision: str) -> str:
        """The commit a branch, tag or commit stands for now."""
        url = f"{self._settings.endpoint}/api/models/{self._repo}/revision/{quote(revision, safe='')}"
        with self._answer(url) as answer:
            commit = _parsed(answer, dict).get("sha")
        if not isinstance(commit, str) or not is_hash(commit):
            raise PullError(
                Reason.NETWORK, f"{self._settings.endpoint} named no commit of {revision}: check hub.endpoint"
            )
        return commit

    def files(self, commit: str) -> list[RemoteFile]:
        """All files of the commit, over all pages of the listing."""
        url = f"{self._settings.endpoint}/api/models/{self._repo}/tree/{commit}"
        query, found = "recursive=true", list[RemoteFile]()
        while query:
            with self._answer(f"{url}?{query}") as answer:
                found += [_remote_file(entry, answer) for entry in _parsed(answer, list) if _is_file(entry)]
                # of the next page only the query: a mirror passes on the address of the hub behind it
                query = urlsplit(answer.links.get("next", {}).get("url", "")).query
        return found

    @contextlib.contextmanager
    def stream(
        self, commit: str, file: RemoteFile, start: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        url = hf_hub_url(self._repo, file.path, revision=commit, endpoint=self._settings.endpoint)
        # Compressed on the way, a file has other offsets than the ones that are asked for.
        headers = {"Accept-Encoding": "identity"}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        with self._answer(url, headers) as answer:
            yield (start if answer.status_code == httpx2.codes.PARTIAL_CONTENT else 0), answer.iter_bytes()

    @contextlib.contextmanager
    def _answer(self, url: str, headers: dict[str, str] | None = None) -> Iterator[httpx2.Response]:
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
            untrusted = "set the chart's caCertificates to the authority's of that certificate"
            unreachable = "check that the pod can reach it, or set the chart's hub.endpoint to a mirror"
            remedy = untrusted if "CERTIFICATE_VERIFY_FAILED" in words else unreachable
            raise PullError(
                Reason.NETWORK,
                f"no good answer from {self._settings.endpoint} ({words}): {remedy}",
            ) from error

    def _refused(self, error: HfHubHTTPError) -> PullError:
        """What the hub's refusal means for the model's owner."""
        status, code = error.response.status_code, error.response.headers.get("X-Error-Code", "")
        repo, revision = self._repo, self._settings.commit or self._settings.revision
        with_token = "spec.source.tokenSecretRef" + (
            " to a token whose account may read it" if self._settings.token else " to a Secret with your hub token"
        )
        if isinstance(error, GatedRepoError) or status == httpx2.codes.FORBIDDEN:
            return PullError(Reason.GATED, f"{repo} is gated: accept its terms on {self._where} and set {with_token}")
        if isinstance(error, RevisionNotFoundError):
            return PullError(
                Reason.NOT_FOUND, f"{repo} has no revision {revision!r}: set spec.source.revision to one it has"
            )
        if isinstance(error, RemoteEntryNotFoundError):
            return PullError(
                Reason.NOT_FOUND,
                f"a file of {repo} is gone from {self._where}: {urlsplit(str(error.request.url)).path}",
            )
        if status == httpx2.codes.NOT_FOUND or code == "RepoNotFound":
            return PullError(
                Reason.NOT_FOUND,
                f"{repo} does not exist on {self._settings.endpoint}, or is private: check spec.source.uri, "
                f"or set {with_token}",
            )
        if status == httpx2.codes.UNAUTHORIZED:
            return PullError(
                Reason.UNAUTHORIZED,
                f"{self._where} refused the token for {repo} (401): set {with_token} that is still valid",
            )
        if status == httpx2.codes.TOO_MANY_REQUESTS:
            wait = _wait(error.response.headers)
            return PullError(
                Reason.RATE_LIMITED,
                f"{self._where} is answering too many requests (429); it is asked again"
                + (f" in {wait:g} s" if wait else " later")
                + "; a token in spec.source.tokenSecretRef raises the limit",
                wait,
            )
        return PullError(
            Reason.NETWORK,
            f"{self._settings.endpoint} answered {status}: it is asked again; if it stays, check the hub",
        )


def _parsed(answer: httpx2.Response, shape: type) -> Any:
    """The answer's JSON, which must be a list or dict as the hub's own is."""
    answer.read()
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, shape):
        raise _no_hub(answer)
    return found


def _no_hub(answer: httpx2.Response) -> PullError:
    return PullError(Reason.NETWORK, f"{answer.url.host} does not answer as a model hub does: check hub.endpoint")


def _is_file(entry: object) -> bool:
    return isinstance(entry, dict) and entry.get("type") == "file"


def _remote_file(entry: dict[str, Any], answer: httpx2.Response) -> RemoteFile:
    lfs, path = entry.get("lfs"), entry.get("path")
    told = lfs if isinstance(lfs, dict) else entry
    size, oid = told.get("size"), told.get("oid")
    if not isinstance(path, str) or not isinstance(size, int) or not is_size(size) or not is_hash(oid):
        raise _no_hub(answer)
    return RemoteFile(path, size, sha256=oid) if told is lfs else RemoteFile(path, size, git_sha1=oid)


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds until it may be asked again: in Retry-After, or as the public hub tells it, in RateLimit."""
    if (wait := _seconds(headers.get("Retry-After"))) is not None:
        return wait
    with contextlib.suppress(ValueError):  # a number of thousands of digits
        told = parse_ratelimit_headers(headers)
        return None if told is None else _seconds(str(told.reset_in_seconds))
    return None


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None
