"""The straight path on a real API server: applied, inspected, pulled, asleep, woken by its Lease, asleep again."""

from dormouse_api import names
from tests.controlplane.kubelet import COMMIT, Kubelet
from tests.controlplane.operatorprocess import Models, until


def test_a_model_is_made_ready_sleeps_wakes_and_sleeps_again(kubelet: Kubelet, models: Models) -> None:
    models.apply("tiny", aliases=["little"], scaling={"idleSeconds": 5})
    ready = models.await_reason("tiny", "ScaledToZero")
    assert ready["status"] == "True"
    status = models.status("tiny")
    assert status["commit"] == COMMIT
    assert status["servedNames"] == ["tiny", "little", f"{models.namespace}/tiny"]
    assert models.condition("tiny", "ModelPulled")["status"] == "True"
    assert models.condition("tiny", "Idle")["status"] == "True"
    assert models.replicas("tiny") == 0
    until(lambda: not models.jobs("tiny"), why="finished Jobs are removed once their results are recorded")

    models.wake("tiny", 3)
    until(lambda: models.replicas("tiny") == 1)
    serving = models.await_reason("tiny", "Serving")
    assert serving["status"] == "True"
    assert models.status("tiny")["readyReplicas"] == 1
    until(lambda: models.replicas("tiny") == 0)
    models.await_reason("tiny", "ScaledToZero")
    until(lambda: models.status("tiny")["replicas"] == 0)
    for replicas in models.child("apps/v1", "replicasets")["items"]:
        copied = [name for name in replicas["metadata"]["annotations"] if name.startswith(names.GROUP)]
        assert copied == [], "what Kubernetes copies it writes before it scales, and then it scales in vain"
