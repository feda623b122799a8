"""What a user reads when something is wrong: the right reason, and a sentence with the fix."""

import json
import time
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.results import Failure, Outcome
from dormouse_api.runtime import Passed, RuntimeState, Stage
from dormouse_operator.settings import COOLDOWN_SECONDS
from tests.controlplane.kubelet import COMMIT, Kubelet, failed, inspected, running, stamp, succeeded
from tests.controlplane.operatorprocess import Models, shelf, until


def said(reason: Reason, message: str = "do this to cure it") -> str:
    return Outcome(failure=Failure(reason=reason, message=message)).text()


@pytest.mark.parametrize(
    ("reason", "code"),
    [(Reason.GATED, 42), (Reason.UNAUTHORIZED, 42), (Reason.NO_SPACE, 42), (Reason.NETWORK, 1), (Reason.STALLED, 1)],
)
def test_a_pull_that_fails_says_why(kubelet: Kubelet, models: Models, reason: Reason, code: int) -> None:
    kubelet.script["pull"] = lambda pod: failed(code, said(reason))
    name = f"sick-{reason.lower()}"
    models.apply(name, storage={"existingClaim": shelf(models, name)})
    ready = models.await_reason(name, reason.value)
    assert ready["status"] == "False"
    assert ready["message"].startswith("do this to cure it")
    assert models.condition(name, "ModelPulled")["reason"] == reason.value
    warned = until(lambda: [e for e in models.events(name) if e["type"] == "Warning"], why="a warning event")
    assert {e["reason"] for e in warned} == {reason.value}


def test_a_permanent_failure_ends_its_job_at_once_and_a_changed_spec_tries_again(
    kubelet: Kubelet, models: Models
) -> None:
    kubelet.script["inspect"] = lambda pod: failed(42, said(Reason.UNAUTHORIZED))
    models.apply("locked")
    models.await_reason("locked", "Unauthorized")
    (name,) = models.jobs("locked")
    job = until(
        lambda: (models.child("batch/v1", "jobs", name).get("status") or {}).get("conditions"), why="the Job ends"
    )
    assert "PodFailurePolicy" in json.dumps(job)
    kubelet.script["inspect"] = Kubelet(kubelet.rest).script["inspect"]
    models.rest.patch(models.path("locked"), {"spec": {"source": {"tokenSecretRef": {"name": "token"}}}})
    models.await_reason("locked", "ScaledToZero")


def test_an_engine_that_fails_says_so_and_recovers(kubelet: Kubelet, models: Models) -> None:
    passed = Passed(engine="vllm", reason=Reason.OUT_OF_MEMORY, message="needs 3 GB more: choose int4", seconds=2)
    state = RuntimeState(stage=Stage.FAILED, model="weak", commit=COMMIT, passed=(passed,), failure=passed)
    last = {"exitCode": 1, "message": state.model_dump_json(), "startedAt": stamp(), "finishedAt": stamp()}
    kubelet.script["runtime"] = lambda pod: running(last=last, restarts=1)
    models.apply("weak")
    models.await_reason("weak", "ScaledToZero")
    models.wake("weak", 600)
    ready = models.await_reason("weak", "OutOfMemory")
    assert ready["status"] == "False"
    assert "int4" in ready["message"]
    engine = models.status("weak")["engine"]
    assert engine["attempts"] == [
        {"engine": "vllm", "reason": "OutOfMemory", "message": "needs 3 GB more: choose int4", "seconds": 2}
    ]
    until(lambda: "cooldown" in models.status("weak"), why="it is left alone for a while")
    kubelet.script["runtime"] = lambda pod: running(ready=True)
    models.rest.patch(models.path("weak"), {"spec": {"aliases": ["mended"]}})  # another spec is tried at once
    models.await_reason("weak", "Serving")


@pytest.mark.parametrize("wanted", [True, False])
def test_a_profile_that_is_mended_ends_the_cooldown_at_once(kubelet: Kubelet, models: Models, wanted: bool) -> None:
    """Mended the moment the failure is told, when the pod that failed is not gone yet; and when it is."""
    name, profiles = f"fragile-{wanted}".lower(), "/apis/dormouse.dev/v1alpha1/runtimeprofiles"
    spec = {"image": "runtime:broken", "device": "cpu", "kvCacheMemory": "1Gi"}
    body = {"apiVersion": "dormouse.dev/v1alpha1", "kind": "RuntimeProfile", "metadata": {"name": name}, "spec": spec}
    kubelet.rest.request("POST", profiles, body)
    passed = Passed(engine="custom", reason=Reason.ENGINE_FAILED, message="no such class", seconds=2)
    state = RuntimeState(stage=Stage.FAILED, model=name, commit=COMMIT, passed=(passed,), failure=passed)

    def play(pod: dict[str, Any]) -> dict[str, Any]:
        if pod["spec"]["containers"][0]["image"] != "runtime:broken":
            return running(ready=True)
        last = {"exitCode": 1, "message": state.model_dump_json(), "startedAt": stamp(), "finishedAt": stamp()}
        return running(last=last, restarts=1)

    kubelet.script["runtime"] = play
    models.apply(name, profile=name)
    models.await_reason(name, "ScaledToZero")
    began = models.wake(name, 600)
    models.await_reason(name, "EngineFailed")
    if not wanted:
        until(lambda: not models.pods(name), why="what failed is gone")
        models.wake(name, 0)
    kubelet.rest.patch(f"{profiles}/{name}", {"spec": {"image": "runtime:mended"}})
    ready = models.await_reason(name, "Serving" if wanted else "ScaledToZero")
    assert ready["status"] == "True"
    until(lambda: "cooldown" not in models.status(name), why="it is forgotten")
    assert time.time() < began + COOLDOWN_SECONDS, "it did not wait for the cooldown's own end"
    assert models.replicas(name) == int(wanted)
    kubelet.rest.request("DELETE", f"{profiles}/{name}")


