"""The environment, and what becomes of a watch event."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dormouse_api.lease import lease_spec, wish_for
from dormouse_operator import watch
from dormouse_operator.errors import Retry
from dormouse_operator.queue import Key, Level, WorkQueue
from dormouse_operator.settings import Settings, SettingsError

KEY = Key("ns", "tiny")
NOW = 1_795_255_200.0
Object = dict[str, Any]


def test_settings_from_the_environment() -> None:
    made = Settings.from_environment(
        {
            "DORMOUSE_PULLER_IMAGE": "p:1",
            "DORMOUSE_NAMESPACES": " a, b,",
            "DORMOUSE_HUB_ENDPOINT": "http://hub/",
            "DORMOUSE_RESYNC_SECONDS": "7",
            "DORMOUSE_Q4_THRESHOLD_BYTES": "8000000000",
        }
    )
    assert (made.namespaces, made.hub_endpoint, made.resync_seconds) == (("a", "b"), "http://hub", 7)
    assert made.q4_threshold_bytes == 8_000_000_000
    assert (made.default_profile, made.image_pull_policy, made.ops_port) == ("cpu", "IfNotPresent", 9090)


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({}, "DORMOUSE_PULLER_IMAGE"),
        ({"DORMOUSE_PULLER_IMAGE": "p", "DORMOUSE_WORKERS": "many"}, "DORMOUSE_WORKERS"),
        ({"DORMOUSE_PULLER_IMAGE": "p", "DORMOUSE_HUB_ENDPOINT": "https://me:pw@hub/x"}, "DORMOUSE_HUB_ENDPOINT holds"),
        ({"DORMOUSE_PULLER_IMAGE": "p", "DORMOUSE_ENGINE_TRACES": "http://a:b@c/v1"}, "DORMOUSE_ENGINE_TRACES holds"),
    ],
)
def test_a_wrong_environment_is_named(env: dict[str, str], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        Settings.from_environment(env)


def body(**meta: Any) -> Object:
    return {"metadata": {"namespace": "ns", "name": "tiny", "uid": "u", "generation": 1} | meta}


@pytest.mark.parametrize(
    ("plural", "kind", "change", "heard"),
    [
        ("inferencemodels", "ADDED", {}, True),
        ("inferencemodels", "DELETED", {}, True),
        ("leases", "MODIFIED", {"name": "x", "labels": {"dormouse.dev/model": "tiny"}}, True),
        ("pods", "MODIFIED", {"name": "x", "labels": {}}, False),
        ("runtimeprofiles", "ADDED", {}, False),
    ],
)
def test_an_event_becomes_its_models_key(plural: str, kind: str, change: Object, heard: bool) -> None:
    queue, profiles = WorkQueue(), [0]
    watched = watch.Watch(queue, lambda: profiles.__setitem__(0, 1))
    watched.event(plural, kind, body(**change))
    assert (queue.take() == KEY) is heard
    assert profiles == [1 if plural == "runtimeprofiles" else 0]


@pytest.mark.parametrize("plural", ["leases", "persistentvolumeclaims"])
def test_a_child_is_news_of_its_owners_whatever_its_label_says(plural: str) -> None:
    """Routers write Leases too, and several models share a claim."""
    queue = WorkQueue()
    owners = [{"kind": "InferenceModel", "name": name} for name in ("tiny", "twin")]
    forged = body(
        name="x", labels={"dormouse.dev/model": "calm"}, ownerReferences=[*owners, {"kind": "Job", "name": "j"}]
    )
    watch.Watch(queue, lambda: None).event(plural, "MODIFIED", forged)
    assert {queue.take() for _ in range(4)} == {Key("ns", "calm"), KEY, Key("ns", "twin"), None}


@pytest.mark.parametrize("plural", ["deployments", "jobs", "persistentvolumeclaims", "pods"])
def test_what_comes_in_bursts_is_looked_at_once(plural: str) -> None:
    """Kubernetes notes on a claim, too, when the last of its pods goes."""
    queue = WorkQueue(lambda: 0.0, spacing=1.0)
    watched = watch.Watch(queue, lambda: None)
    queue.add(KEY)
    queue.take()
    queue.done(KEY)
    watched.event(plural, "MODIFIED", body(labels={"dormouse.dev/model": "tiny"}))
    assert queue.take() is None
    assert queue.next_due() == 1.0


def test_first_lists_wait_behind_live_events() -> None:
    queue = WorkQueue()
    watched = watch.Watch(queue, lambda: None)
    watched.event("inferencemodels", None, body(name="old", uid="1"))
    watched.event("leases", "MODIFIED", body(labels={"dormouse.dev/model": "tiny"}))
    assert queue.take() == KEY


def test_our_own_status_writes_ask_for_no_look() -> None:
    queue = WorkQueue()
    watched = watch.Watch(queue, lambda: None)
    watched.event("inferencemodels", "ADDED", body())
    queue.take()
    queue.done(KEY)
    watched.event("inferencemodels", "MODIFIED", body(resourceVersion="2"))
    assert queue.take() is None
    watched.event("inferencemodels", "MODIFIED", body(generation=2))
    assert queue.take() == KEY


def test_kopf_settings_hold_whole_seconds_and_no_copies_of_objects() -> None:
    made = watch.operator_settings()
    assert isinstance(made.watching.server_timeout, int)
    assert made.posting.enabled is False
    assert json.dumps(made.networking.error_backoffs)
    storage = made.persistence.diffbase_storage
    assert (storage.build(body=body()), storage.fetch(body=body())) == ({}, None)


def test_kopf_watches_our_own_kinds_and_children_are_watched_beside_it() -> None:
    handlers = watch.registry(lambda *_: None)._watching.get_all_handlers()
    assert {handler.id for handler in handlers} == {"inferencemodels", "runtimeprofiles"}


async def test_who_is_called_already_goes_before_all_others() -> None:
    def lease(model: str, ends_in: float) -> Object:
        owner = [{"kind": "InferenceModel", "name": model}]
        return body(name=f"{model}-runtime", ownerReferences=owner) | {"spec": lease_spec(wish_for(NOW, ends_in), "r")}

    class Lister:
        async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
            return [lease("over", -1), lease("called", 60), body(name="unsaid"), body(name="nobodys")]

        def each(self, kind: str, namespace: str | None = None, selector: str = "") -> AsyncIterator[Object]:
            raise AssertionError("a wish is in the spec")

    queue = WorkQueue()
    queue.add(Key("ns", "first"), Level.LATER)
    assert await watch.called_first(Lister(), queue, [], NOW) == 1
    assert [queue.take() for _ in range(3)] == [Key("ns", "called"), Key("ns", "first"), None]


async def test_a_resync_puts_every_model_last_in_line() -> None:
    class Lister:
        async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
            raise AssertionError("whole objects")

        async def each(self, kind: str, namespace: str | None = None, selector: str = "") -> AsyncIterator[Object]:
            yield body(namespace=namespace or "all", uid="1")

    queue = WorkQueue()
    assert await watch.resync(Lister(), queue, ["a", "b"], []) == 2
    assert [queue.take(), queue.take(), queue.take()] == [Key("a", "tiny"), Key("b", "tiny"), None]
    assert await watch.resync(Lister(), queue, [], [Key("all", "gone"), Key("all", "tiny")]) == 2
    assert [queue.take(), queue.take()] == [Key("all", "gone"), Key("all", "tiny")]


async def test_kopf_starts_only_when_the_api_server_knows_our_kinds() -> None:
    answers: list[bool | Exception] = [False, True, Retry("no answer"), True, True]

    async def served(kind: str) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with asyncio.timeout(60):
        await watch.await_kinds(served, pause=0.01)
    assert answers == []


def test_a_refused_pod_is_news_of_a_deployment() -> None:
    queue = WorkQueue()
    watched = watch.Watch(queue, lambda: None)
    deployment = body(labels={"dormouse.dev/model": "tiny"})
    watched.event("deployments", "ADDED", deployment)
    queue.take()
    queue.done(KEY)
    condition = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    watched.event("deployments", "MODIFIED", deployment | {"status": {"replicas": 0}})
    assert queue.take() is None
    watched.event("deployments", "MODIFIED", deployment | {"status": {"conditions": [condition]}})
    assert queue.take() == KEY


async def test_a_resync_that_fails_is_tried_again() -> None:
    tries: list[int] = []
    twice = asyncio.Event()

    async def again() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise Retry("no answer")
        twice.set()
        return 1

    wake = asyncio.Event()
    wake.set()
    task = asyncio.create_task(watch.resync_forever(again, wake, 1000))
    async with asyncio.timeout(60):
        await twice.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
