"""Prepares a Debian machine for development: installs missing packages and checks Go. `python -m dev.host`.

Installs only what is missing, and lets no installed package start a service of its own: the project starts what it
needs, where it needs it. Knows what each part of the project asks of the machine and nothing else about it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dev import cache
from dev.cluster.binaries import require_go
from dev.cluster.layout import ClusterError

# Package by the reason it is asked for. Debian 12's names.
PACKAGES = {
    "the cluster's node": (
        "containerd",
        "runc",
        "containernetworking-plugins",
        "iptables",
        "nftables",
        "conntrack",
        "ipset",
        "socat",
        "ethtool",
        "iproute2",
        "mount",
        "openssl",
        "util-linux",
    ),
    "building images": ("buildah", "mmdebstrap"),
    "the engine on a CPU": ("libnuma1",),
    "the store beyond one router": ("postgresql", "redis-server"),
    "the node's own tests": ("busybox-static",),
    "benchmarks": ("nginx-light", "wrk"),
    "the alerts' own tests": ("prometheus",),
    "plain necessities": ("ca-certificates", "curl", "git", "make"),
}
_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# Nothing that is being installed may start a service.\nexit 101\n"


def main() -> int:
    """Brings the machine into shape and returns the exit status; running it again changes nothing."""
    try:
        _require_debian()
        if lacks := missing(installed()):
            _require_root(lacks)
            install(lacks)
        require_go()
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    cache.say("the machine has everything the project needs")
    return 0


def installed() -> frozenset[str]:
    """Names of the packages the machine has."""
    command = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return frozenset(name for name, status in (line.split() for line in lines) if status == "installed")


def missing(present: frozenset[str]) -> list[str]:
    """What has to be installed, in the order of the table. A bigger sibling will do for the small nginx."""
    wanted = [name for names in PACKAGES.values() for name in names]
    if present & {"nginx", "nginx-core", "nginx-full", "nginx-extras"}:
        wanted.remove("nginx-light")
    return [name for name in wanted if name not in present]


def install(names: list[str]) -> None:
    """Installs packages without recommendations, questions or started services; nothing to do for an empty list."""
    if not names:
        return
    cache.say(f"installing {', '.join(names)}")
    with _no_services():
        if not _apt("install", *names):
            cache.say("refreshing the package lists and trying again")  # fresh machines have none, or old ones
            if not (_apt("update") and _apt("install", *names)):
                raise ClusterError(f"apt-get could not install {', '.join(names)}: see its message above")


def _apt(action: str, *names: str) -> bool:
    options = ["--yes", "--quiet", "--quiet", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", action, *options, *names], env=environment, stdout=sys.stderr, check=False)
    return done.returncode == 0


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Denies package scripts the start of services, unless the machine already has a policy of its own."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_POLICY_TEXT)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _require_debian() -> None:
    if shutil.which("apt-get") is None:
        names = ", ".join(name for group in PACKAGES.values() for name in group)
        raise ClusterError(f"this is no Debian: install the counterparts of {names} by hand")


def _require_root(lacks: list[str]) -> None:
    if os.geteuid() != 0:
        raise ClusterError(f"{', '.join(lacks)}: installing these packages needs root: run it with sudo")


if __name__ == "__main__":
    sys.exit(main())
