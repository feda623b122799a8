"""What Ollama's command line and other well-known clients send, in their order and form, and what they read of it.

The program itself is run by `test_cli.py`; this needs nothing but the router.
"""

import json
import re
import time
from datetime import datetime
from typing import Any

import httpx
import pytest

from dormouse_router.cluster import Resource
from tests.router.dialects import engines
from tests.router.dialects.engines import HI, lines
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Engine, Stage, until

CLI = {"user-agent": "ollama/0.33.0 (amd64 linux) Go/go1.26"}
COPILOT = {"user-agent": "GitHubCopilotChat/0.35.0"}


async def asked(client: httpx.AsyncClient, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    """One request of the command line, which sends its body as JSON and accepts lines."""
    more = {**CLI, "accept": "application/x-ndjson", "content-type": "application/json", **headers}
    content = None if body is None else json.dumps(body)
    return await client.request(method, path, content=content, headers=more)


@pytest.fixture(autouse=True)
async def beat(client: httpx.AsyncClient, serving: Engine) -> None:
    """Every command begins with a heartbeat."""
    assert (await client.head("/", headers=CLI)).status_code == 200


# ---------------------------------------------------------------------------------------------------- the command line


async def test_run_interactively(client: httpx.AsyncClient, serving: Engine) -> None:
    for _ in range(2):
        shown = (await asked(client, "POST", "/api/show", {"model": "tiny", "name": ""})).json()
        assert (shown["capabilities"], type(shown["model_info"])) == (["completion", "tools"], dict)
        assert "projector_info" not in shown
    load = {"model": "tiny", "prompt": "", "suffix": "", "system": "", "template": "", "options": None, "think": None}
    loaded = await asked(client, "POST", "/api/generate", load)
    assert loaded.headers["content-type"].startswith("application/json")
    assert {**loaded.json(), "created_at": ""} == {
        "model": "tiny",
        "created_at": "",
        "response": "",
        "done": True,
        "done_reason": "load",
    }
    assert serving.seen == []
    turn = {"model": "tiny", "messages": HI, "format": "", "options": {}, "keep_alive": "5m0s"}
    *pieces, last = lines(await asked(client, "POST", "/api/chat", turn))
    assert "".join(piece["message"]["content"] for piece in pieces) == "Paris."
    assert (last["done"], last["done_reason"]) == (True, "stop")


async def test_run_of_what_is_not_here_pulls_on_404_only(client: httpx.AsyncClient, world: Stage) -> None:
    missing = await asked(client, "POST", "/api/show", {"model": "nobody"})
    assert (missing.status_code, missing.json()["error"]) == (404, "model 'nobody' not found")
    [pulled] = lines(await asked(client, "POST", "/api/pull", {"name": "nobody", "model": "nobody"}))
    assert pulled == {"error": "pull model manifest: file does not exist"}
    assert world.cluster.created == []


async def test_run_with_a_prompt(client: httpx.AsyncClient) -> None:
    wish = {"model": "tiny", "prompt": "hi", "format": "json", "options": {"temperature": 0.1}, "raw": False}
    found = lines(await asked(client, "POST", "/api/generate", wish))
    assert "".join(line["response"] for line in found) == "Paris."
    assert found[-1]["context"]


async def test_list_and_ps(client: httpx.AsyncClient) -> None:
    tags = (await asked(client, "GET", "/api/tags")).json()["models"]
    running = (await asked(client, "GET", "/api/ps")).json()["models"]
    for entry in (*tags, *running):
        assert re.fullmatch("[0-9a-f]{64}", entry["digest"])
        assert (entry["name"], entry["size"]) == (entry["model"], 4_500_000)
        assert ":" in entry["name"]
    assert all(datetime.fromisoformat(entry["modified_at"]) for entry in tags)
    for entry in running:
        assert entry["size_vram"] in (0, entry["size"])
        assert entry["context_length"] == 2048
        assert datetime.fromisoformat(entry["expires_at"])


async def test_stop_and_remove(client: httpx.AsyncClient, world: Stage) -> None:
    await asked(client, "POST", "/api/show", {"model": "tiny"})
    unload = {"model": "tiny", "prompt": "", "keep_alive": "0s"}
    assert (await asked(client, "POST", "/api/generate", unload)).json()["done_reason"] == "unload"
    gone = await asked(client, "DELETE", "/api/delete", {"model": "", "name": "tiny"})
    assert (gone.status_code, gone.content) == (200, b"")
    await until(lambda: world.router.catalog.find("tiny") is None)
    again = await asked(client, "DELETE", "/api/delete", {"name": "tiny"})
    assert (again.status_code, again.json()) == (404, {"error": "model 'tiny' not found"})


async def test_a_model_that_only_embeds_is_loaded_and_stopped(client: httpx.AsyncClient, world: Stage) -> None:
    world.cluster.add_model(model("e5", status=known_status(capabilities=["embedding"])))
    await engines.known(world, "e5")
    stopped = await asked(client, "POST", "/api/generate", {"model": "e5", "prompt": "", "keep_alive": "0s"})
    assert stopped.json()["done_reason"] == "unload"
    told = await asked(client, "POST", "/api/generate", {"model": "e5", "prompt": "x"})
    assert (told.status_code, told.json()["error"]) == (400, '"e5" does not support generate')


async def test_copy_create_and_save(client: httpx.AsyncClient, world: Stage) -> None:
    copied = await asked(client, "POST", "/api/copy", {"source": "tiny", "destination": "other"})
    assert (copied.status_code, copied.content) == (200, b"")
    saved = {
        "model": "saved",
        "from": "tiny",
        "system": "be brief",
        "parameters": {"temperature": 0.2, "stop": ["a", "b"]},
        "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],
        "license": ["MIT", "and more"],
    }
    steps = [line["status"] for line in lines(await asked(client, "POST", "/api/create", saved))]
    assert steps[0].startswith("using existing layer sha256:")
    assert [step.partition(" sha256:")[0] for step in steps[1:]] == [*["creating new layer"] * 4, *steps[-2:]]
    assert steps[-2:] == ["writing manifest", "success"]
    shown = (await asked(client, "POST", "/api/show", {"name": "saved"})).json()
    assert (shown["system"], shown["license"]) == ("be brief", "MIT\n\nand more")
    assert shown["messages"] == saved["messages"]
    assert 'LICENSE """MIT\n\nand more"""' in shown["modelfile"]
    assert world.cluster.objects[Resource.ROUTES]["default", "saved"]["spec"]["license"] == "MIT\n\nand more"


async def test_pull_says_success_last(client: httpx.AsyncClient) -> None:
    found = lines(await asked(client, "POST", "/api/pull", {"name": "tiny", "insecure": False}))
    layer = next(line for line in found if "digest" in line)
    assert layer["status"] == f"pulling {layer['digest'].removeprefix('sha256:')[:12]}"
    assert (layer["total"], layer["completed"]) == (4_500_000, 4_500_000)
    assert [line["status"] for line in found if "digest" not in line] == [
        *("pulling manifest", "verifying sha256 digest", "writing manifest", "success")
    ]
    whole = await asked(client, "POST", "/api/pull", {"name": "tiny", "stream": False})
    assert whole.json() == {"status": "success"}


# ---------------------------------------------------------------------------------------------------- others


async def test_vs_code_copilot(client: httpx.AsyncClient, serving: Engine) -> None:
    version = (await client.get("/api/version", headers=COPILOT)).json()["version"]
    assert tuple(int(part) for part in version.split(".")) >= (0, 6, 4)
    [name, *_] = [entry["model"] for entry in (await client.get("/api/tags", headers=COPILOT)).json()["models"]]
    shown = (await client.post("/api/show", json={"model": name}, headers=COPILOT)).json()
    info = shown["model_info"]
    assert "tools" in shown["capabilities"]
    assert info[f"{info['general.architecture']}.context_length"] == 2048
    assert info["general.basename"] == name
    body = {"model": name, "messages": HI, "stream": True, "tools": [], "stream_options": {"include_usage": True}}
    answer = await client.post("/v1/chat/completions", json=body, headers=COPILOT)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
    assert serving.seen[-1].json["model"] == "tiny-chat"


async def test_open_webui(client: httpx.AsyncClient) -> None:
    """Lists by `name` and by `model`, reads `expires_at` with microseconds at most, and shows `error`."""
    assert (await client.get("/api/version")).json().keys() == {"version"}
    tags = (await client.get("/api/tags")).json()["models"]
    assert {entry["name"] for entry in tags} == {entry["model"] for entry in tags}
    loaded = {entry["name"]: entry["expires_at"] for entry in (await client.get("/api/ps")).json()["models"]}
    assert loaded.keys() == {entry["name"] for entry in tags}
    assert all(len(at.partition(".")[2]) <= len("123456Z") for at in loaded.values())
    body = {"model": "tiny", "messages": HI, "options": {}, "stream": True, "keep_alive": "-1", "metadata": {"a": 1}}
    assert lines(await client.post("/api/chat", json=body))[-1]["done"] is True
    failed = await client.post("/api/chat", json={**body, "format": 7})
    assert (failed.status_code, type(failed.json()["error"])) == (400, str)


async def test_continue_in_an_editor(client: httpx.AsyncClient, world: Stage, serving: Engine) -> None:
    """Shows by `name`, reads `parameters` by line and `template` for `.Suffix`, keeps alive by a bare number."""
    world.cluster.add_model(model("coder", status=known_status(capabilities=["completion", "insert"])))
    world.ready(serving, name="coder")
    await engines.awake(world, "coder")
    await asked(client, "POST", "/api/create", {"model": "mine", "from": "coder", "parameters": {"stop": ["<end>"]}})
    shown = (await client.post("/api/show", json={"name": "mine"})).json()
    rows = [re.split(r"\s+", line, maxsplit=1) for line in shown["parameters"].split("\n")]
    assert {key: json.loads(value) for key, value in rows}.items() >= {"num_ctx": 2048, "stop": "<end>"}.items()
    assert ".Suffix" in shown["template"]
    wish = {"model": "mine", "prompt": "def f(", "suffix": "return 1", "raw": False, "keep_alive": 1800}
    found = lines(await client.post("/api/generate", json={**wish, "options": {"num_predict": 9, "num_ctx": 8192}}))
    assert "".join(line["response"] for line in found) == "Paris."
    running = (await client.get("/api/ps")).json()["models"]
    [ends] = [datetime.fromisoformat(entry["expires_at"]) for entry in running if entry["model"] == "mine:latest"]
    assert 1790 < ends.timestamp() - time.time() <= 1800


async def test_litellm(client: httpx.AsyncClient, serving: Engine) -> None:
    """Options with any keys, a whole answer, tools with arguments as text."""
    options = {"temperature": 0.3, "num_ctx": 4096, "frobnicate": [1], "mirostat": 0, "max_retries": 2}
    calls = [{"id": "call_1", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    turns = [*HI, {"role": "assistant", "content": "", "tool_calls": calls}]
    turns.append({"role": "tool", "content": "2", "tool_call_id": "call_1"})
    body = {"model": "tiny", "messages": turns, "options": options, "stream": False, "tools": []}
    whole = (await client.post("/api/chat", json=body)).json()
    assert whole["message"] == {"role": "assistant", "content": "Paris."}
    sent = serving.seen[-1].json
    assert json.loads(sent["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert sent.keys().isdisjoint({"frobnicate", "max_retries", "num_ctx"})
