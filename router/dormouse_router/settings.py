"""Everything an operator of the router may set, read once from the environment and handed down frozen."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dormouse_api.names import PORT_ADMIN, PORT_OPS, PORT_ROUTER
from dormouse_api.tracing import wanted
from dormouse_router.access.settings import AccessSettings
from dormouse_router.accounting.audit import OFF, STDOUT
from dormouse_router.accounting.costs import Prices, parsed
from dormouse_router.environment import choice as _choice
from dormouse_router.environment import number as _number
from dormouse_router.environment import place as _place
from dormouse_router.environment import size as _size
from dormouse_router.environment import words as _words
from dormouse_router.webhooks.receivers import Receivers

MIB = 1024 * 1024
GIB = 1024 * MIB
STORAGE = 8 * GIB
BUCKET = 1024 * GIB
_DATABASES = ("memory", "sqlite:///", "postgresql://", "postgres://")
_FILES = ("file:///", "s3://")
_SESSIONS = ("memory", "database", "redis://", "rediss://", "valkey://", "valkeys://", "unix://")


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds, sizes in bytes."""

    host: str = "0.0.0.0"
    port: int = PORT_ROUTER
    ops_port: int = PORT_OPS
    admin_port: int = PORT_ADMIN
    """Of the runtime pods: where their supervisors tell their metrics."""
    pod_name: str = "dormouse-router"
    """Holder of the leases it renews."""
    namespaces: tuple[str, ...] = ()
    """Namespaces whose models are served; empty is all."""
    default_namespace: str = "default"
    """Where a pull through an API creates its InferenceModel."""
    pull: bool = True
    """Whether clients may create models (POST /pull, ollama pull)."""
    pull_sources: tuple[str, ...] = ()
    """Sources that clients may pull, such as hf://org/*, where * is any text; empty is all."""
    delete: bool = True
    """Whether clients may delete models."""
    reload: bool = True
    """Whether clients may have the runtime of a model restarted."""
    admins: frozenset[str] = frozenset()
    """SHA-256 (hex) of the API keys of administrators, who may see and change every model."""
    origins: tuple[str, ...] = ()
    """Origins whose web pages may call, beside those of the machine itself and of applications; `*` is all."""
    max_body: int = 64 * MIB
    held_bytes: int = 256 * MIB
    """Most body bytes held for all models together while they wake; beyond it 429."""
    arriving_bytes: int = 256 * MIB
    """Most body bytes of all requests together whose bodies are still arriving; beyond it 503."""
    comments: bool = True
    """Whether a streamed /v1 call to a sleeping model is sent SSE comments while it waits."""
    comment_after: float = 3.0
    comment_every: float = 5.0
    connect_timeout: float = 1.0
    """A pod in the cluster answers a SYN within milliseconds, or is gone."""
    silence_timeout: float = 600.0
    """Longest silence of an engine within one answer; then it counts as dead."""
    body_timeout: float = 60.0
    """Longest wait for the next piece of a client's body."""
    write_timeout: float = 300.0
    """Longest wait for a client to take something of what was sent to it; then it holds an engine for nothing."""
    drain_delay: float = 3.0
    """From SIGTERM to no longer accepting: the time the cluster takes to notice that we are not ready."""
    drain_seconds: float = 600.0
    """Longest life of an open stream after that."""
    response_seconds: float = 30 * 86400.0
    """How long an answer of the Responses API is kept."""
    background_most: int = 64
    """Most answers that are made in the background at once; beyond it 429."""
    background_seconds: float = 3600.0
    """Longest life of one of them, the wait for its model included."""
    prediction_seconds: float = 86400.0
    """How long a prediction, and the files that it made, are kept."""
    predictions_most: int = 64
    """Most predictions that this router makes at once; more wait."""
    predictions_owner: int = 1000
    """Most unfinished ones of one owner; beyond it 429."""
    prediction_run_seconds: float = 3600.0
    """Longest life of one, from its beginning on, the wait for its model included."""
    public_url: str = ""
    """Where clients reach the router, for the addresses in predictions; empty: as each request was addressed."""
    webhooks_allowed: tuple[str, ...] = ()
    """Receivers within the cluster that webhooks may go to: names, *.domain, name:port, and networks."""
    webhook_ports: tuple[int, ...] = (443, 8443)
    """Ports of all other receivers."""
    webhook_endpoints: str = ""
    """A file with the operator's own endpoints, told of batches and responses that ended; empty: none."""
    tracing: bool = False
    """Whether spans are exported: OpenTelemetry's own variables say so (`dormouse_api.tracing`)."""
    access_log: bool = False
    audit: str = OFF
    """Where a line for every call of a model goes: off, stdout, or the path of a file."""
    prices: Prices = field(default_factory=Prices)
    """Of tokens and devices, for /v1/usage."""
    access: AccessSettings = field(default_factory=AccessSettings)
    """Who may come in."""
    database_url: str = "sqlite:////var/lib/dormouse/router.db"
    """What is kept between requests: sqlite:///file, postgresql://..., or memory (gone with the process)."""
    database_bytes: int = 2 * GIB
    """What SQLite may have of its volume: what is to be kept beyond nine tenths of that is refused."""
    files: str = "file:///var/lib/dormouse/files"
    """Where the bytes of files lie: file:///folder or s3://bucket/prefix; in memory where the database is."""
    files_endpoint: str = ""
    """Of an S3-compatible store; empty is Amazon's. Whose keys: AWS_ACCESS_KEY_ID and what else S3's clients read."""
    files_region: str = ""
    files_bytes: int = STORAGE * 9 // 10 - 2 * GIB
    """Most bytes of all files together."""
    files_owner_bytes: int = 4 * GIB
    """Most of one owner's, and how many they may be."""
    files_owner_count: int = 10_000
    file_bytes: int = 512 * MIB
    """Most of one file. A batch's may have OpenAI's 200 MB, a part of an upload 64, and an upload all together this."""
    batch_file_bytes: int = 200 * MIB
    upload_bytes: int = 8 * GIB
    batch_creates: int = 2000
    """Batches that one owner may make within an hour."""
    batch_lines: int = 50_000
    """Most lines of one."""
    batch_tokens: int = 0
    """Most tokens, by estimate, that one owner may have enqueued for one model; 0: any number."""
    batch_seconds: float = 90 * 86400.0
    """How long an ended batch is known. Its files have a life of their own."""
    batch_mixed: bool = True
    """Whether the lines of one batch may name several models."""
    batch_scores: bool = True
    """Whether batches may ask /v1/score and /v1/rerank, which OpenAI's may not."""
    sessions: str = "database"
    """Where histories of chats are kept: database, memory, or the redis:// URL of a Redis or Valkey."""
    session_seconds: float = 3600.0
    """How long a history is kept after its last turn."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """The settings of this process. ValueError with the variable's name where a value is not usable."""
        default = cls()
        files = _place(env, "DORMOUSE_FILES", default.files, _FILES)
        database_url = _place(env, "DORMOUSE_DATABASE_URL", default.database_url, _DATABASES)
        shares = _shares(_size(env, "DORMOUSE_STORAGE_SIZE", STORAGE), database_url, files)
        return cls(
            host=env.get("DORMOUSE_HOST", default.host),
            port=_number(env, "DORMOUSE_PORT", default.port, int),
            ops_port=_number(env, "DORMOUSE_OPS_PORT", default.ops_port, int),
            pod_name=env.get("POD_NAME", default.pod_name),
            namespaces=_words(env, "DORMOUSE_NAMESPACES"),
            admins=_hashes(env, "DORMOUSE_ADMINS"),
            origins=_words(env, "DORMOUSE_ORIGINS"),
            default_namespace=env.get("DORMOUSE_DEFAULT_NAMESPACE", default.default_namespace),
            pull=_choice(env, "DORMOUSE_PULL", default.pull, "Allowed", "Forbidden"),
            pull_sources=_words(env, "DORMOUSE_PULL_SOURCES"),
            delete=_choice(env, "DORMOUSE_DELETE", default.delete, "Allowed", "Forbidden"),
            reload=_choice(env, "DORMOUSE_RELOAD", default.reload, "Allowed", "Forbidden"),
            max_body=_number(env, "DORMOUSE_MAX_BODY_BYTES", default.max_body, int),
            held_bytes=_number(env, "DORMOUSE_HELD_BYTES", default.held_bytes, int),
            arriving_bytes=_number(env, "DORMOUSE_ARRIVING_BYTES", default.arriving_bytes, int),
            comments=_choice(env, "DORMOUSE_SSE_COMMENTS", default.comments, "On", "Off"),
            comment_after=_number(env, "DORMOUSE_SSE_COMMENT_AFTER", default.comment_after, float),
            comment_every=_number(env, "DORMOUSE_SSE_COMMENT_EVERY", default.comment_every, float),
            silence_timeout=_number(env, "DORMOUSE_SILENCE_TIMEOUT", default.silence_timeout, float),
            write_timeout=_number(env, "DORMOUSE_WRITE_TIMEOUT", default.write_timeout, float),
            drain_delay=_number(env, "DORMOUSE_DRAIN_DELAY", default.drain_delay, float),
            drain_seconds=_number(env, "DORMOUSE_DRAIN_SECONDS", default.drain_seconds, float),
            response_seconds=_number(env, "DORMOUSE_RESPONSE_SECONDS", default.response_seconds, float),
            background_most=_number(env, "DORMOUSE_BACKGROUND_MOST", default.background_most, int),
            background_seconds=_number(env, "DORMOUSE_BACKGROUND_SECONDS", default.background_seconds, float),
            **_predictions(env, default),
            tracing=wanted(env),
            public_url=env.get("DORMOUSE_PUBLIC_URL", default.public_url).rstrip("/"),
            webhooks_allowed=_receivers(env, "DORMOUSE_WEBHOOKS_ALLOWED"),
            webhook_ports=_ports(env, "DORMOUSE_WEBHOOK_PORTS", default.webhook_ports),
            webhook_endpoints=env.get("DORMOUSE_WEBHOOK_ENDPOINTS", default.webhook_endpoints),
            database_url=database_url,
            database_bytes=shares[0],
            files=files,
            files_endpoint=env.get("DORMOUSE_FILES_ENDPOINT", default.files_endpoint),
            files_region=env.get("DORMOUSE_FILES_REGION", default.files_region),
            files_bytes=_size(env, "DORMOUSE_FILES_SIZE", shares[1]),
            files_owner_bytes=_size(env, "DORMOUSE_FILES_OWNER_SIZE", default.files_owner_bytes),
            files_owner_count=_number(env, "DORMOUSE_FILES_OWNER_COUNT", default.files_owner_count, int),
            file_bytes=_size(env, "DORMOUSE_FILE_SIZE", default.file_bytes),
            batch_file_bytes=_size(env, "DORMOUSE_BATCH_FILE_SIZE", default.batch_file_bytes),
            upload_bytes=_size(env, "DORMOUSE_UPLOAD_SIZE", default.upload_bytes),
            **_batches(env, default),
            session_seconds=_number(env, "DORMOUSE_SESSION_SECONDS", default.session_seconds, float),
            sessions=_place(env, "DORMOUSE_SESSIONS", default.sessions, _SESSIONS),
            access=AccessSettings.from_env(env),
            audit=_audit(env),
            prices=parsed(env.get("DORMOUSE_PRICES", ""), "DORMOUSE_PRICES"),
            access_log=_choice(env, "DORMOUSE_ACCESS_LOG", default.access_log, "On", "Off"),
        )


