"""The chart: lint, least rights, restricted pods, refused nonsense, taken whole by the real API server, no drift."""

from typing import Any

import pytest
import yaml

from dev import manifests
from dev.cluster.controlplane import ControlPlane
from dev.generate import drifted
from dormouse_api.names import MAX_MODEL_NAME, RUN_AS_USER

Object = dict[str, Any]
VARIANTS: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "namespaces": ("--set", "watchNamespaces={a,b}"),
    "closed": ("--set", "router.pull=Forbidden,router.delete=Forbidden"),
    "everything": (
        "--set", "router.replicas=3,networkPolicy.enabled=true,image.pullPolicy=Always",
        "--set", "router.priorityClassName=high,operator.priorityClassName=high",
        "--set-json", 'image.pullSecrets=["registry"]',
        "--set-json", 'router.tolerations=[{"key":"a","operator":"Exists"}]',
        "--set-json", 'router.nodeSelector={"disk":"ssd"}',
        "--set", "operator.digest=sha256:" + "a" * 64,
    ),
}  # fmt: skip


def render(*options: str) -> list[Object]:
    text = manifests.helm("template", "dormouse", str(manifests.CHART), "-n", "dormouse-system", *options).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [item for item in objects if item["kind"] in kinds]


@pytest.fixture(params=VARIANTS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return render(*VARIANTS[request.param])


def test_lint_is_clean() -> None:
    done = manifests.helm("lint", "--strict", str(manifests.CHART), check=False)
    assert done.returncode == 0, done.stdout


def test_the_plain_manifests_have_not_drifted() -> None:
    assert drifted(manifests.rendered()) == [], "run `make generate`"


def test_no_rule_is_a_wildcard_or_touches_what_is_not_ours(objects: list[Object]) -> None:
    roles = of_kind(objects, "Role", "ClusterRole")
    assert roles
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            assert not {"secrets", "configmaps", "pods/exec", "nodes", "serviceaccounts"} & set(rule["resources"])
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            if "pods" in rule["resources"]:
                assert set(rule["verbs"]) == {"get", "list", "watch"}


def test_a_list_of_namespaces_grants_nothing_outside_of_them() -> None:
    objects = render(*VARIANTS["namespaces"])
    granted = {role["metadata"]["namespace"] for role in of_kind(objects, "Role")}
    assert granted == {"a", "b"}
    everywhere = [r for r in of_kind(objects, "ClusterRole") if "aggregate" not in str(r["metadata"]["labels"])]
    assert [rule["resources"] for role in everywhere for rule in role["rules"]] == [["runtimeprofiles"]]


def test_a_closed_router_may_not_create_or_delete_models() -> None:
    roles = [
        r for r in of_kind(render(*VARIANTS["closed"]), "ClusterRole") if r["metadata"]["name"] == "dormouse-router"
    ]
    for plural in ("inferencemodels", "inferenceroutes"):
        verbs = {verb for rule in roles[0]["rules"] if plural in rule["resources"] for verb in rule["verbs"]}
        assert verbs == {"get", "list", "watch"}


def test_every_pod_meets_the_restricted_standard(objects: list[Object]) -> None:
    deployments = of_kind(objects, "Deployment")
    assert len(deployments) == 2
    for deployment in deployments:
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsUser"] == RUN_AS_USER
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"]
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("routr.replicas=2", "routr"),
        ("router.replicas=0", "replicas"),
        ("router.pull=maybe", "pull"),
        ("hub.endpoint=ftp://x", "endpoint"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("operator.digest=latest", "digest"),
        ("profiles.cpu.kvCacheMemory=lots", "kvCacheMemory"),
        ("profiles.cpu.kvCacheMemory=", "kvCacheMemory"),
        ("q4ThresholdBytes=lots", "q4ThresholdBytes"),
        ("watchNamespaces={Not_A_Name}", "watchNamespaces"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_name(option: str, words: str) -> None:
    done = manifests.helm("template", "dormouse", str(manifests.CHART), "--set", option, check=False)
    assert done.returncode != 0
    assert words in done.stderr


def test_the_real_api_server_takes_every_object(plane: ControlPlane, objects: list[Object]) -> None:
    crds = manifests.CHART / "crds"
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds))
    plane.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
    for namespace in ("dormouse-system", "a", "b"):
        plane.kubectl("create", "namespace", namespace, check=False)
    text = yaml.safe_dump_all(objects)
    done = plane.kubectl("apply", "--dry-run=server", "--server-side", "--validate=strict", "-f", "-", stdin=text)
    assert len(done.stdout.splitlines()) == len(objects)


def test_the_pods_of_the_longest_release_still_have_a_name() -> None:
    objects = manifests.helm("template", "d" * MAX_MODEL_NAME, str(manifests.CHART)).stdout
    names = [item["metadata"]["name"] for item in yaml.safe_load_all(objects) if item]
    assert max(map(len, names)) <= 63
