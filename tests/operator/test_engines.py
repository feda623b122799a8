"""What engines tell of their queues and caches, and what is made of it."""

import aiohttp
import pytest
from aiohttp import web

from dormouse_operator.engines import Engines, pressure, told
from dormouse_operator.observed import Pressure
from dormouse_operator.queue import Key

EXPOSITION = """
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="a b"} 3.0
vllm:num_requests_waiting{engine="1",model_name="a b"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="a b",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="a b"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="a b"} 0.75
vllm:num_requests_running{engine="0",model_name="a b"} 7.0
"""


def test_an_exposition_is_read() -> None:
    assert told(EXPOSITION) == (5, 0.75)
    assert told('vllm:gpu_cache_usage_perc{engine="0"} 1e-1\n') == (0, 0.1)
    assert told("process_open_fds 3.0\n") is None


def test_what_not_all_tell_is_not_known() -> None:
    assert pressure([(1, 0.2), (3, 0.6)]) == Pressure(2, 4, 0.4)
    assert pressure([(1, 0.2), None]) is None
    assert pressure([]) is None


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (200, EXPOSITION, {Key("ns", "a"): Pressure(1, 5, 0.75)}),
        (404, "no metrics here", {}),
        (200, "vllm:num_requests_waiting many\n", {}),
    ],
)
async def test_engines_are_asked(status: int, text: str, expected: dict[Key, Pressure]) -> None:
    async def metrics(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as session:
            asked = {Key("ns", "a"): ("127.0.0.1",), Key("ns", "b"): (), Key("ns", "c"): ("127.0.0.1", "127.0.0.2")}
            found = await Engines(port).ask(session, asked)
    finally:
        await runner.cleanup()
    assert found == expected
