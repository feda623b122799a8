"""How a model gets no volume, or loses it. Its controller is the real one, and provisioners are played."""

from tests.controlplane.failing import Kind
from tests.controlplane.kubelet import running
from tests.controlplane.operatorprocess import until
from tests.controlplane.ward import Case


def _no_class(case: Case) -> None:
    case.play("pull", lambda pod: None)
    case.ward.placed.add(case.name)
    case.apply()
    case.claim()
    case.mark()


def _a_volume(case: Case) -> None:
    case.shelf()
    case.cure("pull")


def _no_such_class(case: Case) -> None:
    case.play("pull", lambda pod: None)
    case.apply(storage={"className": f"{case.name}-fast"})
    case.claim()
    case.mark()


def _make_class(case: Case) -> None:
    path = "/apis/storage.k8s.io/v1/storageclasses"
    version, spec = "storage.k8s.io/v1", {"provisioner": "example.com/disk"}
    case.object(path, "StorageClass", f"{case.name}-fast", version, **spec)
    case.shelf(storageClassName=f"{case.name}-fast")
    case.cure("pull")


def _provisioner_fails(case: Case) -> None:
    path = "/apis/storage.k8s.io/v1/storageclasses"
    version, spec = "storage.k8s.io/v1", {"provisioner": "example.com/disk"}
    case.object(path, "StorageClass", f"{case.name}-fast", version, **spec)
    case.play("pull", lambda pod: None)
    case.apply(storage={"className": f"{case.name}-fast"})
    words = (
        f'failed to provision volume with StorageClass "{case.name}-fast": rpc error: code = ResourceExhausted desc = '
    )
    words += "not enough free space in the pool"
    case.tell("PersistentVolumeClaim", "v1", case.claim(), reason="ProvisioningFailed", message=words)
    case.mark()


def _provisioned(case: Case) -> None:
    case.shelf(storageClassName=f"{case.name}-fast")
    case.cure("pull")


def _lose(case: Case) -> None:
    case.asleep()
    path = case.shelf()
    until(lambda: case.models.condition(case.name, "StorageBound").get("reason") == "Bound", why="it is bound")
    case.rest.request("DELETE", path)  # first, or its protection would be put back
    case.rest.patch(path, {"metadata": {"finalizers": None}})
    case.mark()


def _forget(case: Case) -> None:
    """What the message says: the claim is deleted, and the weights are pulled anew."""
    case.rest.request("DELETE", case.claim_path())


def _delete_claim(case: Case) -> None:
    """Somebody deletes the claim while a pod uses it."""
    case.play("pull", running())
    case.apply()
    case.on_its_node("pull")
    case.models.await_reason(case.name, "Pulling", kind="ModelPulled")
    case.rest.request("DELETE", case.claim_path())
    case.mark()


def _let_it_go(case: Case) -> None:
    """What still uses the claim is removed."""
    case.cure("pull")
    jobs = f"/apis/batch/v1/namespaces/{case.space}/jobs"
    for job in case.models.jobs(case.name):
        case.rest.request("DELETE", f"{jobs}/{job}", {"propagationPolicy": "Background"})


def _own_claim(case: Case) -> None:
    case.apply(storage={"existingClaim": f"{case.name}-mine"})
    case.mark()


def _make_claim(case: Case) -> None:
    path = f"/api/v1/namespaces/{case.space}/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    case.object(path, "PersistentVolumeClaim", f"{case.name}-mine", spec=spec)


VOLUMES = (
    Kind(
        "no-storage-class",
        "StorageFailed",
        ("no-storage-class-weights", "no storage class is set"),
        "set storage.className",
        _no_class,
        _a_volume,
        type="StorageBound",
    ),
    Kind(
        "no-such-storage-class",
        "StorageFailed",
        ('storageclass.storage.k8s.io "no-such-storage-class-fast" not found',),
        "make that StorageClass",
        _no_such_class,
        _make_class,
        type="StorageBound",
    ),
    Kind(
        "provisioner-fails",
        "StorageFailed",
        ("not enough free space in the pool",),
        "free or add storage, or lower storage.size",
        _provisioner_fails,
        _provisioned,
        type="StorageBound",
    ),
    Kind("volume-lost", "StorageFailed", ("has lost its volume",), "delete the claim", _lose, _forget),
    Kind("claim-deleted", "StorageFailed", ("is being deleted",), "no pod uses it", _delete_claim, _let_it_go),
    Kind("no-claim", "StorageFailed", ("no-claim-mine",), "create it", _own_claim, _make_claim),
)
