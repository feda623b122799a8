"""The objects that are applied: what they must and must not hold."""

import json
import re
from typing import Any

import pytest

from dormouse_api import names
from dormouse_api.runtime import RuntimeConfig
from dormouse_operator import reading
from dormouse_operator.decide.drift import stamped
from dormouse_operator.decide.quantization import Serving, choose
from dormouse_operator.observed import LABEL_WOKEN, Claim, Model, Profile
from dormouse_operator.plan import jobs, runtime
from dormouse_operator.plan.common import Object
from dormouse_operator.plan.lease import lease
from dormouse_operator.plan.service import service
from dormouse_operator.plan.storage import claim as plan_claim
from dormouse_operator.settings import Q4_THRESHOLD_BYTES, Settings
from tests.operator.builders import COMMIT, NOW, SETTINGS, claim, facts, gpu, model, profile

SECRET = {"uri": "hf://org/name", "tokenSecretRef": {"name": "hub", "key": "t"}}


def deployment(m: Model, p: Profile, replicas: int = 1, woken: float | None = None) -> Object:
    serving = choose(m, facts(), p, Q4_THRESHOLD_BYTES)
    assert isinstance(serving, Serving)
    template = runtime.template(m, runtime.config(m, facts(), serving, p), p, claim())
    return runtime.deployment(m, template, runtime.strategy(p), replicas, runtime.Marks(woken))


def pod_of(body: Object) -> Any:
    return body["spec"]["template"]["spec"]


def container_of(body: Object) -> Any:
    (container,) = pod_of(body)["containers"]
    return container


def env_of(body: Object) -> dict[str, str]:
    return {e["name"]: e["value"] for e in container_of(body)["env"]}


def every_pod() -> list[Any]:
    m, p = model(source=SECRET, quantization="int4"), profile()
    return [
        pytest.param(jobs.job(m, jobs.inspect(m, SETTINGS), 0), id="inspect"),
        pytest.param(jobs.job(m, jobs.pull(m, SETTINGS, facts(), claim(), p), 0), id="pull"),
        pytest.param(jobs.job(m, jobs.quantize(m, facts(), "int4", claim(), p), 0), id="quantize"),
        pytest.param(deployment(m, p), id="runtime"),
    ]


@pytest.mark.parametrize("body", every_pod())
def test_every_pod_is_restricted_and_has_no_rights(body: Object) -> None:
    pod, container = pod_of(body), container_of(body)
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    security = pod["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"], security["fsGroup"]) == (True, 10001, 10001)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "command" not in container
    assert env_of(body)["HOME"] == "/tmp"
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


