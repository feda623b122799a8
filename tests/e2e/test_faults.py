"""Story 7: whoever is killed, the system converges, nothing is made twice, and a caller sees a clean error at worst."""

import asyncio
import time

import httpx
import openai
import pytest

from dormouse_api.conditions import ConditionType
from dormouse_api.names import runtime_name
from tests.e2e.cluster import Object
from tests.e2e.disasters import back, kill, restart_api_server
from tests.e2e.samples import FRANCE, MIB, PARIS, model
from tests.e2e.story import Story, chat, component, condition, raw_chat, streamed

SLOW_START = {"stages": [["loading", 4]]}
SLOW = MIB // 2
"""Bytes a second: a pull of 12 MiB is still under way when its status has been seen and somebody was killed."""
OPERATOR, ROUTER_NAME = "dormouse-operator", "dormouse-router"


async def test_operator_killed_in_the_middle_of_a_pull(story: Story) -> None:
    size = 12 * MIB
    name, repo = story.name("pulling"), await story.publish("pulling", size)
    slow = {"kind": "slow", "path": f"{repo}/resolve/.*safetensors", "rate": SLOW, "times": None}
    await story.faults(slow)
    async with story.recorded("pods", "jobs") as seen:
        await story.apply(model(name, repo))
        await story.seen(name, "a running pull", lambda item: (item.get("status", {}).get("pull") or {}).get("bytes"))
        await kill(story.cluster, OPERATOR)
        await story.ready(name, "ScaledToZero")
        for stage in ("inspect", "pull"):
            assert len(component(seen["jobs"], name, stage)) == 1, stage
            assert len(component(seen["pods"], name, stage)) == 1, stage
        assert component(seen["pods"], name, "runtime") == []
    await back(story.cluster, OPERATOR)


async def test_operator_killed_in_the_middle_of_a_quantization(story: Story) -> None:
    name = await story.scripted("packing", {"quantize": {"seconds": 10}}, quantization="int8")
    async with story.recorded("pods", "jobs") as seen:
        await story.pod(name, "quantize")
        await kill(story.cluster, OPERATOR)
        found = await story.ready(name, "ScaledToZero")
        assert condition(found, ConditionType.QUANTIZED).status == "True"
        for stage in ("inspect", "pull", "quantize"):
            assert len(component(seen["jobs"], name, stage)) == 1, stage
            assert len(component(seen["pods"], name, stage)) == 1, stage
    await back(story.cluster, OPERATOR)
    assert await chat(name, FRANCE) == PARIS


async def test_operator_killed_in_the_middle_of_a_wake(story: Story) -> None:
    name = await story.scripted("waking", SLOW_START)
    await story.ready(name, "ScaledToZero")
    async with story.recorded("pods", "deployments") as seen:
        call = asyncio.create_task(chat(name, FRANCE))
        await story.pod(name, "runtime", running=False)
        await kill(story.cluster, OPERATOR)
        assert await call == PARIS
        assert len(component(seen["pods"], name, "runtime")) == 1
        assert len(seen["deployments"].objects) == 1
    await back(story.cluster, OPERATOR)
    await story.ready(name, "Serving")


async def test_operator_killed_while_a_model_is_idle(story: Story) -> None:
    """The lease outlives the operator: the next one sees when the model may sleep."""
    name = await story.scripted("idling", scaling={"idleSeconds": 4})
    await story.ready(name, "ScaledToZero")
    assert await chat(name, FRANCE) == PARIS
    ended = time.monotonic()
    await kill(story.cluster, OPERATOR)
    await back(story.cluster, OPERATOR)
    slept = await story.asleep(name)
    assert slept - ended >= 3
    await story.ready(name, "ScaledToZero")


async def test_router_killed_while_it_holds(story: Story) -> None:
    name = await story.scripted("held", SLOW_START)
    await story.ready(name, "ScaledToZero")
    async with story.recorded("pods") as seen:
        call = asyncio.create_task(raw_chat(name, FRANCE))
        await story.pod(name, "runtime", running=False)
        await _wanted_for_long(story, name)
        await kill(story.cluster, ROUTER_NAME)
        try:
            answer = await call
            assert answer.status_code in (200, 502, 503), answer.text
        except httpx.TransportError:
            pass  # a broken connection is an error every client understands
        await back(story.cluster, ROUTER_NAME)
        assert await _soon(name) == PARIS
        assert len(component(seen["pods"], name, "runtime")) == 1


