"""The cache: names follow inputs, entries appear whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dev import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "cache"
    monkeypatch.setenv("DORMOUSE_CACHE", str(root))
    return root


def test_root_prefers_the_projects_own_variable(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path, tmp_path: Path
) -> None:
    assert cache.root() == own_cache
    monkeypatch.delenv("DORMOUSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.root() == tmp_path / "dormouse"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.root() == tmp_path / "home" / ".cache" / "dormouse"


def test_key_depends_on_every_input_and_on_their_borders(tmp_path: Path) -> None:
    file = tmp_path / "go.sum"
    file.write_text("one")
    names = {cache.key("ab", "c"), cache.key("a", "bc"), cache.key(b"ab", "c"), cache.key("ab"), cache.key(file)}
    assert len(names) == 5
    before = cache.key(file)
    file.write_text("two")
    assert cache.key(file) != before


def test_key_of_a_folder_follows_names_and_contents_but_not_its_place(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "x").write_text("same")
    assert cache.key(first) == cache.key(second)
    (second / "sub" / "x").rename(second / "sub" / "y")
    assert cache.key(first) != cache.key(second)


def test_publish_builds_once_and_then_only_looks(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[Path] = []

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "tool").write_text("done")

    for _ in range(2):
        place = cache.publish("bin", "abc", build, what="the tool", expect="about a second")
    assert (place / "tool").read_text() == "done"
    assert len(calls) == 1
    assert "building the tool (about a second)" in capsys.readouterr().err


def test_a_failed_build_leaves_no_entry_and_the_next_one_starts_clean() -> None:
    def fails(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("compiler died")

    with pytest.raises(RuntimeError, match="compiler died"):
        cache.publish("bin", "abc", fails, what="the tool")
    assert not cache.entry("bin", "abc").exists()
    killed = cache.entry("bin", "abc").with_name(".abc.partial")  # what a SIGKILL in mid-build leaves behind
    killed.mkdir()
    (killed / "half").write_text("x")
    place = cache.publish("bin", "abc", lambda folder: (folder / "whole").touch(), what="the tool")
    assert [p.name for p in place.iterdir()] == ["whole"]


def test_two_builders_at_once_build_one_entry() -> None:
    inside, go_on = threading.Event(), threading.Event()
    builds: list[str] = []

    def slow(folder: Path) -> None:
        builds.append("slow")
        inside.set()
        assert go_on.wait(10)
        (folder / "x").touch()

    def second(_: Path) -> None:
        builds.append("second")

    places: list[Path] = []
    one = threading.Thread(target=lambda: places.append(cache.publish("bin", "abc", slow, what="it")))
    two = threading.Thread(target=lambda: places.append(cache.publish("bin", "abc", second, what="it")))
    one.start()
    assert inside.wait(10)
    two.start()
    go_on.set()
    one.join(10)
    two.join(10)
    assert builds == ["slow"]
    assert len(set(places)) == 1


def test_a_long_build_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cache, "_HEARTBEAT_SECONDS", 0.001)
    said = threading.Event()
    say = cache.say

    def listen(message: str) -> None:
        say(message)
        if message.startswith("still building the tool ("):
            said.set()

    monkeypatch.setattr(cache, "say", listen)
    cache.publish("bin", "abc", lambda _: None if said.wait(20) else pytest.fail("not a word"), what="the tool")
    assert "still building the tool" in capsys.readouterr().err
