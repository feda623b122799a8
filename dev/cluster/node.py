"""The traces a node leaves on the machine: links, kernel settings, mounts, cgroups, shims. Makes them and removes them.

Links, routes and firewall rules live in the cluster's network namespace and vanish with it; the rest is undone here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from dev.cluster.layout import NODE_IP, NODE_LINK, POD_CGROUP, SERVICE_CIDR, Layout

# Kernel-wide settings that the kubelet writes; the network's are per namespace.
_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
_CGROUPS = Path("/sys/fs/cgroup")
_SHIM_SOCKETS = Path("/run/containerd/s")  # fixed by containerd 1.6
_CONTAINER_LOGS = Path("/var/log/containers")
_NETWORK_RESULTS = Path("/var/lib/cni/results")
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")  # fixed by the kubelet
_LEFT_EMPTY = (
    _SHIM_SOCKETS,
    _SHIM_SOCKETS.parent,
    _CONTAINER_LOGS,
    _NETWORK_RESULTS,
    _NETWORK_RESULTS.parent,
    _DEVICE_PLUGINS.parent,
)
_KILL_SECONDS = 10.0
_CHAINS = ("KUBE-", "CNI-")


def prepare(layout: Layout) -> None:
    """Brings up the node's link and routes; call it inside the cluster's network namespace."""
    saved = layout.run / "settings.json"
    if not saved.exists():
        present = {name: Path("/proc/sys", name) for name in _SETTINGS}
        saved.write_text(json.dumps({name: path.read_text() for name, path in present.items() if path.exists()}))
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    if not _link_exists(NODE_LINK):
        _run("ip", "link", "add", NODE_LINK, "type", "bridge")  # not every kernel has the dummy device
    _run("ip", "addr", "replace", f"{NODE_IP}/32", "dev", NODE_LINK)
    _run("ip", "link", "set", NODE_LINK, "up")
    # A ClusterIP that nobody has programmed yet must die here rather than be unroutable: clients then retry.
    _run("ip", "route", "replace", SERVICE_CIDR, "dev", NODE_LINK)


def mount_small_disks(layout: Layout) -> None:
    """Mounts the volumes of enforced size again, empty: they are memory, and memory is gone after `down`."""
    mounted = set(_mounts_below(layout.volumes))
    limits = layout.volumes / ".limits"
    for limit in limits.glob("*") if limits.is_dir() else ():
        volume = layout.volumes / limit.name
        if str(volume) not in mounted:
            volume.mkdir(exist_ok=True)
            _run("mount", "-t", "tmpfs", "-o", f"mode=0777,size={int(limit.read_text())}", "tmpfs", str(volume))


def kill_pods() -> None:
    """SIGKILL to everything in the pods' cgroups, and back when nothing is left there."""
    deadline = time.monotonic() + _KILL_SECONDS
    while pids := {int(pid) for pod in _pod_cgroups() for pid in _cgroup_pids(pod)}:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def kill_shims(layout: Layout) -> None:
    """SIGKILL to the container shims that belong to this cluster's containerd."""
    socket_path = os.fsencode(layout.containerd_socket)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if b"containerd-shim" in arguments[0] and socket_path in arguments:
                os.kill(int(process.name), signal.SIGKILL)


def clear(layout: Layout) -> None:
    """Removes what the stopped processes left on the machine; the state folder's own files stay."""
    for folder in (layout.state, layout.run / "containerd", layout.run / "runc"):
        for mount in reversed(_mounts_below(folder)):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    for pod in _pod_cgroups():
        for path, _, _ in os.walk(pod, topdown=False):
            with contextlib.suppress(OSError):
                Path(path).rmdir()
    for name in ("containerd", "runc", "cni-addresses"):
        shutil.rmtree(layout.run / name, ignore_errors=True)
    _restore_settings(layout.run / "settings.json")
    _clear_files(layout)


def firewall_chains() -> list[str]:
    """Kubernetes' firewall chains in the calling thread's namespace: none on the machine itself, ever."""
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return [line for line in rules.splitlines() if line.startswith(tuple(f":{chain}" for chain in _CHAINS))]


def _restore_settings(saved: Path) -> None:
    if saved.exists():
        for name, value in json.loads(saved.read_text()).items():
            with contextlib.suppress(OSError):  # a container's root may be denied what its kernel shows
                Path("/proc/sys", name).write_text(value)
        saved.unlink()


def _clear_files(layout: Layout) -> None:
    for result in _NETWORK_RESULTS.glob("*"):  # of killed pods; each names its network namespace below our folder
        if f"{layout.run}/" in result.read_text(errors="replace"):
            result.unlink()
    for link in _CONTAINER_LOGS.glob("*"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{layout.state}/"):
            link.unlink(missing_ok=True)
    for path in _SHIM_SOCKETS.glob("*"):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:  # nobody answers: its shim is gone
                path.unlink(missing_ok=True)
    shutil.rmtree(_DEVICE_PLUGINS, ignore_errors=True)
    for folder in _LEFT_EMPTY:
        with contextlib.suppress(OSError):  # not empty: somebody else's
            folder.rmdir()


def _mounts_below(folder: Path) -> list[str]:
    points = [line.split(" ")[1] for line in Path("/proc/mounts").read_text().splitlines()]
    points = [point.encode().decode("unicode_escape") for point in points]  # spaces are written as \040
    return [point for point in points if point.startswith(f"{folder}/")]


def _pod_cgroups() -> Iterator[Path]:
    """The pods' root in every hierarchy: one with cgroup v2, one for each controller with v1."""
    for candidate in (_CGROUPS / POD_CGROUP, *_CGROUPS.glob(f"*/{POD_CGROUP}")):
        if candidate.is_dir():
            yield candidate


def _cgroup_pids(pod: Path) -> list[str]:
    found: list[str] = []
    for folder, _, _ in os.walk(pod):  # unlike rglob it shrugs when a folder vanishes under it, as here they do
        with contextlib.suppress(OSError):
            found += Path(folder, "cgroup.procs").read_text().split()
    return found


def _link_exists(name: str) -> bool:
    return subprocess.run(["ip", "link", "show", name], check=False, capture_output=True).returncode == 0


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
