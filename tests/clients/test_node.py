"""Clients from npm against the router, each a script that prints what it got: OpenAI, Ollama, Vercel AI SDK."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.clients.npm import SCRIPTS, differing, run
from tests.clients.world import CHAT, EMBED, SLEEPER, THINK, World
from tests.engine.words import EMBEDDING_SIZE

pytestmark = pytest.mark.slow
VECTORS = [EMBEDDING_SIZE] * 2


def ran(folder: Path, script: str, router: World) -> dict[str, Any]:
    router.sleeps()
    found = run(folder, script, router.url, CHAT, SLEEPER, EMBED, THINK)
    assert differing(script, found) == {}
    assert found["vectors"] == VECTORS
    return found


def test_openai(tmp_path: Path, router: World) -> None:
    found = ran(tmp_path, "openai.mjs", router)
    assert (found["events"][0], found["events"][-1]) == ("response.created", "response.completed")
    assert {CHAT, SLEEPER} <= set(found["models"])
    assert found["broken"] is True


def test_ollama(tmp_path: Path, router: World) -> None:
    found = ran(tmp_path, "ollama.mjs", router)
    assert {f"{CHAT}:latest", f"{SLEEPER}:latest"} <= set(found["models"])
    assert f"{SLEEPER}:latest" in found["running"]
    assert (found["pull"][0], found["pull"][-1]) == ("pulling manifest", "success")
    assert "broken" in found["broken"]
    assert found["odd"] == "süß 日本 🦥 fin"


def test_vercels_ai_sdk(tmp_path: Path, router: World) -> None:
    found = ran(tmp_path, "ai.mjs", router)
    assert found["thought"] == ["Let me think.", "Paris."]


def test_the_lock_names_no_registry() -> None:
    """Whoever installs it takes the packages from where their npm is told to, and checks them by their hashes."""
    lock = json.loads((SCRIPTS / "package-lock.json").read_text())
    packages = [package for name, package in lock["packages"].items() if name]
    assert all("resolved" not in package and package["integrity"] for package in packages)
    wanted = json.loads((SCRIPTS / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
