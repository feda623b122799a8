"""How the pods of inspections, pulls and copies fail before, or without, a word of their own.

The texts are those of Kubernetes 1.37: of the kubelet's image manager, its secret volumes and its eviction manager, of
the scheduler's preemptions and the taint manager.
"""

from dormouse_api.conditions import Reason
from tests.controlplane.failing import Kind
from tests.controlplane.failing_pulls import REPO, said
from tests.controlplane.kubelet import Object, failed
from tests.controlplane.operatorprocess import until
from tests.controlplane.ward import Case

TOKEN = {"uri": f"hf://{REPO}", "tokenSecretRef": {"name": "hub-token"}}


def waiting(reason: str, message: str) -> Object:
    """The status of a pod whose container cannot be started yet."""
    state = {"waiting": {"reason": reason, "message": message}}
    container = {"name": "c", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"phase": "Pending", "containerStatuses": [container]}


CREATING = waiting("ContainerCreating", "")


def mount_failed(message: str) -> Object:
    return {"reason": "FailedMount", "message": message}


def put_out(reason: str, message: str, condition: str = "TerminationByKubelet") -> Object:
    """The status of a pod that the kubelet has evicted."""
    target = {"type": "DisruptionTarget", "status": "True", "reason": condition, "message": message}
    ended = failed(137, reason="Error")
    return ended | {"reason": reason, "message": message, "conditions": [target]}


def _stuck(name: str, reason: Reason, status: Object, words: tuple[str, ...], fix: str, *events: Object) -> Kind:
    """An inspect pod that does not start."""

    def cause(case: Case) -> None:
        case.play("inspect", status, *events)
        case.apply(source=TOKEN)

    return Kind(name, reason.value, words, fix, cause, lambda case: case.cure("inspect"))


def _copied(name: str, reason: Reason, status: Object, words: tuple[str, ...], fix: str) -> Kind:
    """A quantize pod that fails."""

    def cause(case: Case) -> None:
        case.play("quantize", status)
        case.apply(quantization="int4", engine={"order": ["vllm"]})

    return Kind(name, reason.value, words, fix, cause, lambda case: case.cure("quantize"))


def _late(case: Case) -> None:
    """The real Job controller ends what has taken too long."""
    case.play("inspect", CREATING)
    case.apply()
    (job,) = _jobs(case)
    case.rest.patch(f"/apis/batch/v1/namespaces/{case.space}/jobs/{job}", {"spec": {"activeDeadlineSeconds": 1}})
    case.began = None
    path = f"/apis/batch/v1/namespaces/{case.space}/jobs/{job}"
    _until_failed(case, path)
    case.mark()


def _jobs(case: Case) -> list[str]:
    return until(lambda: case.models.jobs(case.name), why="a Job")


def _until_failed(case: Case, path: str) -> None:
    until(lambda: case.rest.get(path).get("status", {}).get("conditions"), why="the Job has failed")


