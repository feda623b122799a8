"""The chart's three sets of values, installed by Helm at a real API server that has never seen it: and gone again.

A control plane of its own: the first install of all is another than the second, for it brings the CRDs.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import manifests, prometheus
from dev.cluster import binaries
from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from tests.controlplane.test_chart import of_kind, of_router, render

Object = dict[str, Any]
SETS = ("minimal", "default", "maximal")
RELEASE, NAMESPACE, MODELS = "dormouse", "dormouse-system", "red"
PLURALS = (names.MODEL_PLURAL, names.ROUTE_PLURAL, names.PROFILE_PLURAL)
CRDS = frozenset(f"customresourcedefinition.apiextensions.k8s.io/{plural}.{names.GROUP}" for plural in PLURALS)
CLAIM = frozenset({"persistentvolumeclaim/dormouse-router"})
PATIENCE = 150.0
KINDS = (
    "deployments,services,serviceaccounts,persistentvolumeclaims,networkpolicies,poddisruptionbudgets,configmaps,"
    "horizontalpodautoscalers,roles,rolebindings,clusterroles,clusterrolebindings,podmonitors,prometheusrules"
)


# the first on a machine generates Prometheus' CRDs, which takes minutes where much else goes on
pytestmark = pytest.mark.timeout(1200)
#: What kubectl says of a kind that the API server dropped after, and before, kubectl learned the kinds.
NO_SUCH_KIND = ("the server could not find the requested resource", "the server doesn't have a resource type")


def values(name: str) -> Path:
    return manifests.CHART / "ci" / f"{name}-values.yaml"


class Helm:
    """Helm, and what it left at one API server."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    def run(self, *arguments: str) -> str:
        command = [binaries.ensure().tools, "helm", *arguments, "--namespace", NAMESPACE]
        environment = os.environ | {"KUBECONFIG": str(self.plane.kubeconfig)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
        assert "would violate PodSecurity" not in done.stderr
        return done.stdout

    def install(self, *options: str) -> None:
        self.run("install", RELEASE, str(manifests.CHART), *options)

    def uninstall(self, leaves: frozenset[str] = frozenset()) -> None:
        """Gone, but for what it `leaves`: `kind/name` of those with the release's label, CRDs and profiles."""
        self.run("uninstall", RELEASE)
        deadline = time.monotonic() + PATIENCE
        while (found := self.left()) != leaves:
            assert time.monotonic() < deadline, f"still there: {sorted(found - leaves)}; lost: {sorted(leaves - found)}"
            time.sleep(0.2)

    def names(self, kinds: str, *options: str) -> set[str]:
        """`kind/name` of those there are, in all namespaces."""
        found = self.plane.kubectl("get", kinds, "--all-namespaces", "--output=name", *options)
        return set(found.stdout.split())

    def left(self) -> set[str]:
        mine = f"--selector=app.kubernetes.io/instance={RELEASE}"
        crds = self.names("customresourcedefinitions", mine)
        return crds | self.names(KINDS, mine) | (self.profiles(mine) if crds else set())

    def profiles(self, selector: str) -> set[str]:
        """None where their CRD is gone, or goes between the listing of it and this one."""
        found = self.plane.kubectl("get", "runtimeprofiles", "--output=name", selector, check=False)
        if any(words in found.stderr for words in NO_SUCH_KIND):
            return set()
        assert found.returncode == 0, found.stderr
        return set(found.stdout.split())


@pytest.fixture(scope="module")
def helm() -> Iterator[Helm]:
    """At an API server with Prometheus' CRDs and restricted namespaces, and none of our own CRDs yet."""
    with ControlPlane() as plane:
        for path in prometheus.crds():
            plane.kubectl("apply", "--server-side", "-f", str(path))
        for namespace in (NAMESPACE, MODELS, "blue"):
            plane.kubectl("create", "namespace", namespace)
            plane.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
        yield Helm(plane)


@pytest.mark.parametrize("name", SETS)
def test_lint_is_clean_for_each_set(name: str) -> None:
    done = manifests.helm("lint", "--strict", str(manifests.CHART), "-f", str(values(name)), check=False)
    assert done.returncode == 0, done.stdout


def test_the_largest_set_has_every_kind_and_every_part() -> None:
    objects = render("-f", str(values("maximal")))
    assert {item["metadata"]["name"] for item in of_kind(objects, "Deployment")} == {
        "dormouse-operator",
        "dormouse-router",
        "dormouse-worker",
    }
    wanted = {"HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "PrometheusRule", "Role"}
    assert wanted | {"ConfigMap", "CustomResourceDefinition"} <= {item["kind"] for item in objects}
    secrets = str(of_router("-f", str(values("maximal"))))
    for name in ("postgres", "redis", "bucket", "oidc", "pepper", "webhooks", "admins", "team-red"):
        assert f"'{name}'" in secrets


@pytest.mark.parametrize("name", ["minimal", "maximal"])
def test_a_set_is_installed_and_leaves_nothing_but_the_crds(helm: Helm, name: str) -> None:
    """Minimal comes first and finds no CRDs, so that its profiles are hooks; those after it find them there."""
    helm.install("-f", str(values(name)))
    profiles = {item["metadata"]["name"] for item in of_kind(render("-f", str(values(name))), "RuntimeProfile")}
    found = helm.left()
    assert CRDS | {f"runtimeprofile.dormouse.dev/{profile}" for profile in profiles} <= found
    deployments = [each for each in found if each.startswith("deployment")]
    assert len(deployments) == (3 if name == "maximal" else 2)
    # their pods are made: the namespace takes only restricted ones
    pods = "--for=jsonpath={.status.unavailableReplicas}"
    helm.plane.kubectl("wait", "-n", NAMESPACE, *deployments, pods, "--timeout=120s")
    helm.uninstall(leaves=CRDS)


def test_models_and_the_claim_outlive_the_release_and_are_its_again(helm: Helm) -> None:
    """The default set; at last without `crds.keep`, which takes the models along."""
    plane = helm.plane
    kept = ("-f", str(values("default")), "--set", "router.storage.persistent=true")
    helm.install(*kept)
    model = {"apiVersion": names.API_VERSION, "kind": names.MODEL_KIND, "metadata": {"name": "kept"}}
    text = yaml.safe_dump(model | {"spec": {"source": {"uri": "hf://org/repo"}}})
    plane.kubectl("create", "-n", MODELS, "-f", "-", stdin=text)
    claim = ("get", "pvc", "dormouse-router", "-n", NAMESPACE, "-o", "jsonpath={.metadata.uid}")
    generations = ("get", "deployments", "-n", NAMESPACE, "-o", "jsonpath={.items[*].metadata.generation}")
    uid, before = plane.kubectl(*claim).stdout, plane.kubectl(*generations).stdout
    helm.run("upgrade", RELEASE, str(manifests.CHART), *kept)
    assert plane.kubectl(*generations).stdout == before, "the same values replace no pod"
    helm.uninstall(leaves=CRDS | CLAIM)
    helm.install(*kept, "--set", "crds.keep=false")
    assert plane.kubectl(*claim).stdout == uid
    assert helm.names("inferencemodels") == {"inferencemodel.dormouse.dev/kept"}
    helm.uninstall(leaves=CLAIM)


def test_crds_may_be_somebody_elses() -> None:
    objects = render("--set", "crds.enabled=false")
    assert of_kind(objects, "CustomResourceDefinition") == []
    profiles = of_kind(objects, "RuntimeProfile")
    assert [item["metadata"].get("annotations") for item in profiles] == [None, None], "no hooks"
    kept, dropped = (
        of_kind(render("--set", f"crds.keep={keep}"), "CustomResourceDefinition") for keep in ("true", "false")
    )
    assert {item["metadata"]["annotations"]["helm.sh/resource-policy"] for item in kept} == {"keep"}
    assert not any("annotations" in item["metadata"] for item in dropped)


SHARED = "router.database.existingSecret=pg,router.files.bucket=files"


def test_routers_scale_by_their_processor_and_may_all_but_one_be_there() -> None:
    objects = render("--set", f"{SHARED},router.autoscaling.enabled=true,router.autoscaling.targetCPU=60")
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "dormouse-router"
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 10)
    assert scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 60
    router = next(o for o in of_kind(objects, "Deployment") if o["metadata"]["name"] == "dormouse-router")
    assert "replicas" not in router["spec"], "Helm would set back what the autoscaler decided"
    assert [o["metadata"]["name"] for o in of_kind(objects, "PodDisruptionBudget")] == ["dormouse-router"]


def test_routers_are_spread_over_what_is_asked_for() -> None:
    spec = of_router("--set", "router.spreadOver={zone,host}")["template"]["spec"]
    assert [each["topologyKey"] for each in spec["topologySpreadConstraints"]] == ["zone", "host"]
    assert "topologySpreadConstraints" not in of_router("--set-json", "router.spreadOver=[]")["template"]["spec"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("router.autoscaling.enabled=true", "router.database.existingSecret"),
        (f"{SHARED},router.autoscaling.enabled=true,router.autoscaling.minReplicas=11", "minReplicas is more than"),
        (f"{SHARED},router.autoscaling.enabled=true,router.resources.requests.cpu=null", "router.resources.requests"),
        ("router.autoscaling.targetCPU=0", "'/router/autoscaling/targetCPU'"),
        ("router.spreadOver=zone", "'/router/spreadOver'"),
        ("router.access.oidc.secret=x", "'secret' not allowed"),
        ("crds.keep=maybe", "'/crds/keep'"),
        ("networkPolicy.modelNamespaces={Not_A_Name}", "'/networkPolicy/modelNamespaces/0'"),
        ("networkPolicy.clients[0].cidr=10.0.0.0/8", "'cidr' not allowed"),
        ("networkPolicy.apiServer.ports={70000}", "'/networkPolicy/apiServer/ports/0'"),
        ("networkPolicy.extraEgress.puller[0].to=", "'puller' not allowed"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_the_way_to_it(options: str, words: str) -> None:
    done = manifests.helm("template", "dormouse", str(manifests.CHART), "--set", options, check=False)
    assert done.returncode != 0
    assert words in done.stderr, done.stderr
