"""Alerts on a system that lives: each fault is put into it, and a real Prometheus that scrapes it fires its alert.

Operator, router and worker are real processes on a real API server; only pods are pretended. These are the alerts whose
faults need no engine; tests/e2e/test_monitoring.py fires the others (tests/monitoring sees that none is forgotten).
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dev import ports
from dev.cluster.controlplane import ControlPlane
from dev.monitoring import rules
from dormouse_api import names
from dormouse_api.gpu import GpuReading, GpuReport, GpuWarningKind, Warned
from tests.controlplane.badwire import BadWire, Verdict
from tests.controlplane.kubelet import Kubelet, Object, Rest, running
from tests.controlplane.operatorprocess import Models, OperatorProcess
from tests.controlplane.test_router_path import until_ready
from tests.monitoring.live import Prometheus, quickened, started

# the first on a machine builds Prometheus, which takes minutes, and many where much else goes on
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800)]

NAMESPACE, PROFILE = "alerts", "watched"
POD_IP = "127.0.0.19"
"""Of the pod with the GPU, where nobody else listens."""
PATIENCE = 150.0


@dataclass
class Live:
    """The system, and who watches it."""

    prometheus: Prometheus
    models: Models
    wire: BadWire
    http: httpx.AsyncClient
    """To the router."""
    gpu: dict[str, GpuReport]


def ending(days: int) -> str:
    """The certificate of an authority that ends soon."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ending")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=days))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@contextlib.contextmanager
