"""The table of docs/security.md is what the chart grants, asked of the real API server verb by verb."""

import itertools
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from tests.controlplane.kubelet import Rest
from tests.controlplane.operatorprocess import until

ROOT = Path(__file__).resolve().parents[2]
RELEASE = "rights"
REVIEWS = "router.access.modes={serviceaccounts}"
HEAD = ["Account", "Where", "Group", "Resource", "Verbs", "Why"]
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
RBAC, DORMOUSE, CORE = "rbac.authorization.k8s.io", "dormouse.dev", ""
SPECIAL = (
    ("impersonate", CORE, "users"),
    ("impersonate", CORE, "groups"),
    ("impersonate", CORE, "serviceaccounts"),
    ("escalate", RBAC, "roles"),
    ("escalate", RBAC, "clusterroles"),
    ("bind", RBAC, "roles"),
    ("bind", RBAC, "clusterroles"),
    ("approve", "certificates.k8s.io", "signers"),
    ("sign", "certificates.k8s.io", "signers"),
    ("use", "policy", "podsecuritypolicies"),
    ("*", "*", "*"),
)
RESOURCES = {
    CORE: [
        *("secrets", "configmaps", "pods", "pods/exec", "pods/attach", "pods/portforward", "pods/log", "pods/status"),
        *("pods/eviction", "pods/ephemeralcontainers", "services", "services/proxy", "serviceaccounts"),
        *("serviceaccounts/token", "namespaces", "nodes", "nodes/proxy", "persistentvolumes", "events", "endpoints"),
        *("persistentvolumeclaims", "persistentvolumeclaims/status", "resourcequotas", "limitranges"),
        *("replicationcontrollers", "podtemplates"),
    ],
    "apps": ["deployments", "deployments/scale", "deployments/status", "daemonsets", "statefulsets", "replicasets"],
    "batch": ["jobs", "jobs/status", "cronjobs"],
    "coordination.k8s.io": ["leases"],
    "discovery.k8s.io": ["endpointslices"],
    "events.k8s.io": ["events"],
    DORMOUSE: [
        *("inferencemodels", "inferencemodels/status", "inferencemodels/scale", "inferencemodels/finalizers"),
        *("inferenceroutes", "inferenceroutes/status", "runtimeprofiles", "runtimeprofiles/finalizers"),
    ],
    RBAC: ["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
    "storage.k8s.io": ["storageclasses", "volumeattachments", "csidrivers"],
    "networking.k8s.io": ["networkpolicies", "ingresses"],
    "admissionregistration.k8s.io": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
    "apiextensions.k8s.io": ["customresourcedefinitions"],
    "apiregistration.k8s.io": ["apiservices"],
    "authentication.k8s.io": ["tokenreviews"],
    "authorization.k8s.io": ["subjectaccessreviews", "localsubjectaccessreviews"],
    "certificates.k8s.io": ["certificatesigningrequests", "certificatesigningrequests/approval"],
    "scheduling.k8s.io": ["priorityclasses"],
    "autoscaling": ["horizontalpodautoscalers"],
    "policy": ["poddisruptionbudgets"],
}


@dataclass(frozen=True, order=True)
class Right:
    """A row of the table, and one of its verbs."""

    account: str
    where: str
    group: str
    resource: str
    name: str
    verb: str


def table() -> list[Right]:
    """The rights of docs/security.md."""
    page = iter((ROOT / "docs" / "security.md").read_text().splitlines())
    first = next(line for line in page if line.startswith("|"))
    lines = [first, *itertools.takewhile(lambda line: line.startswith("|"), page)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == HEAD
    found = []
    for account, where, group, resource, verbs, why in rows[2:]:
        assert why, f"{resource}: a right without a reason"
        named = resource.startswith("leases/")
        plain, _, name = resource.partition("/") if named else (resource, "", "")
        name = name.replace("RELEASE", RELEASE)
        found += [Right(account, where, group, plain, name, verb) for verb in verbs.split()]
    return found


def rendered(plane: ControlPlane, namespace: str, *values: str) -> list[Any]:
    command = [str(plane.bin / "helm"), "template", RELEASE, str(ROOT / "charts" / "dormouse"), "-n", namespace]
    text = subprocess.run(
        [*command, *(part for value in values for part in ("--set", value))], check=True, capture_output=True, text=True
    ).stdout
    kinds = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    return [d for d in yaml.safe_load_all(text) if d and d["kind"] in kinds]


@dataclass(frozen=True)
class Installed:
    """An installation: where the release is, one namespace that it watches, one that it has nothing to do with."""

    release: str
    watched: str
    other: str
    whole_cluster: bool
    several: bool


@pytest.fixture(params=["cluster", "one namespace, several operators"])
def installed(request: pytest.FixtureRequest, plane: ControlPlane, rest: Rest, namespace: str) -> Iterator[Installed]:
    watched, other = f"{namespace}-watched", f"{namespace}-other"
    for name in (watched, other):
        plane.kubectl("create", "namespace", name)
    values = [REVIEWS]  # all rights that anybody can ask for
    values += [] if request.param == "cluster" else [f"watchNamespaces={{{watched}}}"]
    several = request.param != "cluster"
    objects = rendered(plane, namespace, *values, *(["operator.replicas=2"] if several else []))
    text = yaml.safe_dump_all(o | {"metadata": {"namespace": namespace} | o["metadata"]} for o in objects)
    plane.kubectl("apply", "-f", "-", stdin=text)
    made = Installed(namespace, watched, other, request.param == "cluster", several)
    until(lambda: _in_force(rest, made), why="the API server's own view of rights follows what is written")
    yield made
    plane.kubectl("delete", "--wait=false", "-f", "-", stdin=text)
    plane.kubectl("delete", "namespace", watched, other, "--wait=false")


def allowed(rest: Rest, user: str, namespace: str, ask: tuple[str, str, str], name: str = "") -> bool:
    verb, group, resource = ask
    plain, _, sub = resource.partition("/")
    asked = {"verb": verb, "group": group, "resource": plain, "subresource": sub, "namespace": namespace, "name": name}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": GROUPS, "resourceAttributes": asked},
    }
    answer = rest.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return bool(answer["status"]["allowed"])


def _in_force(rest: Rest, at: Installed) -> bool:
    """Whether a right of each kind of binding is granted by now: of the cluster, and of each namespace with its own."""
    return all(
        allowed(rest, f"system:serviceaccount:{at.release}:{RELEASE}-{account}", namespace, ask)
        for account in ("operator", "router")
        for namespace in (at.watched, at.release, at.other)
        for ask in sorted(expected(account, at, namespace))[:1]
    )


GROUPS = ["system:serviceaccounts", "system:authenticated"]
UNIVERSE = [
    *((verb, group, resource) for group, many in RESOURCES.items() for resource in many for verb in VERBS),
    *SPECIAL,
]


def expected(account: str, at: Installed, namespace: str) -> set[tuple[str, str, str]]:
    """What the table grants `account` in `namespace`, of objects of any name."""
    in_force = {"cluster"} | ({"watched"} if at.whole_cluster or namespace == at.watched else set())
    in_force |= {"release"} if at.several and namespace == at.release else set()
    return {
        (right.verb, right.group, right.resource)
        for right in table()
        if right.account == account and right.where in in_force and not right.name
    }


@pytest.mark.parametrize("account", ["operator", "router", "default"])
def test_exactly_the_documented_rights_are_granted(rest: Rest, installed: Installed, account: str) -> None:
    name = account if account == "default" else f"{RELEASE}-{account}"
    user = f"system:serviceaccount:{installed.release}:{name}"
    for namespace in (installed.watched, installed.release if installed.several else installed.other):
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda ask: allowed(rest, user, namespace, ask), UNIVERSE)  # noqa: B023 - used up here
            found = {ask for ask, yes in zip(UNIVERSE, answers, strict=True) if yes}
        wanted = expected(account, installed, namespace)
        assert found - wanted == set(), f"granted in {namespace}, but not in docs/security.md"
        assert wanted - found == set(), f"in docs/security.md, but not granted in {namespace}"


