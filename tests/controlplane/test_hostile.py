"""Hostile objects on the real API server, with the real operator: refused by the schema, or shown to be harmless."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from dormouse_api.lease import FOREVER
from tests.controlplane.hostile import HOSTILE, Object, Slot, schemas, slots
from tests.controlplane.kubelet import MERGE, Kubelet, Rest, failed, running, succeeded
from tests.controlplane.operatorprocess import MODELS, Models, OperatorProcess, until

SPECS = schemas()
SLOTS = slots()
PLURALS = {
    names.MODEL_KIND: names.MODEL_PLURAL,
    names.PROFILE_KIND: names.PROFILE_PLURAL,
    names.ROUTE_KIND: names.ROUTE_PLURAL,
}
SPECULATIVE = "engine.speculative"
FLAGS = {"InferenceModel:engine.args.[]", "RuntimeProfile:args.[]"}
FREE = {
    "InferenceModel:description",
    "InferenceModel:engine.chatTemplate",
    *(f"InferenceRoute:defaults.{name}" for name in ("system", "messages.[].content", "template", "stop.[]")),
    "InferenceRoute:license",
    *(f"RuntimeProfile:custom.config.{name}" for name in ("{key}", "{}")),
}
"""Fields whose value may be any text: Jinja, prose (a description stays in the object and in answers), what an
administrator tells a class. Every other one refuses all of HOSTILE."""
SHOWN: dict[str, set[str]] = {
    # branches have slashes; it is an environment variable, and quoted in the URL
    "InferenceModel:source.revision": {"another namespace"},
    # a hub's names have slashes; what is <namespace>/<name> of an object is that object's: tests/router/test_catalog.py
    "InferenceModel:aliases.[]": {"another namespace"},
    "InferenceRoute:aliases.[]": {"another namespace"},
    **{f"InferenceModel:{where}.source.revision": {"another namespace"} for where in ("adapters.[]", SPECULATIVE)},
    # a key of a Secret or ConfigMap may begin with dashes; it is a `key` of a volume's items
    "InferenceModel:source.tokenSecretRef.key": {"flag"},
    **{f"InferenceModel:{where}.source.tokenSecretRef.key": {"flag"} for where in ("adapters.[]", SPECULATIVE)},
    "InferenceModel:calibration.configMap.key": {"flag"},
    # a path below the root of a volume that is mounted read-only; it has no way up
    "InferenceModel:calibration.claim.path": {"another namespace"},
    # zones have slashes; one that nobody knows is told in the status: see below
    "InferenceModel:scaling.schedules.[].timeZone": {"another namespace"},
    "InferenceModel:scaling.learn.timeZone": {"another namespace"},
    # what an identity provider calls people; compared, and never part of a path, a name or a command
    "InferenceModel:access.owner": {
        "absolute",
        "another namespace",
        "assignment",
        "dots",
        "flag",
        "kubelet",
        "percent",
        "up",
        "up at the end",
    },
    # the rest is the administrator's, and Kubernetes has such names and values
    "RuntimeProfile:image": {"another namespace"},
    "RuntimeProfile:quantizerImage": {"another namespace"},
    "RuntimeProfile:args.[]": {"flag"},
    "RuntimeProfile:accelerator.resource": {"another namespace"},
    "RuntimeProfile:resources.requests.{key}": {"another namespace"},
    "RuntimeProfile:resources.limits.{key}": {"another namespace"},
    "RuntimeProfile:nodeSelector.{key}": {"another namespace"},
    "RuntimeProfile:nodeSelector.{}": {"empty"},
    "RuntimeProfile:tolerations.[].key": {"another namespace"},
    "RuntimeProfile:tolerations.[].value": {"empty"},
}
"""Cases that a field takes beside, and why they do no harm."""
REFUSED_EVERYWHERE = {"long"}
ARGS = (["inspect"], ["fetch"], ["quantize"], ["serve"])
MOUNTS = {"/models", "/cache", "/tmp", "/dev/shm", names.TOKEN_DIR}
CHILDREN = (
    ("apps/v1", "deployments"),
    ("batch/v1", "jobs"),
    ("v1", "services"),
    ("v1", "persistentvolumeclaims"),
    ("coordination.k8s.io/v1", "leases"),
)


def collection(kind: str, namespace: str) -> str:
    if kind == names.PROFILE_KIND:
        return f"/apis/{names.API_VERSION}/{names.PROFILE_PLURAL}"
    return f"{MODELS}/{namespace}/{PLURALS[kind]}"


def body(slot: Slot, value: str, name: str = "hostile") -> Object:
    spec = slot.spec(value, SPECS[slot.kind])
    return {"apiVersion": names.API_VERSION, "kind": slot.kind, "metadata": {"name": name}, "spec": spec}


def refusal(rest: Rest, namespace: str, wanted: Object) -> str | None:
    """The API server's words where it refuses the object; None where it would take it."""
    try:
        rest.request("POST", f"{collection(wanted['kind'], namespace)}?dryRun=All", wanted)
    except httpx.HTTPStatusError as error:
        if error.response.status_code >= 500:
            raise
        return str(error.response.json().get("message", ""))
    return None


