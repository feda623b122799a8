"""`dev/uv.py`: the uv of `make venv` is found on a machine that has no other."""

from pathlib import Path

import pytest

from dev import uv

ELF = b"\x7fELF and so on"


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DORMOUSE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("UV", raising=False)


def put(path: Path, content: bytes = ELF) -> Path:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_the_one_in_the_cache_needs_no_path(tmp_path: Path) -> None:
    kept = put(tmp_path / "tools" / "uv-1.2.3" / "bin" / "uv")
    assert uv.program() == kept


def test_the_cache_goes_before_the_path(tmp_path: Path) -> None:
    other = put(tmp_path / "bin" / "uv")
    assert uv.program() == other
    kept = put(tmp_path / "tools" / "uv-1.2.3" / "bin" / "uv")
    assert uv.program() == kept


def test_a_named_one_goes_before_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(tmp_path / "tools" / "uv-1.2.3" / "bin" / "uv")
    named = put(tmp_path / "named" / "uv")
    monkeypatch.setenv("UV", str(named))
    assert uv.program() == named


def test_a_launcher_script_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "bin" / "uv", b"#!/bin/sh\n")
    with pytest.raises(uv.UvError, match="make venv"):
        uv.program()


def test_none_at_all() -> None:
    with pytest.raises(uv.UvError, match="make venv"):
        uv.program()
