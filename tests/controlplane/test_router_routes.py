"""Routes on a real API server: followed, called, made for Ollama's clients, replaced and deleted."""

import asyncio
from typing import Any

import httpx
import ollama
import pytest

from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from dormouse_router.cluster import ClusterError
from dormouse_router.kube import Kube
from tests.controlplane.operatorprocess import MODELS, Models
from tests.controlplane.test_router_path import CHAT, Place, place
from tests.router.fakes import until


@pytest.fixture
def models(own_models: Models) -> Models:
    """No operator here: what a router sees is what the test writes."""
    return own_models


class Routes:
    """The InferenceRoutes of the test's namespace, as the administrator has them."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def path(self, name: str = "") -> str:
        return f"{MODELS}/{self._models.namespace}/{names.ROUTE_PLURAL}" + (f"/{name}" if name else "")

    def apply(self, name: str, **spec: Any) -> None:
        meta = {"name": name, "namespace": self._models.namespace, "annotations": {"owner": "me"}}
        body = {"apiVersion": names.API_VERSION, "kind": names.ROUTE_KIND, "metadata": meta, "spec": spec}
        self._models.rest.request("POST", self.path(), body)

    def get(self, name: str) -> dict[str, Any]:
        return self._models.rest.get(self.path(name))


async def listed(here: Place, name: str) -> None:
    await until(lambda: here.router.catalog.find_route(name) is not None)


async def test_a_route_wakes_its_sleeping_model_and_goes_when_it_is_deleted(
    plane: ControlPlane, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = Routes(models)
    async with place(plane, models, monkeypatch) as here:
        models.apply("tiny", scaling={"idleSeconds": 60})
        here.make_lease("tiny")
        await here.known("tiny")
        routes.apply("mario", variants=[{"model": "tiny"}], aliases=["org/Mario"], defaults={"system": "Be brief."})
        await listed(here, "org/Mario")
        call = asyncio.create_task(here.http.post("/v1/chat/completions", json=CHAT | {"model": "org/Mario"}))
        await until(lambda: bool(here.lease("tiny")))
        here.make_slice("tiny")
        answer = await call
        assert answer.json()["choices"][0]["message"]["content"] == "Paris."
        assert answer.headers["x-dormouse-route"] == f"{models.namespace}/mario"
        assert here.engine.seen[0].json["messages"][0] == {"role": "system", "content": "Be brief."}
        models.rest.request("DELETE", routes.path("mario"))
        await until(lambda: here.router.catalog.find_route("mario") is None)


async def test_names_are_derived_replaced_and_deleted_for_clients(
    plane: ControlPlane, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = Routes(models)
    async with place(plane, models, monkeypatch) as here, ollama.AsyncClient(host=str(here.http.base_url)) as sdk:
        models.apply("tiny")
        await here.known("tiny")
        await sdk.create(
            "Mario", from_="tiny", system="You are Mario.", parameters={"temperature": 0.25, "stop": ["x"]}
        )
        made = routes.get("mario")
        assert made["metadata"]["labels"] == {names.LABEL_DERIVED: "true"}
        assert made["spec"] == {
            "variants": [{"model": "tiny", "weight": 1}],
            "aliases": ["Mario"],
            "defaults": {"system": "You are Mario.", "temperature": 0.25, "stop": ["x"]},
        }
        await sdk.create("mario", from_="tiny", parameters={"top_k": 3})
        again = routes.get("mario")
        assert again["metadata"]["uid"] == made["metadata"]["uid"]
        assert again["spec"]["defaults"] == {"topK": 3}
        await sdk.copy("mario", "org/Luigi:v2")
        assert (await sdk.show("org/luigi:v2")).details is not None
        for name in ("mario", "org/luigi:v2"):
            await sdk.delete(name)
        assert here.router.catalog.routes.every() == []
        assert models.rest.get(routes.path())["items"] == []


async def test_a_route_that_another_changed_meanwhile_is_not_overwritten(plane: ControlPlane, models: Models) -> None:
    routes = Routes(models)
    models.apply("tiny")
    routes.apply("mario", variants=[{"model": "tiny"}])
    seen = routes.get("mario")
    models.rest.patch(routes.path("mario"), {"spec": {"defaults": {"temperature": 1}}})
    spec = {"variants": [{"model": "other"}]}
    async with Kube({"KUBECONFIG": str(plane.kubeconfig)}) as kube:
        with pytest.raises(ClusterError) as late:
            await kube.replace_route(models.namespace, "mario", spec, seen["metadata"]["resourceVersion"])
        assert late.value.status == 409
        version = routes.get("mario")["metadata"]["resourceVersion"]
        await kube.replace_route(models.namespace, "mario", spec, version)
        with pytest.raises(ClusterError) as invalid:
            await kube.create_route(models.namespace, "bad", {"variants": [{"model": "a", "weight": 0}]})
        assert invalid.value.status == 422
        assert "raise one of them" in str(invalid.value)
        with pytest.raises(ClusterError) as other:
            await kube.delete_route(models.namespace, "mario", "another-uid")
        assert other.value.status == 409
    found = routes.get("mario")
    assert found["spec"]["variants"] == [{"model": "other", "weight": 1}]
    assert "defaults" not in found["spec"]
    assert found["metadata"]["annotations"] == {"owner": "me"}


async def test_what_the_api_server_refuses_reaches_the_client_in_its_words(
    plane: ControlPlane, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(plane, models, monkeypatch) as here:
        models.apply("tiny")
        await here.known("tiny")
        Routes(models).apply("canary", variants=[{"model": "tiny"}])
        await listed(here, "canary")
        kept: httpx.Response = await here.http.post("/api/create", json={"model": "canary", "from": "tiny"})
        assert kept.status_code == 409
        assert "change it with kubectl" in kept.json()["error"]
        used = await here.http.request("DELETE", "/api/delete", json={"model": "tiny"})
        assert used.status_code == 409
        assert f"{models.namespace}/canary" in used.json()["error"]
