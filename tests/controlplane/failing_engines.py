"""How starts fail: what the supervisor says of its engines, how containers end, and what keeps them from beginning.

The engines' lines are those of vLLM, torch and transformers, judged by the supervisor's own rules, so that a row is
true from the engine's word to the condition. The other texts are the kubelet's and containerd's.
"""

from dataclasses import replace
from typing import Any

from dormouse_api.conditions import Reason
from dormouse_api.model import Engine
from dormouse_api.runtime import Attempt, RuntimeState, Stage
from dormouse_runtime.supervisor.choose import Ending, judge
from dormouse_runtime.supervisor.oom import Killed
from tests.controlplane.failing import Kind
from tests.controlplane.failing_jobs import CREATING, waiting
from tests.controlplane.kubelet import COMMIT, Object, failed, running, stamp
from tests.controlplane.ward import Case


def gave_up(*lines: str, code: int | None = 1, seconds: float = 9, **more: Any) -> Object:
    """The status of a runtime pod whose every engine ended with these lines."""
    attempt = Attempt(engine=Engine.VLLM, model_dir=f"/models/{COMMIT}", quantization="none")
    passed = judge(attempt, Ending(exit_code=code, seconds=seconds, lines=lines, **more))
    state = RuntimeState(stage=Stage.FAILED, model="m", commit=COMMIT, passed=(passed,), failure=passed)
    return running(last=ended(1, state.model_dump_json()), restarts=1)


def ended(code: int, message: str = "", reason: str = "Error") -> Object:
    return {"exitCode": code, "reason": reason, "message": message, "startedAt": stamp(), "finishedAt": stamp()}


def _starts(name: str, reason: Reason, status: Object, words: tuple[str, ...], fix: str, *events: Object) -> Kind:
    """A runtime pod that does not come to serve."""

    def cause(case: Case) -> None:
        case.asleep()
        case.play("runtime", status, *events)
        case.wake()

    return Kind(name, reason.value, words, fix, cause, lambda case: case.cure("runtime"), after="Serving")


def _event(reason: str, message: str) -> Object:
    return {"reason": reason, "message": message}


def _lost(case: Case) -> None:
    """What the node's controller writes when a kubelet has been silent for 40 s."""
    case.serving()
    (pod,) = case.pods()
    path = f"/api/v1/namespaces/{case.space}/pods/{pod['metadata']['name']}"
    conditions = [
        {"type": "Ready", "status": "False", "lastTransitionTime": stamp()},
        {"type": "ContainersReady", "status": "True", "lastTransitionTime": stamp()},
    ]
    case.rest.request(
        "PATCH",
        f"{path}/status",
        {"status": {"conditions": conditions}},
        **{"Content-Type": "application/strategic-merge-patch+json"},
    )
    case.mark()


def _found(case: Case) -> None:
    """The node's own kubelet speaks again."""
    (pod,) = case.pods()
    path = f"/api/v1/namespaces/{case.space}/pods/{pod['metadata']['name']}/status"
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": stamp()}]
    body = {"status": {"conditions": conditions}}
    case.rest.request("PATCH", path, body, **{"Content-Type": "application/strategic-merge-patch+json"})


def _stuck(case: Case) -> None:
    """A pull pod is deleted, and its node does not end it: its Job waits for that."""
    case.play("pull", running())
    case.apply()
    case.models.await_reason(case.name, "Pulling", kind="ModelPulled")
    case.ward.lost.add(case.name)
    pod = case.on_its_node("pull")
    path = f"/api/v1/namespaces/{case.space}/pods/{pod['metadata']['name']}"
    case.rest.request("DELETE", path, {"gracePeriodSeconds": 1})
    case.mark()


def _ended_at_last(case: Case) -> None:
    """The node is back, and its kubelet ends the pod."""
    case.cure("pull")
    for pod in case.pods("pull"):
        path = f"/api/v1/namespaces/{case.space}/pods/{pod['metadata']['name']}/status"
        case.rest.patch(path, {"status": failed(143)})
    case.ward.lost.discard(case.name)