def supervisor(said: dict[str, GpuReport]) -> Iterator[None]:
    """The admin port of the pod with the GPU."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = said[self.path].model_dump_json().encode() if self.path in said else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer((POD_IP, names.PORT_ADMIN), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield
        server.shutdown()
        thread.join()


@contextlib.asynccontextmanager
async def process(module: str, env: dict[str, str]) -> AsyncIterator[None]:
    made = await asyncio.create_subprocess_exec(sys.executable, "-m", module, env={**os.environ, **env})
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            made.send_signal(signal.SIGTERM)
        await made.wait()


def with_gpu(rest: Rest) -> None:
    """The profile of models with a GPU."""
    accelerator = {"resource": "example.com/gpu", "memory": "24Gi"}
    spec = {"image": "runtime:1", "device": "cuda", "accelerator": accelerator}
    body = {"apiVersion": names.API_VERSION, "kind": names.PROFILE_KIND, "metadata": {"name": PROFILE}, "spec": spec}
    rest.request("POST", f"/apis/{names.API_VERSION}/{names.PROFILE_PLURAL}", body)


def lives(pod: Object) -> Object:
    """The pod of the model `hot` is ready, all others start for ever."""
    if pod["metadata"]["labels"][names.LABEL_MODEL] != "hot":
        return running()
    return running(ready=True) | {"podIP": POD_IP, "podIPs": [{"ip": POD_IP}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(plane: ControlPlane, rest: Rest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    folder = tmp_path_factory.mktemp("alerts")
    plane.kubectl("create", "namespace", NAMESPACE)
    with_gpu(rest)
    gpu: dict[str, GpuReport] = {"/gpus": GpuReport(gpus=(GpuReading(gpu="0"),))}
    port, router_ops, worker_ops = ports.reserve(3)
    url = f"http://127.0.0.1:{port}"
    kept = {
        "DORMOUSE_HOST": "127.0.0.1",
        "DORMOUSE_DATABASE_URL": f"sqlite:///{folder}/router.db",
        "DORMOUSE_FILES": f"file://{folder}/files",
    }
    told = {
        "KUBECONFIG": str(plane.kubeconfig),
        "DORMOUSE_NAMESPACES": NAMESPACE,
        "DORMOUSE_PORT": str(port),
        "DORMOUSE_OPS_PORT": str(router_ops),
        "DORMOUSE_DRAIN_DELAY": "0",
        "DORMOUSE_DRAIN_SECONDS": "1",
        "DORMOUSE_AUDIT": "/dev/full",  # a disk without room
    }
    worker = {
        "DORMOUSE_ROUTER_URL": url,
        "DORMOUSE_WORKER_OPS_PORT": str(worker_ops),
        "DORMOUSE_WORKER_DRAIN_SECONDS": "1",
    }
    with BadWire(plane.kubeconfig, folder, rest.context) as wire, Kubelet(rest) as kubelet, supervisor(gpu):
        kubelet.script["runtime"] = lives
        fault = {"DORMOUSE_NAMESPACES": NAMESPACE, "DORMOUSE_PULL_CA_CERTIFICATES": ending(days=5)}
        with OperatorProcess(wire.kubeconfig, folder / "operator.log", **fault) as operator:
            targets = [f"127.0.0.1:{each}" for each in (operator.port, router_ops, worker_ops)]
            scrapes = [{"job_name": "dormouse", "static_configs": [{"targets": targets}]}]
            async with (
                process("dormouse_router", kept | told),
                process("dormouse_router.worker", kept | worker),
                started(folder, quickened(rules.groups()), scrapes) as prometheus,
                httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http,
            ):
                await until_ready(http, f"http://127.0.0.1:{router_ops}/readyz")
                yield Live(prometheus, Models(rest, NAMESPACE), wire, http, gpu)


async def known(live: Live, name: str, **spec: Any) -> None:
    """A model that sleeps, and of which the router knows."""
    live.models.apply(name, **spec)
    await asyncio.to_thread(live.models.await_reason, name, "ScaledToZero")
    async with asyncio.timeout(PATIENCE):
        while (await live.http.get(f"/v1/models/{name}")).status_code != 200:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def test_an_authority_that_ends(live: Live) -> None:
    which = {"credential": "pull-authority"}
    await live.prometheus.until_firing("DormouseCredentialExpires", PATIENCE, **which)
    assert await live.prometheus.firing("DormouseCredentialExpires", **which)


async def test_a_batch_of_which_no_line_is_answered(live: Live) -> None:
    """Begun here, and looked at last: half a minute passes before anything is foretold."""
    await known(live, "never")
    body = {"model": "never", "messages": [{"role": "user", "content": "x"}]}
    line = json.dumps({"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body})
    form = {"file": ("in.jsonl", line.encode())}
    kept = (await live.http.post("/v1/files", files=form, data={"purpose": "batch"})).json()
    asked = {"input_file_id": kept["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    assert (await live.http.post("/v1/batches", json=asked)).status_code == 200
    assert not await live.prometheus.firing("DormouseBatchWillMissItsWindow")


async def test_an_audit_without_room(live: Live) -> None:
    body = {"model": "never", "messages": [{"role": "user", "content": "x"}]}
    refused = await live.http.post("/v1/chat/completions", json=body, headers={"x-dormouse-hold-seconds": "0"})
    assert refused.status_code == 503
    await live.prometheus.until_firing("DormouseUsageLost", PATIENCE, what="audit")


async def test_a_gpu_that_is_full(live: Live) -> None:
    await known(live, "hot", profile=PROFILE)
    await asyncio.to_thread(live.models.wake, "hot", 600)
    await asyncio.to_thread(live.models.await_reason, "hot", "Serving")
    full = Warned(kind=GpuWarningKind.MEMORY, message="93 % of the memory is in use")
    live.gpu["/gpus"] = GpuReport(gpus=(GpuReading(gpu="0", memory_used=93, memory_total=100, warnings=(full,)),))
    which = {"namespace": NAMESPACE, "model": "hot", "gpu": "0", "kind": "Memory"}
    await live.prometheus.until_firing("DormouseGpuUnderPressure", PATIENCE, **which)
    live.gpu["/gpus"] = GpuReport(gpus=(GpuReading(gpu="0", memory_used=10, memory_total=100),))
    await live.prometheus.until_quiet("DormouseGpuUnderPressure", PATIENCE, **which)
    assert not await live.prometheus.firing("DormouseGpuUnderPressure", **which)


async def test_an_operator_whose_looks_do_not_end(live: Live) -> None:
    live.wire.judge = lambda name, count: Verdict.STALLED if name == "GET inferencemodels" else Verdict.PASS
    try:
        for number in range(10):
            live.models.apply(f"waits-{number}")
        await live.prometheus.until_firing("DormouseOperatorStuck", PATIENCE)
    finally:
        live.wire.release()
    await live.prometheus.until_quiet("DormouseOperatorStuck", PATIENCE)
    assert not await live.prometheus.firing("DormouseOperatorStuck")


async def test_the_batch_will_be_late(live: Live) -> None:
    await live.prometheus.until_firing("DormouseBatchWillMissItsWindow", PATIENCE)
    assert await live.prometheus.firing("DormouseBatchWillMissItsWindow")
