"""The chart's batch worker: beside the router where that has a volume, else pods of its own."""

from typing import Any

import pytest

from dormouse_api.names import PORT_WORKER_OPS
from dormouse_router.settings import Settings
from dormouse_router.worker.settings import WorkerSettings
from tests.controlplane.test_chart import VARIANTS, of_kind, of_router, render

Object = dict[str, Any]
SHARED = "router.database.existingSecret=store,router.files.bucket=files,router.files.existingSecret=keys"


def env_of(container: Object) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in container["env"]}


def of_worker(*options: str) -> Object | None:
    found = [o for o in of_kind(render(*options), "Deployment") if o["metadata"]["name"] == "dormouse-worker"]
    return found[0]["spec"] if found else None


def beside(*options: str) -> list[Object]:
    containers = of_router(*options)["template"]["spec"]["containers"]
    return [container for container in containers if container["name"] == "worker"]


@pytest.mark.parametrize(
    "options",
    [
        "router.storage.size=2Gi",
        "router.storage.persistent=true",
        "router.database.existingSecret=store",
        "router.files.bucket=files",
    ],
)
def test_where_the_router_has_a_volume_the_worker_shares_it(options: str) -> None:
    assert of_worker("--set", options) is None
    router, worker = of_router("--set", options)["template"]["spec"]["containers"]
    rules = WorkerSettings.from_env(env_of(worker))
    assert rules == WorkerSettings(), "the defaults of both are the same"
    assert worker["image"] == router["image"]
    assert worker["command"] == ["python3", "-m", "dormouse_router.worker"]
    assert {"name": "store", "mountPath": "/var/lib/dormouse"} in worker["volumeMounts"]
    assert worker["ports"] == [{"name": "worker-ops", "containerPort": PORT_WORKER_OPS}]
    assert "readinessProbe" not in worker, "a pod with a worker that is in trouble still takes calls"
    assert worker["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "worker-ops"}


@pytest.mark.parametrize("options", ["router.storage.size=2Gi", SHARED])
def test_worker_and_router_look_for_everything_in_one_place(options: str) -> None:
    router = env_of(of_router("--set", options)["template"]["spec"]["containers"][0])
    own = of_worker("--set", options)
    worker = env_of(own["template"]["spec"]["containers"][0] if own else beside("--set", options)[0])
    assert {name: value for name, value in worker.items() if name in router} == {
        name: router[name] for name in worker if name in router
    }
    told, asked = Settings.from_env(worker), Settings.from_env(router)
    for field in ("database_url", "files", "files_bytes", "batch_lines", "batch_mixed", "batch_scores", "batch_tokens"):
        assert getattr(told, field) == getattr(asked, field)


def test_where_everything_is_shared_workers_are_pods_of_their_own() -> None:
    options = ("--set", SHARED, "--set", "worker.replicas=3,worker.drainSeconds=40,worker.inFlight=64")
    assert beside(*options) == []
    spec = of_worker(*options)
    assert spec is not None
    assert spec["replicas"] == 3
    pod = spec["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("dormouse-router", False)
    rules = WorkerSettings.from_env(env_of(pod["containers"][0]))
    assert (rules.router_url, rules.in_flight) == ("http://dormouse.dormouse-system", 64)
    assert pod["terminationGracePeriodSeconds"] > 2 * rules.drain
    assert pod["containers"][0]["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "worker-ops"}
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]


@pytest.mark.parametrize("options", ["router.pull=Allowed", SHARED])
def test_there_need_be_no_worker(options: str) -> None:
    chosen = ("--set", options, "--set", "worker.replicas=0")
    assert of_worker(*chosen) is None
    assert beside(*chosen) == []


def test_hours_are_the_workers() -> None:
    wish = '["Mon-Fri 20:00-06:00","Sat-Sun 00:00-24:00"]'
    worker = beside("--set-json", f"worker.hours={wish}", "--set", "worker.timeZone=Europe/Berlin")[0]
    hours = WorkerSettings.from_env(env_of(worker)).hours
    assert len(hours.spans) == 2
    assert str(hours.zone) == "Europe/Berlin"


def test_every_variant_of_the_chart_has_a_worker_once() -> None:
    for options in VARIANTS.values():
        assert (of_worker(*options) is None) == bool(beside(*options))
