"""Renders the components' configuration files. Pure: a layout in, texts by file name out."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from dev.cluster import pki
from dev.cluster.layout import (
    DOMAIN,
    NODE,
    NODE_IP,
    NODE_POD_CIDR,
    PAUSE_IMAGE,
    POD_BRIDGE,
    POD_CIDR,
    Layout,
)

CNI_PLUGINS = "/usr/lib/cni"
DNS_READY_PORT = 18081
_NO_EVICTION = ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree")
_NO_PLUGINS = (
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
)


def node_files(layout: Layout) -> dict[str, str]:
    """Every file of the node's components, by its name below `layout.conf`."""
    return {
        "cni/10-dormouse.conflist": _json(_network(layout)),
        "containerd.toml": _containerd(layout),
        "resolv.conf": "# nothing outside the cluster resolves\n",
        "kubelet.yaml": _json(_kubelet(layout)),
        "proxy.yaml": _json(_proxy(layout)),
        "Corefile": _corefile(layout),
    }


def audit_policy() -> str:
    """Who did what to which object, once per request, without bodies."""
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }
    return _json(policy)


def kubeconfig(folder: Path, user: str, url: str) -> str:
    """A kubeconfig (as JSON, which is YAML) with the user's certificate from the folder of certificates."""
    cluster = {"server": url, "certificate-authority-data": _data(folder / "ca.crt")}
    credentials = {
        "client-certificate-data": _data(folder / f"{user}.crt"),
        "client-key-data": _data(folder / f"{user}.key"),
    }
    context = {"cluster": "dormouse", "user": user, "namespace": "default"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "dormouse",
        "clusters": [{"name": "dormouse", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "dormouse", "context": context}],
    }
    return _json(content)


def write_kubeconfigs(layout: Layout, url: str) -> None:
    """One kubeconfig for each client, readable by the owner only."""
    layout.kubeconfigs.mkdir(parents=True, exist_ok=True)
    for user in pki.CLIENTS:
        write_secret(layout.kubeconfigs / user, kubeconfig(layout.pki, user, url))


def write_secret(path: Path, content: str) -> None:
    """Writes a file that only its owner may read, in one step."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.touch(mode=0o600)
    scratch.write_text(content)
    scratch.rename(path)


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Writes rendered files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _network(layout: Layout) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": NODE_POD_CIDR}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(layout.run / "cni-addresses"),
    }
    bridge = {
        "type": "bridge",
        "bridge": POD_BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": False,  # there is nowhere to go: the namespace has no way out
        "ipam": addresses,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "dormouse", "plugins": [bridge, ports]}


def _containerd(layout: Layout) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    runc = f"{cri}.containerd.runtimes.runc"
    # restrict_oom_score_adj: root without CAP_SYS_RESOURCE may not lower it, and runc then dies without a word.
    # netns_mounts_under_state_dir and Root: so that nothing of ours stays below /run/netns and /run/runc.
    return f'''version = 2
root = "{layout.containerd}"
state = "{layout.run}/containerd"
disabled_plugins = {json.dumps(_NO_PLUGINS)}
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{layout.containerd}/opt"
[{cri}]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_tcp_service = true
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  max_concurrent_downloads = 1
  [{cri}.cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{layout.conf}/cni"
  [{cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [{runc}]
      runtime_type = "io.containerd.runc.v2"
      [{runc}.options]
        SystemdCgroup = false
        Root = "{layout.run}/runc"
'''


def _kubelet(layout: Layout) -> dict[str, Any]:
    certificates = layout.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_IP,
        "port": 10250,
        "readOnlyPort": 0,
        "healthzPort": 10248,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(certificates / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificates / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(certificates / "kubelet-server.key"),
        "clusterDomain": DOMAIN,
        "clusterDNS": [NODE_IP],
        "resolvConf": str(layout.conf / "resolv.conf"),
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": dict.fromkeys(_NO_EVICTION, "0%"),
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "imagePullCredentialsVerificationPolicy": "NeverVerify",
        "podLogsDir": str(layout.state / "pod-logs"),
        "volumePluginDir": str(layout.state / "volume-plugins"),
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "serializeImagePulls": False,
        "maxPods": 110,
    }


def _proxy(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(layout.kubeconfigs / "proxy")},
        "clusterCIDR": POD_CIDR,
        "oomScoreAdj": 0,
        "hostnameOverride": NODE,
        "nodePortAddresses": ["127.0.0.0/8"],
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {"maxPerCore": 0, "min": 0},
        "iptables": {"minSyncPeriod": "0s", "localhostNodePorts": True},
    }


def _corefile(layout: Layout) -> str:
    # Two server blocks, because `template` runs before `kubernetes` and would swallow the cluster's own names.
    return f"""{DOMAIN} in-addr.arpa ip6.arpa {{
  bind {NODE_IP}
  errors
  health 127.0.0.1:18080
  ready 127.0.0.1:{DNS_READY_PORT}
  kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
    kubeconfig {layout.kubeconfigs}/coredns dormouse
    ttl 5
  }}
  cache 5
  loadbalance
}}
. {{
  bind {NODE_IP}
  template ANY ANY . {{
    rcode NXDOMAIN
  }}
}}
"""


def _json(content: Any) -> str:
    return json.dumps(content, indent=1)


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
