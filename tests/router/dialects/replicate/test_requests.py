"""What is no request for a prediction is refused with the fix, in the client's words; and what is read from one."""

from typing import Any

import httpx
import msgspec
import pytest

from dormouse_router.dialects.replicate import inputs, objects, requests
from dormouse_router.dialects.replicate.addresses import base_of
from dormouse_router.request import Refusal
from tests.router.dialects import engines
from tests.router.dialects.records import known_status, model, record, with_capabilities
from tests.router.fakes import Engine, Stage

URL = "/v1/predictions"
NAME = "default/tiny-chat"
ASK = {"prompt": "hi"}


@pytest.mark.parametrize(
    ("body", "status", "field", "words"),
    [
        (b"", 422, "version", "Say which model"),
        (b"{", 400, None, "not valid JSON"),
        (b"[]", 422, "body", "Expected `object`"),
        (b'{"version": 1}', 422, "version", "Expected `str | null`"),
        (b'{"version": "nobody", "input": {}}', 404, "model", "was not found"),
        (b'{"version": "' + b"a" * 40 + b'"}', 404, "version", "No model serves the version"),
        (b'{"version": "default/tiny-chat:' + b"b" * 40 + b'"}', 404, "version", "it has 0000"),
        (b'{"version": "default/tiny-chat", "input": []}', 422, "input", "Expected `object | null`"),
        (b'{"version": "default/tiny-chat"}', 422, "input.prompt", "it is required"),
        (b'{"version": "default/tiny-chat", "input": {"prompt": 1}}', 422, "input.prompt", "Expected `str | null`"),
        (b'{"version": "tiny-chat", "input": {"prompt": "a", "max_tokens": "9"}}', 422, "input.max_tokens", "`int"),
        (
            b'{"version": "tiny-chat", "input": {"prompt": "a", "prompt_template": "b"}}',
            422,
            "input.prompt_template",
            "{prompt}",
        ),
        (b'{"version": "draw", "input": {}}', 422, "input.prompt", "it is required"),
        (b'{"version": "draw", "input": {"prompt": "a", "width": 64}}', 422, "input.height", "both sides"),
        (b'{"version": "vectors", "input": {"prompt": "a"}}', 422, "model", "it can embedding"),
        (b'{"version": "tiny-chat", "webhook_events_filter": ["all"]}', 422, "webhook_events_filter[0]", "Invalid"),
        (b'{"version": "tiny-chat", "input": {"prompt": "' + b"a" * 2**22 + b'"}}', 413, None, "are the most"),
    ],
)
async def test_what_is_wrong_is_told_and_wakes_nothing(
    world: Stage, client: httpx.AsyncClient, body: bytes, status: int, field: str | None, words: str
) -> None:
    world.cluster.add_model(model())
    world.cluster.add_model(model("draw", status=known_status(capabilities=["image"])))
    world.cluster.add_model(model("vectors", status=known_status(capabilities=["embedding"])))
    await engines.known(world, "vectors")
    answer = await client.post(URL, content=body)
    told = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert told["status"] == status
    assert words in told["detail"]
    assert [each["field"] for each in told.get("invalid_fields", [])] == ([field] if field else [])
    assert (world.cluster.writes, world.cluster.reads) == ([], 0)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{URL}/nobody", 404),
        ("POST", f"{URL}/nobody/cancel", 404),
        ("GET", f"{URL}/nobody/stream", 404),
        ("GET", f"{URL}/a%00b", 404),
        ("GET", f"{URL}?cursor=x", 400),
        ("GET", f"{URL}?cursor=WzFd", 400),
        ("DELETE", URL, 405),
        ("GET", f"{URL}/a/b/c", 404),
        ("POST", "/v1/models/nobody/predictions", 404),
        ("POST", "/v1/deployments/nobody/predictions", 404),
        ("GET", "/v1/deployments", 404),
    ],
)
async def test_errors_are_problem_details(
    client: httpx.AsyncClient, world: Stage, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path, json={"input": ASK} if method == "POST" else None)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("header", "wait", "asynchronous", "applied"),
    [
        (None, None, False, None),
        (b"wait", 60.0, False, "wait=60"),
        (b"wait=5", 5.0, False, "wait=5"),
        (b'Wait = "7"', 7.0, False, "wait=7"),
        (b"wait=0", 1.0, False, "wait=1"),
        (b"wait=999", 60.0, False, "wait=60"),
        (b"wait=soon", None, False, None),
        (b"handling=lenient, wait=3; x=y", 3.0, False, "wait=3"),
        (b"respond-async", None, True, "respond-async"),
        (b"respond-async, wait=9", None, True, "respond-async"),
    ],
)
def test_preferences(header: bytes | None, wait: float | None, asynchronous: bool, applied: str | None) -> None:
    found = requests.preference(header)
    assert (found.wait, found.asynchronous, found.applied) == (wait, asynchronous, applied)


