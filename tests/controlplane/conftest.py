"""One control plane for the whole session, and a namespace of its own for each test that asks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from tests.controlplane.kubelet import Kubelet, Rest
from tests.controlplane.operatorprocess import Models, OperatorProcess

_HERE = Path(__file__).parent
_numbers = itertools.count(1)
SHARED = "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder, so that `-m "not controlplane"` leaves out what needs the built Kubernetes."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.controlplane)


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """A real API server with audit log; CRDs and the like are the tests' own to install."""
    with ControlPlane(audit=True) as started:
        yield started


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """The name of a fresh namespace; its objects are removed with it, without waiting for that."""
    name = f"test-{next(_numbers)}"
    plane.kubectl("create", "namespace", name)
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def rest(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """The API server as the administrator, with our CRDs and a profile installed."""
    for path in sorted((_HERE.parents[1] / "crds").glob("*.yaml")):
        plane.kubectl("apply", "--server-side", "-f", str(path))
    plane.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=120s")
    client = Rest(plane.kubeconfig, tmp_path_factory.mktemp("rest"))
    profiles = f"/apis/{names.API_VERSION}/{names.PROFILE_PLURAL}"
    spec = {"image": "runtime:1", "device": "cpu", "kvCacheMemory": "1Gi", "resources": {"requests": {"cpu": "500m"}}}
    body = {"apiVersion": names.API_VERSION, "kind": names.PROFILE_KIND, "metadata": {"name": "cpu"}, "spec": spec}
    client.request("POST", profiles, body)
    yield client
    client.close()


@pytest.fixture
def kubelet(rest: Rest) -> Iterator[Kubelet]:
    """Plays the pods' lives; what the stages do can be changed by the test."""
    with Kubelet(rest) as playing:
        yield playing
    assert not playing.errors


@pytest.fixture(scope="session")
def shared(plane: ControlPlane, rest: Rest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """One operator for all tests that leave it alone, on a namespace of its own: starting one costs seconds."""
    plane.kubectl("create", "namespace", SHARED)
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with OperatorProcess(plane.kubeconfig, log, DORMOUSE_NAMESPACES=SHARED) as started:
        yield started


@pytest.fixture
def models(rest: Rest, kubelet: Kubelet, shared: OperatorProcess) -> Iterator[Models]:
    """InferenceModels that the shared operator cares for; names must differ from test to test."""
    assert shared.alive(), shared.log.read_text()[-2000:]
    found = Models(rest, SHARED)
    yield found
    found.remove()
    assert "the look failed" not in shared.log.read_text()


@pytest.fixture
def own_models(rest: Rest, namespace: str) -> Models:
    """InferenceModels in the test's own namespace."""
    return Models(rest, namespace)


@pytest.fixture
def operator(plane: ControlPlane, namespace: str, tmp_path: Path, rest: Rest) -> Iterator[OperatorProcess]:
    """An operator of the test's own, to be killed, frozen and counted; it watches the test's own namespace."""
    process = OperatorProcess(plane.kubeconfig, tmp_path / "operator.log", DORMOUSE_NAMESPACES=namespace)
    with process as started:
        yield started
