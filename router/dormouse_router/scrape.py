"""What engines say of themselves: the metrics of the supervisor and of the engine in each ready pod.

Asked only when somebody asks, one pod's two answers at once, a few pods at a time, briefly remembered. Knows the names
of vLLM's metrics and of ours, and reads no others.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from dormouse_api import metrics as names
from dormouse_api.names import PORT_ADMIN
from dormouse_router.catalog.catalog import Endpoint
from dormouse_router.catalog.record import Record
from dormouse_router.insight import Accelerator, Reading

SECONDS = 1.0
"""Longest wait for one pod."""
FRESH_SECONDS = 3.0
"""For so long an answer is given again."""
AT_ONCE = 16
MAX_BODY = 4 * 1024 * 1024
CACHE_USED = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
"""The name of today and the one before it."""
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
_WANTED = (
    *CACHE_USED,
    RUNNING,
    WAITING,
    names.RUNTIME_RESIDENT_BYTES,
    names.GPU_MEMORY_USED,
    names.GPU_MEMORY_TOTAL,
    names.GPU_UTILIZATION,
    names.GPU_TEMPERATURE,
    names.GPU_WARNING,
)

Samples = dict[str, dict[str, float]]
"""Metric → gpu ("" where it is of none) → the sum of its samples."""
Ready = Sequence[tuple[Record, Endpoint]]


def samples(text: str) -> Samples:
    """The wanted metrics of an exposition. ValueError where it is none."""
    found: Samples = {}
    # most of an engine's exposition are histograms: parsing them would cost more than all the rest
    lines = [line for line in text.splitlines() if line.startswith(_WANTED)]
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            by_gpu = found.setdefault(sample.name, {})
            gpu = sample.labels.get("gpu", "")
            by_gpu[gpu] = by_gpu.get(gpu, 0.0) + sample.value
    return found


def reading(record: Record, host: str, admin: Samples, engine: Samples) -> Reading:
    """What the two expositions of a pod say."""

    def whole(name: str) -> int | None:
        value = {**engine, **admin}.get(name, {}).get("")
        return None if value is None else round(value)

    used = next((engine[name][""] for name in CACHE_USED if "" in engine.get(name, {})), None)
    return Reading(
        record,
        host,
        _accelerators(admin),
        resident=whole(names.RUNTIME_RESIDENT_BYTES),
        cache_used=used,
        running=whole(RUNNING),
        waiting=whole(WAITING),
    )


def _accelerators(admin: Samples) -> tuple[Accelerator, ...]:
    totals, warned = admin.get(names.GPU_MEMORY_TOTAL, {}), admin.get(names.GPU_WARNING, {})
    # a device that its driver has lost tells no memory any more, only that
    return tuple(
        replace(_accelerator(admin, gpu, totals.get(gpu, 0.0)), warnings=round(warned.get(gpu, 0.0)))
        for gpu in sorted(totals.keys() | warned.keys())
    )


def _accelerator(admin: Samples, gpu: str, total: float) -> Accelerator:
    used, busy = admin.get(names.GPU_MEMORY_USED, {}).get(gpu), admin.get(names.GPU_UTILIZATION, {}).get(gpu)
    degrees = admin.get(names.GPU_TEMPERATURE, {}).get(gpu)
    if not total:  # the driver told nothing of its memory: 0 used is no measurement either
        return Accelerator(gpu, utilization=busy, temperature=degrees)
    return Accelerator(gpu, None if used is None else round(used), round(total), busy, degrees)


class Scraper:
    """One per router. `now`: monotonic seconds."""

    def __init__(self, now: Callable[[], float], admin_port: int = PORT_ADMIN) -> None:
        self._now, self._admin_port = now, admin_port
        self._session: aiohttp.ClientSession | None = None
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._turn = asyncio.Lock()
        self._known: list[Reading] = []
        self._asked: tuple[float, tuple[tuple[str, int], ...]] | None = None

    async def read(self, ready: Ready) -> list[Reading]:
        """Every engine of `ready`. One that does not answer says why."""
        where = tuple(endpoint.address for _, endpoint in ready)
        async with self._turn:  # who comes meanwhile gets the same answer
            if self._asked is None or self._asked[1] != where or self._asked[0] < self._now() - FRESH_SECONDS:
                self._known = await asyncio.gather(*(self._one(record, endpoint) for record, endpoint in ready))
                self._asked = (self._now(), where)
            return self._known

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _one(self, record: Record, endpoint: Endpoint) -> Reading:
        async with self._gate:
            try:
                async with asyncio.timeout(SECONDS):
                    admin, engine = await asyncio.gather(
                        self._samples(endpoint.host, self._admin_port), self._engine(endpoint)
                    )
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                return Reading(record, endpoint.host, error=f"no metrics: {error or type(error).__name__}"[:300])
        return reading(record, endpoint.host, admin, engine)

    async def _engine(self, endpoint: Endpoint) -> Samples:
        """An engine need not have metrics; the supervisor must."""
        with contextlib.suppress(aiohttp.ClientResponseError):
            return await self._samples(endpoint.host, endpoint.port)
        return {}

    async def _samples(self, host: str, port: int) -> Samples:
        if self._session is None:
            # engines close idle connections when they like, and this is asked too seldom for keeping any
            connector = aiohttp.TCPConnector(force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        target = f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"
        async with self._session.get(target, allow_redirects=False) as response:
            if response.status != 200:
                raise aiohttp.ClientResponseError(response.request_info, (), status=response.status)
            return samples((await _bounded(response.content)).decode(errors="replace"))


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in content.iter_any():
        size += len(piece)
        if size > MAX_BODY:
            raise ValueError(f"more than {MAX_BODY} bytes of metrics")
        pieces.append(piece)
    return b"".join(pieces)


def ready_engines(entries: Iterable[tuple[Record, Sequence[Endpoint]]]) -> list[tuple[Record, Endpoint]]:
    """Every ready engine of every model, the newest model first."""
    return [(record, endpoint) for record, endpoints in entries for endpoint in endpoints]
