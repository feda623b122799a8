"""Adapters in a runtime pod: loaded before it is ready, followed without a restart, closed to everybody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dormouse_api.adapters import ADAPTERS_DIR, AdapterEntry, AdapterList, LoraConfig
from dormouse_runtime.engines.guard import CLOSED, LocalOnly
from tests.runtime.scripted.pod import Pod, scripted, until

LORA = LoraConfig(list="uid-1", max_rank=64, max_active=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def pods() -> Iterator[list[Pod]]:
    made: list[Pod] = []
    yield made
    for pod in made:
        pod.close()


def write(folder: Path, number: int, **commits: str) -> Path:
    """The list beside the folder of attempt `number`."""
    there = folder / str(number) / ADAPTERS_DIR
    there.mkdir(parents=True, exist_ok=True)
    entries = tuple(AdapterEntry(name=name, commit=commit) for name, commit in commits.items())
    scratch = there / "uid-1.part"
    scratch.write_text(AdapterList(adapters=entries).model_dump_json())
    scratch.rename(there / "uid-1.json")
    return there


def loras(pod: Pod) -> dict[str, str]:
    return dict(pod.ask("/adapters")["loras"])


def said(pod: Pod) -> dict[str, tuple[str, bool, str]]:
    return {state.name: (state.commit, state.loaded, state.message) for state in pod.state().adapters}


@pytest.mark.slow
def test_the_list_is_loaded_before_the_pod_is_ready_and_followed_after_that(folder: Path, pods: list[Pod]) -> None:
    there = write(folder, 0, one="c1")
    pod = scripted(folder, "serve", lora=LORA)
    pods.append(pod)
    until(pod.ready)
    assert loras(pod) == {"tiny:one": str(there / "c1")}
    assert said(pod) == {"one": ("c1", True, "")}
    engine = pod.ask("/load")["pid"]
    write(folder, 0, one="c2", two="c3")
    until(lambda: set(loras(pod)) == {"tiny:one", "tiny:two"})
    until(lambda: loras(pod)["tiny:one"] == str(there / "c2"))
    write(folder, 0, two="c3")
    until(lambda: set(loras(pod)) == {"tiny:two"})
    until(lambda: set(said(pod)) == {"two"})
    assert pod.ask("/load")["pid"] == engine


@pytest.mark.slow
def test_one_that_the_engine_refuses_is_told_of_and_the_pod_serves(folder: Path, pods: list[Pod]) -> None:
    write(folder, 0, odd="bad", fine="c1")
    pod = scripted(folder, "serve", lora=LORA)
    pods.append(pod)
    until(pod.ready)
    assert said(pod) == {"odd": ("bad", False, "tiny:odd has no such layer"), "fine": ("c1", True, "")}


@pytest.mark.slow
def test_an_engine_that_died_gets_its_adapters_again(folder: Path, pods: list[Pod]) -> None:
    write(folder, 0, one="c1")
    pod = scripted(folder, "serve", lora=LORA)
    pods.append(pod)
    until(pod.ready)
    pod.get("/die/1", pod.serving)
    until(lambda: pod.state().restarts == 1 and pod.ready())
    assert set(loras(pod)) == {"tiny:one"}


@pytest.mark.slow
def test_another_engine_says_why_it_has_none(folder: Path, pods: list[Pod]) -> None:
    write(folder, 1, one="c1")
    pod = scripted(folder, "unsupported", "serve", lora=LORA)
    pods.append(pod)
    until(pod.ready)
    commit, loaded, words = said(pod)["one"]
    assert (commit, loaded) == ("c1", False)
    assert "transformers engine serves no adapters" in words
    assert loras(pod) == {}


@pytest.mark.slow
def test_a_list_that_cannot_be_read_unloads_nothing(folder: Path, pods: list[Pod]) -> None:
    there = write(folder, 0, one="c1")
    pod = scripted(folder, "serve", lora=LORA)
    pods.append(pod)
    until(pod.ready)
    (there / "uid-1.json").write_text("{")
    asked = pod.ask("/adapters")["asked"]
    write(folder, 0, one="c1", two="c2")
    until(lambda: set(loras(pod)) == {"tiny:one", "tiny:two"})
    assert pod.ask("/adapters")["asked"] == asked + 1


@pytest.mark.parametrize("path", [*CLOSED, "/adapters/one"])
@pytest.mark.parametrize(("client", "passed"), [("127.0.0.1", True), ("::1", True), ("10.0.0.7", False), ("", False)])
async def test_only_this_pod_may_load_adapters(path: str, client: str, passed: bool) -> None:
    reached: list[str] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "client": (client, 1) if client else None}
    await LocalOnly(app)(scope, send, send)
    assert reached == ([path] if passed else [])
    assert [message.get("status") for message in sent] == ([] if passed else [404, None])


@pytest.mark.parametrize("kind", ["http", "lifespan", "websocket"])
async def test_all_else_passes(kind: str) -> None:
    reached: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    async def send(message: Any) -> None:
        raise AssertionError(message)

    await LocalOnly(app)({"type": kind, "path": "/v1/chat/completions", "client": ("10.0.0.7", 1)}, send, send)
    assert reached == [kind]
