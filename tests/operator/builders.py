"""Small builders of what tables are made of: models, profiles, pods, Jobs and whole observations."""

from typing import Any

from dormouse_api.lease import Wish
from dormouse_api.model import InferenceModelSpec
from dormouse_api.profile import RuntimeProfileSpec
from dormouse_api.results import Failure, InspectResult, Outcome, PullResult, QuantizeResult
from dormouse_api.runtime import RuntimeState, Stage, StageAt
from dormouse_api.status import InferenceModelStatus
from dormouse_operator.decide import facts as known
from dormouse_operator.decide.facts import Facts
from dormouse_operator.observed import Claim, Exit, Job, Model, Observed, Pod, Profile
from dormouse_operator.settings import Settings

Object = dict[str, Any]

NOW = 1_800_000_000.0
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SETTINGS = Settings(puller_image="puller:1")


def model(status: InferenceModelStatus | None = None, generation: int = 1, **spec: Any) -> Model:
    body = InferenceModelSpec.model_validate({"source": {"uri": "hf://org/name"}} | spec)
    return Model("ns", "tiny", "uid-1", generation, body, status or InferenceModelStatus())


def profile(**spec: Any) -> Profile:
    body = {"image": "runtime:1", "device": "cpu", "kvCacheMemory": "1Gi"} | spec
    return Profile("cpu", RuntimeProfileSpec.model_validate(body))


def gpu(memory: str = "24Gi", count: int = 1, **spec: Any) -> Profile:
    accelerator = {"resource": "nvidia.com/gpu", "count": count, "memory": memory}
    return profile(device="cuda", accelerator=accelerator, **spec)


def facts(**more: Any) -> Facts:
    base: Object = {"commit": COMMIT, "bytes": 1000, "capabilities": ("completion",)}
    return Facts(**(base | more))


def claim(**more: Any) -> Claim:
    base: Object = {
        "name": "tiny-weights",
        "uid": "claim-1",
        "bound": True,
        "lost": False,
        "deleting": False,
        "requested": "2Gi",
        "labels": {"dormouse.dev/model": "tiny"},
    }
    return Claim(**(base | more))


def job(stage: str, inputs: str, **more: Any) -> Job:
    base: Object = {
        "name": f"tiny-{stage}-0",
        "uid": f"job-{stage}",
        "stage": stage,
        "inputs": inputs,
        "attempt": 0,
        "generation": 1,
        "deleting": False,
        "complete": False,
        "failed_reason": None,
        "failed_message": "",
        "ended_at": 0.0,
    }
    return Job(**(base | more))


def pod(component: str = "runtime", **more: Any) -> Pod:
    base: Object = {
        "name": f"tiny-{component}",
        "uid": f"pod-{component}",
        "component": component,
        "job": f"tiny-{component}-0" if component != "runtime" else "",
        "ip": "10.0.0.1",
        "phase": "Running",
        "deleting": False,
        "created": NOW - 5,
        "ready_at": None,
        "scheduled_at": NOW - 4,
        "unschedulable": None,
        "unschedulable_since": 0.0,
        "waiting": None,
        "waiting_message": "",
        "started_at": NOW - 3,
        "exit": None,
        "last_exit": None,
        "restarts": 0,
    }
    return Pod(**(base | more))


def ended(code: int = 0, message: str = "", reason: str = "") -> Exit:
    return Exit(code, reason, message, NOW - 1)


def failure(reason: str, message: str = "why", **more: Any) -> str:
    return Outcome(failure=Failure.model_validate({"reason": reason, "message": message} | more)).text()


def inspected(**more: Any) -> str:
    result = {"commit": COMMIT, "files": 3, "bytes": 1000, "capabilities": ("completion",)} | more
    return Outcome(inspect=InspectResult.model_validate(result)).text()


def pulled(commit: str = COMMIT) -> str:
    return Outcome(pull=PullResult(commit=commit, files=3, bytes=1, fetched_bytes=1, seconds=1, digest="d")).text()


def quantized(method: str, commit: str = COMMIT) -> str:
    return Outcome(quantize=QuantizeResult(directory=f"{commit}-{method}", method=method, bytes=1, seconds=1)).text()


def remembered(m: Model, f: Facts, *folders: str, claim_uid: str = "claim-1") -> Model:
    """The model with a status that remembers an inspection, and what lies on the claim."""
    status = {
        "commit": f.commit,
        "bytes": f.bytes,
        "capabilities": list(f.capabilities),
        "context_length": f.context_length,
        "inspected": known.inspected(m, f),
        "volume": {"claim_uid": claim_uid, "folders": list(folders)} if folders else None,
    }
    return Model(m.namespace, m.name, m.uid, m.generation, m.spec, InferenceModelStatus.model_validate(status))


def observed(m: Model | None = None, **more: Any) -> Observed:
    base: Object = {"model": m or model(), "profile": profile(), "jobs": ()}
    return Observed(**(base | more))


def wish(seconds: float, renewed: float = NOW) -> Wish:
    return Wish(renewed, int(seconds))


def state(stage: Stage = Stage.READY, **more: Any) -> RuntimeState:
    base: Object = {"stage": stage, "model": "tiny", "commit": COMMIT, "engine": "vllm", "quantization": "none"}
    timeline = (StageAt(stage=Stage.STARTING, at=NOW - 2.5), StageAt(stage=Stage.READY, at=NOW))
    return RuntimeState(**(base | {"timeline": timeline} | more))
