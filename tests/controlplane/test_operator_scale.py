"""Many models on a real control plane: a restart writes nothing and reads for many, and bad objects starve nobody."""

from pathlib import Path

from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from tests.controlplane.kubelet import Kubelet, Rest
from tests.controlplane.operatorprocess import AGENT, Models, OperatorProcess, until, writes

COUNT = 24
BAD = 8
"""More bad objects than the operator has workers."""
LOOKS = "dormouse_operator_reconciles_total"
WEBHOOK = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def _operator(plane: ControlPlane, log: Path, namespace: str) -> OperatorProcess:
    return OperatorProcess(
        plane.kubeconfig, log, DORMOUSE_NAMESPACES=namespace, DORMOUSE_MAX_CONCURRENT_PULLS=str(COUNT)
    )


def _gets(plane: ControlPlane, namespace: str, mark: int) -> int:
    """Single children and models that the operator asked for since."""
    found = [e for e in plane.audit_events(mark) if AGENT in e.get("userAgent", "") and e["verb"] == "get"]
    return sum(1 for e in found if e.get("objectRef", {}).get("namespace") == namespace)


def test_a_restart_among_many_reads_for_all_of_them_at_once_and_writes_nothing(
    plane: ControlPlane, kubelet: Kubelet, own_models: Models, tmp_path: Path
) -> None:
    with _operator(plane, tmp_path / "operator.log", own_models.namespace) as first:
        for number in range(COUNT):
            own_models.apply(f"m{number:02}")
        for number in range(COUNT):
            own_models.await_reason(f"m{number:02}", "ScaledToZero", seconds=180)
        until(lambda: not own_models.jobs(), why="finished Jobs are cleaned up")
        until(lambda: first.metric("dormouse_operator_queue_depth") == 0)
        assert first.stop() == 0
    before, mark = writes(plane, own_models.namespace), plane.audit_mark()
    with _operator(plane, tmp_path / "operator.log", own_models.namespace) as again:
        until(lambda: again.metric(LOOKS) >= COUNT and again.metric("dormouse_operator_queue_depth") == 0)
        assert again.metric(LOOKS, result="ok") == again.metric(LOOKS)
        # a look of its own gets five objects; of a reading for many only the model
        assert _gets(plane, own_models.namespace, mark) < 3 * again.metric(LOOKS)
        assert again.metric("dormouse_operator_api_writes_total") == 0
    assert writes(plane, own_models.namespace) == before


def test_bad_objects_starve_nobody(
    plane: ControlPlane, kubelet: Kubelet, own_models: Models, rest: Rest, tmp_path: Path
) -> None:
    """A webhook that never answers holds every write for the bad ones as long as it may."""
    bad = [f"bad{number}" for number in range(BAD)]
    hook = {
        "name": "never.dormouse.test",
        "clientConfig": {"url": "https://192.0.2.1/"},
        "rules": [{"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}],
        "objectSelector": {"matchExpressions": [{"key": names.LABEL_MODEL, "operator": "In", "values": bad}]},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 2,
    }
    name = f"starve-{own_models.namespace}"
    rest.request("POST", WEBHOOK, {"metadata": {"name": name}, "webhooks": [hook]})
    try:
        with _operator(plane, tmp_path / "operator.log", own_models.namespace):
            for each in bad:
                own_models.apply(each)
            for number in range(10):
                own_models.apply(f"good{number}")
            for number in range(10):
                own_models.await_reason(f"good{number}", "ScaledToZero")
            own_models.wake("good3", 30)
            until(lambda: own_models.pods("good3"), why="a wake among bad objects")
            assert not [job for each in bad for job in own_models.jobs(each)]
    finally:
        rest.request("DELETE", f"{WEBHOOK}/{name}")
    own_models.remove()
