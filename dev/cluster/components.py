"""The command line of each component. Pure: says what to start, never starts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dev.cluster.binaries import Binaries
from dev.cluster.layout import DOMAIN, NODE, NODE_IP, SERVICE_CIDR, Layout, Ports

_LOOPBACK = "127.0.0.1"
PROVISIONER = "dormouse.dev/hostpath"


@dataclass(frozen=True)
class Components:
    """Command lines for one cluster. `node`: whether a kubelet belongs to it; `audit`: an audit log file, if wanted."""

    layout: Layout
    binaries: Binaries
    ports: Ports
    node: bool
    audit: Path | None = None

    @property
    def api_url(self) -> str:
        """The API server as its own machine sees it (inside the network namespace, where there is one)."""
        return f"https://{_LOOPBACK}:{self.ports.api}"

    @property
    def etcd_url(self) -> str:
        return f"http://{_LOOPBACK}:{self.ports.etcd}"

    def etcd(self) -> list[str]:
        peer = f"http://{_LOOPBACK}:{self.ports.etcd_peer}"
        return [
            self.binaries.kube,
            "etcd",
            "--name=dormouse",
            f"--data-dir={self.layout.etcd}",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=dormouse={peer}",
            "--unsafe-no-fsync",  # survives any killed process, not a power cut: right for development
            "--log-level=warn",
        ]

    def apiserver(self) -> list[str]:
        keys = self.layout.pki
        command = [
            self.binaries.kube,
            "kube-apiserver",
            f"--etcd-servers={self.etcd_url}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            f"--bind-address={'0.0.0.0' if self.node else _LOOPBACK}",
            f"--secure-port={self.ports.api}",
            f"--advertise-address={NODE_IP}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={keys}/ca.crt",
            f"--tls-cert-file={keys}/apiserver.crt",
            f"--tls-private-key-file={keys}/apiserver.key",
            f"--service-account-key-file={keys}/sa.pub",
            f"--service-account-signing-key-file={keys}/sa.key",
            f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={keys}/apiserver-kubelet.crt",
            f"--kubelet-client-key={keys}/apiserver-kubelet.key",
            f"--kubelet-certificate-authority={keys}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={keys}/front-ca.crt",
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={keys}/front-proxy.crt",
            f"--proxy-client-key-file={keys}/front-proxy.key",
            "--profiling=false",
            "--v=1",
        ]
        if not self.node:
            command.append("--endpoint-reconciler-type=none")  # nobody dials the kubernetes Service here
        if self.audit:
            command += [f"--audit-policy-file={self.layout.conf}/audit.yaml", f"--audit-log-path={self.audit}"]
        return command

    def controller_manager(self) -> list[str]:
        keys = self.layout.pki
        return [
            *self._client("kube-controller-manager", "controller-manager", self.ports.controller_manager),
            f"--flex-volume-plugin-dir={self.layout.state}/volume-plugins",
            f"--service-account-private-key-file={keys}/sa.key",
            f"--root-ca-file={keys}/ca.crt",
            "--use-service-account-credentials=true",
            f"--cluster-signing-cert-file={keys}/ca.crt",
            f"--cluster-signing-key-file={keys}/ca.key",
            f"--client-ca-file={keys}/ca.crt",
        ]

    def scheduler(self) -> list[str]:
        return self._client("kube-scheduler", "scheduler", self.ports.scheduler)

    def _client(self, applet: str, user: str, port: int) -> list[str]:
        return [
            self.binaries.kube,
            applet,
            f"--kubeconfig={self.layout.kubeconfigs}/{user}",
            f"--bind-address={_LOOPBACK}",
            f"--secure-port={port}",
            "--leader-elect=false",
            # The default of 20 a second costs an empty cluster five seconds: one token for each controller.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--profiling=false",
            "--v=1",
        ]

    def containerd(self) -> list[str]:
        return ["containerd", "-c", f"{self.layout.conf}/containerd.toml"]

    def kubelet(self) -> list[str]:
        return [
            self.binaries.kube,
            "kubelet",
            f"--config={self.layout.conf}/kubelet.yaml",
            f"--kubeconfig={self.layout.kubeconfigs}/kubelet",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_IP}",
            f"--root-dir={self.layout.kubelet}",
            f"--cert-dir={self.layout.state}/kubelet-pki",
            "--v=2",
        ]

    def proxy(self) -> list[str]:
        return [self.binaries.kube, "kube-proxy", f"--config={self.layout.conf}/proxy.yaml", "--v=1"]

    def dns(self) -> list[str]:
        return [self.binaries.tools, "coredns", "-conf", f"{self.layout.conf}/Corefile"]

    def provisioner(self) -> list[str]:
        return [
            self.binaries.tools,
            "hostpath-provisioner",
            f"-kubeconfig={self.layout.kubeconfigs}/provisioner",
            f"-dir={self.layout.volumes}",
            f"-name={PROVISIONER}",
        ]

    def kwok(self) -> list[str]:
        return [
            self.binaries.tools,
            "kwok",
            f"--kubeconfig={self.layout.kubeconfigs}/admin",
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            # as kubelets do: without leases all fake nodes, and their pods, are NotReady for a second now and again
            "--node-lease-duration-seconds=40",
            f"--config={self.layout.conf}/kwok-stages.yaml",
            f"--server-address={_LOOPBACK}:{self.ports.kwok}",
        ]
