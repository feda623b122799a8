"""A pull from the hub onto a volume: what lies there afterwards, and what a second pull does."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.names import MARKER
from dormouse_runtime.pull import space
from dormouse_runtime.pull.progress import Meter
from dormouse_runtime.pull.verify import Check
from tests.runtime.pull.harness import LARGE, PULLED, SMALL, WEIGHTS, Puller

STALL_SECONDS = 3


def test_a_pull_brings_the_wanted_files_and_the_marker(puller: Puller) -> None:
    commit = puller.hub.publish("acme/tiny", SMALL)
    ended = puller.run("fetch")
    assert ended.code == 0
    found = puller.files(commit)
    assert {name: found[name] for name in PULLED} == {name: SMALL[name] for name in PULLED}
    assert set(found) == {*PULLED, MARKER}
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o644 for p in (puller.models / commit).iterdir())
    result, total = ended.outcome.pull, sum(len(SMALL[name]) for name in PULLED)
    assert result is not None
    assert (result.commit, result.files, result.bytes, result.fetched_bytes) == (commit, 3, total, total)


def test_the_marker_says_source_commit_files_and_tools(puller: Puller) -> None:
    commit = puller.hub.publish("acme/tiny", SMALL)
    ended = puller.run("fetch")
    marker = puller.marker(commit)
    assert (marker.source, marker.commit, marker.quantization) == ("hf://acme/tiny", commit, None)
    assert {f.path: (f.size, f.sha256) for f in marker.files} == {
        name: (len(SMALL[name]), hashlib.sha256(SMALL[name]).hexdigest()) for name in PULLED
    }
    assert set(marker.tools) == {"dormouse", "huggingface_hub"}
    lines = "".join(f"{f.path} {f.size} {f.sha256}\n" for f in marker.files)
    assert ended.outcome.pull is not None
    assert ended.outcome.pull.digest == hashlib.sha256(lines.encode()).hexdigest()


def test_a_second_pull_asks_the_hub_for_nothing(puller: Puller) -> None:
    commit = puller.hub.publish("acme/tiny", SMALL)
    first = puller.run("fetch", DORMOUSE_COMMIT=commit).outcome.pull
    puller.hub.clear()
    second = puller.run("fetch", DORMOUSE_COMMIT=commit).outcome.pull
    assert first is not None
    assert second == first.model_copy(update={"fetched_bytes": 0, "seconds": 0.0})
    assert puller.hub.log() == []


def test_the_pinned_commit_is_pulled_though_the_branch_moved(puller: Puller) -> None:
    old = puller.hub.publish("acme/tiny", SMALL)
    puller.hub.publish("acme/tiny", {**SMALL, "config.json": b"{}"})
    assert puller.run("fetch", DORMOUSE_COMMIT=old).code == 0
    assert puller.files(old)["config.json"] == SMALL["config.json"]


def test_a_new_revision_fetches_only_what_changed(puller: Puller) -> None:
    old = puller.hub.publish("acme/tiny", LARGE)
    puller.run("fetch")
    before = puller.files(old)
    new = puller.hub.publish("acme/tiny", {**LARGE, "config.json": b'{"a": 1}'}, branch="v2")
    ended = puller.run("fetch", DORMOUSE_REVISION="v2")
    assert ended.outcome.pull is not None
    assert (ended.outcome.pull.commit, ended.outcome.pull.fetched_bytes) == (new, len(b'{"a": 1}{}'))
    assert puller.files(new)[WEIGHTS] == LARGE[WEIGHTS]
    assert puller.files(old) == before


def test_a_folder_that_lost_a_file_is_mended(puller: Puller) -> None:
    commit = puller.hub.publish("acme/tiny", LARGE)
    puller.run("fetch")
    (puller.models / commit / "config.json").unlink()
    ended = puller.run("fetch")
    assert ended.outcome.pull is not None
    assert ended.outcome.pull.fetched_bytes == len(LARGE["config.json"])
    assert puller.files(commit)["config.json"] == LARGE["config.json"]


def test_files_in_folders_and_empty_files(puller: Puller) -> None:
    files = {**SMALL, "unet/model.safetensors": SMALL[WEIGHTS], "unet/config.json": b""}
    commit = puller.hub.publish("acme/tiny", files)
    assert puller.run("fetch").code == 0
    found = puller.files(commit)
    assert (found["unet/model.safetensors"], found["unet/config.json"]) == (SMALL[WEIGHTS], b"")


def test_a_broken_connection_is_resumed_in_the_same_run(puller: Puller) -> None:
    commit = puller.hub.publish("acme/tiny", LARGE)
    puller.hub.faults({"kind": "cut", "path": "_cdn", "after": 3_000_000})
    assert puller.run("fetch").code == 0
    first, second = puller.weights_requests()
    assert (first["range"], first["sent"]) == (None, 3_000_000)
    assert second["range"] == "bytes=3000000-"
    assert puller.files(commit)[WEIGHTS] == LARGE[WEIGHTS]


@pytest.mark.slow
@pytest.mark.parametrize("work", [(Check, "update_from"), (os, "fsync")])
def test_work_on_the_volume_is_no_stall_of_the_source(
    puller: Puller, monkeypatch: pytest.MonkeyPatch, work: tuple[object, str]
) -> None:
    """A part of many gigabytes is read for its hash, and synced to a slow disk, longer than a source may be silent."""
    commit = puller.hub.publish("acme/tiny", SMALL)
    known, silence = getattr(*work), vars(Meter)["silent_seconds"].fget
    begun: list[float] = []
    judged = threading.Event()

    def look(meter: Meter) -> float:
        found: float = silence(meter)
        if begun and time.monotonic() > begun[0] + STALL_SECONDS:
            judged.set()  # by now whoever took this work for silence has what it needs to say so
        return found

    def slow(*arguments: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            begun.append(time.monotonic())
            assert judged.wait(60)
        known(*arguments)

    with monkeypatch.context() as large:
        large.setattr(*work, slow)
        large.setattr(Meter, "silent_seconds", property(look))
        ended = puller.run("fetch", DORMOUSE_STALL_SECONDS=str(STALL_SECONDS))
    assert begun
    assert ended.code == 0, ended
    assert puller.files(commit)[WEIGHTS] == SMALL[WEIGHTS]


def test_a_flipped_byte_is_noticed_and_the_file_fetched_again(puller: Puller) -> None:
    commit = puller.hub.publish("acme/tiny", LARGE)
    puller.hub.faults({"kind": "corrupt", "path": "_cdn", "after": 5_000_000})
    ended = puller.run("fetch")
    assert ended.code == 0
    assert [e["range"] for e in puller.weights_requests()] == [None, None]
    assert puller.files(commit)[WEIGHTS] == LARGE[WEIGHTS]


@pytest.mark.parametrize("path", [WEIGHTS, "config.json"])
def test_wrong_twice_is_corrupt_and_leaves_no_marker(puller: Puller, path: str) -> None:
    commit = puller.hub.publish("acme/tiny", LARGE)
    puller.hub.faults({"kind": "corrupt", "path": rf"resolve/.*/{path}", "after": 3, "times": None})
    ended = puller.run("fetch")
    assert (ended.reason, ended.code) == (Reason.CORRUPT, 42)
    assert path in str(ended.outcome.failure)
    assert not {MARKER, path} & set(puller.files(commit))


def test_a_hub_that_knows_no_ranges_starts_the_file_anew(puller: Puller) -> None:
    commit = puller.hub.publish("acme/tiny", SMALL)
    part = puller.models / commit / f"config.json.{_git(SMALL['config.json'])[:16]}.part"
    part.parent.mkdir()
    part.write_bytes(SMALL["config.json"][:10])
    puller.hub.faults({"kind": "norange", "path": "config.json"})
    assert puller.run("fetch").code == 0
    assert puller.files(commit)["config.json"] == SMALL["config.json"]


def test_parts_of_other_content_are_not_continued_and_not_left(puller: Puller) -> None:
    commit = puller.hub.publish("acme/tiny", SMALL)
    stray = puller.models / commit / f"{WEIGHTS}.0123456789abcdef.part"
    stray.parent.mkdir()
    stray.write_bytes(b"of another file")
    assert puller.run("fetch").code == 0
    assert set(puller.files(commit)) == {*PULLED, MARKER}


def test_a_rate_limit_is_kept(puller: Puller) -> None:
    puller.hub.publish("acme/tiny", LARGE)
    size = sum(len(LARGE[name]) for name in PULLED)
    ended = puller.run("fetch", DORMOUSE_MAX_BYTES_PER_SECOND=str(size))
    assert ended.outcome.pull is not None
    assert 0.7 < ended.outcome.pull.seconds < 7  # eight, were they bits


def test_room_is_asked_for_before_the_first_byte(puller: Puller, small_volume: Path) -> None:
    puller.hub.publish("acme/tiny", LARGE)
    puller.hub.clear()
    ended = puller.run("fetch", DORMOUSE_MODELS_DIR=str(small_volume))
    assert (ended.reason, ended.code) == (Reason.NO_SPACE, 42)
    total, free = sum(len(LARGE[name]) for name in PULLED), space.free_bytes(small_volume)
    assert f"{total} more bytes" in str(ended.outcome.failure)
    assert 0 < free < total
    assert not any("/resolve/" in entry["path"] for entry in puller.hub.log())


def test_a_volume_that_fills_up_underway(puller: Puller, small_volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    puller.hub.publish("acme/tiny", LARGE)
    with monkeypatch.context() as others_write_meanwhile:
        others_write_meanwhile.setattr(space, "require", lambda folder, needed: None)
        ended = puller.run("fetch", DORMOUSE_MODELS_DIR=str(small_volume))
    assert (ended.reason, ended.code) == (Reason.NO_SPACE, 42)
    assert "raise spec.storage.size" in str(ended.outcome.failure)


def test_the_message_is_json_of_the_agreed_shape(puller: Puller) -> None:
    puller.hub.publish("acme/tiny", SMALL)
    puller.run("fetch")
    said = json.loads(puller.message.read_text())
    assert set(said) == {"pull"}
    assert set(said["pull"]) == {"commit", "files", "bytes", "fetched_bytes", "seconds", "digest"}


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
