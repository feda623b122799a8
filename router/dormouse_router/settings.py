"""Everything an operator of the router may set, read once from the environment and handed down frozen."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from dormouse_api.names import PORT_ADMIN, PORT_OPS, PORT_ROUTER

N = TypeVar("N", int, float)
MIB = 1024 * 1024
_DATABASES = ("memory", "sqlite:///", "postgresql://", "postgres://")
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
    access_log: bool = False
    database_url: str = "sqlite:////var/lib/dormouse/router.db"
    """What is kept between requests: sqlite:///file, postgresql://..., or memory (gone with the process)."""
    database_bytes: int = 1024 * MIB
    """The volume that SQLite lies on: what is to be kept beyond nine tenths of it is refused."""
    sessions: str = "database"
    """Where histories of chats are kept: database, memory, or the redis:// URL of a Redis or Valkey."""
    session_seconds: float = 3600.0
    """How long a history is kept after its last turn."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """The settings of this process. ValueError with the variable's name where a value is not usable."""
        default = cls()
        return cls(
            host=env.get("DORMOUSE_HOST", default.host),
            port=_number(env, "DORMOUSE_PORT", default.port, int),
            ops_port=_number(env, "DORMOUSE_OPS_PORT", default.ops_port, int),
            pod_name=env.get("POD_NAME", default.pod_name),
            namespaces=_words(env, "DORMOUSE_NAMESPACES"),
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
            database_url=_place(env, "DORMOUSE_DATABASE_URL", default.database_url, _DATABASES),
            database_bytes=_size(env, "DORMOUSE_DATABASE_SIZE", default.database_bytes),
            session_seconds=_number(env, "DORMOUSE_SESSION_SECONDS", default.session_seconds, float),
            sessions=_place(env, "DORMOUSE_SESSIONS", default.sessions, _SESSIONS),
            access_log=_choice(env, "DORMOUSE_ACCESS_LOG", default.access_log, "On", "Off"),
        )


def _place(env: Mapping[str, str], name: str, default: str, forms: tuple[str, ...]) -> str:
    """One of the words among `forms`, or a URL that goes on from one of the others. It may hold a password."""
    value = env.get(name, "") or default
    begins = tuple(form for form in forms if form.endswith("/"))
    if value in forms[: -len(begins)] or (value.startswith(begins) and value not in forms):
        return value
    raise ValueError(f"{name} must be one of {', '.join(forms)} with what belongs behind it")


def _number(env: Mapping[str, str], name: str, default: N, kind: type[N]) -> N:
    text = env.get(name, "")
    if not text:
        return default
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a number: set it to one, or unset it for {default}") from None
    if value < 0:
        raise ValueError(f"{name}={text} is negative: set it to zero or more")
    return value


def _size(env: Mapping[str, str], name: str, default: int) -> int:
    """Bytes, of a quantity as Kubernetes writes it."""
    text = env.get(name, "")
    if not text:
        return default
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]?)(i?)", text)
    if found is None:
        raise ValueError(f"{name}={text!r} is no size: set it to one such as 1Gi")
    step = 1024 if found[3] else 1000
    return int(float(found[1]) * step ** " kMGT".index(found[2] or " "))


def _words(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in env.get(name, "").split(",") if word.strip())


def _choice(env: Mapping[str, str], name: str, default: bool, yes: str, no: str) -> bool:
    text = env.get(name, "")
    if text not in ("", yes, no):
        raise ValueError(f"{name}={text!r} must be {yes} or {no}")
    return default if not text else text == yes