def test_a_pod_that_finds_no_node_is_waking_first_and_unschedulable_when_it_lasts(
    kubelet: Kubelet, models: Models
) -> None:
    kubelet.unbound.add("runtime")
    models.apply("homeless", storage={"existingClaim": shelf(models, "homeless")})
    models.await_reason("homeless", "ScaledToZero")
    models.wake("homeless", 600)
    models.await_reason("homeless", "Unschedulable", kind="RuntimeAvailable")
    assert models.condition("homeless")["reason"] == "Waking"
    ready = models.await_reason("homeless", "Unschedulable")
    assert ready["status"] == "False"
    assert "no node can run pod" in ready["message"]
    kubelet.unbound.clear()
    models.await_reason("homeless", "Serving")


def test_a_missing_profile_is_named_and_its_coming_is_noticed(kubelet: Kubelet, models: Models) -> None:
    models.apply("picky", profile="special")
    ready = models.await_reason("picky", "ProfileNotFound")
    assert "RuntimeProfile special" in ready["message"]
    spec = {"image": "runtime:2", "device": "cpu", "kvCacheMemory": "1Gi"}
    meta = {"name": "special"}
    body = {"apiVersion": "dormouse.dev/v1alpha1", "kind": "RuntimeProfile", "metadata": meta, "spec": spec}
    kubelet.rest.request("POST", "/apis/dormouse.dev/v1alpha1/runtimeprofiles", body)
    models.await_reason("picky", "ScaledToZero")


def test_weights_that_no_engine_can_serve_as_asked_are_refused_with_the_fix(kubelet: Kubelet, models: Models) -> None:
    kubelet.script["inspect"] = lambda pod: succeeded(inspected(native_quantization="gptq"))
    models.apply("mixed", quantization="int4")
    ready = models.await_reason("mixed", "InvalidSpec")
    assert "set quantization to auto" in ready["message"]
    models.rest.patch(models.path("mixed"), {"spec": {"quantization": "auto"}})
    models.await_reason("mixed", "ScaledToZero")
    assert models.status("mixed")["quantization"] == "gptq"


def test_a_model_that_cannot_fit_is_told_before_a_byte_is_pulled_and_a_larger_card_cures_it(
    kubelet: Kubelet, models: Models
) -> None:
    anatomy = {
        "tensor_bytes": {"BF16": 10 * 2**30},
        "copy_bytes": {"int4": 3 * 2**30},
        "cache": [{"layers": 32, "heads": 8, "width": 256}],
        "attention_heads": 32,
    }
    kubelet.script["inspect"] = lambda pod: succeeded(inspected(bytes=10 * 2**30, anatomy=anatomy))
    card = {"resource": "example.com/gpu", "count": 1, "memory": "8Gi"}
    spec = {"image": "runtime:1", "device": "cuda", "accelerator": card}
    body = {"apiVersion": "dormouse.dev/v1alpha1", "kind": "RuntimeProfile", "metadata": {"name": "card"}, "spec": spec}
    path = "/apis/dormouse.dev/v1alpha1/runtimeprofiles"
    kubelet.rest.request("POST", path, body)
    models.apply("wide", profile="card", quantization="none", engine={"maxModelLen": 8192})
    ready = models.await_reason("wide", "DoesNotFit")
    assert ready["status"] == "False"
    assert "= 12.0 GiB, more than the 8.0 GiB of profile card" in ready["message"]
    assert "set quantization int4 (5.0 GiB in all)" in ready["message"]
    assert models.condition("wide", "Preflight")["message"] == ready["message"]
    assert not models.child("v1", "persistentvolumeclaims", "wide-weights")
    kubelet.rest.patch(f"{path}/card", {"spec": {"accelerator": card | {"memory": "16Gi"}}})
    models.await_reason("wide", "ScaledToZero")
    fits = models.condition("wide", "Preflight")
    assert (fits["status"], fits["reason"]) == ("True", "Fits")
    assert (
        "10.0 GiB of weights + 4.2 GiB KV for 8,192 tokens x 4 + 1.0 GiB overhead = 15.2 of 16.0 GiB" in fits["message"]
    )
