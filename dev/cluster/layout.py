"""Names, addresses and paths of a cluster. Decides where things are; starts and writes nothing."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

NODE = "dormouse-node"
NODE_LINK = "dormouse0"  # a bridge without ports: carries the node's address and the route of the ClusterIPs
POD_BRIDGE = "dormouse1"
NODE_IP = "10.97.0.1"
SERVICE_CIDR, SERVICE_API_IP = "10.96.0.0/16", "10.96.0.1"
POD_CIDR = "10.244.0.0/16"
NODE_POD_CIDR = "10.244.0.0/24"
DOMAIN = "cluster.local"
PAUSE_IMAGE = "localhost/pause:1"
POD_CGROUP = "kubepods"  # fixed by the kubelet, hence one cluster with a node per machine

API_PORT = 6443
ROUTER_PORT = 11434
HUB_PORT = 8900

RUN_ROOT = Path("/run/dormouse")
_SOCKET_LIMIT = 107  # bytes in sockaddr_un.sun_path, less the closing zero


class ClusterError(Exception):
    """Something the caller can put right; the message says how."""


@dataclass(frozen=True)
class Ports:
    """Loopback ports of the control plane's processes."""

    api: int = API_PORT
    etcd: int = 2379
    etcd_peer: int = 2380
    controller_manager: int = 10257
    scheduler: int = 10259
    kwok: int = 10247


@dataclass(frozen=True)
class Layout:
    """Every path of one cluster. `state` outlives `down`; `run` holds pids and sockets and must be short."""

    state: Path
    run: Path

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def kubeconfigs(self) -> Path:
        """One kubeconfig for each component, valid inside the cluster's network namespace."""
        return self.state / "kubeconfigs"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig as seen from the machine, through the forwarder."""
        return self.state / "kubeconfig"

    @property
    def conf(self) -> Path:
        return self.state / "conf"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def bin(self) -> Path:
        """Symlinks to kubectl and helm."""
        return self.state / "bin"

    @property
    def volumes(self) -> Path:
        return self.state / "volumes"

    @property
    def etcd(self) -> Path:
        return self.state / "etcd"

    @property
    def containerd(self) -> Path:
        return self.state / "containerd"

    @property
    def kubelet(self) -> Path:
        return self.state / "kubelet"

    @property
    def forwards(self) -> Path:
        return self.state / "forwards.json"

    @property
    def pids(self) -> Path:
        return self.run / "pids"

    @property
    def network(self) -> Path:
        """The file that keeps the cluster's network namespace alive and names it."""
        return self.run / "net"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def forward_socket(self) -> Path:
        return self.run / "forward.sock"

    def check_sockets(self) -> None:
        """Raises `ClusterError` when a unix socket below these folders would have too long a path."""
        longest = self.kubelet / "pod-resources" / "kubelet.sock"
        size = len(os.fsencode(longest))
        if size > _SOCKET_LIMIT:
            raise ClusterError(
                f"{longest} is {size} bytes long and a unix socket's path may have {_SOCKET_LIMIT}: "
                "move the clone to a shorter path, or set DORMOUSE_CLUSTER_DIR to a short folder for its state"
            )


def node_layout(state: Path | None = None) -> Layout:
    """The layout of this clone's cluster: state in `<repository>/.cluster` or `$DORMOUSE_CLUSTER_DIR`.

    Pids and sockets lie below /run, named after the state's path: short however long the clone's path is, gone
    after a reboot like the processes they speak of, and still there when somebody deletes a clone that runs.
    """
    chosen = state or Path(os.environ.get("DORMOUSE_CLUSTER_DIR") or REPOSITORY / ".cluster")
    chosen = chosen.resolve()
    name = hashlib.sha256(os.fsencode(chosen)).hexdigest()[:8]
    return Layout(state=chosen, run=RUN_ROOT / name)
