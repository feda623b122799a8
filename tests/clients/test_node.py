"""Clients from npm against the router, each a script that prints what it got: OpenAI, Ollama, Vercel AI SDK."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dev import nodejs
from tests.clients.world import CHAT, EMBED, SLEEPER, THINK, World
from tests.engine.words import EMBEDDING_SIZE

SCRIPTS = Path(__file__).parent / "node"
SAID = "It is sunny in Paris."
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def modules() -> Path:
    return nodejs.modules(SCRIPTS)


def run(folder: Path, modules: Path, script: str, router: World) -> dict[str, Any]:
    """What the script printed. It lies beside the packages, where Node looks for them."""
    (folder / "node_modules").symlink_to(modules)
    copy = folder / script
    copy.write_text((SCRIPTS / script).read_text())
    router.sleeps()
    done = subprocess.run(
        [nodejs.node(), copy, router.url, CHAT, SLEEPER, EMBED, THINK],
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_openai(tmp_path: Path, modules: Path, router: World) -> None:
    found = run(tmp_path, modules, "openai.mjs", router)
    events = found.pop("events")
    assert (events[0], events[-1]) == ("response.created", "response.completed")
    assert {CHAT, SLEEPER} <= set(found.pop("models"))
    assert found == {
        "chat": "Paris.",
        "stream": "Paris.",
        "usages": [2],
        "tools": {"said": SAID, "cities": ["Paris"]},
        "structured": ["capital", "country"],
        "vectors": [EMBEDDING_SIZE] * 2,
        "response": "Paris.",
        "response_end": "completed",
        "refused": ["NotFoundError", 404, "model_not_found"],
        "broken": True,
    }


def test_ollama(tmp_path: Path, modules: Path, router: World) -> None:
    found = run(tmp_path, modules, "ollama.mjs", router)
    assert {f"{CHAT}:latest", f"{SLEEPER}:latest"} <= set(found.pop("models"))
    assert f"{SLEEPER}:latest" in found.pop("running")
    pull = found.pop("pull")
    assert (pull[0], pull[-1]) == ("pulling manifest", "success")
    assert "broken" in found.pop("broken")
    assert found == {
        "chat": "Paris.",
        "stream": "Paris.",
        "generate": "Paris.",
        "odd": "süß 日本 🦥 fin",
        "called": [{"city": "Paris"}],
        "tools": SAID,
        "structured": ["capital"],
        "vectors": [EMBEDDING_SIZE] * 2,
        "capabilities": ["completion", "tools"],
        "created": "success",
        "copied": "success",
        "deleted": ["success"] * 3,
        "refused": ["ResponseError", 404],
    }


def test_vercels_ai_sdk(tmp_path: Path, modules: Path, router: World) -> None:
    found = run(tmp_path, modules, "ai.mjs", router)
    for api in ("compatible", "chat", "responses"):
        assert found[api] == {
            "text": "Paris.",
            "stream": "Paris.",
            "tokens": 2,
            "reason": "stop",
            "tools": [SAID, SAID, ["Paris", "Paris"]],
            "steps": [2, 2],
            "structured": ["capital", "country"],
        }, api
    assert found["thought"] == ["Let me think.", "Paris."]
    assert found["vectors"] == [EMBEDDING_SIZE] * 2
    assert found["refused"] == ["AI_APICallError", 404]


def test_the_lock_names_no_registry() -> None:
    """Whoever installs it takes the packages from where their npm is told to, and checks them by their hashes."""
    lock = json.loads((SCRIPTS / "package-lock.json").read_text())
    packages = [package for name, package in lock["packages"].items() if name]
    assert all("resolved" not in package and package["integrity"] for package in packages)
    wanted = json.loads((SCRIPTS / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
