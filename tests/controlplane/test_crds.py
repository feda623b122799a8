"""The CRDs on the real API server: it takes them and what they describe, and refuses each bad object with the fix."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from dormouse_api.model import ENGINE_ARGS
from dormouse_api.names import API_VERSION, MAX_MODEL_NAME, MAX_ROUTE_NAME

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT / "crds"

Object = dict[str, Any]


@pytest.fixture(scope="module")
def installed(plane: ControlPlane) -> ControlPlane:
    """The control plane with our CRDs, established."""
    for path in sorted(CRDS.glob("*.yaml")):
        plane.kubectl("apply", "--server-side", "-f", str(path))
    plane.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=120s")
    return plane


def model(name: str = "m", **spec: Any) -> Object:
    body = {"source": {"uri": "hf://org/name"}} | spec
    return {"apiVersion": API_VERSION, "kind": "InferenceModel", "metadata": {"name": name}, "spec": body}


def profile(**spec: Any) -> Object:
    body = {"image": "runtime:1", "device": "cpu", "kvCacheMemory": "1Gi"} | spec
    return {"apiVersion": API_VERSION, "kind": "RuntimeProfile", "metadata": {"name": "p"}, "spec": body}


def route(name: str = "r", **spec: Any) -> Object:
    body = {"variants": [{"model": "a"}]} | spec
    return {"apiVersion": API_VERSION, "kind": "InferenceRoute", "metadata": {"name": name}, "spec": body}


def refused(plane: ControlPlane, body: Object) -> str:
    """The API server's words on an object it must refuse."""
    done = plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(body), check=False)
    assert done.returncode != 0, f"taken: {body}"
    return done.stderr


def samples() -> list[Path]:
    return [path for path in sorted((ROOT / "manifests").rglob("*.yaml")) if path.name != "install.yaml"]


@pytest.mark.parametrize("path", samples(), ids=lambda path: path.name)
def test_every_sample_is_taken_whole(installed: ControlPlane, path: Path) -> None:
    kinds = {document["kind"] for document in yaml.safe_load_all(path.read_text()) if document}
    done = installed.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(path))
    assert kinds
    assert "created" in done.stdout


def test_what_the_user_leaves_out_is_filled_in_where_he_can_see_it(installed: ControlPlane, namespace: str) -> None:
    installed.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(model("defaults")))
    spec = json.loads(installed.kubectl("get", "-n", namespace, "inferencemodel", "defaults", "-o", "json").stdout)[
        "spec"
    ]
    assert spec["quantization"] == "auto"
    assert spec["priority"] == 0
    assert spec["source"]["revision"] == "main"
    assert spec["engine"]["order"] == ["vllm", "transformers"]
    assert spec["storage"] == {"accessMode": "ReadWriteOnce", "reclaimPolicy": "Delete", "share": True}
    assert spec["scaling"] == {
        "minReplicas": 0,
        "maxReplicas": 1,
        "idleSeconds": 300,
        "holdSeconds": 600,
        "maxHeld": 512,
        "waitComments": "Auto",
    }