@pytest.mark.parametrize("body", every_pod())
def test_every_child_is_ours_and_goes_with_its_model(body: Object) -> None:
    labels = body["metadata"]["labels"]
    assert labels[names.LABEL_MANAGED_BY] == names.MANAGED_BY
    assert labels[names.LABEL_MODEL] == "tiny"
    (owner,) = body["metadata"]["ownerReferences"]
    assert owner == {
        "apiVersion": "dormouse.dev/v1alpha1",
        "kind": "InferenceModel",
        "name": "tiny",
        "uid": "uid-1",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert body["spec"]["template"]["metadata"]["labels"][names.LABEL_MODEL] == "tiny"


@pytest.mark.parametrize("body", every_pod())
def test_the_token_is_a_file_of_the_puller_and_of_nobody_else(body: Object) -> None:
    is_puller = container_of(body)["image"] == SETTINGS.puller_image
    secrets = [v["secret"] for v in pod_of(body)["volumes"] if "secret" in v]
    assert ("DORMOUSE_TOKEN_FILE" in env_of(body)) is is_puller
    assert len(secrets) == (1 if is_puller else 0)
    for secret in secrets:
        assert secret["secretName"] == "hub"
        assert secret["items"] == [{"key": "t", "path": "token"}]


def test_a_job_ends_at_once_on_what_a_retry_cannot_cure_and_ignores_evictions() -> None:
    body = jobs.job(model(), jobs.inspect(model(), SETTINGS), 0)
    fail, ignore = body["spec"]["podFailurePolicy"]["rules"]
    assert fail["action"] == "FailJob"
    assert fail["onExitCodes"] == {"containerName": "pull", "operator": "In", "values": [42]}
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert pod_of(body)["restartPolicy"] == "Never"


def test_a_jobs_name_follows_its_inputs_only() -> None:
    def name(m: Model, settings: Settings = SETTINGS, attempt: int = 0) -> str:
        return jobs.job_name(m, jobs.inspect(m, settings), attempt)

    base = name(model())
    assert name(model(generation=9, aliases=["x"])) == base
    assert len({
        base,
        name(model(), attempt=1),
        name(model(), Settings(puller_image="puller:2")),
        name(model(source={"uri": "hf://org/name", "revision": "v2"})),
        name(model(source=SECRET)),
    }) == 5  # fmt: skip


def test_the_longest_model_name_still_gives_jobs_and_labels_of_63_characters() -> None:
    m = Model("ns", "m" * names.MAX_MODEL_NAME, "u", 1, model().spec, model().status)
    body = jobs.job(m, jobs.quantize(m, facts(), "int4", claim(), profile()), 12)
    assert len(body["metadata"]["name"]) <= 63
    assert all(len(value) <= 63 for value in body["metadata"]["labels"].values())


def test_another_claim_is_another_pull() -> None:
    def name(uid: str) -> str:
        return jobs.job_name(model(), jobs.pull(model(), SETTINGS, facts(), claim(uid=uid), profile()), 0)

    assert name("claim-1") != name("claim-2")


def test_pulls_and_copies_run_where_the_runtime_could() -> None:
    p = profile(nodeSelector={"disk": "fast"}, tolerations=[{"key": "gpu", "operator": "Exists"}])
    for work in (
        jobs.pull(model(), SETTINGS, facts(), claim(), p),
        jobs.quantize(model(), facts(), "int4", claim(), p),
    ):
        pod = pod_of(jobs.job(model(), work, 0))
        assert pod["nodeSelector"] == {"disk": "fast"}
        assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert "nodeSelector" not in pod_of(jobs.job(model(), jobs.inspect(model(), SETTINGS), 0))


def affinity_of(body: Object) -> Any:
    return pod_of(body).get("affinity", {}).get("podAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")


def volume_bodies(where: Claim) -> list[Object]:
    m, p = model(), profile()
    serving = choose(m, facts(), p, Q4_THRESHOLD_BYTES)
    assert isinstance(serving, Serving)
    template = runtime.template(m, runtime.config(m, facts(), serving, p), p, where)
    return [
        jobs.job(m, jobs.pull(m, SETTINGS, facts(), where, p), 0),
        jobs.job(m, jobs.quantize(m, facts(), "int4", where, p), 0),
        runtime.deployment(m, template, runtime.strategy(p), 1, runtime.Marks()),
    ]


def test_whoever_mounts_a_volume_of_one_node_runs_beside_who_does_already() -> None:
    for body in volume_bodies(claim(name="tiny-weights")):
        (term,) = affinity_of(body)
        assert term["topologyKey"] == "kubernetes.io/hostname"
        wanted = term["labelSelector"]["matchLabels"]
        assert wanted == {names.LABEL_CLAIM: "tiny-weights"}
        assert wanted.items() <= body["spec"]["template"]["metadata"]["labels"].items(), "the first pod is its own peer"


def test_a_volume_of_many_nodes_ties_nobody() -> None:
    for body in volume_bodies(claim(access_modes=("ReadWriteMany",))):
        assert affinity_of(body) is None
        assert body["spec"]["template"]["metadata"]["labels"][names.LABEL_CLAIM] == "tiny-weights"


def test_a_long_name_of_a_claim_is_a_hash_in_labels() -> None:
    for body in volume_bodies(claim(name="c" * 253)):
        assert len(body["spec"]["template"]["metadata"]["labels"][names.LABEL_CLAIM]) == 32


def test_the_hub_endpoint_reaches_the_puller_only_when_it_is_set() -> None:
    m = model()
    plain = env_of(jobs.job(m, jobs.inspect(m, SETTINGS), 0))
    mirror = env_of(jobs.job(m, jobs.inspect(m, Settings(puller_image="p", hub_endpoint="http://hub")), 0))
    assert "HF_ENDPOINT" not in plain
    assert mirror["HF_ENDPOINT"] == "http://hub"


def test_the_quantize_job_takes_no_device() -> None:
    p = gpu(resources={"limits": {"memory": "8Gi"}})
    body = jobs.job(model(), jobs.quantize(model(), facts(), "int4", claim(), p), 0)
    assert container_of(body)["resources"] == {"limits": {"memory": "8Gi"}}
    told = json.loads(env_of(body)["DORMOUSE_QUANTIZE"])
    assert told["out_dir"] == f"/models/{COMMIT}-int4"


def test_the_runtime_is_told_all_it_needs() -> None:
    m = model(engine={"maxModelLen": 512, "toolCallParser": "hermes", "args": ["--seed=1"]})
    p = gpu(count=2, args=["--enforce-eager"], remoteCode="Allowed", maxNumSeqs=7)
    config = RuntimeConfig.model_validate_json(env_of(deployment(m, p))[names.ENV_RUNTIME_CONFIG])
    assert (config.model, config.commit, config.devices, config.device) == ("tiny", COMMIT, 2, "cuda")
    assert (config.max_model_len, config.max_num_seqs, config.kv_cache_bytes) == (512, 7, 2**30)
    assert config.args == ("--enforce-eager", "--seed=1")
    assert config.tool_call_parser == "hermes"
    assert config.remote_code is False, "allowed, but these weights do not need it"
    assert [a.engine.value for a in config.attempts] == ["vllm", "transformers"]


@pytest.mark.parametrize(
    ("needed", "allowed", "runs"), [(True, "Allowed", True), (True, "Forbidden", False), (False, "Allowed", False)]
)
def test_remote_code_needs_two(needed: bool, allowed: str, runs: bool) -> None:
    p, known = profile(remoteCode=allowed), facts(remote_code=needed)
    serving = choose(model(), known, p, Q4_THRESHOLD_BYTES)
    assert isinstance(serving, Serving)
    assert runtime.config(model(), known, serving, p).remote_code is runs


@pytest.mark.parametrize(
    ("asked", "capabilities", "task"),
    [
        ("auto", ("completion",), "generate"),
        ("auto", ("embedding",), "embed"),
        ("auto", ("completion", "embedding"), "generate"),
        ("embed", ("completion",), "embed"),
    ],
)
def test_task(asked: str, capabilities: tuple[str, ...], task: str) -> None:
    m, known = model(engine={"task": asked}), facts(capabilities=capabilities)
    serving = choose(m, known, profile(), Q4_THRESHOLD_BYTES)
    assert isinstance(serving, Serving)
    assert runtime.config(m, known, serving, profile()).task == task


def test_a_wake_changes_replicas_and_the_moment_but_never_the_template() -> None:
    asleep, awake = deployment(model(), profile(), 0), deployment(model(generation=5), profile(), 2, NOW)
    assert (asleep["spec"]["replicas"], awake["spec"]["replicas"]) == (0, 2)
    assert asleep["spec"]["template"] == awake["spec"]["template"]
    assert awake["metadata"]["labels"][LABEL_WOKEN].endswith(".000000Z")
    assert LABEL_WOKEN not in asleep["metadata"]["labels"]


def test_a_deployment_has_no_annotations_and_labels_that_the_api_server_takes() -> None:
    """Kubernetes copies annotations to the ReplicaSet: a changed one costs each wake two writes and a conflict."""
    at = 1_763_731_200.25
    marks = runtime.Marks(woken_at=at, asked_at=at, turned_out=at)
    intent = stamped(runtime.deployment(model(), {}, {}, 1, marks))
    assert "annotations" not in intent["metadata"]
    for value in intent["metadata"]["labels"].values():
        assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", value)
    read = reading.read_runtime(intent)
    assert read is not None
    assert (read.woken_at, read.asked_at, read.turned_out) == (at, at, at)


def test_readiness_is_held_by_the_pod_and_not_polled_on_a_grid() -> None:
    probe = container_of(deployment(model(), profile()))["readinessProbe"]
    assert probe["httpGet"] == {"path": "/readyz", "port": 8001}
    assert (probe["timeoutSeconds"], probe["periodSeconds"]) == (30, 1)


def test_there_is_time_to_drain() -> None:
    body = deployment(model(), profile())
    config = RuntimeConfig.model_validate_json(env_of(body)[names.ENV_RUNTIME_CONFIG])
    assert pod_of(body)["terminationGracePeriodSeconds"] > config.drain_seconds


def test_the_weights_are_read_only_and_the_cache_is_not() -> None:
    mounts = {m["mountPath"]: m for m in container_of(deployment(model(), profile()))["volumeMounts"]}
    assert mounts["/models"] == {"name": "weights", "mountPath": "/models", "subPath": "models", "readOnly": True}
    assert mounts["/cache"] == {"name": "weights", "mountPath": "/cache", "subPath": "cache"}


def test_devices_are_limits() -> None:
    body = deployment(model(), gpu(count=2, resources={"requests": {"cpu": "1"}, "limits": {"memory": "8Gi"}}))
    assert container_of(body)["resources"] == {
        "requests": {"cpu": "1"},
        "limits": {"memory": "8Gi", "nvidia.com/gpu": "2"},
    }


@pytest.mark.parametrize(("asked", "kind"), [("Recreate", "Recreate"), ("RollingUpdate", "RollingUpdate")])
def test_strategy(asked: str, kind: str) -> None:
    assert runtime.strategy(profile(updateStrategy=asked))["type"] == kind


def test_the_lease_intent_leaves_the_routers_wish_alone() -> None:
    assert "spec" not in lease(model())


def test_the_service_is_headless_and_selects_runtime_pods_only() -> None:
    spec = service(model())["spec"]
    assert spec["clusterIP"] == "None"
    assert spec["selector"] == {names.LABEL_MODEL: "tiny", names.LABEL_COMPONENT: "runtime"}
    assert [(p["name"], p["port"]) for p in spec["ports"]] == [("serving", 8000), ("admin", 8001)]


def test_a_retained_claim_has_no_owner() -> None:
    retained = model(storage={"reclaimPolicy": "Retain", "className": "fast"})
    kept = plan_claim(retained, profile(), COMMIT, 1, None)
    assert "ownerReferences" not in kept["metadata"]
    assert kept["spec"]["storageClassName"] == "fast"
    assert "ownerReferences" in plan_claim(model(), profile(), COMMIT, 1, None)["metadata"]
