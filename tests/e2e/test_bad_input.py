"""Bad input gets a sentence that helps, in the caller's dialect, and wakes nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.cluster import ApiError
from tests.e2e.samples import model
from tests.e2e.story import ROUTER, Story, component

GOOD: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
TOO_LARGE = 65 * 1024 * 1024


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"source": {"uri": "ftp://x/y"}}, "hf://organisation/name"),
        ({"scaling": {"minReplicas": 3, "maxReplicas": 2}}, "raise maxReplicas or lower minReplicas"),
        ({"engine": {"args": ["--trust-remote-code"]}}, "engine.args may only hold"),
        ({"engine": {"order": ["vllm", "vllm"]}}, "name each engine once"),
        ({"storage": {"existingClaim": "c", "size": "1Gi"}}, "remove storage.size"),
        ({"quantization": "int3"}, "Unsupported value"),
        ({"scaling": {"idleSeconds": 0}}, "should be greater than or equal to 1"),
    ],
)
async def test_invalid_models_are_refused_by_the_api_server(
    story: Story, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ApiError, match=sentence) as refused:
        await story.apply(model("bad", "dormouse/tiny-chat", **change))
    assert refused.value.status == 422


async def test_a_source_cannot_change(story: Story) -> None:
    name = await story.scripted("fixed")
    with pytest.raises(ApiError, match="create another InferenceModel"):
        await story.cluster.patch(
            "inferencemodels", story.namespace, name, {"spec": {"source": {"uri": "hf://other/one"}}}
        )


async def test_bad_requests_wake_nothing(story: Story) -> None:
    name = await story.scripted("asleep")
    await story.ready(name, "ScaledToZero")
    async with story.recorded("pods") as seen, httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=60) as http:
        for path, body, status, word in [
            ("/v1/chat/completions", b"{not json", 400, ""),
            ("/v1/chat/completions", b"[1, 2]", 400, ""),
            ("/v1/chat/completions", _json(GOOD), 400, "model"),
            ("/v1/chat/completions", _json({**GOOD, "model": "nobody"}), 404, "nobody"),
            ("/v1/chat/completions", _json({**GOOD, "model": 7}), 400, "model"),
            ("/v1/chat/completions", _json({"model": name, "messages": "hello"}), 400, "messages"),
            ("/v1/chat/completions", _json({"model": name}), 400, "messages"),
            ("/v1/completions", _json({"model": name, "prompt": {"a": 1}}), 400, "prompt"),
            ("/v1/completions", _json({"model": "nobody", "prompt": "x"}), 404, "nobody"),
            ("/v1/nothing", b"{}", 404, ""),
        ]:
            answer = await http.post(path, content=body)
            assert answer.status_code == status, f"{path} {body[:60]!r}: {answer.status_code} {answer.text}"
            error = answer.json()["error"]
            assert error.keys() == {"message", "type", "param", "code"}, answer.text
            assert word in error["message"], answer.text
        for path, body, status, word in [
            ("/api/chat", b"{not json", 400, ""),
            ("/api/chat", _json(GOOD), 400, "model"),
            ("/api/chat", _json({**GOOD, "model": "nobody"}), 404, "not found"),
            ("/api/chat", _json({"model": name, "messages": "hello"}), 400, ""),
            ("/api/generate", _json({"model": "nobody", "prompt": "x"}), 404, "not found"),
            ("/api/generate", _json({"model": name, "prompt": 5}), 400, ""),
        ]:
            answer = await http.post(path, content=body)
            assert answer.status_code == status, f"{path} {body[:60]!r}: {answer.status_code} {answer.text}"
            assert answer.json().keys() == {"error"}, answer.text
            assert word in answer.json()["error"], answer.text
        await story.ready(name, "ScaledToZero")
        assert component(seen["pods"], name, "runtime") == []
    lease = await story.cluster.get("leases", story.namespace, f"{name}-runtime")
    assert lease is not None
    assert "renewTime" not in lease["spec"]


@pytest.mark.parametrize(("path", "envelope"), [("/v1/chat/completions", "openai"), ("/api/chat", "ollama")])
async def test_oversized_bodies_are_refused_early(testbed: object, path: str, envelope: str) -> None:
    """By the announced length: the router need not read 65 MiB to say no."""
    address = urlsplit(ROUTER)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {TOO_LARGE}\r\n\r\n"
    writer.write(head.encode() + b'{"model": "')
    async with asyncio.timeout(60):
        status = await reader.readline()
        *_, size = [line async for line in _head(reader) if line.lower().startswith(b"content-length")]
        body = await reader.readexactly(int(size.split(b":")[1]))
    writer.close()
    assert status.split()[1] == b"413", status
    error = json.loads(body)["error"]
    assert isinstance(error, dict) == (envelope == "openai")


async def _head(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while line := (await reader.readline()).strip():
        yield line


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