def _predictions(env: Mapping[str, str], default: Settings) -> dict[str, Any]:
    """The fields of predictions."""
    return {
        "prediction_seconds": _number(env, "DORMOUSE_PREDICTION_SECONDS", default.prediction_seconds, float),
        "predictions_most": _number(env, "DORMOUSE_PREDICTIONS_MOST", default.predictions_most, int),
        "predictions_owner": _number(env, "DORMOUSE_PREDICTIONS_OWNER", default.predictions_owner, int),
        "prediction_run_seconds": _number(
            env, "DORMOUSE_PREDICTION_RUN_SECONDS", default.prediction_run_seconds, float
        ),
    }


def _batches(env: Mapping[str, str], default: Settings) -> dict[str, Any]:
    """The fields of batches."""
    return {
        "batch_creates": _number(env, "DORMOUSE_BATCH_CREATES", default.batch_creates, int),
        "batch_lines": _number(env, "DORMOUSE_BATCH_LINES", default.batch_lines, int),
        "batch_tokens": _number(env, "DORMOUSE_BATCH_TOKENS", default.batch_tokens, int),
        "batch_seconds": _number(env, "DORMOUSE_BATCH_SECONDS", default.batch_seconds, float),
        "batch_mixed": _choice(env, "DORMOUSE_BATCH_MIXED", default.batch_mixed, "Allowed", "Forbidden"),
        "batch_scores": _choice(env, "DORMOUSE_BATCH_SCORES", default.batch_scores, "Allowed", "Forbidden"),
    }


