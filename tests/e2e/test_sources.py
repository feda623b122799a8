"""Weights from an object store and from another claim: pulled, served, and told in words where they cannot be."""

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import objectstore
from dev.cluster.layout import NODE_IP
from dormouse_api.conditions import ConditionType
from dormouse_api.names import weights_name
from tests.e2e.samples import FRANCE, PARIS, model, repository
from tests.e2e.story import Story, chat, condition

FOLDER = "team/tiny"
SECRET = "store"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, testbed: Path) -> Iterator[objectstore.Keys]:
    """An S3 store beside the node, where pods reach it by the node's address."""
    folder = tmp_path_factory.mktemp("bucket")
    for path, content in repository().items():
        (folder / FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / FOLDER / path).write_bytes(content)
    inside = (sys.executable, "-m", "dev.cluster", "exec")
    with objectstore.running("--host", "0.0.0.0", "--folder", str(folder), inside=inside) as keys:
        yield keys


async def _credentials(story: Story, keys: objectstore.Keys, **more: str) -> None:
    data = {
        "endpoint": f"http://{NODE_IP}:{keys.port}",
        "accessKeyId": keys.access_key_id,
        "secretAccessKey": keys.secret_access_key,
    }
    body = {"metadata": {"name": SECRET}, "stringData": data | more}
    await story.cluster.create("secrets", story.namespace, body)


def _stored(name: str, path: str = FOLDER) -> dict[str, object]:
    source = {"uri": f"s3://{objectstore.BUCKET}/{path}", "credentialsSecretRef": {"name": SECRET}}
    return model(name, "unused/unused", source=source)


async def test_model_of_an_object_store_is_served(story: Story, store: objectstore.Keys) -> None:
    """And its credentials are in nothing that can be read beside the Secret."""
    name = story.name("stored")
    await _credentials(story, store)
    async with story.recorded("pods", "jobs", "events", "deployments", "persistentvolumeclaims") as seen:
        await story.apply(_stored(name))
        found = await story.ready(name)
        shown = [found, *(item for kind in seen.values() for item in kind.objects.values())]
    assert await chat(name, FRANCE) == PARIS
    for secret in (store.access_key_id, store.secret_access_key):
        assert not [item["metadata"]["name"] for item in shown if secret in str(item)]


async def test_refused_credentials_are_named(story: Story, store: objectstore.Keys) -> None:
    name, wrong = story.name("refused"), secrets.token_hex(20)
    await _credentials(story, store, secretAccessKey=wrong)
    await story.apply(_stored(name))
    known = await story.failing(name)
    assert known.reason == "Unauthorized"
    assert "put valid ones into the Secret of spec.source.credentialsSecretRef" in known.message
    assert wrong not in known.message


async def test_prefix_without_a_model_is_named(story: Story, store: objectstore.Keys) -> None:
    name = story.name("nothing")
    await _credentials(story, store)
    await story.apply(_stored(name, "team/none"))
    known = await story.failing(name)
    assert (known.reason, "there is nothing under s3://" in known.message) == ("NotFound", True), known


async def test_missing_secret_is_made_good(story: Story, store: objectstore.Keys) -> None:
    """The pod waits for it; nobody has to touch the model."""
    name = story.name("late-secret")
    await story.apply(_stored(name))
    known = await story.failing(name)
    assert f"create secret generic {SECRET} --from-literal=accessKeyId" in known.message, known
    await _credentials(story, store)
    await story.ready(name, seconds=180)


async def test_model_of_another_models_claim_is_served_without_the_hub(story: Story) -> None:
    first = story.name("first")
    repo = await story.publish("first")
    await story.apply(model(first, repo))
    found = await story.ready(first)
    before = len(await story.hub.sent(repo))
    second = story.name("second")
    uri = f"pvc://{weights_name(first)}/models/{found['status']['commit']}"
    await story.apply(model(second, repo, source={"uri": uri}))
    copied = await story.ready(second)
    assert condition(copied, ConditionType.MODEL_PULLED).status == "True"
    assert copied["status"]["bytes"] == found["status"]["bytes"]
    assert await chat(second, FRANCE) == PARIS
    assert len(await story.hub.sent(repo)) == before


async def test_missing_claim_is_named(story: Story) -> None:
    name = story.name("claimless")
    await story.apply(model(name, "unused/unused", source={"uri": "pvc://no-such-claim/models/tiny"}))
    known = await story.failing(name)
    assert known.reason == "StorageFailed"
    assert "there is no PersistentVolumeClaim no-such-claim in namespace" in known.message