async def _wanted_for_long(story: Story, name: str) -> None:
    """As by another router. The wish of one that works lasts half a minute: nobody renews it while whatever was killed
    comes back, and after a longer while than that a second wake would be right.
    """
    longer = {"spec": {"leaseDurationSeconds": 300}}
    await story.cluster.patch("leases", story.namespace, runtime_name(name), longer)


async def _soon(name: str) -> str:
    """An answer from a router that has just come back: the way to it may still point to the old one."""
    async with asyncio.timeout(120):
        while True:
            try:
                return await chat(name, FRANCE)
            except (openai.APIConnectionError, openai.NotFoundError, openai.InternalServerError):
                await asyncio.sleep(0.1)


async def _answering(story: Story, name: str, begun: asyncio.Event) -> Object:
    """The pod, once a stream has come out of it: a model may serve before its router has heard of that."""
    pod = await story.pod(name, "runtime")
    async with asyncio.timeout(120):
        await begun.wait()
    return pod


async def test_runtime_pod_killed_in_the_middle_of_a_stream(story: Story) -> None:
    name = await story.scripted("torn")
    await story.ready(name, "ScaledToZero")
    begun = asyncio.Event()
    stream = asyncio.create_task(streamed(name, "!slow 600 tokens 50ms", begun=begun))
    pod = await _answering(story, name, begun)
    await story.cluster.delete("pods", story.namespace, pod["metadata"]["name"], grace=0)
    with pytest.raises(openai.APIError):
        await stream
    assert await chat(name, FRANCE) == PARIS


async def test_runtime_pod_told_to_leave_ends_its_streams(story: Story) -> None:
    """A drain: what is in flight is finished, what comes next goes to the next pod."""
    name = await story.scripted("drained")
    await story.ready(name, "ScaledToZero")
    begun = asyncio.Event()
    stream = asyncio.create_task(streamed(name, "!slow 60 tokens 50ms", begun=begun))
    pod = await _answering(story, name, begun)
    await story.cluster.delete("pods", story.namespace, pod["metadata"]["name"])
    after = asyncio.create_task(chat(name, FRANCE))
    assert len(await stream) == 60
    assert await after == PARIS


async def test_api_server_restarted(story: Story) -> None:
    """A stream goes on, a wake in progress arrives, a pull ends, and each child exists once."""
    streaming = await story.scripted("flowing")
    waking = await story.scripted("rising", SLOW_START)
    await story.ready(streaming, "ScaledToZero")
    await story.ready(waking, "ScaledToZero")
    pulling, repo = story.name("fetching"), await story.publish("fetching", 12 * MIB)
    slow = {"kind": "slow", "path": f"{repo}/resolve/.*safetensors", "rate": SLOW, "times": None}
    await story.faults(slow)
    async with story.recorded("pods", "jobs", "deployments") as seen:
        stream = asyncio.create_task(streamed(streaming, "!slow 200 tokens 50ms"))
        await story.ready(streaming, "Serving")
        await story.apply(model(pulling, repo))
        await story.seen(
            pulling, "a running pull", lambda item: (item.get("status", {}).get("pull") or {}).get("bytes")
        )
        call = asyncio.create_task(chat(waking, FRANCE))
        await story.pod(waking, "runtime", running=False)
        for name in (streaming, waking):
            await _wanted_for_long(story, name)
        await restart_api_server()
        assert len(await stream) == 200
        assert await call == PARIS
        await story.ready(pulling, "ScaledToZero")
        assert await chat(pulling, FRANCE) == PARIS
        for name in (streaming, waking, pulling):
            assert len(component(seen["pods"], name, "runtime")) == 1, name
        for stage in ("inspect", "pull"):
            assert len(component(seen["jobs"], pulling, stage)) == 1, stage
    names = {item["metadata"]["name"] for item in await story.cluster.find("deployments", story.namespace)}
    assert names == {runtime_name(name) for name in (streaming, waking, pulling)}
