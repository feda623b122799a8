"""Mirrors and the way to them: a path, a private authority, a proxy; and that a token stays with its endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from dormouse_api.conditions import Reason
from tests.runtime.pull.harness import LARGE, PULLED, REPO, TOKEN, Puller, commit, said
from tests.runtime.pull.mirror import PREFIX, Authority, authority, between
from tests.runtime.pull.objects import Objects

pytestmark = pytest.mark.slow

MANY = {f"part/{number:04}.json": b"{}" for number in range(1200)}
"""More files than one page of a listing holds."""


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("stage", ["inspect", "fetch"])
def test_a_mirror_below_a_path_with_a_private_authority(puller: Puller, private: Authority, stage: str) -> None:
    """Its redirects and its next pages name the hub behind it: the pages are asked of the mirror all the same."""
    puller.hub.publish(REPO, {**LARGE, **MANY}, meta={"gated": True, "tokens": [TOKEN]})
    puller.token(TOKEN)
    with between(puller.hub.url, private.context) as mirror:
        there = {"HF_ENDPOINT": mirror.url + PREFIX, "DORMOUSE_CA_CERTIFICATES": private.certificate}
        ended = puller.run(stage, **there)
    assert ended.code == 0, ended
    result = ended.outcome.inspect or ended.outcome.pull
    assert result is not None
    assert result.files == len(MANY) + len(PULLED)
    assert sum("/tree/" in path for path in mirror.paths) > 1
    assert all(path.startswith(PREFIX) for path in mirror.paths)
    elsewhere = [entry for entry in puller.hub.log() if "/_cdn/" in entry["path"]]
    assert elsewhere, "the weights came by a redirect to the hub behind the mirror"
    assert not any(entry["auth"] for entry in elsewhere), "the token went to another host than the endpoint"


def test_an_authority_that_nobody_named_is_not_trusted(puller: Puller, private: Authority) -> None:
    with between(puller.hub.url, private.context) as mirror:
        ended = puller.run("inspect", HF_ENDPOINT=mirror.url)
    assert (ended.reason, ended.code) == (Reason.NETWORK, 1)
    assert mirror.url in said(ended)
    assert "set the chart's caCertificates" in said(ended)
    assert mirror.paths == []


def test_certificates_that_are_none_are_named(puller: Puller) -> None:
    ended = puller.run("inspect", DORMOUSE_CA_CERTIFICATES="-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----")
    assert (ended.reason, ended.code) == (Reason.NETWORK, 1)
    assert "give them as PEM" in said(ended)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 401}, Reason.UNAUTHORIZED),
        ({"status": 403}, Reason.GATED),
        ({"status": 404}, Reason.NOT_FOUND),
        ({"status": 429}, Reason.RATE_LIMITED),
        ({"status": 502}, Reason.NETWORK),
    ],
)
def test_refusals_name_the_mirror(puller: Puller, fault: dict[str, int], reason: Reason) -> None:
    puller.hub.publish(REPO, LARGE)
    puller.hub.faults({"kind": "status", "times": None, **fault})
    ended = puller.run("inspect")
    assert ended.reason == reason
    assert puller.hub.url in said(ended)


def test_a_pull_takes_the_proxy_and_leaves_it_for_hosts_that_are_excluded(puller: Puller) -> None:
    puller.hub.publish(REPO, LARGE)
    with between(puller.hub.url) as proxy:
        by_proxy = {"HF_ENDPOINT": "http://mirror.invalid", "HTTP_PROXY": proxy.url, "NO_PROXY": "127.0.0.1"}
        asked = puller.finish(puller.start("inspect", **by_proxy))
        seen = list(proxy.paths)
        direct = puller.finish(puller.start("inspect", HTTP_PROXY=proxy.url, NO_PROXY="127.0.0.1"))
    assert asked.code == 0, asked
    assert direct.code == 0, direct
    assert all(path.startswith("http://mirror.invalid/") for path in seen)
    assert seen == proxy.paths


def test_an_object_store_with_a_private_authority(
    puller: Puller, objects: Objects, private: Authority, tmp_path: Path
) -> None:
    objects.put(LARGE)
    # a signature holds for the host that was asked
    with between(objects.url, private.context, renames=False) as front:
        environ = {
            "DORMOUSE_SOURCE": objects.uri,
            "DORMOUSE_CREDENTIALS_DIR": str(objects.secret(tmp_path / "secret", endpoint=front.url)),
        }
        doubted = puller.run("inspect", **environ)
        assert (doubted.reason, doubted.code) == (Reason.NETWORK, 1)
        assert "set the chart's caCertificates" in said(doubted)
        trusted = puller.run("inspect", **environ, DORMOUSE_CA_CERTIFICATES=private.certificate)
    assert commit(trusted)
