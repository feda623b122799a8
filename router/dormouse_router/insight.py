"""What a router tells of itself and of the engines it calls. Types and a protocol only: `inside.py` fulfils it.

Read by those who watch the router, never by a call: nothing here wakes a model. What is not known is None.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from dormouse_router.catalog.record import Record


@dataclass(frozen=True, slots=True)
class Traffic:
    """One model's calls at this router."""

    in_flight: int = 0
    held: int = 0
    oldest_wait: float = 0.0
    """Seconds the longest-held call has waited."""
    last_used: float | None = None
    """When a call of it last ended here, or now while there is one; None: not since this router started."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One device, as the driver in the engine's pod tells."""

    index: str
    memory_used: int | None = None
    memory_total: int | None = None
    utilization: float | None = None
    """Share of time it was busy, 0 to 1. A device that is split into instances does not tell."""
    temperature: float | None = None
    warnings: int = 0
    """How many warnings of it stand; which ones is in the model's status."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one engine's pod says of itself now."""

    record: Record
    host: str
    accelerators: tuple[Accelerator, ...] = ()
    resident: int | None = None
    """Bytes of memory that the engine's processes hold in the host."""
    cache_used: float | None = None
    """Share of the KV cache that is in use, 0 to 1; vLLM tells it."""
    running: int | None = None
    waiting: int | None = None
    """Requests the engine decodes, and those it queues; vLLM tells them."""
    error: str = ""
    """Why the pod could not be asked."""


@dataclass(frozen=True, slots=True)
class Watching:
    """One watch on the API server."""

    resource: str
    namespace: str | None
    synced: bool
    """Its first list has come."""
    silent: float | None
    """Seconds since it last heard anything; a quiet watch hears something about once a minute."""
    error: str
    """Why it last broke off, where that was a moment ago."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An engine that could not be reached and gets no calls for a while."""

    record: Record
    host: str
    failures: int
    seconds: float
    """Until it is tried again."""


@dataclass(frozen=True, slots=True)
class Process:
    """The router's own process."""

    version: str
    pod: str
    uptime: float
    connections: int
    """Of clients."""
    resident: int
    """Bytes of memory at most so far."""
    lag: float
    """Longest delay of the event loop within the last minute, in seconds."""
    unready: str | None
    """Why no calls should be sent here."""


class Insight(Protocol):
    """The router, seen from within."""

    def process(self) -> Process: ...

    def traffic(self, record: Record) -> Traffic: ...

    def watches(self) -> list[Watching]: ...

    def passed_over(self) -> list[PassedOver]: ...

    def configuration(self) -> dict[str, Any]:
        """The settings; of those that may hold a secret only whether they are set."""
        ...

    def versions(self) -> dict[str, str]:
        """Of the packages it is made of."""
        ...

    def errors(self) -> list[dict[str, str]]:
        """The last warnings and errors of its log, oldest first, without secrets."""
        ...

    async def engines(self) -> list[Reading]:
        """Every engine that is ready, asked now or a few seconds ago."""
        ...