@pytest.mark.parametrize("slot", SLOTS, ids=lambda slot: slot.name)
def test_a_hostile_value_is_refused_unless_the_field_is_free_text(rest: Rest, slot: Slot) -> None:
    taken = set()
    for case, value in HOSTILE.items():
        said = refusal(rest, "default", body(slot, value))
        if said is None:
            taken.add(case)
        elif case not in REFUSED_EVERYWHERE:
            where = [step for step in slot.path if step[0] not in "[{"][-1]
            assert where in said, f"{case}: the refusal does not name the field: {said[:300]}"
    if slot.name not in FREE:
        assert taken == SHOWN.get(slot.name, set()), f"{slot.name}: bound it, or show that they do no harm"
    assert not taken & REFUSED_EVERYWHERE


@pytest.mark.parametrize("name", sorted(FLAGS))
def test_flags_take_any_printable_value_and_no_control_characters(rest: Rest, name: str) -> None:
    slot = next(slot for slot in SLOTS if slot.name == name)
    for case, value in HOSTILE.items():
        said = refusal(rest, "default", body(slot, f"--seed={value}"))
        control = any(ord(c) < 32 or ord(c) == 127 for c in value) or case == "long"
        assert (said is not None) == control, f"{case}: {said}"


@pytest.mark.parametrize("value", ["--generation-config=/etc", "--generation-config", "--generation-config=org/name"])
def test_no_flag_names_a_folder(rest: Rest, value: str) -> None:
    slot = next(slot for slot in SLOTS if slot.name == "InferenceModel:engine.args.[]")
    assert "write --generation-config=vllm" in (refusal(rest, "default", body(slot, value)) or "")


class Hostiles:
    """Models of one namespace, each with something hostile that the API server takes; an operator cares for them."""

    def __init__(self, models: Models, operator: OperatorProcess) -> None:
        self.models, self.operator = models, operator
        self.values: dict[str, str] = {}

    def add(self, name: str, value: str, **spec: Any) -> None:
        self.values[name] = value
        self.models.apply(name, **spec)

    def children(self) -> list[Object]:
        return [
            item | {"plural": plural}
            for group, plural in CHILDREN
            for item in self.models.child(group, plural).get("items", [])
            if (item["metadata"].get("labels") or {}).get(names.LABEL_MANAGED_BY) == names.MANAGED_BY
        ]

    def judge(self) -> int:
        """Each child is harmless; how many there are."""
        found = self.children()
        for child in found:
            meta = child["metadata"]
            model = meta["labels"][names.LABEL_MODEL]
            assert meta["namespace"] == self.models.namespace
            assert all(label.startswith((f"{names.GROUP}/", "app.kubernetes.io/")) for label in meta["labels"])
            harmless(child, self.values[model])
        return len(found)


def strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, f"{path}[]")
    elif isinstance(value, str):
        yield path, value


