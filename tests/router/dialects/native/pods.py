"""A runtime pod's two expositions on loopback, and readings as they come of them."""

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from dormouse_api import metrics as names
from dormouse_router.catalog.record import Record
from dormouse_router.insight import Accelerator, Reading
from tests.router.dialects.records import known_status, record

GPU = f"""# HELP {names.GPU_MEMORY_USED} memory in use
# TYPE {names.GPU_MEMORY_USED} gauge
{names.GPU_MEMORY_USED}{{gpu="0"}} 1000
{names.GPU_MEMORY_USED}{{gpu="1"}} 2000
# TYPE {names.GPU_MEMORY_TOTAL} gauge
{names.GPU_MEMORY_TOTAL}{{gpu="0"}} 4000
{names.GPU_MEMORY_TOTAL}{{gpu="1"}} 4000
# TYPE {names.GPU_UTILIZATION} gauge
{names.GPU_UTILIZATION}{{gpu="0"}} 0.5
{names.GPU_UTILIZATION}{{gpu="1"}} 0.25
# TYPE {names.GPU_TEMPERATURE} gauge
{names.GPU_TEMPERATURE}{{gpu="0"}} 60
{names.GPU_TEMPERATURE}{{gpu="1"}} 61
"""
HOST = f"""# TYPE {names.RUNTIME_RESIDENT_BYTES} gauge
{names.RUNTIME_RESIDENT_BYTES} 123456
{names.RUNTIME_STAGE}{{stage="ready"}} 1
"""
VLLM = """# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.125
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 1.0
vllm:num_requests_waiting_by_reason{reason="capacity"} 7.0
vllm:e2e_request_latency_seconds_bucket{le="0.3",model_name="tiny"} 12.0
"""


@contextlib.asynccontextmanager
async def exposition(text: str, status: int = 200) -> AsyncIterator[int]:
    """A server whose /metrics says `text`; its port."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def serving(name: str = "tiny-chat") -> Record:
    return record(name, status=known_status(engine={"name": "vllm", "quantization": "none"}, device="cuda"))


def two_devices(name: str = "tiny-chat") -> Reading:
    """A reading of GPU, HOST and VLLM."""
    devices = (Accelerator("0", 1000, 4000, 0.5, 60.0), Accelerator("1", 2000, 4000, 0.25, 61.0))
    return Reading(serving(name), "10.0.0.1", devices, 123456, 0.125, 3, 1)
