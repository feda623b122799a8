"""Only a call that an engine can answer wakes a model: every other request leaves the Lease unread and unwritten.

One table over all dialects. The model sleeps, so that whatever passes for a call shows as a write, or as a held call.
"""

import json
from typing import Any

import httpx
import pytest

from tests.router.fakes import Stage, model, until
from tests.router.test_hostile_bodies import ROUTES

MESSAGES = [{"role": "user", "content": "x"}]
CHAT: dict[str, Any] = {"model": "tiny", "messages": MESSAGES}
READS = (
    ("GET", "/v1/models", 200),
    ("GET", "/v1/models/tiny", 200),
    ("GET", "/v1/models/nobody", 404),
    ("GET", "/api/tags", 200),
    ("GET", "/api/ps", 200),
    ("GET", "/api/version", 200),
    ("GET", "/api/status", 200),
    ("GET", "/jobs", 200),
    ("GET", "/jobs/default.tiny", 200),
    ("GET", "/jobs/nobody", 404),
    ("GET", "/jobs?state=succeeded&model=tiny&limit=1", 200),
    ("GET", "/jobs?state=done", 400),
    ("GET", "/models", 200),
    ("GET", "/models/tiny", 200),
    ("GET", "/models/default/tiny", 200),
    ("GET", "/models/nobody", 404),
    ("GET", "/status", 200),
    ("GET", "/health", 200),
    ("GET", "/diag", 200),
    ("GET", "/metrics", 200),
    ("GET", "/metrics/gpu", 200),
    ("GET", "/metrics/gpu?format=prometheus", 200),
    ("GET", "/docs", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/", 200),
    ("GET", "/favicon.ico", 404),
    ("GET", "/v1", 404),
    ("GET", "/api", 404),
    ("GET", "/v1/tiny/chat", 404),
    ("GET", "/tiny", 404),
)
OPS = ("/livez", "/readyz", "/demand", "/metrics", "/nothing")
CALLS = tuple(ROUTES)
WRONG_METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE")
UNKNOWN = (
    "/v1/chat",
    "/v1/chat/completions/tiny",
    "/v1/audio/speech",
    "/v1/images/generations",
    "/v1/responses/tiny",
    "/v1/moderations",
    "/v1/tiny",
    "/api/chat/tiny",
    "/api/chats",
    "/api/push",
    "/tokenizer_info",
    "/invocations",
    "/load_lora_adapter",
    "/sleep",
    "/reload",
)
PREFLIGHT = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}

OPENAI: dict[str, dict[str, Any]] = {
    "no messages": {"model": "tiny"},
    "no message": CHAT | {"messages": []},
    "messages that are text": CHAT | {"messages": "hello"},
    "a message that is text": CHAT | {"messages": ["hello"]},
    "a message without a role": CHAT | {"messages": [{"content": "x"}]},
    "a role that is a number": CHAT | {"messages": [{"role": 1, "content": "x"}]},
    "content that is a number": CHAT | {"messages": [{"role": "user", "content": 1}]},
    "content that is an object": CHAT | {"messages": [{"role": "user", "content": {}}]},
    "stream that is text": CHAT | {"stream": "yes"},
    "max_tokens that is text": CHAT | {"max_tokens": "many"},
    "max_tokens that is a fraction": CHAT | {"max_tokens": 1.5},
    "temperature that is text": CHAT | {"temperature": "hot"},
    "n that is text": CHAT | {"n": "two"},
    "stop that is a number": CHAT | {"stop": 7},
    "tools that are an object": CHAT | {"tools": {}},
    "stream_options without stream": CHAT | {"stream_options": {"include_usage": True}},
    "logprobs that is a number": CHAT | {"logprobs": 3},
    "a model that is a list": CHAT | {"model": ["tiny"]},
    "a model nobody has": CHAT | {"model": "nobody"},
    "a model in another case": CHAT | {"model": "TINY"},
    "a model with a space": CHAT | {"model": " tiny"},
    "a model of another namespace": CHAT | {"model": "other/tiny"},
}
OLLAMA: dict[str, dict[str, Any]] = {
    "messages that are text": CHAT | {"messages": "hello"},
    "a message that is text": CHAT | {"messages": ["hello"]},
    "content that is a number": CHAT | {"messages": [{"role": "user", "content": 1}]},
    "options that are text": CHAT | {"options": "fast"},
    "tools that are text": CHAT | {"tools": "all"},
    "stream that is text": CHAT | {"stream": "yes"},
    "keep_alive that is no time": CHAT | {"keep_alive": "soon"},
    "a model nobody has": CHAT | {"model": "nobody"},
    "a model that is a list": CHAT | {"model": ["tiny"]},
    "an image that is no base64": CHAT | {"messages": [{"role": "user", "content": "x", "images": ["?"]}]},
}


