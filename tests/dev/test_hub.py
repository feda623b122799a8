"""The hub's stand-in, asked by the real huggingface_hub and by plain HTTP."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dev.hub.client import HubControl
from dev.hub.server import running

WEIGHTS = bytes(range(256)) * 8192  # 2 MiB
FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": WEIGHTS, "sub/notes.txt": b"hello"}
REPO = "acme/tiny"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubControl]:
    (tmp_path / "root").mkdir()
    with running(tmp_path / "root") as url:
        yield HubControl(url)


def download(hub: HubControl, target: Path, token: str | None = None, **options: Any) -> Path:
    api = HfApi(endpoint=hub.url, token=token or False)
    return Path(api.snapshot_download(REPO, local_dir=target, **options))


def get(hub: HubControl, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Status and what came of the body before the connection ended."""
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=10)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        except http.client.IncompleteRead as short:
            return answer.status, short.partial
    finally:
        connection.close()


def cdn(commit: str) -> str:
    return f"/_cdn/{REPO}/resolve/{commit}/model.safetensors"


def test_snapshot_download_gets_every_file(hub: HubControl, tmp_path: Path) -> None:
    hub.publish(REPO, FILES)
    target = download(hub, tmp_path / "copy")
    assert {name: (target / name).read_bytes() for name in FILES} == FILES


def test_a_folder_below_the_root_is_served_and_read_anew(hub: HubControl, tmp_path: Path) -> None:
    folder = tmp_path / "root" / REPO
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("one")
    api = HfApi(endpoint=hub.url, token=False)
    first = api.model_info(REPO).sha
    (folder / "b.txt").write_text("two")
    second = api.model_info(REPO)
    assert second.sha != first
    assert [s.rfilename for s in second.siblings or []] == ["a.txt", "b.txt"]


def test_branches_and_old_commits_stay(hub: HubControl, tmp_path: Path) -> None:
    old = hub.publish(REPO, {"a.txt": b"old"})
    new = hub.publish(REPO, {"a.txt": b"new"})
    side = hub.publish(REPO, {"a.txt": b"side"}, branch="v2")
    assert len({old, new, side}) == 3
    for revision, text in (("main", b"new"), ("v2", b"side"), (old, b"old"), (new, b"new")):
        target = download(hub, tmp_path / revision, revision=revision)
        assert (target / "a.txt").read_bytes() == text
    refs = HfApi(endpoint=hub.url, token=False).list_repo_refs(REPO)
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": new, "v2": side}


def test_a_branch_may_lie_in_the_root(hub: HubControl, tmp_path: Path) -> None:
    for folder, text in ((tmp_path / "root" / REPO, "main"), (tmp_path / "root" / REPO / ".refs" / "v2", "side")):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text(text)
    assert (download(hub, tmp_path / "main") / "a.txt").read_text() == "main"
    assert [p.name for p in (tmp_path / "main").iterdir() if p.is_file()] == ["a.txt"]
    assert (download(hub, tmp_path / "v2", revision="v2") / "a.txt").read_text() == "side"


def test_metadata_names_commit_size_and_hash(hub: HubControl) -> None:
    commit = hub.publish(REPO, FILES)
    api = HfApi(endpoint=hub.url, token=False)
    weights = api.get_hf_file_metadata(url=f"{hub.url}/{REPO}/resolve/main/model.safetensors")
    assert (weights.commit_hash, weights.size) == (commit, len(WEIGHTS))
    assert weights.etag == hashlib.sha256(WEIGHTS).hexdigest()
    assert "/_cdn/" in weights.location
    listed = {entry.path: entry for entry in api.list_repo_tree(REPO, recursive=True)}
    assert listed["model.safetensors"].lfs.sha256 == weights.etag  # type: ignore[union-attr]
    text = FILES["config.json"]
    git = hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False).hexdigest()
    assert listed["config.json"].blob_id == git  # type: ignore[union-attr]
    assert api.get_hf_file_metadata(url=f"{hub.url}/{REPO}/resolve/main/config.json").etag == git


def test_the_tree_comes_in_pages(hub: HubControl) -> None:
    names = {f"{i:03}.txt": b"x" for i in range(25)}
    hub.publish(REPO, names)
    status, body = get(hub, f"/api/models/{REPO}/tree/main?recursive=true&limit=10")
    assert (status, body.count(b'"path"')) == (200, 10)
    many = {f"{i:04}.txt": b"x" for i in range(1001)}
    hub.publish(REPO, many)
    listed = list(HfApi(endpoint=hub.url, token=False).list_repo_tree(REPO, recursive=True))
    assert [entry.path for entry in listed] == list(many)
    assert sum("/tree/" in entry["path"] for entry in hub.log()) == 1 + 2


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-9", 206, WEIGHTS[:10]),
        ("bytes=100-", 206, WEIGHTS[100:]),
        (f"bytes={len(WEIGHTS)}-", 416, b""),
        ("lines=1-2", 200, WEIGHTS),
    ],
)
def test_range(hub: HubControl, asked: str, status: int, part: bytes) -> None:
    commit = hub.publish(REPO, FILES)
    assert get(hub, cdn(commit), {"Range": asked}) == (status, part)
    assert hub.log()[-1]["range"] == asked


