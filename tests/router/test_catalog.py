"""The catalogue in memory: names, endpoints' identity, lists that replace, and who is told."""

import asyncio

import pytest

from dormouse_router.catalog.catalog import Catalog
from dormouse_router.catalog.record import Record, record_from
from dormouse_router.catalog.watch import ready_addresses, slice_key
from dormouse_router.cluster import Object
from tests.router.fakes import model, slice_of

TINY = ("default", "tiny")
ONE, TWO = ("10.0.0.1", 8000), ("10.0.0.2", 8000)


def record(name: str = "tiny", **more: object) -> Record:
    return record_from(model(name, **more))  # type: ignore[arg-type]


def catalog(*records: Record) -> Catalog:
    made = Catalog()
    for each in records:
        made.put(each)
    return made


@pytest.mark.parametrize(
    ("name", "exact", "found"),
    [
        ("tiny", True, True),
        ("org/Tiny", True, True),
        ("default/tiny", True, True),
        ("tiny:latest", True, True),
        ("TINY", True, False),
        ("org/tiny", True, False),
        ("tiny:7b", True, False),
        ("", True, False),
        ("TINY", False, True),
        ("Org/tIny:LATEST", False, True),
        ("DEFAULT/Tiny", False, True),
        ("tiny:7b", False, False),
    ],
)
def test_names_are_exact_for_openai_and_lenient_for_ollama(name: str, exact: bool, found: bool) -> None:
    entry = catalog(record(aliases=("org/Tiny",))).find(name, exact=exact)
    assert (entry is not None) is found


def test_the_oldest_has_the_name_and_the_others_keep_their_long_one() -> None:
    old = record("tiny", namespace="team", created=1.0)
    young = record("tiny", created=2.0, aliases=("mine",))
    rival = record("other", created=3.0, aliases=("tiny", "mine"))
    for order in ([old, young, rival], [rival, young, old]):
        made = catalog(*order)
        found = {name: entry.record.full_name for name in ("tiny", "mine", "other") if (entry := made.find(name))}
        assert found == {"tiny": "team/tiny", "mine": "default/tiny", "other": "default/other"}
        assert all(made.find(each.full_name) for each in order)
    made.drop(old.key)
    heir = made.find("tiny")
    assert heir is not None
    assert heir.record is young


@pytest.mark.parametrize("alias", ["team/tiny", "team/tiny:latest", "TEAM/tiny", "team/TINY:latest"])
@pytest.mark.parametrize("exact", [True, False])
def test_no_alias_takes_calls_to_an_object_of_another_namespace(alias: str, exact: bool) -> None:
    thief = record("thief", created=1.0, aliases=(alias,))
    known = catalog(thief, record("tiny", namespace="team", created=2.0))
    for name in ("team/tiny", "team/tiny:latest"):
        found = known.find(name, exact=exact)
        assert found is not None
        assert found.record.full_name == "team/tiny"


def test_a_model_that_takes_another_name_is_found_by_it_at_once() -> None:
    made = catalog(record(aliases=("before",)))
    made.put(record(aliases=("after",)))
    assert made.find("after") is not None
    assert made.find("before") is None


def test_endpoints_keep_their_identity_while_they_stay_ready() -> None:
    made = catalog(record())
    made.put_slice(TINY, "a", (ONE,))
    entry = made.get(TINY)
    assert entry is not None
    first = entry.endpoints[0]
    first.in_flight = 3
    made.put_slice(TINY, "a", (TWO, ONE))
    assert entry.endpoints[0] is first
    assert [(e.host, e.in_flight) for e in entry.endpoints] == [("10.0.0.1", 3), ("10.0.0.2", 0)]
    made.put(record(reason="Serving"))
    assert entry.endpoints[0] is first


def test_slices_that_come_before_their_model_are_not_lost() -> None:
    made = Catalog()
    made.put_slice(TINY, "a", (ONE,))
    made.put(record())
    entry = made.get(TINY)
    assert entry is not None
    assert len(entry.endpoints) == 1


def test_endpoints_are_the_union_of_the_slices() -> None:
    made = catalog(record())
    made.put_slice(TINY, "a", (ONE,))
    made.put_slice(TINY, "b", (ONE, TWO))
    entry = made.get(TINY)
    assert entry is not None
    assert len(entry.endpoints) == 2
    made.drop_slice(TINY, "b")
    assert [e.host for e in entry.endpoints] == ["10.0.0.1"]
    made.drop_slice(TINY, "b")
    made.drop_slice(TINY, "a")
    assert len(entry.endpoints) == 0


def test_a_list_replaces_what_it_covers_and_nothing_else() -> None:
    made = catalog(record("goes"), record("stays"), record("far", namespace="team"))
    for name, namespace in (("goes", "default"), ("stays", "default"), ("far", "team")):
        made.put_slice((namespace, name), "a", (ONE,))
    made.replace([record("stays"), record("comes")], "default")
    assert sorted(entry.record.name for entry in made.entries()) == ["comes", "far", "stays"]
    made.replace_slices({}, "default")
    hosts = {entry.record.name: len(entry.endpoints) for entry in made.entries()}
    assert hosts == {"comes": 0, "far": 1, "stays": 0}
    made.replace([], None)
    assert made.entries() == []


