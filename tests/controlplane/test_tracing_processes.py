"""Operator and router as processes that the environment tells of a receiver: spans arrive, and both end in order."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from dev import ports
from dev.cluster.controlplane import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.controlplane.operatorprocess import Models, OperatorProcess
from tests.controlplane.test_router_path import until_ready
from tests.otlp import receiving

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_a_look_and_a_call_are_told_of(
    plane: ControlPlane, own_models: Models, kubelet: Kubelet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kubelet.script
    async with receiving(monkeypatch) as receiver:
        told = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
        told |= {"DORMOUSE_NAMESPACES": own_models.namespace}
        with OperatorProcess(plane.kubeconfig, tmp_path / "operator.log", **told) as operator:
            own_models.apply("tiny")
            await asyncio.to_thread(own_models.await_reason, "tiny", "ScaledToZero")
            await called(plane, told)
            found = await receiver.until("reconcile", "PATCH jobs", "POST /v1/chat/completions")
            assert await asyncio.to_thread(operator.stop) == 0
        looks = receiver.named("reconcile")
        assert {span.said["dormouse.model"] for span in looks} == {f"{own_models.namespace}/tiny"}
        assert found["PATCH jobs"].parent in {span.id for span in looks}
        request = found["POST /v1/chat/completions"]
        assert (request.trace, request.said["http.response.status_code"]) == (TRACE, 503)
        assert {span.service for span in receiver.spans} == {"dormouse-operator", "dormouse-router"}


async def called(plane: ControlPlane, told: dict[str, str]) -> None:
    """A call that is not held, by a router that then ends: its spans come with its end at the latest."""
    port, ops = ports.reserve(2)
    env = {
        **os.environ,
        **told,
        "KUBECONFIG": str(plane.kubeconfig),
        "DORMOUSE_HOST": "127.0.0.1",
        "DORMOUSE_PORT": str(port),
        "DORMOUSE_OPS_PORT": str(ops),
        "DORMOUSE_DRAIN_DELAY": "0",
        "DORMOUSE_DATABASE_URL": "memory",
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "dormouse_router", env=env)
    try:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            await until_ready(http, f"http://127.0.0.1:{ops}/readyz")
            body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
            headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "x-dormouse-hold-seconds": "0"}
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            assert (await http.post(url, json=body, headers=headers)).status_code == 503
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
