"""Up and down of the cluster with a node: the order of things, and what is kept between a down and the next up."""

from __future__ import annotations

import calendar
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dev.cluster import binaries, configs, forwarding, images, netns, node, owner, pki, probe
from dev.cluster.components import Components
from dev.cluster.layout import NODE, REPOSITORY, ClusterError, Layout, Ports
from dev.cluster.plane import API_PATIENCE, Plane
from dev.cluster.policies import firewall
from dev.cluster.processes import Processes

_COMMANDS = (
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
    "iptables",
    "nft",
    "conntrack",
    "ip",
    "mount",
    "nsenter",
    "openssl",
)
_ADDONS = Path(__file__).with_name("addons.yaml")
# Whoever starts pods goes first, whatever others stand on goes last.
_STOP_FIRST = ("policies", "provisioner", "coredns", "kubelet", "scheduler", "controller-manager")
_STOP_LAST = ("kube-proxy", "apiserver", "containerd", "etcd", "forwarder")


class Cluster:
    """The cluster whose state lies in one folder. Every step may be repeated: what is there is left alone."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.processes = Processes(layout.pids, layout.logs)

    def up(self) -> None:
        """Starts whatever does not run and returns when pods can be scheduled and names resolve."""
        _require_root_and_commands()
        self.layout.check_sockets()
        built = binaries.ensure()
        components = Components(self.layout, built, Ports(), node=True)
        with owner.taken(self.layout, self._remove_traces_of):
            say = _stopwatch()
            self._write_files(components)
            binaries.link(built, self.layout.bin)
            netns.create(self.layout.network)
            self._start_forwarder()
            say("certificates, configuration, network namespace")
            with netns.inside(self.layout.network):
                self._start_inside(components, say)

    def down(self, wipe: bool = False) -> None:
        """Stops everything and removes every trace from the machine; volumes, images and objects stay unless wiped."""
        _require_root()
        with owner.locked():
            if self.layout.run.exists():
                self._remove_traces()
            if wipe and self.layout.state.exists():
                shutil.rmtree(self.layout.state)

    def restart(self, name: str) -> None:
        """Stops one component with SIGTERM (when it runs) and starts it again, back when the cluster is ready."""
        self._known(name)
        self._stop(name)
        self.up()

    def kill(self, name: str) -> None:
        """SIGKILL to one component, back when it is gone. `up` or `restart` repairs."""
        self._known(name)
        self.processes.kill(name)

    def enforce_policies(self, wanted: bool) -> None:
        """Makes NetworkPolicies count, back when those that exist do; or lets every packet pass again."""
        with netns.inside(self.layout.network):
            if wanted:
                argv = [sys.executable, "-m", "dev.cluster.policies", str(self.layout.pki)]
                self.processes.start("policies", argv, env={"PYTHONPATH": str(REPOSITORY)})
                waiter = probe.Waiter(self.processes)
                waiter.until("rules of the firewall", firewall.enforced, of="policies")
            else:
                self.processes.stop("policies")
                firewall.remove()

    def running(self) -> bool:
        """Whether any process of this cluster lives."""
        return any(self.processes.alive(name) for name in self.processes.names())

    def kubectl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs kubectl as the administrator through the forwarder and returns its output as text."""
        command = [str(self.layout.bin / "kubectl"), "--kubeconfig", str(self.layout.kubeconfig), *arguments]
        return subprocess.run(command, check=check, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def _known(self, name: str) -> None:
        if name not in self.processes.names():
            raise ClusterError(f"there is no {name} here; there are: {', '.join(self.processes.names()) or 'none'}")

    def _write_files(self, components: Components) -> None:
        layout = self.layout
        for folder in (layout.run, layout.logs, layout.volumes, layout.state / "volume-plugins"):
            folder.mkdir(parents=True, exist_ok=True)
        layout.state.chmod(0o755)  # pods of any user reach their volumes through it
        layout.run.chmod(0o700)
        pki.make(layout.pki)
        configs.write_kubeconfigs(layout, components.api_url)
        configs.write_files(layout.conf, configs.node_files(layout))

    def _start_forwarder(self) -> None:
        argv = [sys.executable, "-m", "dev.cluster.forward", str(self.layout.state), str(self.layout.run)]
        self.processes.start("forwarder", argv, env={"PYTHONPATH": str(REPOSITORY)})
        waiter = probe.Waiter(self.processes)
        waiter.until("an answer from the forwarder", lambda: _answers(self.layout), of="forwarder")
        url = f"https://127.0.0.1:{forwarding.api_port(self.layout)}"
        configs.write_secret(self.layout.kubeconfig, configs.kubeconfig(self.layout.pki, "admin", url))

    def _start_inside(self, components: Components, say: Callable[[str], None]) -> None:
        node.prepare(self.layout)
        plane = Plane(components, self.processes)
        self.processes.start("containerd", components.containerd())
        plane.start_store()
        plane.start_api()
        waiter = probe.Waiter(self.processes)
        waiter.until("an answer from containerd", lambda: images.answers(self.layout), of="containerd")
        images.ensure_pause(self.layout, Path(components.binaries.pause))
        say("containerd and etcd")
        plane.await_api()
        say("API server")
        plane.start_controllers()
        self._start_node(components, plane, waiter)
        say("node ready")
        dns = f"http://127.0.0.1:{configs.DNS_READY_PORT}/ready"
        waiter.until("cluster DNS", lambda: probe.get(dns), of="coredns")
        plane.await_controllers()
        say(f"everything; export KUBECONFIG={self.layout.kubeconfig}")

    def _start_node(self, components: Components, plane: Plane, waiter: probe.Waiter) -> None:
        node.mount_small_disks(self.layout)
        since = 0 if self.processes.alive("kubelet") else int(time.time())
        self.processes.start("kubelet", components.kubelet())
        self.processes.start("kube-proxy", components.proxy())
        inside = ["--kubeconfig", str(self.layout.kubeconfigs / "admin")]
        apply = [components.binaries.kube, "kubectl", *inside, "apply", "--server-side", "--force-conflicts"]
        subprocess.run([*apply, "-f", str(_ADDONS)], check=True, capture_output=True)
        self.processes.start("coredns", components.dns())
        self.processes.start("provisioner", components.provisioner())
        path = f"/api/v1/nodes/{NODE}"
        waiter.until("a ready node", lambda: node_ready(plane.api.json(path), since), of="kubelet")

    def _remove_traces(self) -> None:
        for name in _STOP_FIRST:
            self.processes.stop(name)
        node.kill_pods()
        for name in _STOP_LAST:
            self._stop(name)
        node.kill_shims(self.layout)
        node.clear(self.layout)
        netns.delete(self.layout.network)
        shutil.rmtree(self.layout.run)
        owner.release(self.layout)

    def _stop(self, name: str) -> None:
        if name == "apiserver":
            self.processes.stop(name, API_PATIENCE)
        else:
            self.processes.stop(name)

    def _remove_traces_of(self, other: Layout) -> None:
        Cluster(other)._remove_traces()


def node_ready(found: dict[str, Any], since: int) -> bool:
    """Whether the node is ready by a heartbeat not older than `since` (seconds since 1970) and takes pods.

    A kubelet that was just started finds its old status in the API server, which is why the heartbeat counts.
    """
    ready = next(c for c in found["status"]["conditions"] if c["type"] == "Ready")
    beat = calendar.timegm(time.strptime(ready["lastHeartbeatTime"], "%Y-%m-%dT%H:%M:%SZ"))
    return ready["status"] == "True" and beat >= since and not found["spec"].get("taints")


def _answers(layout: Layout) -> bool:
    try:
        return bool(forwarding.rules(layout))
    except (ClusterError, json.JSONDecodeError):
        return False


def _require_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError("a node needs root for namespaces, mounts and cgroups: run it with sudo")


def _require_root_and_commands() -> None:
    _require_root()
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in _COMMANDS if shutil.which(name, path=search) is None]
    if not Path(configs.CNI_PLUGINS, "bridge").exists():
        missing.append("CNI plugins")
    if missing:
        raise ClusterError(f"not installed: {', '.join(missing)}. `python -m dev.host` installs what is missing")


def _stopwatch() -> Callable[[str], None]:
    started = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - started:6.2f} s  {what}", flush=True)

    return say
