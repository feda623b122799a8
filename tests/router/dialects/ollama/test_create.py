"""Derived names, by the unmodified SDK and by raw requests: create, copy, show, list, call and delete."""

import json
from typing import Any

import httpx
import ollama
import pytest

from dormouse_api.names import LABEL_DERIVED
from dormouse_router.cluster import ClusterError, Resource
from tests.router.dialects import engines
from tests.router.dialects.records import model
from tests.router.fakes import Engine, Stage, route, stage, until

HI = [{"role": "user", "content": "hi"}]
CANNED = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


def made(world: Stage) -> dict[str, dict[str, Any]]:
    """The specs of the InferenceRoutes there are, by name."""
    return {name: obj["spec"] for (_, name), obj in world.cluster.objects[Resource.ROUTES].items()}


@pytest.mark.usefixtures("serving")
async def test_create_makes_a_route_that_is_called_at_once(
    world: Stage, sdk: ollama.AsyncClient, serving: Engine
) -> None:
    parameters = {"temperature": 0.1, "num_predict": 5, "stop": "END", "repeat_penalty": 1.2, "num_ctx": 4096}
    steps = [
        step.status
        async for step in await sdk.create(
            "Mario:8b", from_="tiny", system="You are Mario.", parameters=parameters, messages=CANNED, stream=True
        )
    ]
    assert steps[0] is not None
    assert steps[0].startswith("using existing layer sha256:")
    assert steps[-2:] == ["writing manifest", "success"]
    assert len(steps) == 6
    [(name, spec)] = made(world).items()
    assert name.startswith("mario-8b-")
    assert spec == {
        "variants": [{"model": "tiny-chat", "weight": 1}],
        "aliases": ["Mario:8b"],
        "defaults": {
            "system": "You are Mario.",
            "messages": CANNED,
            "temperature": 0.1,
            "maxTokens": 5,
            "stop": ["END"],
            "repetitionPenalty": 1.2,
        },
    }
    whole = await sdk.chat(model="mario:8b", messages=HI, options={"temperature": 0.9})
    assert (whole.model, whole.message.content) == ("mario:8b", "Paris.")
    sent = serving.seen[-1].json
    assert sent["model"] == "tiny-chat"
    assert sent["messages"] == [{"role": "system", "content": "You are Mario."}, *CANNED, *HI]
    assert (sent["temperature"], sent["max_tokens"], sent["stop"], sent["top_k"]) == (0.9, 5, ["END"], 40)


async def test_the_clients_own_wins_over_the_derived_models(sdk: ollama.AsyncClient, serving: Engine) -> None:
    await sdk.create("mario", from_="tiny", system="You are Mario.", parameters={"num_predict": 5, "stop": ["END"]})
    own = [{"role": "system", "content": "You are Luigi."}, *HI]
    await sdk.chat(model="mario", messages=own, options={"num_predict": -1, "stop": []})
    sent = serving.seen[-1].json
    assert (sent["messages"], sent["max_tokens"], sent["stop"]) == (own, 2048, [])
    await sdk.generate(model="mario", prompt="hi")
    assert serving.seen[-1].json["messages"] == [{"role": "system", "content": "You are Mario."}, *HI]
    await sdk.generate(model="mario", prompt="hi", system="You are Luigi.")
    assert serving.seen[-1].json["messages"] == own
    await sdk.generate(model="mario", prompt="<s>hi", raw=True)
    assert (serving.seen[-1].json["prompt"], serving.seen[-1].json["max_tokens"]) == ("<s>hi", 5)


@pytest.mark.usefixtures("serving")
async def test_a_derived_model_is_listed_shown_and_runs(
    world: Stage, sdk: ollama.AsyncClient, client: httpx.AsyncClient
) -> None:
    parameters = {"temperature": 0.1, "stop": ["END", "</s>"]}
    await sdk.create("mario", from_="tiny", system="You are Mario.", parameters=parameters, messages=CANNED)
    shown = (await client.post("/api/show", json={"model": "mario"})).json()
    base = (await client.post("/api/show", json={"model": "tiny"})).json()
    assert shown["system"] == "You are Mario."
    assert shown["messages"] == CANNED
    assert shown["template"] == base["template"]
    assert shown["details"] == base["details"] | {"parent_model": "tiny-chat:latest"}
    assert shown["model_info"] == base["model_info"]
    lines = [line.split(maxsplit=1) for line in shown["parameters"].splitlines()]
    assert ["temperature", "0.1"] in lines
    assert [line[1] for line in lines if line[0] == "stop"] == ['"END"', '"</s>"']
    for part in ("FROM tiny-chat:latest", 'SYSTEM """You are Mario."""', "PARAMETER temperature 0.1"):
        assert part in shown["modelfile"]
    listed = {entry.model: entry for entry in (await sdk.list()).models}
    assert set(listed) == {"tiny-chat:latest", "tiny:latest", "Org/Tiny:latest", "mario:latest"}
    assert len(listed["mario:latest"].digest or "") == 64
    assert listed["mario:latest"].digest != listed["tiny:latest"].digest
    running = {entry.model for entry in (await sdk.ps()).models}
    assert running == set(listed)