def test_the_lease_of_the_election_is_the_only_one_by_name(rest: Rest, installed: Installed) -> None:
    if not installed.several:
        pytest.skip("one operator needs no election")
    user = f"system:serviceaccount:{installed.release}:{RELEASE}-operator"
    for right in (right for right in table() if right.name):
        ask = (right.verb, right.group, right.resource)
        assert allowed(rest, user, installed.release, ask, right.name)
        assert not allowed(rest, user, installed.release, ask, "another")


@pytest.mark.parametrize(
    "values", [(REVIEWS,), (), (REVIEWS, "router.pull=Forbidden"), (REVIEWS, "router.delete=Forbidden")]
)
def test_every_rule_of_the_chart_is_in_the_table(plane: ControlPlane, values: tuple[str, ...]) -> None:
    granted = set()
    for role in rendered(plane, "ns", "watchNamespaces={ns}", "operator.replicas=2", *values):
        account = role["metadata"]["name"].removeprefix(f"{RELEASE}-").partition("-")[0]
        if not role.get("rules") or account not in ("operator", "router"):
            continue
        for rule in role["rules"]:
            granted |= {
                (account, group, resource, verb)
                for group, resource, verb in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])
            }
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert set(rule["resources"]) <= set(itertools.chain(*RESOURCES.values())), "the universe must know it"
    told = {(right.account, right.group, right.resource, right.verb) for right in table()}
    assert granted <= told
    if values == (REVIEWS,):
        assert granted == told
    if not values:
        assert told - granted == {("router", "authentication.k8s.io", "tokenreviews", "create")}


def test_who_may_edit_workloads_may_not_write_a_status_nor_a_profile(plane: ControlPlane) -> None:
    roles = {role["metadata"]["name"]: role for role in rendered(plane, "ns")}
    written = {
        (resource, verb)
        for rule in roles[f"{RELEASE}-edit"]["rules"]
        for resource, verb in itertools.product(rule["resources"], rule["verbs"])
    }
    assert not any(resource.endswith(("/status", "/finalizers")) for resource, _ in written)
    assert not any(resource.startswith("runtimeprofiles") for resource, _ in written)
    assert {verb for rule in roles[f"{RELEASE}-view"]["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
