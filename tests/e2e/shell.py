"""Commands that a person would type: kubectl, and the local cluster's own."""

import asyncio
import subprocess
import sys

from dev.cluster.layout import REPOSITORY, node_layout

SECONDS = 240


def kubectl(*arguments: str, standard_input: str | None = None) -> str:
    """Run kubectl as the administrator; its output. CalledProcessError with its words when it refuses."""
    layout = node_layout()
    command = [str(layout.bin / "kubectl"), "--kubeconfig", str(layout.kubeconfig), *arguments]
    done = subprocess.run(command, input=standard_input, text=True, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


async def cluster(*arguments: str) -> None:
    """`python -m dev.cluster ...`, without blocking the story's other tasks."""
    command = [sys.executable, "-m", "dev.cluster", *arguments]
    await asyncio.to_thread(subprocess.run, command, cwd=REPOSITORY, check=True, capture_output=True, timeout=SECONDS)
