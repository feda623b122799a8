"""Routes in the catalogue: who has a name that a model claims too, and how they are followed."""

import asyncio

import pytest

from dormouse_router.catalog import watch
from dormouse_router.catalog.catalog import Catalog
from dormouse_router.catalog.record import record_from
from dormouse_router.catalog.routes import route_from
from dormouse_router.catalog.watch import Watcher
from dormouse_router.cluster import ClusterError, Listing, Resource
from tests.router.fakes import FakeCluster, model, route, until

A = ("a", 1)


def catalog(*objects: dict[str, object]) -> Catalog:
    """Of models and routes, in the order they come."""
    made = Catalog()
    for obj in objects:
        if "variants" in obj["spec"]:  # type: ignore[operator]
            made.routes.put(route_from(obj))
        else:
            made.put(record_from(obj))
    return made


@pytest.mark.parametrize(
    ("name", "exact", "found"),
    [
        ("mario", True, True),
        ("org/Mario:8b", True, True),
        ("default/mario", True, True),
        ("mario:latest", True, True),
        ("MARIO", True, False),
        ("org/mario:8B", True, False),
        ("luigi", True, False),
        ("MARIO:latest", False, True),
        ("ORG/mario:8B", False, True),
        ("org/mario", False, False),
    ],
)
def test_a_route_has_names_as_a_model_has(name: str, exact: bool, found: bool) -> None:
    made = catalog(route("mario", A, aliases=["org/Mario:8b"]))
    assert (made.find_route(name, exact=exact) is not None) is found
    assert made.find(name, exact=exact) is None


@pytest.mark.parametrize("exact", [True, False])
def test_the_oldest_has_the_name_whatever_its_kind(exact: bool) -> None:
    objects = [
        route("first", A, created=1.0, aliases=["both", "early"]),
        model("second", created=2.0, aliases=("early", "late", "both")),
        route("third", A, created=3.0, aliases=["late", "both"]),
    ]
    for order in (objects, objects[::-1]):
        made = catalog(*order)
        routed = {name: hit.name for name in ("both", "early", "late") if (hit := made.find_route(name, exact=exact))}
        named = {name: own.record.name for name in ("both", "early", "late") if (own := made.find(name, exact=exact))}
        assert (routed, named) == ({"both": "first", "early": "first"}, {"late": "second"})
        assert made.find("default/second", exact=exact)
        assert made.find_route("default/third", exact=exact)
    made.routes.drop(("default", "first"))
    heir = made.find("early", exact=exact)
    assert heir is not None
    assert heir.record.name == "second"


async def test_routes_come_change_and_go_and_a_list_replaces() -> None:
    cluster, made, seen = FakeCluster(), Catalog(), list[str]()
    cluster.add_route("there", A)
    task = asyncio.create_task(Watcher(cluster, made, Resource.ROUTES, None, seen.append).run())
    await until(lambda: made.find_route("there") is not None)
    waiter = made.changed(("default", "there"))
    cluster.add_route("there", A, aliases=["other"])
    await asyncio.wait_for(waiter, 5)
    assert made.find_route("other") is not None
    cluster.put(Resource.ROUTES, route("broken", A) | {"spec": {"variants": "none"}})
    cluster.add_route("comes", ("a", 1), ("b", 3), namespace="team", fallback=["c", "a"])
    await until(lambda: made.find_route("team/comes") is not None)
    comes = made.routes.get(("team", "comes"))
    assert comes is not None
    assert comes.models == ("a", "b", "c")
    assert not comes.derived
    cluster.remove(Resource.ROUTES, "default", "there")
    await until(lambda: made.find_route("other") is None)
    cluster.forget_silently(Resource.ROUTES, "team", "comes")
    await until(lambda: not made.routes.every())
    assert len(seen) >= 6
    task.cancel()


@pytest.mark.parametrize("status", [403, 404])
async def test_an_installation_without_routes_still_serves_models(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FIRST_PAUSE", 0.005)
    cluster, made = FakeCluster(), Catalog()
    listing, old = cluster.list, asyncio.Event()

    async def lacks_routes(resource: Resource, namespace: str | None) -> Listing:
        if not old.is_set():
            raise ClusterError(status, "the server could not find the requested resource")
        return await listing(resource, namespace)

    monkeypatch.setattr(cluster, "list", lacks_routes)
    watchers = {kind: Watcher(cluster, made, kind, None, lambda _: None) for kind in (Resource.ROUTES, Resource.MODELS)}
    tasks = [asyncio.create_task(watcher.run()) for watcher in watchers.values()]
    await asyncio.wait_for(watchers[Resource.ROUTES].synced.wait(), 5)
    assert not watchers[Resource.MODELS].synced.is_set()
    cluster.add_route("late", A)
    old.set()
    await until(lambda: made.find_route("late") is not None)
    for task in tasks:
        task.cancel()