ADAPTER = {"name": "a", "source": {"uri": "hf://org/lora"}}
BAD_MODELS: dict[str, tuple[Object, str]] = {
    "adapter twice": (model(adapters=[ADAPTER, ADAPTER]), "Duplicate value"),
    "adapter latest": (model(adapters=[ADAPTER | {"name": "latest"}]), "give the adapter another name"),
    "adapter with a colon": (model(adapters=[ADAPTER | {"name": "a:b"}]), "spec.adapters[0].name"),
    "adapter of elsewhere": (model(adapters=[{"name": "a", "source": {"uri": "/etc"}}]), "must be hf://organisation"),
    "adapters without vllm": (
        model(adapters=[ADAPTER], engine={"order": ["transformers"]}),
        "add vllm to engine.order, or remove spec.adapters",
    ),
    "adapters on nf4": (model(adapters=[ADAPTER], quantization="nf4"), "set quantization to int4 or int8, or remove"),
    "rank": (model(engine={"lora": {"maxRank": 12}}), 'supported values: "8", "16"'),
    "draft without a model": (model(engine={"speculative": {"method": "draft"}}), "set speculative.source, or method"),
    "ngram with a model": (
        model(engine={"speculative": {"method": "ngram", "source": {"uri": "hf://org/small"}}}),
        "remove speculative.source",
    ),
    "lookup": (
        model(engine={"speculative": {"method": "ngram", "promptLookupMin": 9}}),
        "must not exceed promptLookupMax",
    ),
    "scheme": (model(source={"uri": "https://example.com/x"}), "must be hf://organisation/name"),
    "shell": (model(source={"uri": "hf://org/name; rm -rf /"}), "must be hf://organisation/name"),
    "newline": (model(source={"uri": "hf://org/name\nx"}), "must be hf://organisation/name"),
    "long uri": (model(source={"uri": "hf://org/" + "n" * 400}), "300"),
    "revision": (model(source={"uri": "hf://org/name", "revision": "../../etc"}), "spec.source.revision"),
    "token elsewhere": (
        model(source={"uri": "s3://bucket/a", "tokenSecretRef": {"name": "t"}}),
        "s3:// takes source.credentialsSecretRef",
    ),
    "credentials elsewhere": (
        model(source={"uri": "hf://org/name", "credentialsSecretRef": {"name": "c"}}),
        "hf:// takes source.tokenSecretRef",
    ),
    "secret for a claim": (
        model(source={"uri": "pvc://claim/a", "credentialsSecretRef": {"name": "c"}}),
        "pvc:// needs no Secret",
    ),
    "out of the claim": (model(source={"uri": "pvc://claim/../x"}), "must be hf://organisation/name"),
    "secret of elsewhere": (
        model(source={"uri": "s3://bucket/a", "credentialsSecretRef": {"name": "other/c"}}),
        "spec.source.credentialsSecretRef.name",
    ),
    "flag": (model(engine={"args": ["--trust-remote-code"]}), "engine.args may only hold: " + ENGINE_ARGS[0]),
    "shell flag": (model(engine={"args": ["--seed=1\n--trust-remote-code"]}), "spec.engine.args"),
    "engine twice": (model(engine={"order": ["vllm", "vllm"]}), "name each engine once"),
    "no engine": (model(engine={"order": []}), "spec.engine.order"),
    "unknown engine": (model(engine={"order": ["onnx"]}), 'supported values: "vllm", "transformers", "diffusers"'),
    "quantization": (model(quantization="int3"), 'supported values: "auto"'),
    "texts from nowhere": (
        model(quantization="int4", calibration={}),
        "set calibration.configMap or calibration.claim",
    ),
    "calibrated by itself": (model(calibration={"configMap": {"name": "t"}}), "calibration is for quantization int4"),
    "awq of int8": (
        model(quantization="int8", calibration={"configMap": {"name": "t"}, "algorithm": "awq"}),
        "or int8 with algorithm gptq",
    ),
    "calibrated for transformers": (
        model(quantization="int4", calibration={"configMap": {"name": "t"}}, engine={"order": ["transformers"]}),
        "a calibrated copy is served by vllm",
    ),
    "texts out of the claim": (
        model(quantization="int4", calibration={"claim": {"name": "t", "path": "a/../b"}}),
        "spec.calibration.claim.path",
    ),
    "min over max": (model(scaling={"minReplicas": 2}), "raise maxReplicas or lower minReplicas"),
    "cron of six fields": (model(scaling={"schedules": [{"cron": "0 0 8 * * *"}]}), "spec.scaling.schedules[0].cron"),
    "cron with a zone": (model(scaling={"schedules": [{"cron": "TZ=UTC 8 * * *"}]}), "spec.scaling.schedules[0].cron"),
    "time zone": (
        model(scaling={"schedules": [{"cron": "0 8 * * *", "timeZone": "../etc/passwd"}]}),
        "spec.scaling.schedules[0].timeZone",
    ),
    "short window": (
        model(scaling={"schedules": [{"cron": "0 8 * * *", "durationSeconds": 59}]}),
        "greater than or equal to 60",
    ),
    "window over max": (
        model(scaling={"schedules": [{"cron": "0 8 * * *", "minReplicas": 2}]}),
        "raise maxReplicas or lower it",
    ),
    "nine windows": (model(scaling={"schedules": [{"cron": "0 8 * * *"}] * 9}), "at most 8 items"),
    "no budget": (model(scaling={"learn": {"budgetMinutesPerDay": 0}}), "greater than or equal to 1"),
    "idle": (model(scaling={"idleSeconds": 0}), "greater than or equal to 1"),
    "priority too high": (model(priority=1001), "less than or equal to 1000"),
    "priority too low": (model(priority=-1001), "greater than or equal to -1000"),
    "comments": (model(scaling={"waitComments": "on"}), 'supported values: "Auto", "On", "Off"'),
    "claim and size": (model(storage={"existingClaim": "c", "size": "1Gi"}), "remove storage.size"),
    "size": (model(storage={"size": "lots"}), "spec.storage.size"),
    "name": (model("a.b"), "put any other name into spec.aliases"),
    "long name": (model("m" * (MAX_MODEL_NAME + 1)), f"at most {MAX_MODEL_NAME} characters"),
    "alias": (model(aliases=["../x"]), "spec.aliases"),
    "private of nobody": (model(access={"visibility": "Private"}), "set the owner, or make it Public"),
    "team without a name": (model(access={"visibility": "Team", "owner": "0" * 64}), "name the team"),
    "visibility": (model(access={"visibility": "secret"}), 'supported values: "Public", "Team", "Private"'),
    "owner": (model(access={"owner": "a b"}), "spec.access.owner"),
    "description": (model(description="x" * 2049), "2048"),
    "no source": ({**model(), "spec": {}}, "spec.source: Required"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_a_bad_model_is_refused_with_the_fix(installed: ControlPlane, case: str) -> None:
    body, words = BAD_MODELS[case]
    assert words.lower() in refused(installed, body).lower()


def test_what_a_route_leaves_out_is_filled_in_where_the_user_can_see_it(
    installed: ControlPlane, namespace: str
) -> None:
    body = route("qwen2.5", variants=[{"model": "a", "weight": 0}, {"model": "b"}], defaults={"temperature": 0.2})
    installed.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(body))
    found = installed.kubectl("get", "-n", namespace, "inferenceroute", "qwen2.5", "-o", "json").stdout
    assert json.loads(found)["spec"] == {
        "variants": [{"model": "a", "weight": 0}, {"model": "b", "weight": 1}],
        "defaults": {"temperature": 0.2},
    }
    head, row = installed.kubectl("get", "-n", namespace, "inferenceroutes.dormouse.dev").stdout.splitlines()
    assert head.split() == ["NAME", "VARIANTS", "STICKY", "AGE"]
    assert row.split()[:2] == ["qwen2.5", '[{"model":"a","weight":0},{"model":"b","weight":1}]']


BAD_ROUTES: dict[str, tuple[Object, str]] = {
    "no variants": (route(variants=[]), "spec.variants"),
    "too many variants": (route(variants=[{"model": f"m{n}"} for n in range(17)]), "at most 16 items"),
    "no spec": ({**route(), "spec": {}}, "spec.variants: Required"),
    "no weight at all": (route(variants=[{"model": "a", "weight": 0}]), "nobody would answer: raise one of them"),
    "weight": (route(variants=[{"model": "a", "weight": 1001}]), "less than or equal to 1000"),
    "negative weight": (route(variants=[{"model": "a", "weight": -1}]), "greater than or equal to 0"),
    "a model twice": (route(variants=[{"model": "a"}, {"model": "a", "name": "b"}]), "with both weights added"),
    "a name twice": (route(variants=[{"model": "a"}, {"model": "b", "name": "a"}]), "give each its own"),
    "a model elsewhere": (route(variants=[{"model": "other/a"}]), "spec.variants[0].model"),
    "variant name": (route(variants=[{"model": "a", "name": "not a label"}]), "spec.variants[0].name"),
    "sticky": (route(sticky={"by": "IP"}), 'supported values: "None", "User", "Session", "Header"'),
    "header not named": (route(sticky={"by": "Header"}), "name a request header"),
    "header not read": (route(sticky={"by": "User", "header": "x-user"}), "remove one of them"),
    "header name": (route(sticky={"by": "Header", "header": "x user"}), "spec.sticky.header"),
    "fallback twice": (route(fallback=["a", "b", "a"]), "name each once, the best first"),
    "fallback": (route(fallback=["A"]), "spec.fallback[0]"),
    "temperature": (route(defaults={"temperature": 2.5}), "spec.defaults.temperature"),
    "top_p": (route(defaults={"topP": -0.1}), "spec.defaults.topP"),
    "max tokens": (route(defaults={"maxTokens": 0}), "spec.defaults.maxTokens"),
    "empty system": (route(defaults={"system": ""}), "spec.defaults.system"),
    "long system": (route(defaults={"system": "x" * 70_000}), "65536"),
    "role": (route(defaults={"messages": [{"role": "tool", "content": "x"}]}), 'supported values: "system", "user"'),
    "alias": (route(aliases=["a b"]), "spec.aliases[0]"),
    "long name": (route("r" * (MAX_ROUTE_NAME + 1)), f"at most {MAX_ROUTE_NAME} characters"),
    "a misspelt field": (route(default={"temperature": 1}), 'unknown field "spec.default"'),
}


@pytest.mark.parametrize("case", BAD_ROUTES)
def test_a_bad_route_is_refused_with_the_fix(installed: ControlPlane, case: str) -> None:
    body, words = BAD_ROUTES[case]
    assert words.lower() in refused(installed, body).lower()


def test_a_gpu_profile_without_its_gpu_is_refused_with_the_fix(installed: ControlPlane) -> None:
    assert "set spec.accelerator.resource" in refused(installed, profile(device="cuda"))


def test_a_cpu_profile_without_its_cache_is_refused_with_the_fix(installed: ControlPlane) -> None:
    assert "set spec.kvCacheMemory" in refused(installed, profile(kvCacheMemory=None))


def test_a_profile_with_python_of_its_own_needs_no_cache(installed: ControlPlane) -> None:
    own = profile(kvCacheMemory=None, custom={"entryPoint": "house.prices:Model", "config": {"currency": "EUR"}})
    assert "created" in installed.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(own)).stdout