@pytest.mark.usefixtures("serving")
async def test_a_model_is_derived_from_a_derived_one(world: Stage, sdk: ollama.AsyncClient) -> None:
    await sdk.create("mario", from_="tiny", system="You are Mario.", parameters={"temperature": 0.1, "top_k": 3})
    await sdk.create("luigi", from_="mario", system="You are Luigi.", parameters={"top_k": 5})
    assert made(world)["luigi"] == {
        "variants": [{"model": "tiny-chat", "weight": 1}],
        "defaults": {"system": "You are Luigi.", "temperature": 0.1, "topK": 5},
    }
    await sdk.create("mario", from_="luigi")
    assert made(world)["mario"]["defaults"] == made(world)["luigi"]["defaults"]
    assert (await sdk.show("mario")).parameters is not None


@pytest.mark.usefixtures("serving")
async def test_what_a_model_shows_may_be_sent_back_as_its_template(world: Stage, sdk: ollama.AsyncClient) -> None:
    shown = await sdk.show("tiny")
    await sdk.create("again", from_="tiny", template=shown.template)
    assert made(world) == {"again": {"variants": [{"model": "tiny-chat", "weight": 1}]}}


@pytest.mark.usefixtures("serving")
async def test_copy_and_delete(world: Stage, sdk: ollama.AsyncClient, client: httpx.AsyncClient) -> None:
    await sdk.copy("tiny:latest", "Backup")
    assert made(world) == {"backup": {"variants": [{"model": "tiny-chat", "weight": 1}], "aliases": ["Backup"]}}
    labels = world.cluster.objects[Resource.ROUTES]["default", "backup"]["metadata"]["labels"]
    assert LABEL_DERIVED in labels
    assert (await sdk.chat(model="backup", messages=HI)).message.content == "Paris."
    await sdk.copy("backup", "backup")
    await sdk.copy("backup", "org/copy:v2")
    assert len(made(world)) == 2
    kept = await client.request("DELETE", "/api/delete", json={"model": "tiny"})
    assert kept.status_code == 409
    assert "default/backup" in kept.json()["error"]
    for name in ("Backup:latest", "org/copy:v2"):
        await sdk.delete(name)
        with pytest.raises(ollama.ResponseError, match="not found"):
            await sdk.show(name)
    assert made(world) == {}
    await sdk.delete("tiny")
    assert world.cluster.deleted == [("default", "tiny-chat")]


async def test_a_derived_model_wakes_and_unloads_its_own(
    world: Stage, sdk: ollama.AsyncClient, client: httpx.AsyncClient, serving: Engine
) -> None:
    world.cluster.add_model(model("asleep"))
    world.wake_with(serving, name="asleep")
    await engines.known(world, "asleep")
    await sdk.copy("asleep", "copy")
    answer = await client.post("/api/chat", json={"model": "copy", "messages": HI, "stream": False})
    assert answer.json()["message"]["content"] == "Paris."
    assert answer.headers["x-dormouse-route"] == "default/copy"
    assert {lease for _, lease, _ in world.cluster.writes} == {"asleep-runtime"}
    stopped = await sdk.generate(model="copy", keep_alive=0)
    assert stopped.done_reason == "unload"
    assert world.cluster.writes[-1][2].duration <= 1