@pytest.mark.parametrize(
    ("meta", "token", "error"),
    [
        ({"gated": True, "tokens": ["hf_ok"]}, None, GatedRepoError),
        ({"gated": True, "tokens": ["hf_ok"]}, "hf_other", GatedRepoError),
        ({"private": True, "tokens": ["hf_ok"]}, None, RepositoryNotFoundError),
        ({"private": True, "tokens": ["hf_ok"]}, "hf_other", RepositoryNotFoundError),
        ({}, "hf_expired", HfHubHTTPError),
    ],
)
def test_refusals(hub: HubControl, tmp_path: Path, meta: dict[str, Any], token: str | None, error: type) -> None:
    hub.publish(REPO, FILES, meta=meta)
    with pytest.raises(error):
        download(hub, tmp_path / "copy", token)
    if meta:
        assert (download(hub, tmp_path / "copy", "hf_ok") / "config.json").exists()


def test_a_gated_listing_is_open_but_its_files_are_not(hub: HubControl) -> None:
    hub.publish(REPO, FILES, meta={"gated": True, "tokens": ["hf_ok"]})
    assert get(hub, f"/api/models/{REPO}")[0] == 200
    assert get(hub, f"/{REPO}/resolve/main/config.json")[0] == 401
    assert get(hub, f"/{REPO}/resolve/main/config.json", {"Authorization": "Bearer hf_no"})[0] == 403


def test_missing_things_are_told_apart(hub: HubControl) -> None:
    api = HfApi(endpoint=hub.url, token=False)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/none")
    hub.publish(REPO, FILES)
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="nope")
    hub.forget(REPO)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(REPO)


def test_fault_status_skips_then_hits_then_ends(hub: HubControl) -> None:
    hub.publish(REPO, FILES)
    hub.faults({"kind": "status", "path": "/api/", "status": 429, "retry_after": 7, "skip": 1, "times": 2})
    assert [get(hub, f"/api/models/{REPO}")[0] for _ in range(4)] == [200, 429, 429, 200]


def test_fault_cut_sends_only_so_much(hub: HubControl) -> None:
    commit = hub.publish(REPO, FILES)
    hub.faults({"kind": "cut", "path": "_cdn", "after": 300_000})
    assert get(hub, cdn(commit)) == (200, WEIGHTS[:300_000])
    assert get(hub, cdn(commit)) == (200, WEIGHTS)


def test_fault_stall_pauses_and_goes_on(hub: HubControl) -> None:
    commit = hub.publish(REPO, FILES)
    hub.faults({"kind": "stall", "path": "_cdn", "after": 1000, "seconds": 0.3})
    started = time.monotonic()
    assert get(hub, cdn(commit)) == (200, WEIGHTS)
    assert time.monotonic() - started >= 0.3


def test_fault_slow_keeps_to_the_rate(hub: HubControl) -> None:
    commit = hub.publish(REPO, FILES)
    hub.faults({"kind": "slow", "path": "_cdn", "rate": 4 * len(WEIGHTS)})
    started = time.monotonic()
    assert get(hub, cdn(commit)) == (200, WEIGHTS)
    assert time.monotonic() - started >= 0.2


def test_fault_corrupt_flips_the_byte_of_the_file(hub: HubControl) -> None:
    commit = hub.publish(REPO, FILES)
    hub.faults({"kind": "corrupt", "path": "_cdn", "after": 1234, "times": 2})
    wrong = bytearray(WEIGHTS)
    wrong[1234] ^= 0xFF
    assert get(hub, cdn(commit)) == (200, bytes(wrong))
    assert get(hub, cdn(commit), {"Range": "bytes=1000-"}) == (206, bytes(wrong[1000:]))
    assert get(hub, cdn(commit)) == (200, WEIGHTS)


def test_fault_norange_sends_everything(hub: HubControl) -> None:
    commit = hub.publish(REPO, FILES)
    hub.faults({"kind": "norange", "path": "_cdn"})
    assert get(hub, cdn(commit), {"Range": "bytes=10-19"}) == (200, WEIGHTS)


def test_a_fault_for_all_requests_lasts_until_it_is_lifted(hub: HubControl) -> None:
    hub.publish(REPO, FILES)
    hub.faults({"kind": "status", "status": 503, "times": None})
    assert [get(hub, f"/api/models/{REPO}")[0] for _ in range(3)] == [503] * 3
    hub.faults()
    assert get(hub, f"/api/models/{REPO}")[0] == 200


@pytest.mark.parametrize(
    "body", ['[{"kind": "flood"}]', '[{"kind": "cut", "afterr": 1}]', '[{"kind":"cut","path":"("}]', "{"]
)
def test_senseless_faults_are_refused(hub: HubControl, body: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=10)
    connection.request("POST", "/_faults", body=body)
    assert connection.getresponse().status == 400
    connection.close()


@pytest.mark.parametrize("path", ["../evil.txt", "/etc/dormouse-evil.txt", "a/../../evil.txt"])
def test_files_that_lead_out_are_refused(hub: HubControl, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        hub.publish(REPO, {"a.txt": b"fine", path: b"evil"})
    refused.value.close()
    assert get(hub, f"/api/models/{REPO}")[0] == 401


def test_the_log_knows_that_there_was_a_token_but_not_which(hub: HubControl) -> None:
    hub.publish(REPO, FILES)
    hub.clear()
    get(hub, f"/{REPO}/resolve/main/config.json", {"Authorization": "Bearer hf_secret"})
    (entry,) = hub.log()
    assert (entry["auth"], entry["status"], entry["sent"]) == (True, 200, len(FILES["config.json"]))
    assert "hf_secret" not in str(entry)
