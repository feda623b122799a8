"""The operator on a bad wire to the real API server: the same state in the end, each child made once, nothing left."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane
from tests.controlplane.badwire import BadWire, Verdict
from tests.controlplane.kubelet import Kubelet, Rest
from tests.controlplane.operatorprocess import Models, OperatorProcess, created, until

WRITES = {
    "PATCH persistentvolumeclaims",
    "PATCH jobs",
    "PATCH leases",
    "PATCH services",
    "PATCH deployments",
    "PATCH inferencemodels/status",
    "DELETE jobs",
    "POST events",
}
READS = {
    "GET inferencemodels",
    "GET runtimeprofiles",
    "GET pods",
    "GET persistentvolumeclaims",
    "GET deployments",
    "GET leases",
    "GET services",
    "GET jobs",
}
ANSWERS = [
    Verdict.CONFLICT,
    Verdict.TOO_MANY,
    Verdict.INTERNAL,
    Verdict.UNAVAILABLE,
    Verdict.LOST_BEFORE,
    Verdict.LOST_AFTER,
]
KILLS = [Verdict.KILLED_BEFORE, Verdict.KILLED_AFTER]


@pytest.fixture
def wire(plane: ControlPlane, rest: Rest, tmp_path: Path) -> Iterator[BadWire]:
    with BadWire(plane.kubeconfig, tmp_path, rest.context) as made:
        yield made


FIRST_SECONDS = 300.0
"""Until it sleeps for the first time: most answers go wrong before that, and each is waited out."""


def live(models: Models, name: str) -> None:
    """A model's life: pulled, called, asleep again, deleted."""
    models.apply(name, scaling={"idleSeconds": 5})
    models.await_reason(name, "ScaledToZero", seconds=FIRST_SECONDS)
    models.wake(name, 600)
    models.await_reason(name, "Serving")
    models.wake(name, 1)
    until(lambda: models.replicas(name) == 0)
    models.await_reason(name, "ScaledToZero")
    until(lambda: not models.jobs(name), why="finished Jobs are cleaned up")


def judge_as(models: Models, plane: ControlPlane, name: str) -> None:
    """What must be true at the end of a life, whatever happened in it."""
    status = models.status(name)
    assert status["commit"] == "0123456789abcdef0123456789abcdef01234567"
    made = Counter(created(plane, models.namespace))
    assert [what for what, times in made.items() if times > 1] == []
    assert len(made) == 6, "two Jobs, a claim, a Deployment, a Service and a Lease"
    models.remove()
    until(lambda: not models.child("apps/v1", "deployments")["items"], why="no orphan")
    for group, plural in (("batch/v1", "jobs"), ("v1", "services"), ("coordination.k8s.io/v1", "leases")):
        until(lambda group=group, plural=plural: not models.child(group, plural)["items"], why=plural)  # type: ignore[misc]


@pytest.mark.timeout(900)
def test_every_kind_of_request_is_refused_and_lost_in_every_way(
    plane: ControlPlane, kubelet: Kubelet, wire: BadWire, own_models: Models, tmp_path: Path
) -> None:
    wire.judge = lambda name, count: ANSWERS[count - 1] if count <= len(ANSWERS) else Verdict.PASS
    log = tmp_path / "operator.log"
    with OperatorProcess(wire.kubeconfig, log, DORMOUSE_NAMESPACES=own_models.namespace) as operator:
        live(own_models, "tough")
        assert operator.alive()
    suffered = Counter(name for name, _ in wire.went_wrong)
    assert suffered.keys() >= WRITES | READS
    short = {name: suffered[name] for name in WRITES | READS if suffered[name] < len(ANSWERS)}
    assert short.keys() <= {"POST events"}, "each met each fault, but for Events, which are dropped at last"
    judge_as(own_models, plane, "tough")
    assert "the look failed" not in log.read_text()


@pytest.mark.timeout(900)
def test_it_is_killed_before_and_after_every_kind_of_write(
    plane: ControlPlane, kubelet: Kubelet, wire: BadWire, own_models: Models, tmp_path: Path
) -> None:
    log = tmp_path / "operator.log"
    wire.judge = lambda name, count: KILLS[count - 1] if name in WRITES and count <= len(KILLS) else Verdict.PASS
    one_at_a_time, over = threading.Lock(), threading.Event()
    with OperatorProcess(wire.kubeconfig, log, DORMOUSE_NAMESPACES=own_models.namespace) as operator:

        def restart() -> None:
            with one_at_a_time:
                if not over.is_set():
                    operator.kill()
                    operator.start()

        wire.restart = restart
        live(own_models, "phoenix")
        with one_at_a_time:  # the last kill may be going on, and none may come after the end of this operator
            over.set()
            assert operator.alive()
    killed = {name for name, verdict in wire.went_wrong if verdict is Verdict.KILLED_AFTER}
    assert killed >= WRITES - {"POST events"}, "an Event that dies with its process is not posted again"
    judge_as(own_models, plane, "phoenix")
    assert "the look failed" not in log.read_text()