def harmless(child: Object, value: str) -> None:
    """No shell, nothing outside the folders, and the user's words nowhere but in an environment variable's JSON."""
    template = child["spec"].get("template", {}).get("spec") if child["plural"] in ("deployments", "jobs") else None
    written = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    written |= {text.replace("$", "$$") for text in written}
    for path, text in strings(child | {"metadata": child["metadata"] | {"managedFields": []}}):
        if any(words and words in text for words in written):
            assert path == ".spec.template.spec.containers[].env[].value", f"{path}: {text[:200]}"
    if template is None:
        return
    (container,) = template["containers"]
    assert "command" not in container
    assert "initContainers" not in template
    assert container["args"] in ARGS
    assert {mount["mountPath"] for mount in container["volumeMounts"]} <= MOUNTS
    assert {mount.get("subPath", "models") for mount in container["volumeMounts"]} <= {"models", "cache"}
    assert all("hostPath" not in volume for volume in template["volumes"])
    assert template["automountServiceAccountToken"] is False
    assert not template.get("hostNetwork")
    for variable in container["env"]:
        assert "valueFrom" not in variable
        if variable["name"].startswith("DORMOUSE_") and variable["value"].startswith("{"):
            told = json.loads(variable["value"].replace("$$", "$"))
            for folder in [
                told.get("model_dir"),
                told.get("out_dir"),
                *(a["model_dir"] for a in told.get("attempts", ())),
            ]:
                assert folder is None or (folder.startswith("/models/") and ".." not in folder)


@pytest.fixture
def hostiles(plane: ControlPlane, own_models: Models, tmp_path: Path) -> Iterator[Hostiles]:
    """With an operator of its own, which has all pulls go on at once."""
    env = {"DORMOUSE_NAMESPACES": own_models.namespace, "DORMOUSE_MAX_CONCURRENT_PULLS": "100"}
    with OperatorProcess(plane.kubeconfig, tmp_path / "operator.log", **env) as operator:
        yield Hostiles(own_models, operator)
        assert operator.alive()
        log = operator.log.read_text()
        assert "the look failed" not in log, log[-3000:]


def holding(component: str, kubelet: Kubelet) -> None:
    """Pods of this stage run on until the script is changed back."""
    kubelet.script[component] = lambda pod: running()


def test_what_is_taken_is_harmless_at_every_stage(kubelet: Kubelet, hostiles: Hostiles) -> None:
    play = dict(kubelet.script)
    texts = {case: value for case, value in HOSTILE.items() if value and case != "long"}
    for stage in ("inspect", "pull", "quantize"):
        holding(stage, kubelet)
    for number, value in enumerate(texts.values()):
        engine: Object = {"chatTemplate": value}
        if not any(ord(c) < 32 or ord(c) == 127 for c in value):
            engine["args"] = [f"--seed={value}"]
        hostiles.add(f"hostile-{number}", value, engine=engine, quantization="int4")
    for stage in ("inspect", "pull", "quantize"):

        def there(stage: str = stage) -> bool:
            jobs = [c for c in hostiles.children() if c["plural"] == "jobs"]
            have = {c["metadata"]["labels"][names.LABEL_MODEL] for c in jobs if f"-{stage}-" in c["metadata"]["name"]}
            return set(hostiles.values) <= have

        until(there, why=f"every model has its {stage} Job")
        hostiles.judge()
        kubelet.script[stage] = play[stage]
    for name in hostiles.values:
        hostiles.models.await_reason(name, "ScaledToZero")
    assert hostiles.judge() >= 4 * len(hostiles.values)
    for name, value in hostiles.values.items():
        (container,) = hostiles.models.child("apps/v1", "deployments", names.runtime_name(name))["spec"]["template"][
            "spec"
        ]["containers"]
        told = next(v["value"] for v in container["env"] if v["name"] == names.ENV_RUNTIME_CONFIG)
        config = json.loads(told.replace("$$", "$"))
        assert config["chat_template"] == value, "it arrives as it was written"
        assert config["args"] in ([], [f"--seed={value}"])