async def test_waiters_are_told_of_their_own_model_only() -> None:
    made = catalog(record(), record("other"))
    mine, others, nobody = made.changed(TINY), made.changed(("default", "other")), made.changed(("default", "new"))
    told: list[tuple[str, str]] = []
    made.listeners.append(told.append)
    made.put_slice(TINY, "a", (ONE,))
    assert (mine.done(), others.done(), nobody.done()) == (True, False, False)
    made.put_slice(TINY, "a", (ONE,))
    assert told == [TINY]  # the same endpoints again are no change
    made.drop(("default", "other"))
    made.put(record("new"))
    assert others.done()
    assert nobody.done()
    await asyncio.sleep(0)
    cancelled = made.changed(TINY)
    cancelled.cancel()
    await asyncio.sleep(0)
    made.put(record(reason="Serving"))


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        ({}, True),
        ({"ready": True}, True),
        ({"ready": None}, True),
        ({"ready": False}, False),
        ({"ready": True, "terminating": True}, False),
        ({"ready": True, "terminating": None}, True),
        ({"ready": False, "serving": True, "terminating": True}, False),
    ],
)
def test_who_may_be_sent_requests(conditions: Object, ready: bool) -> None:
    obj = slice_of("tiny", 8000) | {"endpoints": [{"addresses": ["10.0.0.1"], "conditions": conditions}]}
    assert ready_addresses(obj) == ((("10.0.0.1", 8000),) if ready else ())


@pytest.mark.parametrize(
    ("ports", "port"),
    [
        ([{"name": "serving", "port": 8000}], 8000),
        ([{"name": "admin", "port": 8001}, {"name": "serving", "port": 9000}], 9000),
        ([{"port": 7000}], 7000),
        ([{"name": "http", "port": None}], 8000),
        ([], 8000),
        (None, 8000),
    ],
)
def test_the_port_is_the_serving_one(ports: object, port: int) -> None:
    obj = slice_of("tiny", 1) | {"ports": ports}
    assert ready_addresses(obj) == (("127.0.0.1", port),)


def test_slices_of_other_services_are_not_ours() -> None:
    ours = slice_of("tiny", 8000)
    assert slice_key(ours) == TINY
    labels = ours["metadata"]["labels"]
    others: list[Object | None] = [{}, None, labels | {"kubernetes.io/service-name": "tiny-metrics"}]
    for strange in others:
        assert slice_key(ours | {"metadata": ours["metadata"] | {"labels": strange}}) is None
    assert ready_addresses(ours | {"addressType": "FQDN"}) == ()
    assert ready_addresses(ours | {"endpoints": None}) == ()


@pytest.mark.parametrize(
    ("reason", "ready", "failed", "permanent"),
    [
        ("ScaledToZero", True, False, False),
        ("Serving", True, False, False),
        ("Waking", True, False, False),
        ("Pulling", False, False, False),
        ("NobodyKnowsThisReason", False, False, False),
        ("RateLimited", False, True, False),
        ("Gated", False, True, True),
        ("EngineFailed", False, True, False),
    ],
)
def test_what_a_condition_means_to_a_caller(reason: str, ready: bool, failed: bool, permanent: bool) -> None:
    made = record(reason=reason)
    assert (made.ready, made.failed, made.permanent) == (ready, failed, permanent)


def test_a_model_the_operator_has_not_seen_is_known_and_pending() -> None:
    obj = model(aliases=("org/tiny",))
    del obj["status"]
    made = record_from(obj)
    assert (made.ready, made.failed, made.reason) == (False, False, "Pending")
    assert made.served == ("tiny", "org/tiny", "default/tiny")


def test_an_endpoint_that_leaves_is_told_of_once_and_keeps_its_identity_while_calls_are_on_it() -> None:
    made = catalog(record())
    left: list[tuple[str, int]] = []
    made.departed.append(lambda endpoint: left.append(endpoint.address))
    made.put_slice(TINY, "a", (ONE, TWO))
    entry = made.get(TINY)
    assert entry is not None
    one, two = entry.endpoints
    one.in_flight = 1
    made.put_slice(TINY, "a", ())
    assert (left, entry.endpoints, entry.leaving) == ([ONE, TWO], (), (one,))
    assert one.gone
    assert two.gone
    made.put_slice(TINY, "a", (TWO,))
    assert (left, entry.leaving) == ([ONE, TWO], (one,))
    made.put_slice(TINY, "a", (ONE, TWO))
    assert entry.endpoints[0] is one
    assert entry.endpoints[1] is not two
    assert (one.gone, entry.leaving) == (False, ())
    made.drop(TINY)
    assert left == [ONE, TWO, ONE, TWO]
