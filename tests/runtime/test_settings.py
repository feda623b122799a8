"""What the runtime reads from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from dormouse_api.names import ENV_RUNTIME_CONFIG
from dormouse_runtime import settings
from dormouse_runtime.supervisor.preload import Preload, available_memory


@pytest.mark.parametrize("text", [None, "", "{", "{}", '{"model": "x"}'])
def test_a_wrong_configuration_is_told_by_its_variable(text: str | None) -> None:
    with pytest.raises(settings.SettingsError, match=ENV_RUNTIME_CONFIG):
        settings.from_environment({} if text is None else {ENV_RUNTIME_CONFIG: text})


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("150000 100000", 1.5), ("max 100000", None), ("99000000 100000", None), ("nonsense", None)],
)
def test_processors_are_the_quota_or_the_affinity(tmp_path: Path, quota: str, expected: float | None) -> None:
    free = settings.cpus(tmp_path)
    (tmp_path / "cpu.max").write_text(quota)
    assert settings.cpus(tmp_path) == (free if expected is None else min(expected, free))


def test_preloading_reads_files_up_to_its_budget(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"x" * 1000)
    files = [tmp_path / "a", tmp_path / "absent", tmp_path / "b"]
    whole, some = Preload(files, 10**6), Preload(files, 500)
    for preload in (whole, some):
        preload.start()
        preload.join(10)
    assert (whole.bytes, some.bytes) == (2000, 1000)  # a block is read whole
    assert available_memory() > 0
