"""A reload from the router's one write to the pod template, on the real API server and with the chart's rights."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane
from dormouse_api.names import ANNOTATION_RESTARTED, runtime_name
from dormouse_router.kube import Kube
from tests.controlplane.operatorprocess import Models, until, writes
from tests.controlplane.test_router_rights import limited as limited

FIRST, SECOND = "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:00.000001Z"


def ask(kubeconfig: Path, namespace: str, at: str) -> None:
    async def once() -> None:
        async with Kube({"KUBECONFIG": str(kubeconfig)}) as kube:
            await kube.annotate_lease(namespace, runtime_name("tiny"), {ANNOTATION_RESTARTED: at})

    asyncio.run(once())


@pytest.mark.usefixtures("kubelet", "operator")
def test_a_reload_changes_the_template_once(plane: ControlPlane, own_models: Models, limited: Path) -> None:
    def deployment() -> dict[str, object]:
        found = own_models.child("apps/v1", "deployments", runtime_name("tiny"))
        return dict(found["spec"]["template"]["metadata"].get("annotations") or {})

    def applies() -> int:
        return len([w for w in writes(plane, own_models.namespace) if w["objectRef"]["resource"] == "deployments"])

    def arrived(at: str, more_than: int) -> bool:
        return deployment().get(ANNOTATION_RESTARTED) == at and applies() > more_than

    own_models.apply("tiny")
    own_models.await_reason("tiny", "ScaledToZero")
    own_models.wake("tiny", 600)
    own_models.await_reason("tiny", "Serving")
    assert ANNOTATION_RESTARTED not in deployment()
    spec = own_models.child("coordination.k8s.io/v1", "leases", runtime_name("tiny"))["spec"]
    for at in (FIRST, SECOND):
        before = applies()
        ask(limited, own_models.namespace, at)
        until(partial(arrived, at, before))
        ask(limited, own_models.namespace, at)
        own_models.wake("tiny", 700)  # the operator looks again: nothing has changed
        own_models.await_reason("tiny", "Serving")
        assert applies() == before + 1
    ask(limited, own_models.namespace, FIRST)  # an older one is no restart
    own_models.wake("tiny", 700)
    assert deployment()[ANNOTATION_RESTARTED] == SECOND
    lease = own_models.child("coordination.k8s.io/v1", "leases", runtime_name("tiny"))
    assert lease["spec"].keys() == spec.keys()
