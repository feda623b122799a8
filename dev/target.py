"""The cluster that `make up` works on, and the kubectl and helm that reach it.

By default the local one of `dev.cluster`. With CLUSTER=current it is the current kubectl context's: nothing is built,
and the images are the ones that IMAGE_PREFIX and IMAGE_TAG name. Knows nothing of what is installed there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dev.cluster.layout import ClusterError, Layout, node_layout


@dataclass(frozen=True)
class Target:
    """Where to install, and which images to use there."""

    kubectl_program: str
    helm_program: str
    kubeconfig: str | None
    """None: kubectl's own choice."""
    image_prefix: str
    image_tag: str
    layout: Layout | None
    """The local cluster's; None for the current context's cluster."""

    def image(self, part: str) -> str:
        return f"{self.image_prefix}{part}:{self.image_tag}"

    def kubectl(self, *arguments: str, send: object = None, check: bool = True) -> str:
        """Runs kubectl and returns its output; `send` goes in as JSON. ClusterError with kubectl's words."""
        return self._run([self.kubectl_program, *arguments], send, check)

    def get(self, *what: str) -> Any:
        """The object as kubectl's JSON, or None where there is none."""
        text = self.kubectl("get", *what, "--ignore-not-found", "--output", "json")
        return json.loads(text) if text.strip() else None

    def helm(self, *arguments: str, check: bool = True) -> str:
        return self._run([self.helm_program, *arguments], None, check)

    def environment(self) -> Mapping[str, str]:
        own = {"KUBECONFIG": self.kubeconfig} if self.kubeconfig else {}
        return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")} | own

    def _run(self, command: list[str], send: object, check: bool) -> str:
        text = None if send is None else json.dumps(send)
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False, env=self.environment())
        if done.returncode and check:
            raise ClusterError(f"{' '.join(command[:6])} failed: {done.stderr.strip()[-2000:]}")
        return done.stdout


def local() -> Target:
    """The project's own cluster on this machine."""
    layout = node_layout()
    programs = str(layout.bin / "kubectl"), str(layout.bin / "helm")
    return Target(*programs, str(layout.kubeconfig), "localhost/dormouse-", "dev", layout)


def current() -> Target:
    """The current kubectl context's cluster; ClusterError where something is missing to work with it."""
    prefix = os.environ.get("IMAGE_PREFIX", "")
    if not prefix:
        raise ClusterError(
            "CLUSTER=current needs IMAGE_PREFIX: the images' names up to operator, router, puller, runtime and hub, "
            "for example registry.example.org/me/dormouse- (docs/getting-started.md, Another cluster)"
        )
    programs = shutil.which("kubectl"), shutil.which("helm")
    if not all(programs):
        raise ClusterError("CLUSTER=current needs kubectl and helm on the PATH: install both")
    return Target(str(programs[0]), str(programs[1]), None, prefix, os.environ.get("IMAGE_TAG", "dev"), None)


def chosen() -> Target:
    """What the environment variable CLUSTER asks for: nothing or `current`."""
    wanted = os.environ.get("CLUSTER", "")
    if wanted not in ("", "local", "current"):
        raise ClusterError(f"CLUSTER={wanted}: set it to current, or leave it out for the local cluster")
    return current() if wanted == "current" else local()
