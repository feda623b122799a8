"""Builds Kubernetes and its helpers from Go modules into the machine's cache, once. Knows Go, not clusters."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dev import cache
from dev.cluster.layout import ClusterError

_SOURCES = Path(__file__).resolve().parent
_MINIMUM_GO = (1, 26)
_BUILD = ("go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace")
_NO_COMMIT = "0" * 40


@dataclass(frozen=True)
class Binaries:
    """Paths of the built programs."""

    kube: str
    """etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy and kubectl in one."""
    tools: str
    """helm, coredns, kwok, kwok-stages and the hostpath-provisioner in one."""
    pause: str
    """The static program of the sandbox image."""


def ensure() -> Binaries:
    """The programs, built first when this machine has not built these very sources yet."""
    return Binaries(
        kube=_built("kube", _kubernetes_flags(), "about 8 minutes, once per machine"),
        tools=_built("tools", "-s -w", "about 7 minutes, once per machine"),
        pause=_built("pause", "-s -w", "a few seconds"),
    )


def link(binaries: Binaries, folder: Path) -> None:
    """Puts `kubectl` and `helm` into a folder; both programs look at the name they are called by."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in {"kubectl": binaries.kube, "helm": binaries.tools}.items():
        place = folder / name
        if not place.is_symlink() or str(place.readlink()) != target:
            scratch = folder / f".{name}"
            scratch.unlink(missing_ok=True)
            scratch.symlink_to(target)
            scratch.rename(place)  # in one step: somebody may be running kubectl right now


def _built(name: str, linker_flags: str, expect: str) -> str:
    folder = _SOURCES / name
    inputs = sorted(p for p in folder.iterdir() if p.suffix in {".go", ".mod", ".sum"})
    identity = cache.key(name, *_BUILD, linker_flags, *inputs)
    what = {"kube": "Kubernetes", "tools": "CoreDNS, Helm, kwok and the volume provisioner"}.get(name, name)
    place = cache.publish(
        "bin", identity, lambda out: _compile(folder, out / name, linker_flags), what=what, expect=expect
    )
    return str(place / name)


def _compile(folder: Path, output: Path, linker_flags: str) -> None:
    require_go()
    command = [*_BUILD, "-ldflags", linker_flags, "-o", str(output), "."]
    # Go's own download lines are the progress report; the compiler's silence after them is normal.
    result = subprocess.run(command, cwd=folder, env=os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}, check=False)
    if result.returncode:
        raise ClusterError(f"{' '.join(command)} failed in {folder}; its message is above")


def require_go() -> None:
    """Raises `ClusterError` with the fix when there is no Go, or one too old for these sources."""
    wanted = ".".join(map(str, _MINIMUM_GO))
    fix = f"install Go {wanted} or newer from https://go.dev/dl and put its bin folder on PATH"
    if shutil.which("go") is None:
        raise ClusterError(f"no go command found: {fix}")
    said = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", said)
    if not found or (int(found[1]), int(found[2])) < _MINIMUM_GO:
        raise ClusterError(f"{said} is too old to build Kubernetes: {fix}")


def _kubernetes_flags() -> str:
    """Linker flags that tell the programs their version, which `go build` alone does not."""
    module = (_SOURCES / "kube" / "go.mod").read_text()
    found = re.search(r"^\tk8s\.io/kubernetes v(\d+)\.(\d+)\.(\d+)$", module, re.MULTILINE)
    if not found:
        raise ClusterError(f"no k8s.io/kubernetes version in {_SOURCES / 'kube' / 'go.mod'}: restore the file")
    major, minor, patch = found.groups()
    values = {
        "gitVersion": f"v{major}.{minor}.{patch}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": _NO_COMMIT,
        "buildDate": "1970-01-01T00:00:00Z",
    }
    flags = "-s -w"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        flags += "".join(f" -X {package}.{name}={value}" for name, value in values.items())
    return flags
