"""Versions of models, what predictions take, and both as the unmodified client of Replicate sees them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jsonschema
import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError

from dormouse_router.catalog.versions import versions
from dormouse_router.dialects.replicate.described import input_schema, output_schema
from dormouse_router.dialects.replicate.inputs import ImageInput, TextInput
from tests.router.dialects import engines
from tests.router.dialects.records import known_status, model, record, with_capabilities
from tests.router.fakes import Stage, until

OLD, NEW, OTHER = "a" * 40, "b" * 40, "c" * 40


def seen(commit: str, at: str, **more: Any) -> dict[str, Any]:
    return {"commit": commit, "revision": "main", "at": at, "quantization": "int4", "bytes": 7, **more}


HISTORY = [seen(OLD, "2026-05-01T10:00:00Z", revision="v1"), seen(NEW, "2026-06-01T10:00:00Z", revision="v2")]
VOLUME = {"claim": "c", "claimUid": "u", "folders": [f"{NEW}-int4", OTHER]}
STATUS = known_status(commit=NEW, versions=HISTORY, volume=VOLUME)


def test_versions_are_the_commits_that_were_on_the_volume_newest_first() -> None:
    told = [(v.id, v.revision, v.current, v.on_volume) for v in versions(record(status=STATUS))]
    assert told == [(NEW, "v2", True, True), (OLD, "v1", False, False)]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (known_status(commit=None), []),
        # an operator that does not list them yet, and one that still pulls the next
        (known_status(commit=OLD), [(OLD, True)]),
        (known_status(commit=OTHER, versions=HISTORY), [(NEW, False), (OLD, False), (OTHER, True)]),
    ],
)
def test_what_serves_is_a_version_whether_it_is_listed_or_not(
    status: dict[str, Any], told: list[tuple[str, bool]]
) -> None:
    found = versions(record(status=status))
    assert sorted((v.id, v.current) for v in found) == sorted(told)


# ---------------------------------------------------------------------------------------------------- inputs

CUSTOM = {"type": "object", "properties": {"x": {"type": "number"}}}


@pytest.mark.parametrize(
    ("capabilities", "good", "bad"),
    [
        (("completion", "tools"), {"prompt": "hi", "max_tokens": 5}, {"max_tokens": 5}),
        (("completion", "embedding"), {"messages": [{"role": "user", "content": "hi"}]}, {"prompt": 1}),
        (("image",), {"prompt": "a cat", "width": 512}, {"width": 512}),
    ],
)
def test_inputs_follow_from_what_a_model_can(
    capabilities: tuple[str, ...], good: dict[str, Any], bad: dict[str, Any]
) -> None:
    schema = input_schema(with_capabilities(*capabilities))
    assert schema is not None
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator.check_schema(output_schema(with_capabilities(*capabilities)))
    jsonschema.validate(good, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schema)


@pytest.mark.parametrize(
    ("said", "schema"), [(json.dumps(CUSTOM), CUSTOM), (None, None), ("[1]", None), ("{", None), ("[" * 5000, None)]
)
def test_a_custom_model_says_itself_what_it_takes(said: str | None, schema: dict[str, Any] | None) -> None:
    engine = {"name": "custom", "quantization": "none", **({"inputSchema": said} if said else {})}
    assert input_schema(record(status=known_status(capabilities=["predict"], engine=engine))) == schema


def test_of_what_nobody_has_looked_at_and_of_what_takes_no_predictions_there_is_none() -> None:
    for nothing in (record(status={}), with_capabilities("embedding")):
        assert (input_schema(nothing), output_schema(nothing)) == (None, {})


def test_what_is_described_is_what_is_decoded() -> None:
    """Every field of the schema is a field that a plan takes, and the other way round."""
    for capability, kind in (("completion", TextInput), ("image", ImageInput)):
        schema = input_schema(with_capabilities(capability))
        assert schema is not None
        assert set(schema["properties"]) == set(kind.__struct_fields__)


# ---------------------------------------------------------------------------------------------------- over HTTP


async def test_versions_over_http(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model(aliases=["Org/Tiny"], status=STATUS))
    world.cluster.add_model(model("odd", aliases=["Org/versions"]))
    world.cluster.add_route("way", ("tiny-chat", 1))
    await engines.known(world)
    await until(lambda: world.router.catalog.find_route("way") is not None)
    for name in ("tiny-chat", "Org/Tiny", "default/tiny-chat"):
        page = (await client.get(f"/v1/models/{name}/versions")).json()
        assert [version["id"] for version in page["data"]] == [NEW, OLD]
        one = (await client.get(f"/v1/models/{name}/versions/{OLD}")).json()
        assert one == page["data"][1]
        assert one == {
            "id": OLD,
            "object": "model.version",
            "created": 1777629600,
            "revision": "v1",
            "quantization": "int4",
            "bytes": 7,
            "current": False,
            "on_volume": False,
        }
    shown = (await client.get("/v1/models/tiny-chat")).json()
    assert [version["id"] for version in shown["versions"]] == [NEW, OLD]
    assert "prompt" in shown["input_schema"]["properties"]
    assert (await client.get("/v1/models/Org/versions")).json()["name"] == "odd"
    assert (await client.get("/v1/models/Org/versions/versions")).json()["object"] == "list"
    for path, status in (
        ("/v1/models/nobody/versions", 404),
        ("/v1/models/way/versions", 400),
        (f"/v1/models/tiny-chat/versions/{OTHER}", 404),
    ):
        assert (await client.get(path)).status_code == status
    assert (await client.delete(f"/v1/models/tiny-chat/versions/{OLD}")).status_code == 404
    assert world.cluster.reads == 0


@pytest.fixture
async def hosted(world: Stage) -> AsyncIterator[Client]:
    """The unmodified client, of another address."""
    client = Client(api_token="r8-mine", base_url=world.url)
    yield client
    await client._async_client.aclose()  # it has no way of its own to end
    client._client.close()


async def test_replicates_client_reads_models_and_versions(world: Stage, hosted: Client) -> None:
    world.cluster.add_model(model(aliases=["Org/Tiny"], status=STATUS, description="Small."))
    world.cluster.add_model(model("plain", status={}))
    await engines.known(world)
    await engines.known(world, "plain")
    page = await hosted.models.async_list()
    assert {found.id for found in page.results} == {"Org/Tiny", "default/plain"}
    found = await hosted.models.async_get("Org/Tiny")
    assert (found.owner, found.name, found.description, found.visibility) == ("Org", "Tiny", "Small.", "public")
    assert found.url == f"{world.url}/v1/models/Org/Tiny"
    assert found.latest_version is not None
    assert found.latest_version.id == NEW
    schemas = found.latest_version.openapi_schema["components"]["schemas"]
    assert schemas["Input"]["properties"]["prompt"]["type"] == "string"
    assert schemas["Output"]["x-cog-array-type"] == "iterator"
    assert [version.id for version in await found.versions.async_list()] == [NEW, OLD]
    assert (await found.versions.async_get(OLD)).created_at.year == 2026
    assert (await hosted.models.async_get("default/plain")).latest_version is None
    with pytest.raises(ReplicateError):
        await hosted.models.async_get("Org/Nobody")


async def test_replicates_client_registers_and_deletes(world: Stage, hosted: Client) -> None:
    made = await hosted.models.async_create("org", "name", visibility="private", hardware="gpu", description="Mine.")
    assert (made.id, made.visibility, made.description) == ("org/name", "private", "Mine.")
    (_, _, spec) = world.cluster.created[0]
    assert (spec["source"]["uri"], spec["profile"]) == ("hf://org/name", "gpu")
    assert spec["access"]["visibility"] == "Private"
    # the client that waits runs its own loop: beside this one
    listed = await asyncio.to_thread(hosted.models.list)
    assert [each.id for each in listed.results] == ["org/name"]
    assert await hosted.models.async_delete("org/name") is True
    await until(lambda: world.router.catalog.find("org/name") is None)