def test_the_longest_names_are_valid_for_every_child(
    kubelet: Kubelet, rest: Rest, hostiles: Hostiles, own_models: Models
) -> None:
    profile = "p" * 63
    spec = {"image": "r" * 512, "device": "cpu", "kvCacheMemory": "1Gi"}
    made = {"apiVersion": names.API_VERSION, "kind": names.PROFILE_KIND, "metadata": {"name": profile}, "spec": spec}
    rest.request("POST", collection(names.PROFILE_KIND, ""), made)
    long = ".".join(["n" * 63] * 3) + "." + "n" * 61
    assert len(long) == 253
    name = "m" * names.MAX_MODEL_NAME
    hostiles.add(
        name,
        "\0",
        source={
            "uri": "hf://" + "o" * 96 + "/" + "n" * 96,
            "revision": "r" * 128,
            "tokenSecretRef": {"name": long, "key": "k" * 253},
        },
        profile=profile,
        quantization="int4",
        engine={"toolCallParser": "t" * 64, "reasoningParser": "r" * 64},
        aliases=[f"{number:02}" + "a" * 126 for number in range(16)],
    )
    own_models.await_reason(name, "ScaledToZero")
    own_models.wake(name, 600)
    own_models.await_reason(name, "Serving")
    assert hostiles.judge() >= 4
    served = own_models.status(name)["servedNames"]
    assert len(served) == 18
    labels = {label for child in hostiles.children() for label in child["metadata"]["labels"].values()}
    assert all(len(label) <= 63 for label in labels)
    until(lambda: own_models.events(name), why="its events are taken")
    rest.request("DELETE", f"{collection(names.PROFILE_KIND, '')}/{profile}")


def test_what_is_not_there_is_said(kubelet: Kubelet, hostiles: Hostiles, own_models: Models) -> None:
    long = ".".join(["n" * 63] * 3) + "." + "n" * 61
    own_models.apply("claim", storage={"existingClaim": long})
    own_models.apply("class", storage={"className": long})
    own_models.apply("profile", profile="q" * 63)
    ready = own_models.await_reason("claim", "StorageFailed")
    assert f"there is no PersistentVolumeClaim {long}: create it" in ready["message"]
    assert "kubectl get runtimeprofiles" in own_models.await_reason("profile", "ProfileNotFound")["message"]
    claim = until(lambda: own_models.child("v1", "persistentvolumeclaims", names.weights_name("class")))
    assert claim["spec"]["storageClassName"] == long


def test_metadata_that_users_forge_changes_no_child(
    kubelet: Kubelet, hostiles: Hostiles, own_models: Models, rest: Rest
) -> None:
    forged = {
        "name": "forger",
        "namespace": own_models.namespace,
        "labels": {
            names.LABEL_MODEL: "victim",
            names.LABEL_MANAGED_BY: names.MANAGED_BY,
            names.LABEL_COMPONENT: "runtime",
            "app": "owned",
        },
        "annotations": {
            f"{names.GROUP}/intent": "0" * 16,
            names.ANNOTATION_RESTARTED: "9999-12-31T23:59:59.999999Z",
            "note": HOSTILE["shell"] + "x" * 100_000,
        },
        "finalizers": ["example.com/never"],
    }
    status = {"commit": "../../etc", "bytes": 1, "servedNames": ["victim"], "replicas": 64}
    model = {"apiVersion": names.API_VERSION, "kind": names.MODEL_KIND, "metadata": forged, "status": status}
    own_models.apply("victim")
    rest.request(
        "POST",
        collection(names.MODEL_KIND, own_models.namespace),
        model | {"spec": {"source": {"uri": "hf://org/name"}}},
    )
    hostiles.values |= {"forger": HOSTILE["shell"], "victim": HOSTILE["shell"]}
    for name in ("forger", "victim"):
        own_models.await_reason(name, "ScaledToZero")
        assert own_models.status(name)["servedNames"] == [name, f"{own_models.namespace}/{name}"]
        deployment = own_models.child("apps/v1", "deployments", names.runtime_name(name))
        assert deployment["spec"]["selector"]["matchLabels"][names.LABEL_MODEL] == name
        assert set(deployment["spec"]["template"]["metadata"].get("annotations") or {}) == set()
    assert own_models.status("forger")["commit"] != "../../etc", "a status comes by its own door only"
    hostiles.judge()
    # its own finalizer keeps it; the operator neither waits for it nor makes anything anew
    rest.request("DELETE", own_models.path("forger"))
    until(lambda: "deletionTimestamp" in rest.get(own_models.path("forger"))["metadata"])
    rest.request(
        "DELETE", f"/apis/apps/v1/namespaces/{own_models.namespace}/deployments/{names.runtime_name('forger')}"
    )
    own_models.wake("victim", 600)
    own_models.await_reason("victim", "Serving")
    assert not own_models.child("apps/v1", "deployments", names.runtime_name("forger"))
    rest.patch(own_models.path("forger"), {"metadata": {"finalizers": []}})
    until(lambda: not rest.get(own_models.path("forger")))


