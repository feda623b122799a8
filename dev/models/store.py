"""Where the tiny models lie on this machine: made once by the engine's Python, kept in the cache.

Standard library only, so that it runs before the workspace's environment exists.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from dev import cache, enginevenv

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = Path(__file__).resolve().parent
MADE_BY = ("build.py", "chat_template.jinja", "check.py", "conversations.py", "kinds.py", "training.py", "words.py")


class ModelsError(Exception):
    """The models could not be made; what went wrong is in the lines before."""


def ensure() -> Path:
    """Folder that holds dormouse/tiny-chat, ...: what `python -m dev.hub` serves. Made first if it is missing."""
    versions = (
        line for line in enginevenv.REQUIREMENTS.read_text().splitlines() if line.startswith(("torch=", "trans"))
    )
    key = cache.key(*versions, *(SOURCES / name for name in MADE_BY))
    trained = cache.publish(
        "models", key, lambda out: _run("dev.models.build", out), what="the tiny models", expect="2 to 4 minutes, 62 MB"
    )
    whole = cache.key(key, SOURCES / "extras.py")
    return cache.publish(
        "models", whole, lambda out: _run("dev.models.extras", trained, out), what="what is made of them", expect="20 s"
    )


def _run(module: str, *folders: Path) -> None:
    # Two trainings share the machine with others: threads that spin while they wait would only get in each other's way.
    environ = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    command = ["nice", str(enginevenv.python()), "-m", module, *map(str, folders)]
    # What it prints is progress, so it goes where progress goes.
    done = subprocess.run(command, cwd=ROOT, env=environ, stdout=2, check=False)
    if done.returncode:
        raise ModelsError("the tiny models could not be made: see the lines above")
