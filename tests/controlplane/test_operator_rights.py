"""The chart's rights are enough for everything the operator does, and it has no others."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from dormouse_api.conditions import Reason
from dormouse_api.results import Failure, Outcome
from tests.controlplane.kubelet import Kubelet, Rest, failed
from tests.controlplane.operatorprocess import Models, OperatorProcess, until
from tests.controlplane.rights import until_granted

CHART = Path(__file__).resolve().parents[2] / "charts" / "dormouse"


@pytest.fixture
def limited(plane: ControlPlane, rest: Rest, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    """The operator as the chart's ServiceAccount, watching one namespace by a Role there."""
    command = [str(plane.bin / "helm"), "template", "dormouse", str(CHART), "--namespace", namespace]
    command += ["--set", f"watchNamespaces={{{namespace}}}"]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wanted = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    rights = [d for d in yaml.safe_load_all(rendered) if d and d["kind"] in wanted]
    assert rights
    plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump_all(rights))
    until_granted(plane, "dormouse-operator", namespace, "inferencemodels", "runtimeprofiles")
    token = plane.kubectl("create", "token", "dormouse-operator", "-n", namespace).stdout.strip()
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    with OperatorProcess(kubeconfig, tmp_path / "operator.log", DORMOUSE_NAMESPACES=namespace) as process:
        yield process
    plane.kubectl("delete", "-n", namespace, "-f", "-", stdin=yaml.safe_dump_all(rights))


def test_the_charts_rights_are_enough(
    plane: ControlPlane, kubelet: Kubelet, limited: OperatorProcess, own_models: Models
) -> None:
    kubelet.script["pull"] = lambda pod: failed(42, Outcome(failure=Failure(reason=Reason.GATED, message="m")).text())
    own_models.apply("modest", quantization="int4")
    own_models.await_reason("modest", "Gated")
    kubelet.script["pull"] = Kubelet(kubelet.rest).script["pull"]
    own_models.rest.patch(own_models.path("modest"), {"spec": {"scaling": {"idleSeconds": 9}}})
    own_models.await_reason("modest", "ScaledToZero")
    own_models.wake("modest", 2)
    own_models.await_reason("modest", "Serving")
    own_models.await_reason("modest", "ScaledToZero")
    until(lambda: not own_models.jobs())
    until(lambda: own_models.events("modest"), why="it may post events")
    refused = [
        (e["verb"], e["requestURI"])
        for e in plane.audit_events()
        if f"system:serviceaccount:{own_models.namespace}:dormouse-operator" == e["user"]["username"]
        and e.get("responseStatus", {}).get("code") == 403
    ]
    assert refused == []


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("delete", "inferencemodels"),
    ],
)
def test_it_may_not_do_what_it_need_not(
    limited: OperatorProcess, plane: ControlPlane, namespace: str, verb: str, what: str
) -> None:
    account = f"system:serviceaccount:{namespace}:dormouse-operator"
    answer = plane.kubectl("auth", "can-i", verb, what, "--as", account, "-n", namespace, check=False)
    assert answer.stdout.strip() == "no"


def test_the_audit_log_knows_the_account(plane: ControlPlane) -> None:
    """Guards the test above: its filter must be able to see something."""
    assert any("user" in e and "requestURI" in e for e in plane.audit_events()), json.dumps(plane.audit_events()[:1])