def _shares(volume: int, database_url: str, files: str) -> tuple[int, int]:
    """What SQLite and files may have of the volume that they lie on, or a bucket of its own."""
    local, sqlite = files.startswith("file"), database_url.startswith("sqlite")
    if not local:
        return volume, BUCKET
    database = max(min(volume, GIB), volume // 4) if sqlite else 0
    return database, max(0, volume * 9 // 10 - database)


def _hashes(env: Mapping[str, str], name: str) -> frozenset[str]:
    """Separated by commas or white space. What is none is not repeated: it may be the key itself."""
    found = frozenset(env.get(name, "").replace(",", " ").lower().split())
    if any(not re.fullmatch("[0-9a-f]{64}", each) for each in found):
        raise ValueError(f'{name} takes SHA-256 hashes in hex, none of anything else: printf %s "$KEY" | sha256sum')
    return found


def _receivers(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    words = _words(env, name)
    try:
        Receivers(words)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return words


def _ports(env: Mapping[str, str], name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    words = _words(env, name)
    if not all(word.isascii() and word.isdigit() and 0 < int(word) < 65536 for word in words):
        raise ValueError(f"{name}={env[name]!r} must be port numbers, with commas between them")
    return tuple(map(int, words)) or default


def _audit(env: Mapping[str, str]) -> str:
    where = env.get("DORMOUSE_AUDIT", OFF)
    if where not in (OFF, STDOUT) and not where.startswith("/"):
        raise ValueError(f"DORMOUSE_AUDIT={where!r} must be {OFF}, {STDOUT} or the path of a file, from / on")
    return where
