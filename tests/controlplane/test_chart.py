"""The chart: lint, least rights, restricted pods, refused nonsense, taken whole by the real API server, no drift."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import manifests
from dev.cluster.controlplane import ControlPlane
from dev.generate import drifted
from dormouse_api.names import MAX_MODEL_NAME, RUN_AS_USER
from dormouse_operator.settings import Settings as OperatorSettings
from dormouse_router.caller import Limits
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
        "--set", "router.database.existingSecret=store,operator.replicas=2",
        "--set", "router.files.bucket=files,router.files.existingSecret=keys,router.files.endpoint=https://s3.example.com",
        "--set", "router.priorityClassName=high,operator.priorityClassName=high",
        "--set-json", 'image.pullSecrets=["registry"]',
        "--set-json", 'router.tolerations=[{"key":"a","operator":"Exists"}]',
        "--set-json", 'router.nodeSelector={"disk":"ssd"}',
        "--set", "operator.digest=sha256:" + "a" * 64,
        "--set", "tracing.endpoint=http://collector:4318,tracing.headers.existingSecret=otlp,tracing.engines=true",
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
    assert granted == {"a", "b"}, "and with one operator there is no election in the release's own"
    everywhere = [r for r in of_kind(objects, "ClusterRole") if "aggregate" not in str(r["metadata"]["labels"])]
    assert [rule["resources"] for role in everywhere for rule in role["rules"]] == [
        ["runtimeprofiles"],
        ["storageclasses"],
    ]


def test_a_closed_router_may_not_create_or_delete_models() -> None:
    roles = [
        r for r in of_kind(render(*VARIANTS["closed"]), "ClusterRole") if r["metadata"]["name"] == "dormouse-router"
    ]
    for plural in ("inferencemodels", "inferenceroutes"):
        verbs = {verb for rule in roles[0]["rules"] if plural in rule["resources"] for verb in rule["verbs"]}
        assert verbs == {"get", "list", "watch"}


def test_every_pod_meets_the_restricted_standard(objects: list[Object]) -> None:
    deployments = of_kind(objects, "Deployment")
    assert {deployment["metadata"]["name"] for deployment in deployments} >= {"dormouse-operator", "dormouse-router"}
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
        ("operator.replicas=0", "replicas"),
        ("operator.electionSeconds=1", "electionSeconds"),
        ("router.replicas=2", "router.database.existingSecret"),
        ("router.sessions.backend=disk", "backend"),
        ("router.database.url=postgresql://u:p@h/d", "database"),
        ("router.pull=maybe", "pull"),
        ("router.reload=maybe", "reload"),
        ("worker.hours={always}", "hours"),
        ("worker.inFlight=0", "inFlight"),
        ("router.access.modes={closed}", "modes"),
        ("router.access.keySecrets={Not_A_Name}", "keySecrets"),
        ("router.access.keyLimits.requestsPerHour=1", "requestsPerHour"),
        ("router.pullSources={hf://a b}", "pullSources"),
        ("hub.endpoint=ftp://x", "endpoint"),
        ("pullBandwidth=fast", "pullBandwidth"),
        ("caCertificates=ca.pem", "caCertificates"),
        ("proxy.https=http://user:password@proxy:3128", "https"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("operator.digest=latest", "digest"),
        ("profiles.cpu.kvCacheMemory=lots", "kvCacheMemory"),
        ("profiles.cpu.kvCacheMemory=", "kvCacheMemory"),
        ("q4ThresholdBytes=lots", "q4ThresholdBytes"),
        ("tracing.endpoint=collector:4318", "endpoint"),
        ("tracing.percent=101", "percent"),
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
        f"router.files.bucket=files,router.replicas={replicas},router.drainDelaySeconds=7,router.drainSeconds=100",
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


def test_one_operator_pays_for_no_election() -> None:
    objects = render()
    spec = next(o["spec"] for o in of_kind(objects, "Deployment") if o["metadata"]["name"] == "dormouse-operator")
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert "topologySpreadConstraints" not in spec["template"]["spec"]
    assert not [o for o in objects if "election" in str(o).lower()]


def test_two_operators_share_one_lease_and_have_a_right_to_that_one() -> None:
    objects = render("--set", "operator.replicas=2,operator.electionSeconds=9,watchNamespaces={a}")
    spec = next(o["spec"] for o in of_kind(objects, "Deployment") if o["metadata"]["name"] == "dormouse-operator")
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    pod = spec["template"]["spec"]
    assert pod["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    env = {item["name"]: item.get("value", "") for item in pod["containers"][0]["env"]}
    told = OperatorSettings.from_environment(env)
    assert (told.election, told.election_seconds) == (("dormouse-system", "dormouse-operator"), 9)
    role = next(o for o in of_kind(objects, "Role") if o["metadata"]["name"] == "dormouse-operator-election")
    assert role["metadata"]["namespace"] == "dormouse-system"
    named = [rule for rule in role["rules"] if "leases" in rule["resources"]]
    assert [(rule.get("resourceNames"), rule["verbs"]) for rule in named] == [
        (["dormouse-operator"], ["get", "update"]),
        (None, ["create"]),
    ]
    budgets = [o["spec"] for o in of_kind(objects, "PodDisruptionBudget")]
    assert budgets == [{"maxUnavailable": 1, "selector": {"matchLabels": spec["selector"]["matchLabels"]}}]


def of_router(*options: str) -> Object:
    found = [o for o in of_kind(render(*options), "Deployment") if o["metadata"]["name"] == "dormouse-router"]
    return dict(found[0]["spec"])


@pytest.mark.parametrize(
    ("options", "volume", "strategy"),
    [
        ("router.storage.size=2Gi", {"emptyDir": {"sizeLimit": "2Gi"}}, None),
        ("router.storage.persistent=true", {"persistentVolumeClaim": {"claimName": "dormouse-router"}}, "Recreate"),
        ("router.storage.existingClaim=mine", {"persistentVolumeClaim": {"claimName": "mine"}}, "Recreate"),
        (
            "router.database.existingSecret=store,router.storage.persistent=true",
            {"persistentVolumeClaim": {"claimName": "dormouse-router"}},
            "Recreate",
        ),
        ("router.database.existingSecret=store,router.files.bucket=files,router.storage.persistent=true", None, None),
        (
            "router.database.existingSecret=store,router.replicas=2,router.storage.existingClaim=mine",
            {"persistentVolumeClaim": {"claimName": "mine"}},
            None,
        ),
    ],
)
def test_sqlite_and_files_lie_on_a_volume_where_the_router_looks_for_it(
    options: str, volume: Object | None, strategy: str | None
) -> None:
    spec = of_router("--set", options)
    pod = spec["template"]["spec"]
    found = [each for each in pod["volumes"] if each["name"] == "store"]
    mounts = [each["mountPath"] for each in pod["containers"][0]["volumeMounts"] if each["name"] == "store"]
    assert found == ([] if volume is None else [{"name": "store", **volume}])
    assert [f"sqlite:///{mount}/router.db" for mount in mounts] == ([] if volume is None else [Settings().database_url])
    assert [f"file://{mount}/files" for mount in mounts] == ([] if volume is None else [Settings().files])
    assert spec["strategy"].get("type") == strategy
    env = {item["name"]: item.get("value", "") for item in pod["containers"][0]["env"]}
    assert env.get("DORMOUSE_STORAGE_SIZE") == (None if volume is None else "2Gi" if "size" in options else "8Gi")


def test_files_are_in_a_bucket_with_keys_of_a_secret() -> None:
    wish = "router.files.bucket=mine,router.files.prefix=a/b,router.files.existingSecret=keys,router.files.size=2Ti"
    container = of_router("--set", wish)["template"]["spec"]["containers"][0]
    env = {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}
    assert (env["DORMOUSE_FILES"], env["DORMOUSE_FILES_SIZE"]) == ("s3://mine/a/b", "2Ti")
    assert env["AWS_ACCESS_KEY_ID"] == {"secretKeyRef": {"name": "keys", "key": "accessKeyId"}}
    assert env["AWS_SECRET_ACCESS_KEY"] == {"secretKeyRef": {"name": "keys", "key": "secretAccessKey"}}
    told = {name: value for name, value in env.items() if isinstance(value, str)}
    assert Settings.from_env(told).files_bytes == 2 * 2**40


def test_keys_are_mounted_from_secrets_and_read_by_nobody(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"  # a number of a file is another type in templates than one of --set
    large.write_text("router: {access: {userLimits: {storageBytes: 20000000000}}}")
    wish = "router.access.modes={keys},router.access.keySecrets={team-a,team.b},router.access.keyLimits.concurrent=8"
    more = ("--set", "router.access.teams.red.tokensPerMinute=2000000", "--values", str(large))
    pod = of_router("--set", wish, *more)["template"]["spec"]
    env = {item["name"]: item.get("value", "") for item in pod["containers"][0]["env"]}
    found = Settings.from_env(env).access
    assert (found.modes, found.key_limits) == (("keys",), Limits(requests=100, concurrent=8))
    assert found.teams == {"red": Limits(tokens=2_000_000)}
    assert found.user_limits == Limits(storage=20_000_000_000)
    mounts = {item["name"]: item["mountPath"] for item in pod["containers"][0]["volumeMounts"]}
    mounted = {mounts[each["name"]]: each["secret"] for each in pod["volumes"] if "secret" in each}
    assert {place: secret["secretName"] for place, secret in mounted.items()} == {
        f"{found.keys}/team-a": "team-a",
        f"{found.keys}/team.b": "team.b",
    }
    assert all(secret["optional"] for secret in mounted.values())


def test_a_release_that_anybody_may_call_says_so() -> None:
    def notes(*options: str) -> str:
        command = ("install", "dormouse", str(manifests.CHART), "--dry-run=client", *options)
        return manifests.helm(*command).stdout.partition("NOTES:")[2]

    assert "WARNING: whoever reaches the router" in notes()
    assert "WARNING" not in notes("--set", "router.access.modes={keys}")


def test_routers_that_would_keep_files_each_for_itself_are_refused() -> None:
    wish = "router.replicas=2,router.database.existingSecret=store"
    done = manifests.helm("template", "dormouse", str(manifests.CHART), "--set", wish, check=False)
    assert done.returncode != 0
    assert "set router.files.bucket" in done.stderr


def test_urls_with_passwords_come_from_secrets_only() -> None:
    container = of_router(*VARIANTS["redis"])["template"]["spec"]["containers"][0]
    env = {item["name"]: item.get("valueFrom") for item in container["env"]}
    assert env["DORMOUSE_DATABASE_URL"] == {"secretKeyRef": {"name": "store", "key": "url"}}
    assert env["DORMOUSE_SESSIONS"] == {"secretKeyRef": {"name": "redis", "key": "url"}}
    assert "args" not in container


def test_the_real_api_server_takes_every_object(plane: ControlPlane, objects: list[Object]) -> None:
    crds = manifests.CHART / "files" / "crds"
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crds))
    plane.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=120s")
    for namespace in ("dormouse-system", "a", "b"):
        plane.kubectl("create", "namespace", namespace, check=False)
    text = yaml.safe_dump_all(objects)
    # another test of this plane may own fields of a profile that has the same name as the chart's
    dry = ("--dry-run=server", "--server-side", "--force-conflicts", "--validate=strict")
    done = plane.kubectl("apply", *dry, "-f", "-", stdin=text)
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


def test_a_profile_names_the_image_for_calibration_only_where_it_is_set() -> None:
    assert not [o for o in of_kind(render(), "RuntimeProfile") if "quantizerImage" in o["spec"]]
    named = of_kind(render("--set", "profiles.cpu.quantizerImage=registry/quantizer:1"), "RuntimeProfile")
    images = {o["metadata"]["name"]: o["spec"].get("quantizerImage") for o in named}
    assert images == {"cpu": "registry/quantizer:1", "nvidia": None}
