"""The spans of looks and of their writes, as a real receiver has them; off, nothing of OpenTelemetry is imported."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from dormouse_api import names
from dormouse_api.tracer import opened
from dormouse_operator.kube import Kube
from dormouse_operator.queue import Key, WorkQueue
from dormouse_operator.reconcile import Parts
from dormouse_operator.settings import Settings, SettingsError
from dormouse_operator.tracing import SpannedReconciler, SpannedWire, kind_of
from tests.operator.apiserver import in_its_place
from tests.operator.world import Quiet
from tests.otlp import Receiver, receiving

KEY = Key("team", "qwen")
CLIENT = 3


class Server:
    """An API server that has one model, which cannot be read: its look writes a status."""

    def __init__(self) -> None:
        self.refuse = 0

    async def take(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET" and request.path.endswith("/qwen"):
            meta = {"name": "qwen", "namespace": "team", "generation": 1, "uid": "u", "resourceVersion": "1"}
            spec = {"source": {"uri": "a secret that is no address"}}
            body = {"apiVersion": names.API_VERSION, "kind": names.MODEL_KIND, "metadata": meta, "spec": spec}
            return web.json_response(body)
        if request.method == "GET":
            return web.json_response({"metadata": {}, "items": []})
        if self.refuse:
            return web.json_response({"message": "a secret reason"}, status=self.refuse)
        return web.json_response({"metadata": {}})


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    async with receiving(monkeypatch) as made:
        yield made


async def looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: int) -> None:
    server = Server()
    server.refuse = refuse
    async with in_its_place(server.take, tmp_path, monkeypatch), opened(True, "dormouse-operator", print) as tracer:
        assert tracer is not None
        async with Kube(wire=SpannedWire(tracer, None)) as kube:
            if not refuse:
                await kube.create_event({"metadata": {"namespace": "team"}})
            quiet = Quiet()
            parts = Parts(kube, WorkQueue(), quiet, quiet, quiet)
            await SpannedReconciler(tracer, Settings(puller_image="p:1"), parts).look(KEY)


async def test_a_look_and_its_writes(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await looked(tmp_path, monkeypatch, 0)
    look, write = (await receiver.until("reconcile", "PATCH inferencemodels/status")).values()
    assert look.parent == ""
    assert (write.parent, write.trace, write.kind) == (look.id, look.trace, CLIENT)
    assert look.service == "dormouse-operator"
    assert look.said["dormouse.model"] == "team/qwen"
    assert look.said["dormouse.outcome"] == "ok"
    assert look.said["dormouse.reason"] == "InvalidSpec"
    assert write.said["http.response.status_code"] == 200
    assert {span.name for span in receiver.spans} == {look.name, write.name}  # an Event belongs to no look
    assert b"secret" not in receiver.raw


async def test_a_look_that_is_refused(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await looked(tmp_path, monkeypatch, 422)
    look, write = (await receiver.until("reconcile", "PATCH inferencemodels/status")).values()
    assert (look.failed, look.said["dormouse.outcome"], look.said["error.type"]) == (True, "refused", "Terminal")
    assert (write.failed, write.said["http.response.status_code"]) == (True, 422)
    assert b"secret" not in receiver.raw


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/apis/apps/v1/namespaces/a/deployments/b", "deployments"),
        ("/apis/dormouse.dev/v1alpha1/namespaces/a/inferencemodels/b/status", "inferencemodels/status"),
        ("/api/v1/namespaces/namespaces/services/status", "services"),
        ("/apis/dormouse.dev/v1alpha1/runtimeprofiles/b", "runtimeprofiles"),
    ],
)
def test_a_path_has_a_kind(path: str, kind: str) -> None:
    assert kind_of(path) == kind


def test_engines_are_told_of_the_receiver_only_where_one_is_named() -> None:
    told = Settings.from_environment(
        {"DORMOUSE_PULLER_IMAGE": "p", "DORMOUSE_ENGINE_TRACES": "http://c:4318/v1/traces"}
    )
    assert dict(told.engine_traces)["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == "http://c:4318/v1/traces"
    assert Settings.from_environment({"DORMOUSE_PULLER_IMAGE": "p"}).engine_traces == ()
    for name in ("DORMOUSE_ENGINE_TRACES", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        with pytest.raises(SettingsError, match=f"{name}.*http://"):
            Settings.from_environment({"DORMOUSE_PULLER_IMAGE": "p", name: "c:4318"})


OFF = """
import sys
import dormouse_operator.__main__
print(sorted(name for name in sys.modules if name.startswith(("opentelemetry", "google.protobuf"))))
"""


@pytest.mark.slow
def test_off_nothing_of_opentelemetry_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
