"""What an operator may set of the batch worker alone, beside the router's settings that hold for both."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from dormouse_api.names import PORT_ROUTER, PORT_WORKER_OPS
from dormouse_router import environment as read
from dormouse_router.batch import hours
from dormouse_router.batch.hours import ALWAYS, Hours
from dormouse_router.batch.window import MOST
from dormouse_router.settings import MIB


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Times in seconds, sizes in bytes."""

    router_url: str = f"http://127.0.0.1:{PORT_ROUTER}"
    """The router that lines are asked of, or the Service of several."""
    ops_port: int = PORT_WORKER_OPS
    in_flight: int = MOST
    """Most lines of one model that are asked at once."""
    bytes: int = 64 * MIB
    """Most bytes of lines, and of answers that are not kept yet, in memory."""
    hold: float = 3600.0
    """How long the line that wakes a model waits for it before it is asked again."""
    drain: float = 20.0
    """From SIGTERM: the time that lines under way have to be answered."""
    hours: Hours = ALWAYS
    """When batches are worked on."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "WorkerSettings":
        """ValueError with the variable's name where a value is not usable."""
        default = cls()
        return cls(
            router_url=_url(env, "DORMOUSE_ROUTER_URL", default.router_url),
            ops_port=read.number(env, "DORMOUSE_WORKER_OPS_PORT", default.ops_port, int),
            in_flight=max(1, read.number(env, "DORMOUSE_WORKER_IN_FLIGHT", default.in_flight, int)),
            bytes=read.size(env, "DORMOUSE_WORKER_MEMORY", default.bytes),
            hold=read.number(env, "DORMOUSE_WORKER_HOLD_SECONDS", default.hold, float),
            drain=read.number(env, "DORMOUSE_WORKER_DRAIN_SECONDS", default.drain, float),
            hours=_hours(env, "DORMOUSE_BATCH_HOURS", "DORMOUSE_BATCH_TIME_ZONE"),
        )


def _url(env: Mapping[str, str], name: str, default: str) -> str:
    value = env.get(name, "") or default
    parts = urlsplit(value)
    if parts.scheme != "http" or not parts.hostname or parts.query or parts.username:
        raise ValueError(f"{name}={value!r} must be the http:// URL of a router, such as {default}")
    return value


def _hours(env: Mapping[str, str], name: str, zone: str) -> Hours:
    try:
        return hours.parsed(env.get(name, ""), env.get(zone, ""))
    except ValueError as error:
        raise ValueError(f"{name}, {zone}: {error}") from None