def test_names_that_collide_are_both_told_and_break_nothing(
    kubelet: Kubelet, hostiles: Hostiles, own_models: Models
) -> None:
    aliases = [f"same-{number}" for number in range(14)] + ["second", f"{own_models.namespace}/second"]
    own_models.apply("first", aliases=aliases)
    own_models.apply("second", aliases=[*aliases[:14], "first", "first"])
    for name in ("first", "second"):
        own_models.await_reason(name, "ScaledToZero")
        served = own_models.status(name)["servedNames"]
        assert served[0] == name
        assert len(served) == len(set(served))
        service = own_models.child("v1", "services", names.runtime_name(name))
        assert service["spec"]["selector"][names.LABEL_MODEL] == name


@pytest.mark.parametrize("renewed", ["0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"])
def test_a_lease_of_a_router_gone_mad_harms_its_own_model_only(
    kubelet: Kubelet, hostiles: Hostiles, own_models: Models, rest: Rest, renewed: str
) -> None:
    for name in ("mad", "calm"):
        own_models.apply(name)
        own_models.await_reason(name, "ScaledToZero")
    path = f"/apis/coordination.k8s.io/v1/namespaces/{own_models.namespace}/leases/{names.runtime_name('mad')}"
    notes = {
        names.ANNOTATION_RESTARTED: HOSTILE["newline"] + HOSTILE["shell"],
        f"{names.GROUP}/intent": "forged",
        "note": "x" * 200_000,
    }
    wish = {"renewTime": renewed, "leaseDurationSeconds": FOREVER, "holderIdentity": HOSTILE["escape"]}
    labels = {names.LABEL_MODEL: "calm", names.LABEL_COMPONENT: "runtime"}
    rest.request("PATCH", path, {"metadata": {"annotations": notes, "labels": labels}, "spec": wish}, **MERGE)
    ready = "Serving" if renewed.startswith("9") else "ScaledToZero"
    own_models.await_reason("mad", ready)
    rest.patch(path, {"spec": {"leaseDurationSeconds": 1, "renewTime": "2020-01-01T00:00:00.000000Z"}})
    own_models.await_reason("mad", "ScaledToZero")
    until(lambda: rest.get(path)["metadata"]["labels"][names.LABEL_MODEL] == "mad", why="its labels are put right")
    hostiles.values |= {"mad": HOSTILE["shell"], "calm": HOSTILE["shell"]}
    rest.request("PATCH", path, {"metadata": {"annotations": dict.fromkeys(notes)}}, **MERGE)  # nobody copied them
    deployment = own_models.child("apps/v1", "deployments", names.runtime_name("mad"))
    assert not deployment["spec"]["template"]["metadata"].get("annotations")
    assert own_models.condition("calm")["reason"] == "ScaledToZero"
    hostiles.judge()


MESSAGES = {
    "way out": '{"inspect":{"commit":"../../../etc","files":1,"bytes":1}}',
    "numbers": f'{{"inspect":{{"commit":"c","files":1,"bytes":{10**40}}}}}',
    "negative": '{"inspect":{"commit":"c","files":-1,"bytes":-1}}',
    "deep": '{"inspect":' + "[" * 3000,
    "well": '{"failure":{"reason":"Serving","message":"all is well"}}',
    "escape": "\x1b[2J\x1b[31mowned\r\nReady: True\x00\u202e",
    "many": json.dumps({"inspect": {"commit": "c", "files": 1, "bytes": 1, "capabilities": ["x"] * 500}}),
}


def test_a_job_that_lies_is_a_failed_job(kubelet: Kubelet, hostiles: Hostiles, own_models: Models) -> None:
    said = {f"liar-{number}": text for number, text in enumerate(MESSAGES.values())}

    def lie(pod: Object) -> Object:
        text: str = said[pod["metadata"]["labels"][names.LABEL_MODEL]]
        return succeeded(text) if text.startswith('{"inspect"') else failed(42, text)

    kubelet.script["inspect"] = lie
    for name in said:
        own_models.apply(name)
    for name in said:
        ready = own_models.await_reason(name, "JobFailed")
        assert ready["status"] == "False"
        assert ready["message"].isprintable(), ready["message"]
        assert "commit" not in own_models.status(name)
    assert not own_models.child("v1", "persistentvolumeclaims").get("items")