ENGINES = (
    _starts(
        "no-engine-image",
        Reason.IMAGE_PULL_FAILED,
        waiting("ImagePullBackOff", 'Back-off pulling image "runtime:1": ErrImagePull: runtime:1: not found'),
        ('"runtime:1"',),
        "correct its name in RuntimeProfile cpu",
    ),
    _starts(
        "crash-loop",
        Reason.ENGINE_FAILED,
        running(last=ended(3, "ModuleNotFoundError: No module named 'dormouse_runtime'"), restarts=2),
        ("exit code 3", "No module named 'dormouse_runtime'"),
        "look at kubectl logs --previous",
    ),
    _starts(
        "out-of-host-memory",
        Reason.OUT_OF_MEMORY,
        running(last=ended(137, reason="OOMKilled"), restarts=1),
        ("more memory than its limit",),
        "choose quantization int4",
    ),
    _starts(
        "liveness",
        Reason.ENGINE_FAILED,
        running(last=ended(137), restarts=2),
        ("exit code 137", "liveness probe fails"),
        "look at kubectl describe pod",
    ),
    _starts(
        "out-of-gpu-memory",
        Reason.OUT_OF_MEMORY,
        gave_up(
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
            "15.77 GiB of which 1.02 GiB is free."
        ),
        ("CUDA out of memory",),
        "give the profile more memory, or ask for a smaller quantization",
    ),
    _starts(
        "cache-too-small",
        Reason.OUT_OF_MEMORY,
        gave_up(
            "ValueError: To serve at least one request with the models's max seq len (131072), 16.00 GiB KV cache is "
            "needed, which is larger than the available KV cache memory (4.23 GiB)."
        ),
        ("131072",),
        "lower spec.engine.maxModelLen",
    ),
    _starts(
        "unknown-architecture",
        Reason.UNSUPPORTED,
        gave_up("ValueError: Model architectures ['NewForCausalLM'] are not supported for now."),
        ("NewForCausalLM",),
        "use an engine that knows it (spec.engine.order)",
    ),
    _starts(
        "remote-code",
        Reason.REMOTE_CODE_FORBIDDEN,
        gave_up(
            "ValueError: The repository org/name contains custom code which must be executed to correctly load the "
            "model. Please pass the argument `trust_remote_code=True`"
        ),
        ("custom code",),
        "set remoteCode: Allowed in the profile",
    ),
    _starts(
        "no-gpu-driver",
        Reason.ENGINE_FAILED,
        gave_up("RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"),
        ("Found no NVIDIA driver",),
        "install the GPU's driver",
    ),
    _starts(
        "old-gpu-driver",
        Reason.ENGINE_FAILED,
        gave_up("ImportError: libcuda.so.1: cannot open shared object file: No such file or directory"),
        ("libcuda.so.1",),
        "install the GPU's driver",
    ),
    _starts(
        "wrong-flag",
        Reason.ENGINE_FAILED,
        gave_up("api_server.py: error: unrecognized arguments: --enable-warp", code=2),
        ("--enable-warp",),
        "take it out of spec.engine.args, or out of the profile's args",
    ),
    _starts(
        "hangs-in-loading",
        Reason.ENGINE_FAILED,
        gave_up("Loading safetensors checkpoint shards: 12%", timed_out=True, seconds=600, stage=Stage.LOADING),
        ("not ready after 600 s, in stage loading", "shards: 12%"),
        "raise startSeconds in the profile",
    ),
    _starts(
        "hangs-in-warm-up",
        Reason.ENGINE_FAILED,
        gave_up("Capturing CUDA graphs: 3/67", timed_out=True, stage=Stage.WARMING, stalled=300),
        ("hung in stage warming: no line, no byte read and no work for 300 s", "graphs: 3/67"),
        "look at the GPU",
    ),
    _starts(
        "killed-at-the-limit",
        Reason.OUT_OF_MEMORY,
        gave_up("Loading weights", code=-9, killed=Killed(True, at_limit=True, limit=16 * 2**30)),
        ("memory limit of 16.0 GiB",),
        "raise RuntimeProfile spec.resources.limits.memory",
    ),
    _starts(
        "killed-by-somebody",
        Reason.ENGINE_FAILED,
        gave_up("Loading weights", code=-9, killed=Killed(False), stage=Stage.LOADING),
        ("killed from outside", "in stage loading"),
        "look at who ends processes of this pod",
    ),
    _starts(
        "context-too-long",
        Reason.INVALID_SPEC,
        gave_up(
            "ValueError: User-specified max_model_len (100000) is greater than the derived max_model_len "
            "(max_position_embeddings=2048.0 or model_max_length=None in model's config.json)."
        ),
        ("(100000)", "2048"),
        "lower spec.engine.maxModelLen to what the model was made for",
    ),
    _starts(
        "unknown-quantization",
        Reason.QUANTIZATION_FAILED,
        gave_up("ValueError: Unknown quantization method: nosuch. Must be one of ['awq', 'fp8', 'gptq']."),
        ("nosuch",),
        "choose another spec.quantization",
    ),
    _starts(
        "weights-gone",
        Reason.CORRUPT,
        gave_up("safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer"),
        ("MetadataIncompleteBuffer",),
        "delete",
    ),
    _starts(
        "runs-as-root",
        Reason.INVALID_SPEC,
        waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root (pod: x)"),
        ("runAsNonRoot",),
        "use an image that runs as another user than root",
    ),
    _starts(
        "no-container-toolkit",
        Reason.INVALID_SPEC,
        waiting(
            "RunContainerError",
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
            "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open",
        ),
        ("libnvidia-ml.so.1",),
        "container toolkit",
    ),
    _starts(
        "no-runtime-handler",
        Reason.UNSCHEDULABLE,
        CREATING,
        ('no runtime for "nvidia" is configured', "node pretended"),
        "correct runtimeClassName in the profile",
        _event(
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: no runtime "
            'for "nvidia" is configured',
        ),
    ),
    _starts(
        "sick-device",
        Reason.UNSCHEDULABLE,
        {
            "phase": "Failed",
            "reason": "UnexpectedAdmissionError",
            "message": "Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate unhealthy "
            "devices nvidia.com/gpu, which is unexpected",
        },
        ("node pretended refuses", "no healthy devices"),
        "look at the node's device plugin",
    ),
    replace(
        _starts(
            "held-by-another-node",
            Reason.STORAGE_FAILED,
            CREATING,
            ("Volume is already used by pod(s) other",),
            "wait until the other pod has ended",
            _event("FailedAttachVolume", 'Multi-Attach error for volume "v" Volume is already used by pod(s) other'),
        ),
        type="RuntimeAvailable",  # mostly it passes: callers wait a minute for it, with the cause before their eyes
    ),
    _starts(
        "mount-fails",
        Reason.STORAGE_FAILED,
        CREATING,
        ("mount.nfs: Connection timed out", "on node pretended"),
        "look at the storage's server",
        _event(
            "FailedMount",
            'MountVolume.SetUp failed for volume "pvc-1" : mount failed: exit status 32 Output: mount.nfs: Connection '
            "timed out",
        ),
    ),
    Kind(
        "node-lost",
        "NodeLost",
        ("node pretended", "does not answer"),
        "bring the node back",
        _lost,
        _found,
        after="Serving",
    ),
    Kind("pod-stuck", "NodeLost", ("should have ended",), "bring the node back", _stuck, _ended_at_last),
)