@pytest.mark.usefixtures("serving")
async def test_a_pull_of_a_derived_model_follows_its_base(world: Stage, sdk: ollama.AsyncClient) -> None:
    await sdk.copy("tiny", "copy")
    assert (await sdk.pull("copy")).status == "success"
    assert world.cluster.created == []


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("create", {"from": "tiny"}, 400, "model is required"),
        ("create", {"model": "a b", "from": "tiny"}, 400, "invalid model name"),
        ("create", {"model": "host.example:5000/org/m", "from": "tiny"}, 400, "invalid model name"),
        ("create", {"model": "m" * 200, "from": "tiny"}, 400, "invalid model name"),
        ("create", {"model": "new"}, 400, "neither 'from' or 'files' was specified"),
        ("create", {"model": "new", "from": "nobody"}, 404, "model 'nobody' not found, try pulling it first"),
        ("create", {"model": "new", "from": "tiny", "files": {"a": "b"}}, 400, "create FROM them"),
        ("create", {"model": "new", "from": "tiny", "adapters": {"a": "b"}}, 400, "merged weights"),
        ("create", {"model": "new", "from": "tiny", "quantize": "q4_K_M"}, 400, "ollama pull org/name:q4_K_M"),
        ("create", {"model": "new", "from": "tiny", "parameters": {"temperature": "hot"}}, 400, "must be of type"),
        ("create", {"model": "new", "from": "tiny", "parameters": {"temperature": 7}}, 400, "temperature"),
        ("create", {"model": "new", "from": "tiny", "parameters": 7}, 400, "parameters"),
        ("create", {"model": "new", "from": "tiny", "system": "x" * 70_000}, 400, "system"),
        ("create", {"model": "new", "from": "tiny", "messages": [{"role": "tool", "content": "x"}]}, 400, "role"),
        ("create", {"model": "new", "from": "tiny", "messages": [{"role": "user", "images": ["eA=="]}]}, 400, "text"),
        (
            "create",
            {"model": "new", "from": "tiny", "messages": [{"role": "user", "content": "x" * 20_000}]},
            400,
            "16384",
        ),
        (
            "create",
            {"model": "new", "from": "tiny", "template": "{{ if }}"},
            400,
            "line 1, column 7: a condition for if",
        ),
        ("create", {"model": "new", "from": "tiny", "template": "x" * 20_000}, 400, "16384 characters: shorten it"),
        ("create", {"model": "tiny", "from": "tiny"}, 409, "is the InferenceModel default/tiny-chat"),
        ("create", {"model": "canary", "from": "tiny"}, 409, "which no client made"),
        ("create", {"model": "new:cloud", "from": "tiny"}, 400, "choose another tag"),
        ("create", {"model": "new", "from": "tiny", "license": "x" * 70_000}, 400, "license"),
        ("copy", {"source": "tiny", "destination": "new:8b-cloud"}, 400, "choose another tag"),
        ("copy", {"source": "nobody", "destination": "b"}, 404, 'model "nobody" not found'),
        ("copy", {"source": "", "destination": "b"}, 400, 'source "" is invalid'),
        ("copy", {"source": "tiny", "destination": "a b"}, 400, 'destination "a b" is invalid'),
        ("copy", {"source": "canary", "destination": "tiny"}, 409, "is the InferenceModel"),
        ("copy", {}, 400, 'source "" is invalid'),
    ],
)
async def test_what_cannot_be_made_is_refused_in_words(
    world: Stage, client: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, words: str
) -> None:
    world.cluster.put(Resource.ROUTES, route("canary", ("tiny-chat", 1)))
    await until(lambda: world.router.catalog.find_route("canary") is not None)
    answer = await client.post(f"/api/{path}", content=json.dumps(body))
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text
    assert list(made(world)) == ["canary"]


@pytest.mark.parametrize("path", ["create", "copy"])
async def test_making_names_follows_the_policy_of_pulls(path: str) -> None:
    bodies = {"create": {"model": "new", "from": "tiny-chat"}, "copy": {"source": "tiny-chat", "destination": "new"}}
    async with stage(pull=False, delete=False) as world, httpx.AsyncClient(base_url=world.url) as client:
        world.cluster.add_model(model())
        world.cluster.add_route("canary", ("tiny-chat", 1))
        await engines.known(world)
        await until(lambda: world.router.catalog.find_route("canary") is not None)
        answer = await client.post(f"/api/{path}", json=bodies[path])
        assert (answer.status_code, "ask the administrator" in answer.json()["error"]) == (403, True)
        kept = await client.request("DELETE", "/api/delete", json={"model": "canary"})
        assert kept.status_code == 403
        assert list(made(world)) == ["canary"]


@pytest.mark.usefixtures("serving")
async def test_an_api_server_that_refuses_or_is_away(
    world: Stage, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"model": "new", "from": "tiny"}
    for status, becomes in ((403, 403), (409, 409), (422, 400), (0, 503)):

        async def refuses(*_: object, status: int = status) -> None:
            raise ClusterError(status, "no such luck")

        monkeypatch.setattr(world.cluster, "create_route", refuses)
        answer = await client.post("/api/create", json=body)
        assert answer.status_code == becomes
    assert answer.headers["retry-after"]
