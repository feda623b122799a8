"""The chart: lint, least rights, restricted pods, refused nonsense, taken whole by the real API server, no drift."""

from typing import Any

import pytest
import yaml

from dev import manifests
from dev.cluster.controlplane import ControlPlane
from dev.generate import drifted
from dormouse_api.names import MAX_MODEL_NAME, RUN_AS_USER
from dormouse_router.listener import CANCEL_SECONDS
from dormouse_router.serve import OPS_SECONDS
from dormouse_router.settings import Settings

Object = dict[str, Any]
VARIANTS: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "namespaces": ("--set", "watchNamespaces={a,b}"),
    "closed": ("--set", "router.pull=Forbidden,router.delete=Forbidden,router.reload=Forbidden"),
    "everything": (
        "--set", "router.replicas=3,networkPolicy.enabled=true,image.pullPolicy=Always",
        "--set", "router.database.existingSecret=store",
        "--set", "router.priorityClassName=high,operator.priorityClassName=high",
        "--set-json", 'image.pullSecrets=["registry"]',
        "--set-json", 'router.tolerations=[{"key":"a","operator":"Exists"}]',
        "--set-json", 'router.nodeSelector={"disk":"ssd"}',
        "--set", "operator.digest=sha256:" + "a" * 64,
    ),
    "a claim": ("--set", "router.storage.persistent=true,router.storage.size=2Gi,router.storage.className=fast"),
    "redis": ("--set", "router.database.existingSecret=store,router.sessions.existingSecret=redis"),
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
        ("router.replicas=2", "router.database.existingSecret"),
        ("router.sessions.backend=disk", "backend"),
        ("router.database.url=postgresql://u:p@h/d", "database"),
        ("router.pull=maybe", "pull"),
        ("router.reload=maybe", "reload"),
        ("router.pullSources={hf://a b}", "pullSources"),
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


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_rolling_update_of_the_router_loses_no_request(replicas: int) -> None:
    """What the cluster must leave the router: a new pod before the old one goes, and the time its drain takes."""
    objects = render(
        "--set",
        f"router.replicas={replicas},router.drainDelaySeconds=7,router.drainSeconds=100",
        "--set",
        "router.database.existingSecret=store",
    )
    router = next(o for o in of_kind(objects, "Deployment") if o["metadata"]["name"] == "dormouse-router")
    assert router["spec"]["replicas"] == replicas
    assert router["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = router["spec"]["template"]["spec"]
    container = pod["containers"][0]
    env = {item["name"]: item.get("value", "") for item in container["env"]}
    settings = Settings.from_env(env)
    assert (settings.drain_delay, settings.drain_seconds) == (7.0, 100.0)
    ends = settings.drain_delay + settings.drain_seconds + CANCEL_SECONDS + OPS_SECONDS
    assert pod["terminationGracePeriodSeconds"] >= ends + 3  # the last leases are written then
    assert "lifecycle" not in container
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "ops"}
    assert pod["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    budgets = [o["spec"] for o in of_kind(objects, "PodDisruptionBudget")]
    labels = router["spec"]["selector"]["matchLabels"]
    # one replica must not keep a node from being drained
    assert budgets == ([{"maxUnavailable": 1, "selector": {"matchLabels": labels}}] if replicas > 1 else [])


def of_router(*options: str) -> Object:
    found = [o for o in of_kind(render(*options), "Deployment") if o["metadata"]["name"] == "dormouse-router"]
    return dict(found[0]["spec"])


@pytest.mark.parametrize(
    ("options", "volume", "strategy"),
    [
        ("router.storage.size=2Gi", {"emptyDir": {"sizeLimit": "2Gi"}}, None),
        ("router.storage.persistent=true", {"persistentVolumeClaim": {"claimName": "dormouse-router"}}, "Recreate"),
        ("router.storage.existingClaim=mine", {"persistentVolumeClaim": {"claimName": "mine"}}, "Recreate"),
        ("router.database.existingSecret=store,router.storage.persistent=true", None, None),
    ],
)
def test_sqlite_lies_on_a_volume_where_the_router_looks_for_it(
    options: str, volume: Object | None, strategy: str | None
) -> None:
    spec = of_router("--set", options)
    pod = spec["template"]["spec"]
    found = [each for each in pod["volumes"] if each["name"] == "store"]
    mounts = [each["mountPath"] for each in pod["containers"][0]["volumeMounts"] if each["name"] == "store"]
    assert found == ([] if volume is None else [{"name": "store", **volume}])
    assert [f"sqlite:///{mount}/router.db" for mount in mounts] == ([] if volume is None else [Settings().database_url])
    assert spec["strategy"].get("type") == strategy
    env = {item["name"]: item.get("value", "") for item in pod["containers"][0]["env"]}
    assert env.get("DORMOUSE_DATABASE_SIZE") == (None if volume is None else "2Gi" if "size" in options else "1Gi")


def test_urls_with_passwords_come_from_secrets_only() -> None:
    container = of_router(*VARIANTS["redis"])["template"]["spec"]["containers"][0]
    env = {item["name"]: item.get("valueFrom") for item in container["env"]}
    assert env["DORMOUSE_DATABASE_URL"] == {"secretKeyRef": {"name": "store", "key": "url"}}
    assert env["DORMOUSE_SESSIONS"] == {"secretKeyRef": {"name": "redis", "key": "url"}}
    assert "args" not in container


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


def test_what_clients_may_ask_for_is_told_to_the_router() -> None:
    options = ("--set", "router.pull=Allowed,router.delete=Forbidden,router.reload=Forbidden")
    container = of_router(*options, "--set", "router.pullSources={hf://org/*,s3://models/*}")["template"]["spec"][
        "containers"
    ][0]
    settings = Settings.from_env({item["name"]: item.get("value", "") for item in container["env"]})
    assert (settings.pull, settings.delete, settings.reload) == (True, False, False)
    assert settings.pull_sources == ("hf://org/*", "s3://models/*")
