"""Models registered, changed and deleted over HTTP by their owners."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from dormouse_router.cluster import ClusterError, Resource
from tests.router.dialects import engines
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Stage, stage, until

KEY, OTHER = "sk-mine", "sk-other"
OWNER = hashlib.sha256(KEY.encode()).hexdigest()
SDK_FIELDS = {"id", "object", "created", "owned_by"}


@pytest.fixture
async def owner(world: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.url, headers={"authorization": f"Bearer {KEY}"}, timeout=20) as made:
        yield made


def spec_of(world: Stage, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = world.cluster.objects[Resource.MODELS]["default", name]["spec"]
    return spec


async def test_a_model_is_registered_whole(world: Stage, owner: httpx.AsyncClient) -> None:
    body = {
        "id": "My-Model:v1",
        "source": "org/name",
        "revision": "v1",
        "quantization": "q4",
        "profile": "gpu",
        "context_length": 4096,
        "task": "generate",
        "idle_seconds": 60,
        "preload": True,
        "aliases": ["smart"],
        "visibility": "private",
        "description": "For drafts.",
        "token_secret": "hub",
    }
    answer = await owner.post("/v1/models", json=body)
    assert answer.status_code == 201, answer.text
    shown = answer.json()
    name = shown["name"]
    spec = spec_of(world, name)
    assert spec["source"] == {
        "uri": "hf://org/name",
        "revision": "v1",
        "tokenSecretRef": {"name": "hub", "key": "token"},
    }
    assert (spec["quantization"], spec["profile"], spec["aliases"]) == ("int4", "gpu", ["My-Model:v1", "smart"])
    assert (spec["engine"]["maxModelLen"], spec["engine"]["task"]) == (4096, "generate")
    assert (spec["scaling"]["idleSeconds"], spec["scaling"]["preload"]) == (60, True)
    assert spec["access"] == {"visibility": "Private", "owner": OWNER}
    assert spec["description"] == "For drafts."
    assert shown["id"] == "My-Model:v1"
    assert (shown["owned_by"], shown["visibility"]) == (f"key-{OWNER[:12]}", "private")
    assert (shown["source"], shown["revision"], shown["aliases"]) == ("hf://org/name", "v1", ["My-Model:v1", "smart"])
    assert answer.headers["location"] == "/v1/models/My-Model%3Av1"
    # it is there at once, for the owner
    assert (await owner.get(answer.headers["location"])).json()["name"] == name
    async with httpx.AsyncClient(base_url=world.url) as anybody:
        assert "My-Model:v1" not in (await anybody.get("/v1/models")).text


@pytest.mark.parametrize(
    ("body", "name", "aliases", "uri"),
    [
        ({"id": "org/Name"}, "org-name", ["org/Name"], "hf://org/Name"),
        ({"id": "tiny", "source": "hf://org/name"}, "tiny", None, "hf://org/name"),
        ({"source": "s3://bucket/path/model"}, "bucket-path-model", None, "s3://bucket/path/model"),
        ({"source": "pvc://claim/a", "id": "a/b"}, "claim-a", ["a/b"], "pvc://claim/a"),
        ({"source": "org/name", "revision": "v2", "quantization": "int8"}, "org-name-v2-int8", None, "hf://org/name"),
        # as Replicate's clients say it
        ({"owner": "org", "name": "Name", "visibility": "public", "hardware": "cpu"}, "org-name", ["org/Name"], None),
        ({"name": "mine", "source": "org/name", "cover_image_url": "https://x"}, "mine", None, None),
    ],
)
async def test_names_and_sources(
    world: Stage, owner: httpx.AsyncClient, body: dict[str, Any], name: str, aliases: list[str] | None, uri: str | None
) -> None:
    answer = await owner.post("/v1/models", json=body)
    assert (answer.status_code, answer.json().get("name")) == (201, name), answer.text
    spec = spec_of(world, name)
    assert spec.get("aliases") == aliases
    assert spec["source"]["uri"] == (uri or spec["source"]["uri"])
    assert spec.get("profile") == body.get("hardware")
    assert spec["access"] == {"visibility": "Public", "owner": OWNER}


async def test_private_models_of_the_same_weights_are_in_nobodys_way(world: Stage, owner: httpx.AsyncClient) -> None:
    wish = {"id": "org/name", "visibility": "private"}
    mine = await owner.post("/v1/models", json=wish)
    theirs = await owner.post("/v1/models", json=wish, headers={"authorization": f"Bearer {OTHER}"})
    assert (mine.status_code, theirs.status_code) == (201, 201), theirs.text
    names = {mine.json()["name"], theirs.json()["name"]}
    assert len(names) == 2
    assert (await owner.get("/v1/models/org/name")).json()["name"] == mine.json()["name"]
    async with httpx.AsyncClient(base_url=world.url) as anybody:
        assert (await anybody.get("/v1/models/org/name")).status_code == 404
        pulled = await anybody.post("/pull", json={"model": "org/name"})
        assert pulled.status_code == 202
        assert pulled.json()["model"] not in names


@pytest.mark.parametrize(
    ("body", "status", "param", "words"),
    [
        ({}, 400, "source", "Say which model"),
        ({"id": "tiny"}, 400, "id", "names no model to pull"),
        ({"source": "https://example.com/x"}, 400, "source", "send org/name"),
        ({"id": "a/b", "visiblity": "private"}, 400, "visiblity", "unknown field"),
        ({"id": "a/b", "visibility": "secret"}, 400, "visibility", "Invalid enum value"),
        ({"id": "a/b", "visibility": "team"}, 400, "team", "name the team"),
        ({"id": "a/b", "quantization": "int3"}, 400, "quantization", "is not known"),
        ({"id": "a/b", "revision": "../x"}, 400, "revision", "spec.source.revision"),
        ({"id": "a/b", "aliases": ["../x"]}, 400, "aliases", "spec.aliases"),
        ({"id": "a/b", "context_length": 3}, 400, "context_length", "16"),
        ({"id": "a/b", "description": "x" * 2049}, 400, "description", "2048"),
        ({"id": "a/b", "aliases": ["x"] * 17}, 400, "aliases", "16"),
        ({"id": "a/b", "profile": "A B"}, 400, "profile", "spec.profile"),
        ({"id": "a/b", "profile": "x", "hardware": "y"}, 400, "hardware", "different things"),
        ({"id": "a/b", "name": "c"}, 400, "name", "different things"),
        ({"id": "x", "source": "pvc://c/d", "token_secret": "t"}, 400, "token_secret", "a claim needs none"),
        ({"id": "a/b", "token_secret": {"name": "No Secret"}}, 400, "token_secret", "tokenSecretRef"),
        ({"id": "tiny-chat", "source": "org/x"}, 409, "id", "default/tiny-chat's already"),
        ({"id": "a/b", "aliases": ["tiny-chat"]}, 409, "aliases", "choose another one"),
        ([], 400, None, "Expected `object`"),
    ],
)
async def test_what_cannot_be_registered_is_refused_with_the_field_and_the_fix(
    world: Stage, owner: httpx.AsyncClient, body: Any, status: int, param: str | None, words: str
) -> None:
    world.cluster.add_model(model())
    await engines.known(world)
    answer = await owner.post("/v1/models", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param), answer.text
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"
    assert world.cluster.created == []


async def test_without_a_key_a_model_is_everybodys_and_none_is_private(world: Stage) -> None:
    async with httpx.AsyncClient(base_url=world.url) as client:
        refused = await client.post("/v1/models", json={"id": "a/b", "visibility": "private"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "visibility")
        made = await client.post("/v1/models", json={"id": "a/b"})
        assert (made.status_code, made.json()["owned_by"]) == (201, "dormouse")
        assert "access" not in spec_of(world, "a-b")


async def test_what_is_only_tried_makes_nothing(world: Stage, owner: httpx.AsyncClient) -> None:
    answer = await owner.post("/v1/models", json={"id": "a/b", "dry_run": True, "visibility": "private"})
    assert (answer.status_code, answer.json()["visibility"]) == (200, "private")
    assert "location" not in answer.headers
    assert world.cluster.objects[Resource.MODELS] == {}


async def test_the_api_servers_word_is_told_by_field(world: Stage, owner: httpx.AsyncClient) -> None:
    causes = (("spec.source.revision", "no branch has '..'"), ("spec", "another"))
    world.cluster.down = ClusterError(422, "InferenceModel is invalid: much", "Invalid", causes)
    answer = await owner.post("/v1/models", json={"id": "a/b"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["message"]) == (400, "revision", "no branch has '..'")


async def test_what_is_forbidden_here_is(owner: httpx.AsyncClient) -> None:
    async with stage(pull=False) as closed, httpx.AsyncClient(base_url=closed.url) as client:
        assert (await client.post("/v1/models", json={"id": "a/b"})).json()["error"]["code"] == "pull_forbidden"
    async with stage(pull_sources=("hf://mine/*",)) as some, httpx.AsyncClient(base_url=some.url) as client:
        refused = (await client.post("/v1/models", json={"id": "a/b"})).json()["error"]
        assert (refused["code"], refused["param"]) == ("source_forbidden", "source")
        assert (await client.post("/v1/models", json={"id": "mine/b"})).status_code == 201


# ---------------------------------------------------------------------------------------------------- changed


async def test_an_owner_changes_what_may_be_changed(world: Stage, owner: httpx.AsyncClient) -> None:
    assert (await owner.post("/v1/models", json={"id": "mine", "source": "org/x", "aliases": ["a"]})).status_code == 201
    patch = {"revision": "v2", "visibility": "private", "aliases": ["b"], "context_length": 512, "description": "New."}
    answer = await owner.patch("/v1/models/mine", json=patch)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert {key: shown[key] for key in ("revision", "visibility", "aliases", "description")} == {
        key: patch[key] for key in ("revision", "visibility", "aliases", "description")
    }
    spec = spec_of(world, "mine")
    assert spec["source"] == {"uri": "hf://org/x", "revision": "v2"}
    assert spec["access"] == {"visibility": "Private", "owner": OWNER}
    assert (spec["aliases"], spec["engine"]["maxModelLen"]) == (["b"], 512)
    back = await owner.patch("/v1/models/b", json={"context_length": None, "description": None, "visibility": "public"})
    assert (back.status_code, back.json()["description"], back.json()["id"]) == (200, None, "b")
    assert "maxModelLen" not in spec_of(world, "mine")["engine"]


async def test_a_change_that_is_only_tried_changes_nothing(world: Stage, owner: httpx.AsyncClient) -> None:
    await owner.post("/v1/models", json={"id": "mine", "source": "org/x"})
    before = spec_of(world, "mine")
    answer = await owner.patch("/v1/models/mine", json={"revision": "v2", "dry_run": True})
    assert (answer.status_code, answer.json()["revision"]) == (200, "v2")
    assert spec_of(world, "mine") == before


@pytest.mark.parametrize(
    ("key", "name", "body", "status", "words"),
    [
        (OTHER, "mine", {"revision": "v2"}, 403, "somebody else's"),
        ("", "mine", {"revision": "v2"}, 403, "somebody else's"),
        (KEY, "tiny-chat", {"revision": "v2"}, 403, "the administrator's"),
        (OTHER, "hidden", {"revision": "v2"}, 404, "was not found"),
        (KEY, "nobody", {"revision": "v2"}, 404, "was not found"),
        (KEY, "both", {"revision": "v2"}, 400, "a route over models"),
        (KEY, "mine", {}, 400, "say what to change"),
        (KEY, "mine", {"dry_run": True}, 400, "say what to change"),
        (KEY, "mine", {"source": "org/y"}, 400, "register another model"),
        (KEY, "mine", {"id": "other"}, 400, "register another model"),
        (KEY, "mine", {"aliases": ["tiny-chat"]}, 409, "default/tiny-chat's already"),
        (KEY, "mine", {"revision": "../.."}, 400, "spec.source.revision"),
    ],
)
async def test_what_cannot_be_changed_is_refused(
    world: Stage, owner: httpx.AsyncClient, key: str, name: str, body: dict[str, Any], status: int, words: str
) -> None:
    world.cluster.add_model(model())
    world.cluster.add_route("both", ("tiny-chat", 1))
    await engines.known(world)
    await until(lambda: world.router.catalog.find_route("both") is not None)
    await owner.post("/v1/models", json={"id": "mine", "source": "org/x", "aliases": ["own"]})
    await owner.post("/v1/models", json={"id": "hidden", "source": "org/y", "visibility": "private"})
    before = [spec_of(world, each) for each in ("mine", "hidden", "tiny-chat")]
    answer = await owner.patch(
        f"/v1/models/{name}", json=body, headers={"authorization": f"Bearer {key}" if key else ""}
    )
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text
    assert [spec_of(world, each) for each in ("mine", "hidden", "tiny-chat")] == before


async def test_its_own_aliases_are_not_taken(world: Stage, owner: httpx.AsyncClient) -> None:
    await owner.post("/v1/models", json={"id": "mine", "source": "org/x", "aliases": ["own"]})
    assert (await owner.patch("/v1/models/own", json={"aliases": ["own", "more"]})).status_code == 200


async def test_administrators_change_every_model() -> None:
    admin = hashlib.sha256(b"sk-admin").hexdigest()
    async with stage(admins=frozenset({admin})) as world, httpx.AsyncClient(base_url=world.url) as client:
        world.cluster.add_model(model())
        await engines.known(world)
        client.headers["x-api-key"] = "sk-admin"
        assert (await client.patch("/v1/models/tiny-chat", json={"description": "Ours."})).status_code == 200
        assert spec_of(world, "tiny-chat")["description"] == "Ours."


# ------------------------------------------------------------------------------------ as OpenAI's SDK sees it


async def test_openais_sdk_reads_what_was_registered(world: Stage, owner: httpx.AsyncClient) -> None:
    await owner.post("/v1/models", json={"id": "mine", "source": "org/x", "visibility": "private"})
    world.cluster.add_model(model(status=known_status(engine={"name": "custom", "quantization": "none"})))
    await engines.known(world)
    async with openai.AsyncOpenAI(
        base_url=f"{world.url}/v1", api_key=KEY, max_retries=0, _strict_response_validation=True
    ) as sdk:
        assert {listed.id for listed in (await sdk.models.list()).data} == {"mine", "tiny-chat"}
        found = await sdk.models.retrieve("mine")
        assert (found.id, found.owned_by) == ("mine", f"key-{OWNER[:12]}")
        assert found.model_dump()["visibility"] == "private"
        assert (await sdk.models.delete("mine")).deleted is True
        with pytest.raises(openai.NotFoundError):
            await sdk.models.retrieve("mine")
