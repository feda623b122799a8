"""Every way a pull fails: the reason, the exit code, the sentence, and how soon."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from dormouse_api.conditions import PERMANENT, Reason
from tests.runtime.pull.harness import LARGE, REPO, SMALL, TOKEN, WEIGHTS, Puller

pytestmark = pytest.mark.slow

GATED = {"gated": True, "tokens": ["hf_allowed"]}
PRIVATE = {"private": True, "tokens": ["hf_allowed"]}
SOON = 25.0
"""Seconds; most of them are the import of the hub's client on a busy machine. Every wait that must not be
waited to its end is longer."""


@pytest.mark.parametrize("stage", ["inspect", "fetch"])
@pytest.mark.parametrize(
    ("meta", "token", "reason", "words"),
    [
        (GATED, None, Reason.GATED, "set spec.source.tokenSecretRef to a Secret"),
        (GATED, TOKEN, Reason.GATED, "accept its terms"),
        (PRIVATE, None, Reason.NOT_FOUND, "or is private"),
        (PRIVATE, TOKEN, Reason.NOT_FOUND, "whose account may read it"),
        ({}, "hf_expired", Reason.UNAUTHORIZED, "still valid"),
    ],
)
def test_who_may_not_read(
    puller: Puller, stage: str, meta: Mapping[str, Any], token: str | None, reason: Reason, words: str
) -> None:
    puller.hub.publish(REPO, SMALL, meta=meta)
    if token:
        puller.token(token)
    ended = puller.run(stage)
    assert (ended.reason, ended.code) == (reason, 42)
    assert words in str(ended.outcome.failure)


@pytest.mark.parametrize("meta", [GATED, PRIVATE])
def test_who_may_read(puller: Puller, meta: Mapping[str, Any]) -> None:
    puller.hub.publish(REPO, SMALL, meta=meta)
    puller.token("hf_allowed")
    assert (puller.run("inspect").code, puller.run("fetch").code) == (0, 0)


@pytest.mark.parametrize("stage", ["inspect", "fetch"])
@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"DORMOUSE_SOURCE": "hf://acme/none"}, "acme/none does not exist"),
        ({"DORMOUSE_REVISION": "nope"}, "no revision 'nope'"),
    ],
)
def test_what_is_not_there(puller: Puller, stage: str, environ: dict[str, str], words: str) -> None:
    puller.hub.publish(REPO, SMALL)
    ended = puller.run(stage, **environ)
    assert (ended.reason, ended.code) == (Reason.NOT_FOUND, 42)
    assert words in str(ended.outcome.failure)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"pytorch_model.bin": b"x"}, "pickled weights (.bin)"),
        ({"model.Q4_K_M.gguf": b"x", "config.json": b"{}"}, "only GGUF"),
        ({"config.json": b"{}"}, "holds no weights"),
    ],
)
def test_repositories_without_safetensors(puller: Puller, files: dict[str, bytes], words: str) -> None:
    puller.hub.publish(REPO, files)
    for stage in ("inspect", "fetch"):
        ended = puller.run(stage)
        assert (ended.reason, ended.code) == (Reason.UNSUPPORTED, 42)
        assert words in str(ended.outcome.failure)


@pytest.mark.parametrize(
    "source", ["gs://bucket/model", "pvc://claim/../model", "s3://bucket", "hf://justaname", "tiny", ""]
)
def test_sources_this_build_cannot_pull(puller: Puller, source: str) -> None:
    ended = puller.run("fetch", DORMOUSE_SOURCE=source)
    assert (ended.reason, ended.code) == (Reason.UNSUPPORTED, 42)
    assert "hf://ORG/NAME, s3://BUCKET/PATH or pvc://CLAIM/PATH" in str(ended.outcome.failure)


@pytest.mark.parametrize("page", ["/api/", "/resolve/"])
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.UNAUTHORIZED),
        (403, Reason.GATED),
        (404, Reason.NOT_FOUND),
        (429, Reason.RATE_LIMITED),
        (500, Reason.NETWORK),
        (503, Reason.NETWORK),
    ],
)
def test_statuses_that_stay(puller: Puller, page: str, status: int, reason: Reason) -> None:
    puller.hub.publish(REPO, SMALL)
    puller.hub.faults({"kind": "status", "path": page, "status": status, "times": None})
    started = time.monotonic()
    ended = puller.run("fetch")
    assert (ended.reason, ended.code) == (reason, 42 if reason in PERMANENT else 1)
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize("page", ["/api/", "/resolve/"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_statuses_that_pass(puller: Puller, page: str, status: int) -> None:
    puller.hub.publish(REPO, SMALL)
    puller.hub.faults({"kind": "status", "path": page, "status": status, "times": 3})
    assert puller.run("fetch").code == 0


def test_a_short_retry_after_is_waited_for(puller: Puller) -> None:
    puller.hub.publish(REPO, SMALL)
    puller.hub.faults({"kind": "status", "path": "_cdn", "status": 429, "retry_after": 1})
    started = time.monotonic()
    assert puller.run("fetch").code == 0
    assert time.monotonic() - started >= 1


def test_waiting_as_the_hub_asked_is_no_stall(puller: Puller) -> None:
    puller.hub.publish(REPO, SMALL)
    puller.hub.faults({"kind": "status", "path": "_cdn", "status": 429, "retry_after": 4})
    assert puller.run("fetch", DORMOUSE_STALL_SECONDS="3").code == 0


def test_a_long_wait_in_the_words_of_rate_limits_ends_the_try_at_once(puller: Puller) -> None:
    puller.hub.publish("acme/tiny", SMALL)
    puller.hub.faults({"kind": "status", "path": "_cdn", "status": 429, "resets": 240})
    ended = puller.run("fetch")
    assert ended.reason is Reason.RATE_LIMITED
    assert ended.outcome.failure is not None
    assert ended.outcome.failure.retry_after_seconds == 240


def test_a_long_retry_after_ends_the_try_at_once(puller: Puller) -> None:
    puller.hub.publish(REPO, SMALL)
    puller.hub.faults({"kind": "status", "path": "_cdn", "status": 429, "retry_after": 3600})
    started = time.monotonic()
    ended = puller.run("fetch")
    assert (ended.reason, ended.code) == (Reason.RATE_LIMITED, 1)
    assert ended.outcome.failure is not None
    assert ended.outcome.failure.retry_after_seconds == 3600
    assert time.monotonic() - started < SOON


def test_a_hub_that_stays_silent_is_stalled(puller: Puller) -> None:
    puller.hub.publish(REPO, LARGE)
    puller.hub.faults({"kind": "stall", "path": "_cdn", "after": 0, "seconds": 600, "times": None})
    started = time.monotonic()
    ended = puller.finish(puller.start("fetch", DORMOUSE_STALL_SECONDS="3"))
    assert (ended.reason, ended.code) == (Reason.STALLED, 1)
    assert time.monotonic() - started < SOON
    assert "no byte came for 3 s" in str(ended.outcome.failure)


def test_a_stall_that_a_new_connection_cures(puller: Puller) -> None:
    commit = puller.hub.publish(REPO, LARGE)
    puller.hub.faults({"kind": "stall", "path": "_cdn", "after": 2_000_000, "seconds": 600})
    started = time.monotonic()
    assert puller.run("fetch", DORMOUSE_STALL_SECONDS="3").code == 0
    assert time.monotonic() - started < SOON
    assert puller.files(commit)[WEIGHTS] == LARGE[WEIGHTS]
    assert puller.weights_requests()[-1]["range"] == "bytes=2000000-"


def test_nobody_listens(puller: Puller) -> None:
    ended = puller.run("fetch", HF_ENDPOINT="http://127.0.0.1:9")
    assert (ended.reason, ended.code) == (Reason.NETWORK, 1)
    assert "hub.endpoint" in str(ended.outcome.failure)


def test_not_a_hub(puller: Puller) -> None:
    ended = puller.run("fetch", HF_ENDPOINT=puller.hub.url + "/nowhere")
    assert (ended.reason, ended.code) == (Reason.NOT_FOUND, 42)


def test_what_nobody_thought_of_still_reaches_the_operator(puller: Puller) -> None:
    puller.hub.publish(REPO, SMALL)
    (puller.models.parent / "file").write_text("in the way")
    ended = puller.run("fetch", DORMOUSE_MODELS_DIR=str(puller.models.parent / "file"))
    assert (ended.reason, ended.code) == (Reason.JOB_FAILED, 1)
    assert "NotADirectoryError" in str(ended.outcome.failure)


def test_a_pinned_commit_that_is_gone_is_named(puller: Puller) -> None:
    puller.hub.publish(REPO, SMALL)
    ended = puller.run("fetch", DORMOUSE_COMMIT="0" * 40)
    assert ended.reason == Reason.NOT_FOUND
    assert "0" * 40 in str(ended.outcome.failure)
