"""What each kind of source gives the inspect and pull pods, and that nothing secret is in a Job."""

import json
from typing import Any

import pytest

from dormouse_api import names
from dormouse_operator.egress import Egress
from dormouse_operator.observed import Model
from dormouse_operator.plan import jobs, sources
from dormouse_operator.settings import Settings
from tests.operator.builders import SETTINGS, claim, facts, model, profile

S3 = {"uri": "s3://models/team/tiny", "credentialsSecretRef": {"name": "minio"}}
PVC = {"uri": "pvc://shared/models/tiny"}


def bodies(m: Model, settings: Settings = SETTINGS) -> list[dict[str, Any]]:
    """The inspect and the pull Job."""
    works = (jobs.inspect(m, settings), jobs.pull(m, settings, facts(), claim(), profile()))
    return [jobs.job(m, work, 0) for work in works]


def pod_of(body: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = body["spec"]["template"]["spec"]
    return spec


def env_of(body: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in pod_of(body)["containers"][0]["env"]}


def test_credentials_come_as_files_of_the_whole_secret() -> None:
    for body in bodies(model(source=S3)):
        pod = pod_of(body)
        assert {"name": "credentials", "secret": {"secretName": "minio", "defaultMode": 0o440}} in pod["volumes"]
        mount = {"name": "credentials", "mountPath": names.CREDENTIALS_DIR, "readOnly": True}
        assert mount in pod["containers"][0]["volumeMounts"]
        assert env_of(body)["DORMOUSE_CREDENTIALS_DIR"] == names.CREDENTIALS_DIR
        assert "HF_ENDPOINT" not in env_of(body)


def test_without_a_secret_an_object_store_gets_the_pods_own_identity() -> None:
    for body in bodies(model(source={"uri": S3["uri"]})):
        assert "credentials" not in {volume["name"] for volume in pod_of(body)["volumes"]}
        assert "DORMOUSE_CREDENTIALS_DIR" not in env_of(body)


def test_a_claim_is_mounted_twice_read_only() -> None:
    """At the mount for the pod; at the volume so that the kubelet does not give its files to our group."""
    for body in bodies(model(source=PVC)):
        pod = pod_of(body)
        volume = {"name": "source", "persistentVolumeClaim": {"claimName": "shared", "readOnly": True}}
        assert volume in pod["volumes"]
        mount = {"name": "source", "mountPath": names.SOURCE_DIR, "readOnly": True}
        assert mount in pod["containers"][0]["volumeMounts"]


def test_the_claim_of_a_source_is_the_first_word() -> None:
    found = [sources.source_claim(model(source={"uri": uri}).spec.source) for uri in (PVC["uri"], "pvc://shared")]
    assert found == ["shared", "shared"]
    assert sources.source_claim(model().spec.source) is None


@pytest.mark.parametrize("source", [S3, PVC, {"uri": "hf://org/name", "tokenSecretRef": {"name": "hub"}}])
def test_quantize_and_runtime_see_no_secret_and_no_source(source: dict[str, Any]) -> None:
    m = model(source=source)
    body = jobs.job(m, jobs.quantize(m, facts(), "int4", claim(), profile()), 0)
    assert {volume["name"] for volume in pod_of(body)["volumes"]} == {"tmp", "weights"}


def test_another_secret_is_another_try_and_another_bandwidth_is_not() -> None:
    def name(m: Model, settings: Settings = SETTINGS) -> str:
        return jobs.job_name(m, jobs.inspect(m, settings), 0)

    other = model(source=S3 | {"credentialsSecretRef": {"name": "other"}})
    slow = Settings(puller_image=SETTINGS.puller_image, egress=Egress(bytes_per_second=1_000_000))
    assert name(other) != name(model(source=S3))
    assert name(model(source=S3), slow) == name(model(source=S3))
    assert env_of(bodies(model(), slow)[1])["DORMOUSE_MAX_BYTES_PER_SECOND"] == "1000000"
    assert "DORMOUSE_MAX_BYTES_PER_SECOND" not in json.dumps(bodies(model()))
