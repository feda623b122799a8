"""How no node takes a pod: the words of the real scheduler, about nodes that the rows make, taint and cordon."""

from tests.controlplane.failing import Kind
from tests.controlplane.kubelet import Object
from tests.controlplane.operatorprocess import until
from tests.controlplane.ward import Case

GPU = "nvidia.com/gpu"


def _placed(case: Case, profile: Object, node: Object) -> str:
    """A model asleep whose volume is bound, a node of its own, and a wake; the node's path."""
    path = case.node(**node)
    requests = {"resources": {"requests": {"cpu": "100m"}}}
    name = case.profile(**(requests | {"nodeSelector": {"row": case.name}} | profile))
    case.asleep(profile=name)
    case.shelf()
    _homeless(case)
    return path


def _homeless(case: Case) -> None:
    """It is woken, and the real scheduler finds no node."""
    case.ward.placed.add(case.name)
    case.wake()

    def said() -> bool:
        told = [c for pod in case.pods() for c in pod["status"].get("conditions") or ()]
        return any(c["type"] == "PodScheduled" and c["status"] == "False" for c in told)

    until(said, why="the scheduler's word")
    case.mark()


def _room(case: Case, **resources: str) -> None:
    body = {"status": {"capacity": resources, "allocatable": resources}}
    case.rest.patch(f"/api/v1/nodes/{case.name}/status", body)


def _untaint(case: Case) -> None:
    case.rest.patch(f"/api/v1/nodes/{case.name}", {"spec": {"taints": None}})


def _uncordon(case: Case) -> None:
    case.rest.patch(f"/api/v1/nodes/{case.name}", {"spec": {"unschedulable": None}})


def _label(case: Case) -> None:
    case.rest.patch(f"/api/v1/nodes/{case.name}", {"metadata": {"labels": {"pool": "gpu"}}})


def _elsewhere(case: Case) -> None:
    """A volume that only a node of another zone may have."""
    case.node()
    name = case.profile(nodeSelector={"row": case.name}, resources={"requests": {"cpu": "100m"}})
    case.asleep(profile=name)
    term = {"matchExpressions": [{"key": "zone", "operator": "In", "values": [case.name]}]}
    case.shelf(nodeAffinity={"required": {"nodeSelectorTerms": [term]}})
    _homeless(case)


def _zone(case: Case) -> None:
    case.rest.patch(f"/api/v1/nodes/{case.name}", {"metadata": {"labels": {"zone": case.name}}})


def _growing(case: Case) -> None:
    """The cluster's autoscaler says that it adds a node: nobody is refused."""
    _placed(case, {"resources": {"requests": {"cpu": "64"}}}, {})
    pod = until(case.pods, why="a pod")[0]
    case.tell("Pod", "v1", pod, reason="TriggeredScaleUp", message="pod triggered scale-up: [{pool 0->1 (max: 3)}]")
    case.mark()


def _scheduling(name: str, words: tuple[str, ...], fix: str, profile: Object, node: Object, **more: object) -> Kind:
    def cause(case: Case) -> None:
        _placed(case, profile, node)

    cure = more.pop("cure")
    assert callable(cure)
    return Kind(name, "Unschedulable", words, fix, cause, cure, type="RuntimeAvailable", after="Serving")


NODES = (
    _scheduling(
        "no-gpu",
        ("no node can run pod", f"Insufficient {GPU}"),
        "free a device, add a node, or lower accelerator.count",
        {"device": "cuda", "accelerator": {"resource": GPU, "count": 2, "memory": "16Gi"}},
        {GPU: "1"},
        cure=lambda case: _room(case, **{GPU: "2"}),
    ),
    _scheduling(
        "no-cpu",
        ("Insufficient cpu",),
        "lower resources.requests in the profile",
        {"resources": {"requests": {"cpu": "64"}}},
        {},
        cure=lambda case: _room(case, cpu="96"),
    ),
    _scheduling(
        "no-memory",
        ("Insufficient memory",),
        "lower resources.requests in the profile",
        {"resources": {"requests": {"memory": "900Gi"}}},
        {},
        cure=lambda case: _room(case, memory="1Ti"),
    ),
    _scheduling(
        "tainted",
        ("taint",),
        "add the taint to the profile's tolerations",
        {},
        {"taints": [{"key": "reserved", "value": "others", "effect": "NoSchedule"}]},
        cure=_untaint,
    ),
    _scheduling(
        "no-such-node",
        ("node affinity/selector",),
        "label a node as the profile's nodeSelector says",
        {"nodeSelector": {"pool": "gpu", "row": "no-such-node"}},
        {},
        cure=_label,
    ),
    _scheduling("cordoned", ("were unschedulable",), "kubectl uncordon", {}, {"unschedulable": True}, cure=_uncordon),
    Kind(
        "volume-elsewhere",
        "Unschedulable",
        ("node affinity",),
        "the volume can only be used on other nodes",
        _elsewhere,
        _zone,
        type="RuntimeAvailable",
        after="Serving",
    ),
    Kind(
        "cluster-grows",
        "Waking",
        ("the cluster adds a node for pod", "triggered scale-up"),
        "Insufficient cpu",
        _growing,
        lambda case: _room(case, cpu="96"),
        status="True",
        after="Serving",
    ),
)
