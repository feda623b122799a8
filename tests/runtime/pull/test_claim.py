"""pvc:// sources: what is copied, what is refused because it leaves the claim, and what changed meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dormouse_api.conditions import Reason
from dormouse_runtime.pull import claim
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.settings import Settings
from tests.runtime.pull.harness import LARGE, PULLED, SMALL, WEIGHTS, Puller, commit, said, until

URI = "pvc://shared/models/tiny"


@pytest.fixture
def mounted(puller: Puller, tmp_path: Path) -> Path:
    """The claim's mount; the puller is told to pull `models/tiny` of it."""
    root = tmp_path / "claim"
    root.mkdir()
    puller.environ |= {"DORMOUSE_SOURCE": URI, "DORMOUSE_SOURCE_DIR": str(root)}
    return root


def put(root: Path, files: Mapping[str, bytes], folder: str = "models/tiny") -> Path:
    for name, content in files.items():
        file = root / folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root / folder


def reader(root: Path) -> claim.Claim:
    return claim.Claim(Settings(URI, source_dir=root))


def test_a_model_is_inspected_and_copied_whole(puller: Puller, mounted: Path) -> None:
    put(mounted, LARGE)
    looked = puller.run("inspect")
    assert looked.outcome.inspect is not None
    assert looked.outcome.inspect.architecture == "LlamaForCausalLM"
    found = puller.run("fetch", DORMOUSE_COMMIT=commit(looked))
    assert found.code == 0, found
    files = puller.files(commit(looked))
    assert {path: files[path] for path in PULLED} == {path: LARGE[path] for path in PULLED}
    assert set(files) == {*PULLED, ".dormouse.json"}


def test_the_commit_is_of_paths_sizes_and_times(puller: Puller, mounted: Path) -> None:
    folder = put(mounted, SMALL)
    times = {path: (folder / path).stat().st_mtime_ns for path in SMALL}
    first = commit(puller.run("inspect"))
    (folder / "README.md").write_text("new words")
    assert commit(puller.run("inspect")) == first, "what is not pulled may change"
    os.utime(folder / "config.json", ns=(1, 1))
    second = commit(puller.run("inspect", DORMOUSE_REVISION="tuesday"))
    assert second != first
    os.utime(folder / "config.json", ns=(1, times["config.json"]))
    assert commit(puller.run("inspect", DORMOUSE_REVISION=first)) == first, "copies that keep times keep the commit"
    gone = puller.run("inspect", DORMOUSE_REVISION=second)
    assert (gone.reason, gone.code) == (Reason.NOT_FOUND, 42)
    assert "to another word, such as" in said(gone)


def test_the_cache_of_a_model_library_is_read_through_its_links(puller: Puller, mounted: Path) -> None:
    put(mounted, {"a1": SMALL[WEIGHTS], "b2": SMALL["config.json"]}, "models/blobs")
    folder = put(mounted, {"tokenizer.json": b"{}"})
    (folder / WEIGHTS).symlink_to("../blobs/a1")
    (folder / "config.json").symlink_to("../blobs/b2")
    found = puller.run("fetch")
    assert puller.files(commit(found))[WEIGHTS] == SMALL[WEIGHTS]
    assert not (puller.models / commit(found) / WEIGHTS).is_symlink()


def linked(moved: Path, folder: Path) -> None:
    """What was moved is a link to somewhere else now."""
    assert moved.is_dir()
    folder.symlink_to("/etc")


Harm = Callable[[Path, Path], object]
HARMS: dict[str, tuple[Harm, Reason, str]] = {
    "link out": (lambda root, folder: (folder / "x.json").symlink_to("/etc/passwd"), Reason.UNSUPPORTED, "x.json"),
    "relative": (
        lambda root, folder: (folder / "x.json").symlink_to("../../../outside"),
        Reason.UNSUPPORTED,
        "leaves the claim",
    ),
    "the folder": (
        lambda root, folder: linked(folder.rename(root / "x"), folder),
        Reason.UNSUPPORTED,
        "its path",
    ),
    "nothing there": (lambda root, folder: folder.rename(root / "x"), Reason.NOT_FOUND, "there is no folder"),
    "no weights": (lambda root, folder: (folder / WEIGHTS).unlink(), Reason.UNSUPPORTED, "only pickled weights"),
    "cut off": (
        lambda root, folder: os.truncate(folder / WEIGHTS, 4000),
        Reason.CORRUPT,
        "it was not put there whole",
    ),
}