@pytest.mark.parametrize(
    "path", ["house.prices", "house/prices:Model", "house.prices:Model()", "os; rm:x", ":Model", ""]
)
def test_what_is_no_entry_point_is_refused(installed: ControlPlane, path: str) -> None:
    assert "spec.custom.entryPoint" in refused(installed, profile(custom={"entryPoint": path}))


def test_the_source_of_a_model_cannot_change(installed: ControlPlane, namespace: str) -> None:
    installed.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(model("fixed")))
    other = model("fixed", source={"uri": "hf://org/other"})
    done = installed.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(other), check=False)
    assert done.returncode != 0
    assert "create another InferenceModel for other weights" in done.stderr


def test_a_misspelt_field_is_refused(installed: ControlPlane) -> None:
    body = copy.deepcopy(model())
    body["spec"]["scaling"] = {"idelSeconds": 5}
    assert 'unknown field "spec.scaling.idelSeconds"' in refused(installed, body)


def test_scale_sets_the_pods_kept_when_nobody_calls(installed: ControlPlane, namespace: str) -> None:
    installed.kubectl(
        "apply", "-n", namespace, "-f", "-", stdin=json.dumps(model("scaled", scaling={"maxReplicas": 3}))
    )
    installed.kubectl("scale", "-n", namespace, "--replicas=2", "inferencemodel/scaled")
    spec = json.loads(installed.kubectl("get", "-n", namespace, "inferencemodel", "scaled", "-o", "json").stdout)[
        "spec"
    ]
    assert spec["scaling"]["minReplicas"] == 2
    beyond = installed.kubectl("scale", "-n", namespace, "--replicas=4", "inferencemodel/scaled", check=False)
    assert "raise maxReplicas" in beyond.stderr


def test_kubectl_get_shows_the_columns_a_person_needs(installed: ControlPlane, namespace: str) -> None:
    installed.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(model("shown")))
    head, row = installed.kubectl("get", "-n", namespace, "inferencemodels.dormouse.dev").stdout.splitlines()
    assert head.split() == ["NAME", "MODEL", "READY", "REASON", "PROGRESS", "REPLICAS", "AGE"]
    assert row.startswith("shown")
    assert "hf://org/name" in row
