"""What pods say of their engines' memory and of their GPUs, on the real API server: told, remembered, and told once."""

from dormouse_api import names
from dormouse_api.gpu import GpuReading, GpuReport, GpuWarningKind, Warned
from dormouse_api.runtime import Adaptation, RuntimeConfig, RuntimeState, Setting, Stage, StageAt
from tests.controlplane.kubelet import COMMIT, Kubelet
from tests.controlplane.operatorprocess import Models, OperatorProcess, until
from tests.controlplane.test_operator_revisions import pod_answers

STEP = Adaptation(engine="vllm", setting=Setting.SEQUENCES, before="64", after="16", because="out of memory: $HOME")
HOT = Warned(kind=GpuWarningKind.TEMPERATURE, message="GPU 0 has 88 degrees: see to the node's cooling")


def ready(*adapted: Adaptation) -> str:
    line = (StageAt(stage=Stage.STARTING, at=1.0), StageAt(stage=Stage.READY, at=2.0))
    state = RuntimeState(
        stage=Stage.READY, model="m", commit=COMMIT, engine="vllm", quantization="none", timeline=line, adapted=adapted
    )
    return state.model_dump_json()


def told(models: Models, name: str) -> RuntimeConfig:
    """What the Deployment tells its pods."""
    deployment = models.child("apps/v1", "deployments", names.runtime_name(name))
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    text = next(entry["value"] for entry in env if entry["name"] == names.ENV_RUNTIME_CONFIG)
    return RuntimeConfig.model_validate_json(text.replace("$$", "$"))


def test_what_an_engine_was_adapted_to_is_remembered_until_the_spec_changes(kubelet: Kubelet, models: Models) -> None:
    with pod_answers({"/state": ready(STEP)}):
        models.apply("tight", engine={"adapt": True})
        models.await_reason("tight", "ScaledToZero")
        models.wake("tight", 600)
        models.await_reason("tight", "Serving")
        adapted = until(lambda: models.status("tight").get("engine", {}).get("adapted"), why="it is in the status")
        assert adapted == [
            {"engine": "vllm", "setting": "maxNumSeqs", "from": "64", "to": "16", "because": STEP.because}
        ]
        assert told(models, "tight").adapted == ()
        (pod,) = models.pods("tight")
    models.wake("tight", 0.1)
    models.await_reason("tight", "ScaledToZero")
    models.wake("tight", 600)
    models.await_reason("tight", "Serving")
    assert told(models, "tight").adapted == (STEP,)
    assert models.pods("tight") != [pod]
    models.rest.patch(models.path("tight"), {"spec": {"engine": {"maxModelLen": 512}}})
    until(lambda: told(models, "tight").max_model_len == 512, why="the new spec is deployed")
    assert told(models, "tight").adapted == ()
    until(lambda: "adapted" not in models.status("tight").get("engine", {}), why="it is forgotten")


def test_a_gpu_that_gets_hot_is_one_event_a_status_and_a_metric(
    kubelet: Kubelet, models: Models, shared: OperatorProcess
) -> None:
    spec = {
        "image": "runtime:1",
        "device": "cuda",
        "accelerator": {"resource": "example.com/hot", "memory": "80Gi"},
        "maxAwake": 1,
    }
    body = {"apiVersion": names.API_VERSION, "kind": names.PROFILE_KIND, "metadata": {"name": "hot"}, "spec": spec}
    models.rest.request("POST", f"/apis/{names.API_VERSION}/{names.PROFILE_PLURAL}", body)

    def report(degrees: int, *warnings: Warned) -> str:
        reading = GpuReading(gpu="0", memory_total=80, memory_used=7, temperature=degrees, warnings=warnings)
        return GpuReport(gpus=(reading,)).model_dump_json()

    answers = {"/state": ready(), "/gpus": report(60)}
    with pod_answers(answers):
        models.apply("hot", profile="hot")
        models.await_reason("hot", "ScaledToZero")
        models.wake("hot", 600)
        models.await_reason("hot", "Serving")
        temperature = "dormouse_gpu_temperature_celsius"
        until(lambda: shared.metric(temperature, model="hot") == 60, why="the metric tells of it")
        answers["/gpus"] = report(88, HOT)
        (warned,) = until(lambda: models.status("hot").get("gpuWarnings"), why="the status warns")
        assert (warned["kind"], warned["gpu"], warned["message"]) == ("Temperature", "0", HOT.message)
        assert shared.metric("dormouse_gpu_warning", model="hot", kind="Temperature") == 1
        answers["/gpus"] = report(89, HOT)
        until(lambda: shared.metric(temperature, model="hot") == 89, why="it is asked again")
        answers["/gpus"] = report(50)
        until(lambda: "gpuWarnings" not in models.status("hot"), why="the warning ends")
        events = until(
            lambda: [e for e in models.events("hot") if e["reason"].startswith("Gpu")], why="an Event told of it"
        )
        assert [(e["reason"], e["type"]) for e in events] == [("GpuTemperature", "Warning")]
        assert HOT.message in events[0]["note"]