@pytest.fixture
async def asleep(world: Stage) -> Stage:
    """A model that sleeps, pulled, with every capability told."""
    pulled: dict[str, Any] = {"type": "ModelPulled", "status": "True", "reason": "Pulled", "message": "Here."}
    pulled |= {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    obj = model()
    obj["status"]["conditions"].append(pulled)
    obj["status"]["capabilities"] = ["completion"]
    await world.asleep(obj)
    return world


def assert_untouched(world: Stage) -> None:
    """No Lease was read or written, no wake begun, no call held, no model made or removed."""
    cluster = world.cluster
    assert (cluster.writes, cluster.created, cluster.deleted) == ([], [], [])
    assert [lane.stats.wakes for lane in world.router.plane.lanes.values() if lane.stats.wakes] == []
    assert not any(lane.busy for lane in world.router.plane.lanes.values())


async def test_reading_wakes_nothing(asleep: Stage, client: httpx.AsyncClient) -> None:
    for method, path, status in READS:
        assert (await client.request(method, path)).status_code == status, path
        head = await client.head(path)
        assert head.content == b"", path
        assert head.status_code in (status, 405), path
        assert (await client.options(path, headers=PREFLIGHT)).status_code in (200, 204, 404, 405), path
    for path in OPS:
        assert (await client.get(asleep.ops + path)).status_code in (200, 404), path
    shown = await client.post("/api/show", json={"model": "tiny"})
    assert shown.status_code == 200
    assert asleep.cluster.reads == 0
    assert_untouched(asleep)


async def test_other_methods_wake_nothing(asleep: Stage, client: httpx.AsyncClient) -> None:
    for path in CALLS:
        for method in WRONG_METHODS:
            answer = await client.request(method, path, content=json.dumps(CHAT | {"prompt": "x", "input": "x"}))
            stored = method == "GET" and path == "/v1/chat/completions"  # of which there are none
            assert answer.status_code == (404 if stored else 405), (method, path)
        preflight = await client.options(path, headers=PREFLIGHT)
        assert preflight.status_code in (200, 204), path
    assert asleep.cluster.reads == 0
    assert_untouched(asleep)


async def test_unknown_routes_wake_nothing(asleep: Stage, client: httpx.AsyncClient) -> None:
    for path in UNKNOWN:
        answer = await client.post(path, json=CHAT)
        assert answer.status_code in (400, 404, 405, 501), path
        assert answer.content, path
    assert asleep.cluster.reads == 0
    assert_untouched(asleep)


async def test_deriving_listing_and_removing_a_name_wakes_nothing(asleep: Stage, client: httpx.AsyncClient) -> None:
    made = await client.post("/api/create", json={"model": "mario", "from": "tiny", "system": "x", "stream": False})
    copied = await client.post("/api/copy", json={"source": "mario", "destination": "luigi"})
    assert (made.status_code, copied.status_code) == (200, 200)
    for name in ("mario", "luigi"):
        assert (await client.get(f"/v1/models/{name}")).status_code == 200
        assert (await client.post("/api/show", json={"model": name})).status_code == 200
        assert (await client.post("/v1/chat/completions", json={"model": name})).status_code == 400
        assert (await client.request("DELETE", "/api/delete", json={"model": name})).status_code == 200
    assert asleep.cluster.reads == 0
    assert_untouched(asleep)


@pytest.mark.parametrize("stream", [False, True])
async def test_bodies_of_the_wrong_types_wake_nothing(asleep: Stage, client: httpx.AsyncClient, stream: bool) -> None:
    rows = [("/v1/chat/completions", name, body) for name, body in OPENAI.items()]
    rows += [("/api/chat", name, body) for name, body in OLLAMA.items()]
    rows += [
        ("/v1/completions", "no prompt", {"model": "tiny"}),
        ("/v1/completions", "a prompt that is an object", {"model": "tiny", "prompt": {}}),
        ("/v1/embeddings", "no input", {"model": "tiny"}),
        ("/v1/embeddings", "an input that is a number", {"model": "tiny", "input": 7}),
        ("/api/generate", "a prompt that is a number", {"model": "tiny", "prompt": 7}),
        ("/api/generate", "a context that is text", {"model": "tiny", "prompt": "x", "context": "x"}),
        ("/api/embed", "an input that is a number", {"model": "tiny", "input": 7}),
        ("/api/embed", "a model that cannot embed", {"model": "tiny", "input": "x"}),
        ("/api/embeddings", "a model that cannot embed", {"model": "tiny", "prompt": "x"}),
        ("/pull", "a field nobody knows", {"model": "org/name", "weights": 1}),
        ("/pull", "no model", {}),
        ("/pull", "a name that is none", {"model": "org/name", "name": "Not A Name"}),
        ("/pull", "an init that is text", {"model": "org/name", "init": "yes"}),
        ("/pull", "two quantizations", {"model": "org/name", "quantize": "q4", "quantization": "q8"}),
        ("/api/pull", "no model", {}),
    ]
    for path, name, body in rows:
        sent = {"stream": True, **body} if stream else body
        if name == "stream_options without stream" and stream:
            continue
        answer = await client.post(path, json=sent, timeout=5)
        assert answer.status_code in (400, 404), (path, name, answer.status_code, answer.text)
        assert "error" in answer.json(), (path, name)
    assert asleep.cluster.reads == 0
    assert_untouched(asleep)


async def test_reloading_and_cancelling_what_sleeps_wakes_nothing(asleep: Stage, client: httpx.AsyncClient) -> None:
    for name, status in (("tiny", 200), ("default/tiny", 200), ("nobody", 404)):
        assert (await client.post(f"/models/{name}/reload")).status_code == status, name
    assert (await client.delete("/jobs/default.tiny")).status_code == 409
    assert asleep.cluster.annotations == {}
    assert asleep.cluster.reads == 0
    assert_untouched(asleep)


async def test_headers_that_make_no_sense_wake_nothing(asleep: Stage, client: httpx.AsyncClient) -> None:
    for value in ("soon", "-1", "nan", "inf", ""):
        answer = await client.post("/v1/chat/completions", json=CHAT, headers={"x-dormouse-hold-seconds": value})
        assert answer.status_code == 400, value
    assert asleep.cluster.reads == 0
    assert_untouched(asleep)


async def test_unloading_a_model_that_sleeps_wakes_nothing(asleep: Stage, client: httpx.AsyncClient) -> None:
    """keep_alive 0 is a wish to sleep: what it writes ends before it begins."""
    answer = await client.post("/api/generate", json={"model": "tiny", "keep_alive": 0}, timeout=5)
    assert answer.json()["done_reason"] == "unload"
    assert all(wish.duration <= 1 for _, _, wish in asleep.cluster.writes)
    assert [lane.stats.wakes for lane in asleep.router.plane.lanes.values() if lane.stats.wakes] == []


@pytest.mark.parametrize("reason", ["Gated", "NoSpace", "EngineFailed", "ProfileNotFound"])
async def test_a_call_for_a_model_that_cannot_be_served_wakes_nothing(
    world: Stage, client: httpx.AsyncClient, reason: str
) -> None:
    await world.asleep(model(reason=reason, message="It cannot be."))
    for path in ("/v1/chat/completions", "/api/chat"):
        assert (await client.post(path, json=CHAT)).status_code == 503
    assert world.cluster.reads == 0
    assert_untouched(world)


async def test_what_does_wake_it(asleep: Stage, client: httpx.AsyncClient) -> None:
    """So that the tests above could fail: the same model, one real call."""
    with pytest.raises(httpx.ReadTimeout):
        await client.post("/v1/chat/completions", json=CHAT, timeout=0.3)
    await until(lambda: len(asleep.cluster.writes) == 1)