@pytest.mark.parametrize("case", HARMS)
def test_each_harm_has_its_reason_and_the_fix(puller: Puller, mounted: Path, tmp_path: Path, case: str) -> None:
    harm, reason, words = HARMS[case]
    (tmp_path / "outside").write_text('{"secret": 1}')
    harm(mounted, put(mounted, SMALL))
    ended = puller.run("inspect")
    assert (ended.reason, ended.code) == (reason, 42)
    assert words in said(ended)


def test_a_link_that_is_moved_out_after_the_listing_is_not_followed(mounted: Path, tmp_path: Path) -> None:
    """Somebody who may write to the claim cannot make the pod copy what is its own."""
    folder = put(mounted, SMALL)
    (tmp_path / "outside").write_bytes(SMALL["config.json"])
    os.utime(tmp_path / "outside", ns=(5, 5))
    os.utime(folder / "config.json", ns=(5, 5))
    source = reader(mounted)
    files = {file.path: file for file in source.files(source.resolve("main"))}
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(tmp_path / "outside")
    with pytest.raises(PullError, match="leaves the claim"), source.stream("", files["config.json"]):
        raise AssertionError("it was opened")


@pytest.mark.parametrize("change", ["grown", "touched", "another", "gone"])
def test_a_file_that_changes_while_it_is_copied_is_refused(mounted: Path, change: str) -> None:
    folder = put(mounted, LARGE)
    source = reader(mounted)
    weights = next(file for file in source.files(source.resolve("main")) if file.path == WEIGHTS)
    with pytest.raises(PullError, match="was replaced or removed") as refused:  # noqa: PT012 - it may come at either end
        if change in ("another", "gone"):
            (folder / WEIGHTS).unlink()
        if change == "another":
            (folder / WEIGHTS).write_bytes(LARGE[WEIGHTS])
        with source.stream("", weights) as (start, blocks):
            assert start == 0
            next(blocks)
            if change == "grown":
                with (folder / WEIGHTS).open("ab") as file:
                    file.write(b"more")
            else:
                os.utime(folder / WEIGHTS, ns=(1, 1))
            assert sum(map(len, blocks)) < weights.size
    assert refused.value.reason is Reason.NOT_FOUND


def test_a_pipe_in_a_files_place_holds_nobody_up(mounted: Path) -> None:
    folder = put(mounted, SMALL)
    source = reader(mounted)
    files = {file.path: file for file in source.files(source.resolve("main"))}
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    started = time.monotonic()
    with pytest.raises(PullError, match="was replaced"), source.stream("", files["config.json"]):
        raise AssertionError("it was opened")
    assert time.monotonic() - started < 30


def test_what_may_not_be_read_says_how_to_let_us(puller: Puller, mounted: Path) -> None:
    if os.geteuid() == 0:
        mounted_file = put(mounted, SMALL) / "config.json"
        source = reader(mounted)
        found = source._failure(PermissionError(13, "Permission denied"), "config.json")
        assert mounted_file.exists()
        assert (found.reason, "chmod -R a+rX" in found.message) == (Reason.UNAUTHORIZED, True)
        return
    (put(mounted, SMALL) / "config.json").chmod(0)
    ended = puller.run("fetch")
    assert (ended.reason, ended.code) == (Reason.UNAUTHORIZED, 42)
    assert "chmod -R a+rX" in said(ended)


def test_a_copy_that_was_killed_goes_on_where_it_stopped(puller: Puller, mounted: Path) -> None:
    put(mounted, LARGE)
    process = puller.start("fetch", DORMOUSE_MAX_BYTES_PER_SECOND="1000000")
    until(lambda: puller.part() >= 2_000_000, "some of the weights on the volume")
    process.kill()
    puller.finish(process)
    before = puller.part()
    found = puller.run("fetch")
    assert found.outcome.pull is not None
    assert found.outcome.pull.fetched_bytes <= found.outcome.pull.bytes - before
    assert puller.files(commit(found))[WEIGHTS] == LARGE[WEIGHTS]


def test_a_volume_without_room_is_the_models_own_not_the_claims(
    puller: Puller, mounted: Path, small_volume: Path
) -> None:
    put(mounted, LARGE)
    ended = puller.run("fetch", DORMOUSE_MODELS_DIR=str(small_volume))
    assert (ended.reason, ended.code) == (Reason.NO_SPACE, 42)
    assert "raise spec.storage.size" in said(ended)
