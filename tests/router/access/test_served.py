"""A router that asks who comes, through its sockets: keys in headers and paths, limits, and no secret told."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from dormouse_router.access.opening import open_access
from dormouse_router.access.settings import AccessSettings
from dormouse_router.caller import Limits
from dormouse_router.store.memory import in_memory
from dormouse_router.store.memory_accounts import MemoryAccounts
from tests.router.access.test_keyfiles import mount
from tests.router.fakes import Engine, Exchange, Stage, chat_chunk, chat_completion, stage

CANARY = "canary-0123456789abcdef-tweet"
ADMIN = "admin-0123456789abcdefghijklm"
NARROW = "narrow-0123456789abcdefghijkl"
SMALL = "small-0123456789abcdefghijklm"
NOW = 1_700_000_050.0
"""A clock that stands still: no minute ends in the middle of a test."""
MESSAGES = [{"role": "user", "content": "Capital of France?"}]
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/v1/chat/completions", {"model": "tiny", "messages": MESSAGES}),
    "anthropic": ("/v1/messages", {"model": "tiny", "max_tokens": 9, "messages": MESSAGES}),
    "ollama": ("/api/chat", {"model": "tiny", "messages": MESSAGES, "stream": False}),
    "native": ("/chat", {"model": "tiny", "message": "Capital of France?"}),
}


async def counting(exchange: Exchange) -> None:
    """An engine that tells the tokens of streams too, where it is asked."""
    body = exchange.json
    if not body.get("stream"):
        await exchange.answer(chat_completion("Paris.", body["model"]))
        return
    assert body["stream_options"]["include_usage"]
    await exchange.stream_head()
    await exchange.event(chat_chunk("Paris.", body["model"], "stop"))
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    await exchange.event(chat_chunk("", body["model"]) | {"choices": [], "usage": usage})
    await exchange.finish()


@pytest.fixture
async def guarded(tmp_path: Path, engine: Engine) -> AsyncIterator[Stage]:
    keys = {
        "canary": CANARY,
        "admin": json.dumps({"key": ADMIN, "role": "admin"}),
        "small": json.dumps({"key": SMALL, "requestsPerMinute": None, "storageBytes": 100}),
        "narrow": json.dumps({"key": NARROW, "models": ["tiny"], "tokensPerMinute": 10}),
    }
    mount(tmp_path, "a", keys)
    settings = AccessSettings(
        modes=("keys",), keys=str(tmp_path), key_limits=Limits(requests=4), models={"big*": Limits(requests=1)}
    )
    kept = in_memory()
    async with (
        open_access(settings, kept.accounts, clock=lambda: NOW) as gate,
        stage(kept, gate=gate, access=settings) as made,
    ):
        await made.awake(engine)
        yield made


@pytest.fixture
async def caller(guarded: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=guarded.url, timeout=20, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("dialect", CALLS)
async def test_a_limit_is_told_in_the_words_of_each_dialect(caller: httpx.AsyncClient, dialect: str) -> None:
    path, body = CALLS[dialect]
    headers = {"x-api-key": CANARY}
    answers = [await caller.post(path, json=body, headers=headers) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429], answers[-1].text
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["3", "2", "1", "0", "0"]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    said = answers[-1].json()
    if dialect == "openai":
        assert said["error"] | {"message": ""} == {
            "message": "",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    elif dialect == "anthropic":
        assert (said["type"], said["error"]["type"]) == ("error", "rate_limit_error")
    assert "Rate limit reached for key:a/canary: 4 requests per minute" in answers[-1].text


async def test_a_key_in_the_path_is_as_good_as_one_in_a_header(caller: httpx.AsyncClient) -> None:
    path, body = CALLS["ollama"]
    assert (await caller.post(f"/key/{CANARY}{path}", json=body)).status_code == 200
    assert (await caller.get(f"/key/{CANARY}/api/tags")).status_code == 200
    assert (await caller.head(f"/key/{CANARY}/")).status_code == 200
    assert (await caller.get("/key/wrong/api/tags")).status_code == 401
    refused = await caller.get("/key/wrong/api/tags")
    assert refused.headers["www-authenticate"].startswith("Bearer")


async def test_no_part_of_a_key_is_in_any_log_error_or_metric(
    guarded: Stage, caller: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    told = []
    with capture_logs() as logs, caplog.at_level(logging.DEBUG):
        for key in (CANARY, CANARY[::-1]):
            for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
                for path, body in CALLS.values():
                    told.append(await caller.post(path, json=body, headers=headers))
                told.append(await caller.get("/nowhere", headers=headers))
            told.append(await caller.get(f"/key/{key}/nowhere"))
            told.append(await caller.post(f"/key/{key}/api/chat", json={"model": "none"}))
        seen = ("/diag", "/status", "/metrics", "/health", "/models")
        told += [await caller.get(path, headers={"x-api-key": ADMIN}) for path in seen]
        told.append(await caller.get(f"{guarded.ops}/metrics"))
    assert {answer.status_code for answer in told} >= {200, 401, 404, 429}
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    said = [str(logs), *ours, *(f"{answer.headers} {answer.text}" for answer in told)]
    parts = (CANARY[:13], CANARY[-13:], ADMIN[:13], CANARY[::-1][:13])
    assert [part for part in parts for text in said if part in text] == []


@pytest.mark.parametrize(("modes", "words"), [(("open",), "without a key"), (("keys",), "no key is mounted")])
async def test_the_log_says_who_may_come_in(tmp_path: Path, modes: tuple[str, ...], words: str) -> None:
    with capture_logs() as logs:
        async with open_access(AccessSettings(modes=modes, keys=str(tmp_path)), MemoryAccounts()) as gate:
            assert (gate is None) == (modes == ("open",))
    assert [each for each in logs if words in each["event"] and each["log_level"] == "warning"]


@pytest.mark.parametrize("dialect", CALLS)
async def test_a_key_for_some_models_calls_and_sees_those(
    guarded: Stage, caller: httpx.AsyncClient, engine: Engine, dialect: str
) -> None:
    await guarded.awake(engine, name="other")
    path, body = CALLS[dialect]
    headers = {"x-api-key": NARROW}
    refused = await caller.post(path, json=body | {"model": "other"}, headers=headers)
    assert refused.status_code == 403
    assert "This key is for tiny and not for 'other'" in refused.text
    assert (await caller.post(path, json=body, headers=headers)).status_code == 200
    listed = (await caller.get("/v1/models", headers=headers)).json()["data"]
    assert [each["id"] for each in listed] == ["tiny"]
    assert (await caller.get("/v1/models/other", headers=headers)).status_code == 404


@pytest.mark.parametrize("dialect", CALLS)
async def test_the_tokens_of_an_answer_are_taken_from_the_next_call(
    caller: httpx.AsyncClient, engine: Engine, dialect: str
) -> None:
    engine.serve = counting
    path, body = CALLS[dialect]
    headers = {"x-api-key": NARROW}
    first = await caller.post(path, json=body, headers=headers)
    assert (first.status_code, first.headers["x-ratelimit-remaining-tokens"]) == (200, "10")
    second = await caller.post(path, json=body, headers=headers)
    assert (second.status_code, second.headers["x-ratelimit-remaining-tokens"]) == (200, "1")
    third = await caller.post(path, json=body, headers=headers)
    assert (third.status_code, third.headers["x-ratelimit-remaining-tokens"]) == (429, "0")
    assert "Rate limit reached for key:a/narrow: 10 tokens per minute" in third.text


async def test_a_model_has_limits_of_its_own_for_all_its_callers(
    guarded: Stage, caller: httpx.AsyncClient, engine: Engine
) -> None:
    await guarded.awake(engine, name="big-one")
    path, body = CALLS["openai"]
    assert (await caller.post(path, json=body | {"model": "big-one"}, headers={"x-api-key": CANARY})).is_success
    refused = await caller.post(path, json=body | {"model": "big-one"}, headers={"x-api-key": ADMIN})
    assert refused.status_code == 429
    assert "Rate limit reached for model:default/big-one (big*): 1 requests per minute" in refused.text
    assert (await caller.post(path, json=body, headers={"x-api-key": ADMIN})).is_success


async def test_a_key_is_made_shown_once_used_and_revoked(caller: httpx.AsyncClient) -> None:
    admin = {"authorization": f"Bearer {ADMIN}"}
    wish = {"name": "ci", "teams": ["red"], "models": ["tiny"], "requests_per_minute": 2, "expires_in": 3600}
    made = (await caller.post("/v1/auth/keys", json=wish, headers=admin)).json()
    assert made["key"].startswith(made["redacted_value"].removesuffix("..."))
    mine = {"authorization": f"Bearer {made['key']}"}
    path, body = CALLS["openai"]
    answered = await caller.post(path, json=body, headers=mine)
    assert (answered.status_code, answered.headers["x-ratelimit-limit-requests"]) == (200, "2"), answered.text
    who = (await caller.get("/v1/auth/me", headers=mine)).json()
    assert (who["id"], who["key"], who["role"]) == ("key:a/admin", f"key:{made['id']}", "user")
    listed = await caller.get("/v1/auth/keys", headers=admin)
    assert made["key"] not in listed.text
    assert listed.json()["data"] == [{name: value for name, value in made.items() if name != "key"}]
    assert (await caller.delete(f"/v1/auth/keys/{made['id']}", headers=admin)).json()["deleted"]
    assert (await caller.post(path, json=body, headers=mine)).status_code == 401
    assert (await caller.delete(f"/v1/auth/keys/{made['id']}", headers={"x-api-key": CANARY})).status_code == 404


@pytest.mark.parametrize(
    ("wish", "status", "words"),
    [
        ({"name": "k"}, 200, "redacted_value"),
        ({"name": "k", "role": "operator"}, 403, "cannot give more"),
        ({"name": "k", "teams": ["red"]}, 403, "only the teams that you are in"),
        ({"name": "k", "requests_per_minute": 5}, 403, "you have 4 requests yourself, and only an admin gives more"),
        ({"name": "k", "requests_per_minute": None}, 403, "you have 4 requests yourself, and only an admin gives more"),
        ({"name": "k", "role": "god"}, 400, "the role is none of user"),
        ({"name": "k", "scopes": ["all"]}, 400, "there is no scope 'all'"),
        ({"name": "a b"}, 400, "name must be letters"),
        ({"name": "k", "expires_in": 1}, 400, "expires_in must be 60"),
        ({"name": "k", "rol": "user"}, 400, "unknown field `rol`"),
        ({"name": "k", "user": "bob"}, 403, "only an admin makes keys for others"),
        ({}, 400, "missing required field `name`"),
    ],
)
async def test_nobody_gives_a_key_more_than_it_has(
    caller: httpx.AsyncClient, wish: dict[str, Any], status: int, words: str
) -> None:
    answer = await caller.post("/v1/auth/keys", json=wish, headers={"x-api-key": CANARY})
    assert answer.status_code == status, answer.text
    assert words in answer.text


async def test_a_narrow_key_makes_only_narrower_ones(caller: httpx.AsyncClient) -> None:
    headers = {"x-api-key": NARROW}
    refused = await caller.post("/v1/auth/keys", json={"name": "k"}, headers=headers)
    assert "your own key is for the models tiny" in refused.text
    wish = {"name": "k", "models": ["tiny"]}
    refused = await caller.post("/v1/auth/keys", json=wish, headers=headers)
    assert "you have 10 tokens yourself" in refused.text
    assert (await caller.post("/v1/auth/keys", json=wish | {"tokens_per_minute": 10}, headers=headers)).is_success


async def test_a_key_keeps_as_many_bytes_as_it_may(caller: httpx.AsyncClient) -> None:
    headers = {"x-api-key": SMALL}

    async def sent(size: int, key: str = SMALL) -> httpx.Response:
        form: dict[str, Any] = {"data": {"purpose": "user_data"}, "files": {"file": ("a.bin", b"x" * size)}}
        return await caller.post("/v1/files", headers={"x-api-key": key}, **form)

    kept = await sent(80)
    assert kept.status_code == 200, kept.text
    announced = {"bytes": 30, "filename": "b.bin", "mime_type": "text/plain", "purpose": "user_data"}
    for refused in (await sent(30), await caller.post("/v1/uploads", json=announced, headers=headers)):
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (403, "file_quota_exceeded")
        assert "may have 100 bytes together and have 80: delete some" in error["message"]
    assert (await sent(30, ADMIN)).status_code == 200, "others are not kept from theirs"
    assert (await caller.delete(f"/v1/files/{kept.json()['id']}", headers=headers)).is_success
    assert (await sent(30)).status_code == 200


async def test_nobody_gives_a_key_more_storage_than_it_has(caller: httpx.AsyncClient) -> None:
    headers = {"x-api-key": SMALL}
    refused = await caller.post("/v1/auth/keys", json={"name": "k"}, headers=headers)
    assert "you have 100 bytes of files yourself, and only an admin gives more" in refused.text
    made = await caller.post("/v1/auth/keys", json={"name": "k", "storage_bytes": 50}, headers=headers)
    assert made.json()["storage_bytes"] == 50


async def test_many_keys_of_ones_own_are_no_more_than_one(caller: httpx.AsyncClient) -> None:
    made = [await caller.post("/v1/auth/keys", json={"name": "k"}, headers={"x-api-key": CANARY}) for _ in range(2)]
    keys = [each.json()["key"] for each in made]
    statuses = [(await caller.get("/v1/models", headers={"x-api-key": key})).status_code for key in keys * 3]
    assert statuses == [200, 200, 200, 200, 429, 429]


NONE = dict.fromkeys(("requests_per_minute", "tokens_per_minute", "concurrent", "storage_bytes"))


async def test_an_admin_makes_keys_for_others(caller: httpx.AsyncClient) -> None:
    wish = {"name": "k", "user": "bob", "requests_per_minute": None, "enqueued_tokens": 9}
    made = (await caller.post("/v1/auth/keys", json=wish, headers={"x-api-key": ADMIN})).json()
    who = (await caller.get("/v1/auth/me", headers={"x-api-key": made["key"]})).json()
    assert (who["id"], who["limits"]) == (
        "user:bob",
        {f"key:{made['id']}": NONE | {"enqueued_tokens": 9}},
    )


async def test_keys_of_others_are_nobodys_business(caller: httpx.AsyncClient) -> None:
    made = (await caller.post("/v1/auth/keys", json={"name": "k"}, headers={"x-api-key": CANARY})).json()
    assert (await caller.get("/v1/auth/keys", headers={"x-api-key": NARROW})).json()["data"] == []
    assert (await caller.get("/v1/auth/keys?everybody=true", headers={"x-api-key": NARROW})).json()["data"] == []
    assert (await caller.delete(f"/v1/auth/keys/{made['id']}", headers={"x-api-key": NARROW})).status_code == 404
    everybody = (await caller.get("/v1/auth/keys?everybody=true", headers={"x-api-key": ADMIN})).json()["data"]
    assert [each["id"] for each in everybody] == [made["id"]]


async def test_an_open_router_says_how_to_have_accounts(world: Stage, client: httpx.AsyncClient) -> None:
    assert world.router.plane.gate is None
    refused = await client.get("/v1/auth/me")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "no_account")
    assert "router.access.modes" in refused.text


async def test_who_is_refused_for_a_limit_is_counted(guarded: Stage, caller: httpx.AsyncClient) -> None:
    path, body = CALLS["openai"]
    for _ in range(6):
        await caller.post(path, json=body, headers={"x-api-key": CANARY})
    for number in range(30):
        await caller.post(path, json=body, headers={"x-api-key": f"wrong-{number}"})
    text = (await caller.get(f"{guarded.ops}/metrics")).text
    assert 'dormouse_limits_hit_total{limit="requests",of="key"} 2.0' in text
    assert 'dormouse_limits_hit_total{limit="wrong_keys",of="address"} 10.0' in text


async def test_the_document_says_who_may_call(caller: httpx.AsyncClient) -> None:
    told = (await caller.get("/openapi.json")).json()
    assert told["paths"]["/v1/auth/users"]["post"]["security"][0] == {"key": ["admin"]}
    assert "asks who calls" in told["info"]["description"]
