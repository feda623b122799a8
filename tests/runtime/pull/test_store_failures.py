"""Every way that a pull from object storage fails: the reason, the sentence, and what is never seen."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dormouse_api.conditions import PERMANENT, Reason
from tests.runtime.pull.harness import LARGE, SMALL, WEIGHTS, Puller, said
from tests.runtime.pull.objects import Objects

pytestmark = pytest.mark.slow

ATTEMPT_SECONDS = 25.0


Change = Callable[[Puller, Objects, Path], object]


def key(name: str, value: str) -> Change:
    return lambda s3, objects, folder: objects.secret(folder, **{name: value})


def no_key(name: str) -> Change:
    return lambda s3, objects, folder: (folder / name).unlink()


def source(uri: str) -> Change:
    return lambda s3, objects, folder: s3.environ.update(DORMOUSE_SOURCE=uri)


def order(**fault: object) -> Change:
    return lambda s3, objects, folder: objects.order({"kind": "status", "times": None, **fault})


CASES: dict[str, tuple[Change, Reason, str]] = {
    "wrong secret": (key("secretAccessKey", "wrong"), Reason.UNAUTHORIZED, "SignatureDoesNotMatch"),
    "unknown key": (key("accessKeyId", "AKIANOBODY"), Reason.UNAUTHORIZED, "InvalidAccessKeyId"),
    "half a pair": (no_key("secretAccessKey"), Reason.UNAUTHORIZED, "has accessKeyId and no secretAccessKey"),
    "no url": (key("endpoint", "minio:9000"), Reason.UNAUTHORIZED, "https://minio.example:9000"),
    "no bucket": (source("s3://no-such-bucket/a"), Reason.NOT_FOUND, "has no bucket no-such-bucket"),
    "no prefix": (source("s3://models/nothing-here"), Reason.NOT_FOUND, "there is nothing under s3://models/nothing"),
    "may not": (order(status=403, code="AccessDenied"), Reason.UNAUTHORIZED, "s3:ListBucket"),
    "expired": (order(status=400, code="ExpiredToken"), Reason.UNAUTHORIZED, "put valid ones into the Secret"),
    "region": (order(status=301, code="PermanentRedirect"), Reason.NOT_FOUND, "set key region"),
    "archived": (order(status=403, code="InvalidObjectState"), Reason.NOT_FOUND, "restore them"),
    "slow down": (order(status=503, code="SlowDown"), Reason.RATE_LIMITED, "SlowDown"),
    "throttled": (order(status=429), Reason.RATE_LIMITED, "too many requests"),
    "broken": (order(status=500, code="InternalError"), Reason.NETWORK, "answered 500 InternalError"),
    "nobody": (key("endpoint", "http://127.0.0.1:9"), Reason.NETWORK, "check that the pod can reach it"),
}


@pytest.mark.parametrize("stage", ["inspect", "fetch"])
@pytest.mark.parametrize("case", CASES)
def test_each_failure_has_its_reason_and_the_fix(
    s3: Puller, objects: Objects, tmp_path: Path, stage: str, case: str
) -> None:
    change, reason, words = CASES[case]
    objects.put(SMALL)
    change(s3, objects, tmp_path / "secret")
    started = time.monotonic()
    ended = s3.run(stage)
    assert (ended.reason, ended.code) == (reason, 42 if reason in PERMANENT else 1)
    assert words in said(ended)
    assert time.monotonic() - started < ATTEMPT_SECONDS


@pytest.mark.parametrize("fault", [{"status": 503, "code": "SlowDown"}, {"status": 500}])
def test_what_passes_is_waited_for(s3: Puller, objects: Objects, fault: dict[str, object]) -> None:
    objects.put(SMALL)
    objects.order({"kind": "status", "times": 3, **fault})
    assert s3.run("fetch").code == 0


def test_a_store_that_stays_silent_is_stalled(s3: Puller, objects: Objects) -> None:
    objects.put(LARGE)
    objects.order({"kind": "stall", "path": WEIGHTS, "after": 0, "seconds": 600, "times": None})
    ended = s3.finish(s3.start("fetch", DORMOUSE_STALL_SECONDS="1"))
    assert (ended.reason, ended.code) == (Reason.STALLED, 1)


def test_without_credentials_requests_go_out_unsigned(s3: Puller, objects: Objects) -> None:
    """And nobody asks the node for its own."""
    objects.put(SMALL)
    objects.order({"kind": "status", "status": 403, "code": "AccessDenied", "times": None})
    del s3.environ["DORMOUSE_CREDENTIALS_DIR"]
    environ = {"AWS_ENDPOINT_URL": objects.url, "AWS_ALLOW_HTTP": "true"}
    ended = s3.finish(s3.start("inspect", **environ))
    assert (ended.reason, ended.code) == (Reason.UNAUTHORIZED, 42)
    assert "is not public, and the model has no credentials" in said(ended)
    assert [entry["auth"] for entry in objects.log.entries()] == [False]


@pytest.mark.parametrize("stage", ["inspect", "fetch"])
@pytest.mark.parametrize("good", [True, False])
def test_no_secret_is_in_anything_that_is_left(
    s3: Puller, objects: Objects, tmp_path: Path, stage: str, good: bool
) -> None:
    objects.put(SMALL)
    canary = {"secretAccessKey": "the/secret+that=nobody may see", "sessionToken": "the-token-that-nobody-may-see"}
    more = {} if good else canary
    objects.secret(tmp_path / "secret", **more)
    ended = s3.finish(s3.start(stage, RUST_LOG="trace"))
    assert ended.code == (0 if good else 42)
    left = ended.printed + "".join(
        path.read_bytes().decode(errors="replace")
        for folder in (s3.models, s3.message)
        for path in [folder, *folder.rglob("*")]
        if path.is_file()
    )
    for secret in (objects.keys.access_key_id, objects.keys.secret_access_key, *canary.values()):
        assert secret not in left


def test_only_one_kind_of_source_is_paid_for(s3: Puller, objects: Objects) -> None:
    objects.put(SMALL)
    script = (
        "import os, sys; from dormouse_runtime.pull.settings import Settings;"
        "from dormouse_runtime.pull.sources import open_source;"
        "open_source(Settings.read(os.environ), 5);"
        "print(sorted({'huggingface_hub', 'httpx2', 'obstore'} & set(sys.modules)))"
    )

    def loaded(uri: str) -> str:
        environ = {**os.environ, **s3.environ, "DORMOUSE_SOURCE": uri}
        return subprocess.run(
            [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert loaded(objects.uri) == "['obstore']"
    assert loaded("pvc://claim/a") == "[]"
    assert loaded("hf://acme/tiny") == "['httpx2', 'huggingface_hub']"
