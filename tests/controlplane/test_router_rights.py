"""The chart's rights are enough for everything the router does, and it has no others."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import ollama
import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from dormouse_router.kube import Kube
from dormouse_router.serve import Router
from dormouse_router.store.memory import in_memory
from tests.controlplane.kubelet import Rest
from tests.controlplane.operatorprocess import Models
from tests.controlplane.rights import until_granted
from tests.router.fakes import DEADLINE, SETTINGS, until

CHART = Path(__file__).resolve().parents[2] / "charts" / "dormouse"


@pytest.fixture
def limited(plane: ControlPlane, rest: Rest, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of the chart's ServiceAccount of the router, with a Role in one namespace."""
    command = [str(plane.bin / "helm"), "template", "dormouse", str(CHART), "--namespace", namespace]
    command += ["--set", f"watchNamespaces={{{namespace}}}", "--show-only", "templates/rbac-router.yaml"]
    rights = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "dormouse-router"}}
    plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=f"{rights}\n---\n{yaml.safe_dump(account)}")
    until_granted(plane, "dormouse-router", namespace, "inferencemodels")
    config = yaml.safe_load(plane.kubeconfig.read_text())
    token = plane.kubectl("create", "token", "dormouse-router", "-n", namespace).stdout.strip()
    config["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    yield kubeconfig
    plane.kubectl("delete", "-n", namespace, "-f", "-", stdin=rights)


@asynccontextmanager
async def running(kubeconfig: Path, namespace: str) -> AsyncIterator[Router]:
    settings = replace(SETTINGS, namespaces=(namespace,), default_namespace=namespace)
    async with Kube({"KUBECONFIG": str(kubeconfig)}) as kube:
        router, stop = Router(kube, settings, in_memory()), asyncio.Event()
        task = asyncio.create_task(router.run(stop))
        try:
            async with asyncio.timeout(DEADLINE):
                for watcher in router.watchers:
                    await watcher.synced.wait()
            yield router
        finally:
            stop.set()
            await task


async def test_the_charts_rights_are_enough(plane: ControlPlane, own_models: Models, limited: Path) -> None:
    lease = {"name": names.runtime_name("tiny"), "namespace": own_models.namespace}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{own_models.namespace}/leases"
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": lease}
    own_models.rest.request("POST", path, body)
    own_models.apply("tiny")
    async with running(limited, own_models.namespace) as router:
        url = f"http://127.0.0.1:{router.port}"
        await until(lambda: router.catalog.find("tiny") is not None)
        async with httpx.AsyncClient(base_url=url, timeout=30) as http, ollama.AsyncClient(host=url) as sdk:
            assert (await http.post("/pull", json={"model": "org/other"})).status_code == 202
            http.headers["authorization"] = "Bearer mine"
            registered = await http.post("/v1/models", json={"id": "mine", "source": "org/mine"})
            assert registered.status_code == 201
            assert (await http.patch("/v1/models/mine", json={"revision": "v2"})).status_code == 200
            assert (await http.delete("/v1/models/mine")).status_code == 200
            del http.headers["authorization"]
            await until(lambda: router.catalog.find("org-other") is not None)
            for system in ("Be brief.", "Be long."):
                await sdk.create("mario", from_="tiny", system=system)
            await sdk.copy("mario", "luigi")
            for name in ("luigi", "mario", "org-other"):
                await sdk.delete(name)
            chat = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
            call = asyncio.create_task(http.post("/v1/chat/completions", json=chat))
            await until(lambda: bool(own_models.child("coordination.k8s.io/v1", "leases", lease["name"]).get("spec")))
            call.cancel()
    account = f"system:serviceaccount:{own_models.namespace}:dormouse-router"
    done = [e for e in plane.audit_events() if e["user"]["username"] == account]
    assert {"list", "watch", "create", "patch", "delete"} <= {e["verb"] for e in done}
    refused = [(e["verb"], e["requestURI"]) for e in done if e.get("responseStatus", {}).get("code") == 403]
    assert refused == []


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("get", "secrets"),
        ("create", "pods"),
        ("create", "jobs.batch"),
        ("create", "leases.coordination.k8s.io"),
        ("delete", "leases.coordination.k8s.io"),
        ("patch", "inferencemodels.dormouse.dev/status"),
        ("list", "runtimeprofiles.dormouse.dev"),
    ],
)
@pytest.mark.usefixtures("rest", "limited")
def test_it_may_not_do_what_it_need_not(plane: ControlPlane, namespace: str, verb: str, what: str) -> None:
    account = f"system:serviceaccount:{namespace}:dormouse-router"
    kind, _, part = what.partition("/")
    more = ["--subresource", part] if part else []
    answer = plane.kubectl("auth", "can-i", verb, kind, *more, "--as", account, "-n", namespace, check=False)
    assert answer.stdout.strip() == "no"
