"""What changes under a model that lives: its revision, its volume; and what pods say of themselves meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dormouse_api.conditions import Reason
from dormouse_api.names import PORT_ADMIN, weights_name
from dormouse_api.results import Outcome, Progress, PullResult
from dormouse_api.runtime import Passed, RuntimeState, Stage, StageAt
from tests.controlplane.kubelet import COMMIT, POD_IP, Kubelet, Object, inspected, pulled, running, succeeded
from tests.controlplane.operatorprocess import Models, shelf, until

OTHER = "f" * 40


@contextmanager
def pod_answers(answers: dict[str, str]) -> Iterator[None]:
    """The admin port of every pretended pod: path -> body, 404 for anything else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Quiet."""

    with ThreadingHTTPServer((POD_IP, PORT_ADMIN), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield
        server.shutdown()
        thread.join()


def test_pull_progress_is_in_the_status_while_it_runs(kubelet: Kubelet, models: Models) -> None:
    gate: list[Object] = [running()]
    kubelet.script["pull"] = lambda pod: gate[0]

    def progress(count: int) -> str:
        return Progress(stage="fetching", bytes=count, total=1000, bytes_per_second=10, eta_seconds=9).model_dump_json()

    answers = {"/progress": progress(420)}
    with pod_answers(answers):
        # A claim that has its volume: what the volume controller says of one without would be told, rightly.
        models.apply("slow", storage={"existingClaim": shelf(models, "slow")})
        pull = until(lambda: models.status("slow").get("pull"))
        assert (pull["bytes"], pull["total"], pull["percent"], pull["etaSeconds"]) == (420, 1000, 42, 9)
        assert models.status("slow")["progress"] == "42%"
        answers["/progress"] = progress(800)
        until(lambda: models.status("slow")["progress"] == "80%")
        gate[0] = succeeded(pulled())
        models.await_reason("slow", "ScaledToZero")
    status = models.status("slow")
    assert "pull" not in status
    assert "progress" not in status
    until(lambda: "Asleep" in [e["reason"] for e in models.events("slow")])
    assert sorted(e["reason"] for e in models.events("slow")) == [
        "Asleep",
        "Created",
        "Inspected",
        "PullProgress",
        "PullProgress",
        "PullStarted",
        "Pulled",
    ]


def test_a_start_is_told_stage_by_stage_and_recorded(kubelet: Kubelet, models: Models) -> None:
    gate: list[Object] = [running()]
    kubelet.script["runtime"] = lambda pod: gate[0]
    models.apply("riser")
    models.await_reason("riser", "ScaledToZero")
    passed = Passed(engine="vllm", reason=Reason.UNSUPPORTED, message="unknown architecture", seconds=1.4)
    answers: dict[str, str] = {}
    with pod_answers(answers):
        asked = models.wake("riser", 600)

        def state(stage: Stage) -> str:
            # late enough that the pod is made before it also on a full machine: no stage is put before one ahead of it
            timeline = [StageAt(stage=Stage.STARTING, at=asked + 30), StageAt(stage=Stage.LOADING, at=asked + 40)]
            if stage is Stage.READY:
                timeline.append(StageAt(stage=stage, at=asked + 44.5))
            return RuntimeState(
                stage=stage,
                model="riser",
                commit=COMMIT,
                engine="transformers",
                quantization="none",
                passed=(passed,),
                timeline=tuple(timeline),
            ).model_dump_json()

        answers["/state"] = state(Stage.LOADING)
        starting = until(lambda: (s := models.status("riser").get("starting", {})).get("engine") and s)
        assert [stage["stage"] for stage in starting["stages"]][-2:] == ["started", "loading"]
        assert starting["stages"][-1]["atMilliseconds"] == 40000
        assert "loading" in models.condition("riser", "RuntimeAvailable")["message"]
        answers["/state"] = state(Stage.READY)
        gate[0] = running(ready=True)
        models.await_reason("riser", "Serving")
        (start,) = until(lambda: models.status("riser").get("coldStarts"))
    assert "starting" not in models.status("riser")
    assert (start["engine"], start["passed"]) == ("transformers", ["vllm"])
    assert start["profile"] == models.status("riser")["profile"]
    stages = {s["stage"]: s["atMilliseconds"] for s in start["stages"]}
    assert stages["requested"] == 0
    assert stages["ready"] == 44500
    engine = models.status("riser")["engine"]
    assert engine["name"] == "transformers"
    assert engine["attempts"][0]["reason"] == "Unsupported"


def test_another_revision_is_made_ready_behind_the_one_that_serves(kubelet: Kubelet, models: Models) -> None:
    models.apply("rolling")
    models.await_reason("rolling", "ScaledToZero")
    models.wake("rolling", 600)
    models.await_reason("rolling", "Serving")
    (before,) = models.pods("rolling")
    gate: list[Object] = [running()]
    kubelet.script["inspect"] = lambda pod: succeeded(inspected(commit=OTHER))
    kubelet.script["pull"] = lambda pod: gate[0]
    models.rest.patch(models.path("rolling"), {"spec": {"source": {"revision": "v2"}}})
    models.await_reason("rolling", "Pulling", kind="ModelPulled")
    assert models.condition("rolling")["reason"] == "Serving"
    assert models.pods("rolling") == [before], "the old revision serves on, untouched"
    result = PullResult(commit=OTHER, files=1, bytes=1, fetched_bytes=1, seconds=1, digest="d")
    gate[0] = succeeded(Outcome(pull=result).text())
    until(lambda: models.pods("rolling") not in ([before], []), why="the new revision's pod")
    models.await_reason("rolling", "Serving")
    assert models.status("rolling")["volume"]["folders"] == [COMMIT, OTHER]
    assert models.status("rolling")["commit"] == OTHER


def test_a_retained_volume_is_adopted_by_a_model_of_the_same_name(kubelet: Kubelet, models: Models) -> None:
    models.apply("heir", storage={"reclaimPolicy": "Retain"})
    models.await_reason("heir", "ScaledToZero")
    claim = models.child("v1", "persistentvolumeclaims", weights_name("heir"))
    assert "ownerReferences" not in claim["metadata"]
    models.rest.request("DELETE", models.path("heir"))
    until(lambda: models.replicas("heir") is None, why="what the model owned goes with it")
    assert (
        models.child("v1", "persistentvolumeclaims", weights_name("heir"))["metadata"]["uid"]
        == claim["metadata"]["uid"]
    )
    models.apply("heir", storage={"reclaimPolicy": "Retain"})
    models.await_reason("heir", "ScaledToZero")
    assert models.status("heir")["volume"]["claimUid"] == claim["metadata"]["uid"]


def test_a_claim_that_is_somebody_elses_is_not_taken(kubelet: Kubelet, models: Models) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    meta = {"name": weights_name("thief")}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}
    models.rest.request("POST", f"/api/v1/namespaces/{models.namespace}/persistentvolumeclaims", claim)
    models.apply("thief")
    ready = models.await_reason("thief", "StorageFailed")
    assert "storage.existingClaim" in ready["message"]
    models.rest.patch(models.path("thief"), {"spec": {"storage": {"existingClaim": weights_name("thief")}}})
    models.await_reason("thief", "ScaledToZero")
    found = models.child("v1", "persistentvolumeclaims", weights_name("thief"))
    assert "labels" not in found["metadata"], "an existing claim is used, not changed"
