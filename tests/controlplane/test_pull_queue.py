"""One place for pulls on the real API server: who waits sees where, overtakes, and begins once the place is free."""

from pathlib import Path

from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from tests.controlplane.kubelet import Kubelet, Object, pulled, running, succeeded
from tests.controlplane.operatorprocess import Models, OperatorProcess, until


def test_the_line_for_a_pull_moves_by_itself(
    plane: ControlPlane, kubelet: Kubelet, own_models: Models, tmp_path: Path
) -> None:
    whole: set[str] = set()

    def play(pod: Object) -> Object:
        return succeeded(pulled()) if pod["metadata"]["labels"][names.LABEL_MODEL] in whole else running()

    def pulls() -> list[str]:
        found = [job for job in own_models.jobs() if "-pull-" in job]
        assert len(found) <= 1 or bool(whole), f"more than one at once: {found}"
        return found

    def begins(name: str) -> None:
        """Resyncs are an hour apart, so whatever begins was told to."""
        until(lambda: own_models.condition(name, "ModelPulled").get("reason") == "Pulling" and pulls(), why=name)

    def stands(name: str) -> tuple[int, int] | None:
        queue = own_models.status(name).get("queue")
        return (queue["position"], queue["of"]) if queue else None

    kubelet.script["pull"] = play
    env = {"DORMOUSE_NAMESPACES": own_models.namespace, "DORMOUSE_MAX_CONCURRENT_PULLS": "1"}
    with OperatorProcess(plane.kubeconfig, tmp_path / "log", DORMOUSE_RESYNC_SECONDS="3600", **env) as operator:
        own_models.apply("first")
        begins("first")
        for name in ("second", "third"):
            own_models.apply(name)
            own_models.await_reason(name, "Queued", kind="ModelPulled")
        own_models.apply("urgent", priority=7)
        until(lambda: [stands(name) for name in ("urgent", "second", "third")] == [(1, 3), (2, 3), (3, 3)])
        told = own_models.condition("urgent", "ModelPulled")["message"]
        assert told.startswith(
            f"position 1 of 3 in the line for the one pull: after {own_models.namespace}/first; raise spec.priority"
        )
        assert own_models.status("third")["progress"] == "queued 3/3"
        assert any(event["reason"] == "Queued" for event in own_models.events("third"))

        since = own_models.status("second")["queue"]["since"]
        operator.kill()
        operator.start()
        own_models.rest.request("DELETE", own_models.path("first"))
        begins("urgent")  # a new process goes on with the line as it was
        until(lambda: stands("second") == (1, 2))
        assert own_models.status("second")["queue"]["since"] == since

        own_models.rest.request("DELETE", own_models.path("urgent"))
        begins("second")
        until(lambda: stands("third") == (1, 1))
        whole.add("second")
        begins("third")
        whole.add("third")
        for name in ("second", "third"):
            own_models.await_reason(name, "ScaledToZero")
        until(lambda: operator.metric("dormouse_operator_line_wait_duration_seconds_count", line="pull") >= 2)
