"""Real vLLM tells a receiver of the call that it was asked in, as a span of the caller's trace."""

import asyncio
from pathlib import Path

import httpx
import pytest

from dormouse_operator.settings import Settings
from tests.otlp import receiving
from tests.runtime.engine.conftest import Serve, ready

pytestmark = pytest.mark.engine
TRACE, ATTEMPT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
"""As the router sends them: its attempt is the parent."""


async def test_a_call_is_a_span_of_the_callers_trace(
    serve: Serve, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(monkeypatch) as receiver:
        env = {"DORMOUSE_PULLER_IMAGE": "puller:1", "DORMOUSE_ENGINE_TRACES": f"{receiver.url}/v1/traces"}
        told = Settings.from_environment(env)
        monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
        for name, value in told.engine_traces:  # what the operator gives to pods, nothing else
            monkeypatch.setenv(name, value)
        pod = await asyncio.to_thread(serve, ("vllm", models / "tiny-chat", "none"))
        assert await asyncio.to_thread(ready, pod)
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            answer = await http.post(
                f"http://127.0.0.1:{pod.serving}/v1/chat/completions",
                json={"model": "tiny", "messages": [{"role": "user", "content": "Canary word"}], "max_tokens": 5},
                headers={"traceparent": f"00-{TRACE}-{ATTEMPT}-01"},
            )
        assert answer.status_code == 200, answer.text
        span = (await receiver.until("llm_request"))["llm_request"]
        assert (span.trace, span.parent) == (TRACE, ATTEMPT)
        assert span.said["gen_ai.usage.completion_tokens"] == answer.json()["usage"]["completion_tokens"]
        assert b"Canary" not in receiver.raw