@pytest.mark.parametrize(
    ("prefer", "status", "applied"),
    [(None, 201, None), ("respond-async", 202, "respond-async"), ("wait=20", 201, "wait=20")],
)
async def test_what_is_answered_when(
    client: httpx.AsyncClient, text: Engine, prefer: str | None, status: int, applied: str | None
) -> None:
    headers = {} if prefer is None else {"prefer": prefer}
    answer = await client.post(URL, json={"model": NAME, "input": ASK}, headers=headers)
    assert (answer.status_code, answer.headers.get("preference-applied")) == (status, applied)
    assert answer.headers["location"] == answer.json()["urls"]["get"]
    assert (await client.get(answer.headers["location"])).json()["id"] == answer.json()["id"]


@pytest.mark.parametrize(
    ("headers", "public", "base"),
    [
        ({b"host": b"a.example:81"}, "", "http://a.example:81"),
        ({b"host": b"a", b"x-forwarded-proto": b"https", b"x-forwarded-host": b"b.example"}, "", "https://b.example"),
        ({b"host": b"a", b"x-forwarded-proto": b"ftp"}, "", "http://a"),
        ({b"host": b'a"><script>'}, "", "http://localhost"),
        ({b"host": b"a"}, "https://dormouse.example", "https://dormouse.example"),
        ({}, "", "http://localhost"),
    ],
)
def test_where_clients_reach_the_router(headers: dict[bytes, bytes], public: str, base: str) -> None:
    assert base_of(headers.get, public) == base


def payload(given: dict[str, Any], kind: inputs.Kind = "text") -> dict[str, Any]:
    made = inputs.plan(record(), kind, given)
    found: dict[str, Any] = msgspec.json.decode(made.payload)
    return found | {"path": made.path}


def test_a_template_is_a_finished_prompt() -> None:
    given = {"prompt": "hi", "system_prompt": "be brief", "prompt_template": "[{system_prompt}] {prompt} ->"}
    found = payload(given)
    assert (found["path"], found["prompt"]) == ("/v1/completions", "[be brief] hi ->")
    assert "messages" not in found


def test_a_conversation_and_a_picture() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert payload({"messages": turns})["messages"] == turns
    found = payload({"messages": turns, "prompt": "c", "system_prompt": "s", "image": "data:image/png;base64,AA=="})
    assert [each["role"] for each in found["messages"]] == ["system", "user", "assistant", "user"]
    assert [part["type"] for part in found["messages"][-1]["content"]] == ["image_url", "text"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"top_k": 0}, {"top_k": -1}),
        ({"top_k": 5, "top_p": 0.5, "min_p": 0.1, "seed": 7}, {"top_k": 5, "top_p": 0.5, "min_p": 0.1, "seed": 7}),
        ({"min_new_tokens": 3, "max_completion_tokens": 4}, {"min_tokens": 3, "max_tokens": 4}),
        ({"stop": ["x,y"]}, {"stop": ["x,y"]}),
        ({"stop": "", "stop_sequences": "a,,b"}, {"stop": ["a", "b"]}),
        ({"temperature": None, "stop": None}, {}),
        ({"temperature": 0}, {"temperature": 0}),
    ],
)
def test_sampling(given: dict[str, Any], sent: dict[str, Any]) -> None:
    found = payload(ASK | given)
    for name in ("path", "model", "stream", "stream_options", "messages"):
        del found[name]
    assert found == sent


def test_what_a_model_makes_is_known_by_its_abilities() -> None:
    assert inputs.kind_of(with_capabilities("completion", "tools"), "a") == "text"
    assert inputs.kind_of(with_capabilities("image"), "a") == "image"
    assert inputs.kind_of(with_capabilities("predict"), "a") == "custom"
    assert inputs.kind_of(with_capabilities(), "a") is None
    with pytest.raises(Refusal):
        inputs.kind_of(with_capabilities("embedding"), "a")


def test_logs_are_bounded_by_whole_lines() -> None:
    logs = ""
    for number in range(20_000):
        logs = objects.with_log(logs, f"line {number}")
    assert len(logs) <= objects.MOST_LOGS
    assert logs.startswith("line ")
    assert logs.endswith("line 19999\n")