JOBS = (
    _stuck(
        "no-secret",
        Reason.SECRET_MISSING,
        CREATING,
        ('secret "hub-token" not found', "the token cannot be mounted"),
        "create secret generic hub-token --from-literal=token=",
        mount_failed('MountVolume.SetUp failed for volume "token" : secret "hub-token" not found'),
    ),
    _stuck(
        "no-secret-key",
        Reason.SECRET_MISSING,
        CREATING,
        ("references non-existent secret key: token",),
        "correct spec.source.tokenSecretRef.key",
        mount_failed('MountVolume.SetUp failed for volume "token" : references non-existent secret key: token'),
    ),
    _stuck(
        "no-puller-image",
        Reason.IMAGE_PULL_FAILED,
        waiting(
            "ErrImagePull",
            'failed to pull and unpack image "registry.example/dormouse-puller:9": failed to resolve reference '
            '"registry.example/dormouse-puller:9": registry.example/dormouse-puller:9: not found',
        ),
        ("registry.example/dormouse-puller:9", "ErrImagePull"),
        "push that image, or correct its name in the chart's image values",
    ),
    _stuck(
        "no-pull-secret",
        Reason.IMAGE_PULL_FAILED,
        waiting(
            "ImagePullBackOff",
            'Back-off pulling image "registry.example/dormouse-puller:9": ErrImagePull: failed to authorize: failed to '
            "fetch anonymous token: unexpected status from GET request: 401 Unauthorized",
        ),
        ("401 Unauthorized",),
        "image pull secret",
    ),
    _stuck(
        "never-pulled-image",
        Reason.IMAGE_PULL_FAILED,
        waiting("ErrImageNeverPull", 'Container image "dormouse-puller:9" is not present with pull policy of Never'),
        ('Container image "dormouse-puller:9" is not present',),
        "load the image onto the node",
    ),
    _stuck(
        "bad-image-name",
        Reason.IMAGE_PULL_FAILED,
        waiting(
            "InvalidImageName",
            'Failed to apply default image tag "Puller::9": couldn\'t parse image name "Puller::9": invalid reference '
            "format",
        ),
        ("Puller::9",),
        "correct the name in the chart's image values",
    ),
    _stuck(
        "registry-unreachable",
        Reason.IMAGE_PULL_FAILED,
        waiting(
            "ErrImagePull",
            'failed to pull and unpack image "registry.example/p:1": failed to do request: Head '
            '"https://registry.example/v2/p/manifests/1": dial tcp: lookup registry.example: no such host',
        ),
        ("no such host",),
        "look at the way from the node to the registry",
    ),
    _stuck(
        "puller-crashes",
        Reason.JOB_FAILED,
        failed(1, "Traceback (most recent call last):\nImportError: cannot import name 'fetch'"),
        ("exit code 1", "cannot import name 'fetch'"),
        "look at kubectl logs",
    ),
    _stuck(
        "pull-killed-for-memory",
        Reason.OUT_OF_MEMORY,
        failed(137, reason="OOMKilled"),
        ("the inspect container was killed for using more memory than its limit",),
        "report it",
    ),
    _stuck(
        "evicted",
        Reason.INTERRUPTED,
        put_out(
            "Evicted",
            "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 200Mi. Container "
            "pull was using 3Gi, request is 0, has larger consumption of ephemeral-storage. ",
        ),
        ("put out of its node", "low on resource: ephemeral-storage"),
        "free the node's disk",
    ),
    _stuck(
        "preempted",
        Reason.INTERRUPTED,
        failed(143)
        | {
            "conditions": [
                {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "PreemptionByScheduler",
                    "message": "default-scheduler: preempting to accommodate a higher priority pod",
                }
            ]
        },
        ("preempting to accommodate a higher priority pod",),
        "add a node, or lower the priority",
    ),
    _stuck(
        "tainted-away",
        Reason.INTERRUPTED,
        failed(143)
        | {
            "conditions": [
                {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "DeletionByTaintManager",
                    "message": "Taint manager: deleting due to NoExecute taint",
                }
            ]
        },
        ("NoExecute taint",),
        "look at the node",
    ),
    Kind(
        "job-too-long",
        "Stalled",
        ("took longer than",),
        "look at the network",
        _late,
        lambda c: c.cure("inspect"),
    ),
    _copied(
        "copy-killed-for-memory",
        Reason.OUT_OF_MEMORY,
        failed(137, reason="OOMKilled"),
        ("the quantize container was killed",),
        "raise resources.limits.memory in the profile",
    ),
    _copied(
        "copy-impossible",
        Reason.QUANTIZATION_FAILED,
        said(
            Reason.QUANTIZATION_FAILED,
            "model.layers.0.mlp.down_proj has 100 columns, which 128 does not divide: choose spec.quantization fp8",
            42,
        ),
        ("model.layers.0.mlp.down_proj",),
        "choose spec.quantization",
    ),
    _copied(
        "copy-disk-full",
        Reason.NO_SPACE,
        said(Reason.NO_SPACE, "the volume is full (No space left on device): raise spec.storage.size", 42),
        ("No space left on device",),
        "raise spec.storage.size",
    ),
    _copied(
        "no-copy-image",
        Reason.IMAGE_PULL_FAILED,
        waiting("ErrImagePull", "registry.example/runtime:9: not found"),
        ("registry.example/runtime:9",),
        "correct its name in RuntimeProfile cpu",
    ),
)
