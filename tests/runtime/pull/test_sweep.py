"""What a sweep removes, and what it must never touch."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.names import MARKER
from dormouse_api.results import Outcome
from dormouse_runtime.pull import space
from dormouse_runtime.pull.__main__ import main

NEW, OLD = "a" * 40, "b" * 40


def lay(models: Path, name: str, size: int = 1000, *, whole: bool = True) -> Path:
    folder = models / name
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "model.safetensors").write_bytes(b"w" * size)
    if whole:
        (folder / MARKER).write_text("{}")
    return folder


def swept(models: Path, log: Path, keep: str) -> tuple[int, Outcome]:
    environ: Mapping[str, str] = {
        "DORMOUSE_KEEP": keep,
        "DORMOUSE_MODELS_DIR": str(models),
        "DORMOUSE_TERMINATION_LOG": str(log),
    }
    code = main(["sweep"], environ)
    return code, Outcome.model_validate_json(log.read_text())


@pytest.fixture
def models(tmp_path: Path) -> Path:
    made = tmp_path / "models"
    made.mkdir()
    return made


def test_only_what_is_named_stays(models: Path, tmp_path: Path) -> None:
    for name in (NEW, f"{NEW}-int4", OLD, f"{OLD}-int8"):
        lay(models, name)
    lay(models, f"{OLD}-int4.partial", whole=False)
    lay(models, "c" * 40, whole=False)
    code, outcome = swept(models, tmp_path / "log", f"{NEW},{NEW}-int4")
    assert code == 0
    assert sorted(path.name for path in models.iterdir()) == [NEW, f"{NEW}-int4"]
    assert outcome.sweep is not None
    assert set(outcome.sweep.removed) == {OLD, f"{OLD}-int8", f"{OLD}-int4.partial", "c" * 40}
    assert outcome.sweep.free_bytes > 0
    assert (models / NEW / "inner" / "model.safetensors").read_bytes() == b"w" * 1000


def test_nothing_but_folders_of_ours_is_touched(models: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (models / "link").symlink_to(outside)
    (models / "lost+found").mkdir()
    (models / ".hidden").mkdir()
    (models / "file").write_text("x")
    lay(models, NEW)
    code, outcome = swept(models, tmp_path / "log", NEW)
    assert (code, outcome.sweep and outcome.sweep.removed) == (0, ())
    assert sorted(path.name for path in models.iterdir()) == sorted([NEW, "link", "lost+found", ".hidden", "file"])
    assert (outside / "precious").exists()


@pytest.mark.parametrize("keep", ["", ",", "../x", f"{NEW},/etc", "."])
def test_a_senseless_list_removes_nothing(models: Path, tmp_path: Path, keep: str) -> None:
    lay(models, OLD)
    code, outcome = swept(models, tmp_path / "log", keep)
    assert code == 42
    assert outcome.failure is not None
    assert (models / OLD / MARKER).exists()


def test_a_folder_that_is_half_gone_is_not_whole(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(models, OLD)
    lay(models, NEW)

    def dies(folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(shutil, "rmtree", dies)
        code, outcome = swept(models, tmp_path / "log", NEW)
    assert code == 1, "it is tried again"
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.STORAGE_FAILED
    assert (models / OLD / "inner").exists()
    assert not (models / OLD / MARKER).exists(), "the marker went first"
    assert swept(models, tmp_path / "log", NEW)[0] == 0
    assert not (models / OLD).exists()


def test_many_folders_are_told_of_in_a_short_message(models: Path, tmp_path: Path) -> None:
    for number in range(40):
        lay(models, f"{number:040d}", size=10)
    lay(models, NEW)
    _, outcome = swept(models, tmp_path / "log", NEW)
    assert outcome.sweep is not None
    assert len(outcome.sweep.removed) == 16
    assert [path.name for path in models.iterdir()] == [NEW]
    assert len((tmp_path / "log").read_bytes()) <= 4000


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EROFS, "read-only"), (errno.EIO, "delete the claim"), (errno.EACCES, "10001"), (errno.ENOENT, None)],
)
def test_what_an_error_says_of_the_volume(number: int, words: str | None) -> None:
    found = space.unwritable(OSError(number, "why"))
    assert (found is None) == (words is None)
    if found is not None:
        assert found.reason is Reason.STORAGE_FAILED
        assert words is not None
        assert words in found.message
        assert not found.permanent, "it is looked at again by itself"


def test_a_full_volume_says_by_how_much() -> None:
    failure = space.no_space(10 << 30, 4 << 30).failure()
    assert failure.short_bytes == (6 << 30) + space.SPARE
