"""The scripts of `node/`: how one is run against a router, and what it must print wherever the models run."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from dev import nodejs

SCRIPTS = Path(__file__).parent / "node"
SAID = "It is sunny in Paris."
_OPENAI: dict[str, Any] = {
    "chat": "Paris.",
    "stream": "Paris.",
    "usages": [True],
    "tools": {"said": SAID, "cities": ["Paris"]},
    "structured": ["capital", "country"],
    "response": "Paris.",
    "response_end": "completed",
    "refused": ["NotFoundError", 404, "model_not_found"],
}
_OLLAMA: dict[str, Any] = {
    "chat": "Paris.",
    "stream": "Paris.",
    "generate": "Paris.",
    "called": [{"city": "Paris"}],
    "tools": SAID,
    "structured": ["capital", "country"],
    "able": True,
    "created": "success",
    "copied": "success",
    "deleted": ["success"] * 2,
    "refused": ["ResponseError", 404],
}
_AI: dict[str, Any] = {
    "text": "Paris.",
    "stream": "Paris.",
    "counted": True,
    "reason": "stop",
    "tools": [SAID, SAID, ["Paris", "Paris"]],
    "steps": [2, 2],
    "structured": ["capital", "country"],
}
EXPECTED: dict[str, dict[str, Any]] = {
    "openai.mjs": _OPENAI,
    "ollama.mjs": _OLLAMA,
    "ai.mjs": {"compatible": _AI, "chat": _AI, "responses": _AI, "refused": ["AI_APICallError", 404]},
}
"""By script: what is the same of a scripted and of the trained model."""


def run(folder: Path, script: str, url: str, *models: str) -> dict[str, Any]:
    """What the script printed. `models`: one that chats, one that sleeps, and for a scripted engine one that embeds
    and one that thinks. The script is copied to `folder`, beside the packages, where Node looks for them."""
    (folder / "node_modules").symlink_to(nodejs.modules(SCRIPTS))
    copy = folder / script
    copy.write_text((SCRIPTS / script).read_text())
    done = subprocess.run(
        [nodejs.node(), copy, url, *models],
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def differing(script: str, found: dict[str, Any]) -> dict[str, Any]:
    """What a script must print and has not, by its key."""
    return {key: found.get(key) for key, value in EXPECTED[script].items() if found.get(key) != value}
