"""Two models, one device: the real scheduler says that it is taken, the real endpoint controller closes the door."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from dormouse_api.demand import Demand, ModelDemand
from tests.controlplane.kubelet import Kubelet, Rest
from tests.controlplane.operatorprocess import Models, OperatorProcess, shelf, until

GPU = "nvidia.com/gpu"
PROFILE = "one-gpu"


class Router:
    """What a router's ops port answers on /demand."""

    def __init__(self) -> None:
        self.models: dict[str, ModelDemand] = {}
        router = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = Demand(models=router.models).model_dump_json().encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Router":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def router() -> Iterator[Router]:
    with Router() as started:
        yield started


@pytest.fixture
def turning(plane: ControlPlane, namespace: str, tmp_path: Path, rest: Rest, router: Router) -> Iterator[Models]:
    """Models of an operator of the test's own, with short turns."""
    log = tmp_path / "operator.log"
    env = {"DORMOUSE_NAMESPACES": namespace, "DORMOUSE_ROUTER_OPS": router.address, "DORMOUSE_TURN_SECONDS": "2"}
    with OperatorProcess(plane.kubeconfig, log, **env):
        yield Models(rest, namespace)
    assert "the look failed" not in log.read_text()


def endpoints(models: Models, name: str) -> int:
    found = models.child("discovery.k8s.io/v1", "endpointslices").get("items", [])
    mine = [s for s in found if s["metadata"]["labels"].get("kubernetes.io/service-name") == names.runtime_name(name)]
    return sum(len(s.get("endpoints") or ()) for s in mine)


def test_a_busy_model_makes_room_once_its_calls_are_over(kubelet: Kubelet, turning: Models, router: Router) -> None:
    kubelet.scheduled.add("runtime")
    kubelet.carry(**{"cpu": "8", "memory": "16Gi", "pods": "50", GPU: "1"})
    accelerator = {"resource": GPU, "memory": "24Gi"}
    spec = {"image": "runtime:1", "device": "cuda", "accelerator": accelerator}
    body = {"apiVersion": names.API_VERSION, "kind": names.PROFILE_KIND, "metadata": {"name": PROFILE}, "spec": spec}
    turning.rest.request("POST", f"/apis/{names.API_VERSION}/{names.PROFILE_PLURAL}", body)
    for name in ("first", "second"):
        turning.apply(name, profile=PROFILE, storage={"existingClaim": shelf(turning, name)})
        turning.await_reason(name, "ScaledToZero")
    first, second = f"{turning.namespace}/first", f"{turning.namespace}/second"
    router.models = {first: ModelDemand(held=1)}
    turning.wake("first", 300)
    turning.await_reason("first", "Serving")
    router.models = {first: ModelDemand(in_flight=1), second: ModelDemand(held=1)}
    turning.wake("second", 300)
    told = turning.await_reason("second", "WaitingForAccelerator")
    assert told["status"] == "True"
    assert first in told["message"]
    turning.await_reason("first", "MakingRoom")
    until(lambda: not endpoints(turning, "first"), why="its door is closed")
    line = turning.status("second")["line"]
    assert (line["position"], line["of"], line["holder"]) == (1, 1, first)
    assert turning.replicas("first") == 1, "its call goes on"
    assert len(turning.pods("first")) == 1
    router.models = {second: ModelDemand(held=1)}
    turning.await_reason("second", "Serving")
    turning.await_reason("first", "ScaledToZero")
    [swap] = turning.status("second")["swaps"]
    assert swap["holder"] == first
    assert "line" not in turning.status("second")
    until(lambda: "was asked to make room" in json.dumps(turning.events("second")), why="an Event tells of the turn")
