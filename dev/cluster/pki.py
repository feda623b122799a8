"""The cluster's certificates, made once with the openssl command. Knows names and key files, not who uses them."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dev.cluster.layout import DOMAIN, NODE, NODE_IP, SERVICE_API_IP

_DAYS = "3650"
_API_NAMES = (
    f"DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.{DOMAIN},"
    f"DNS:localhost,IP:127.0.0.1,IP:{SERVICE_API_IP},IP:{NODE_IP}"
)
_SERVERS = {
    "apiserver": ("/CN=kube-apiserver", _API_NAMES),
    "kubelet-server": (f"/O=system:nodes/CN=system:node:{NODE}", f"DNS:{NODE},DNS:localhost,IP:127.0.0.1,IP:{NODE_IP}"),
}
_CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "apiserver-kubelet": "/O=system:masters/CN=apiserver-kubelet",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "kubelet": f"/O=system:nodes/CN=system:node:{NODE}",
    "proxy": "/CN=system:kube-proxy",
    "coredns": "/CN=dormouse:coredns",
    "provisioner": "/CN=dormouse:provisioner",
}
# Python 3.13 and later verify strictly: a CA needs its key usage, and every certificate the key identifiers.
_CONFIG = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign,digitalSignature
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
# Who gets a kubeconfig: everybody who talks to the API server as a client with a name of their own.
CLIENTS = tuple(name for name in _CLIENTS if name != "apiserver-kubelet")


def make(folder: Path) -> None:
    """Fills `folder` with CA, server and client certificates and the service account key; does nothing when done.

    The mark is written last, so that a run killed half-way starts over with one consistent set.
    """
    mark = folder / "done"
    if mark.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / "openssl.cnf").write_text(_CONFIG)
    for name in ("ca", "front-ca"):
        _request(folder, name, f"/CN=dormouse-{name}", ["-extensions", "ca"])
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(folder / "sa.key"))
    _openssl("ec", "-in", str(folder / "sa.key"), "-pubout", "-out", str(folder / "sa.pub"))
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(_signed, folder, name, *rest) for name, rest in _SERVERS.items()]
        jobs += [pool.submit(_signed, folder, name, subject) for name, subject in _CLIENTS.items()]
        jobs.append(pool.submit(_signed, folder, "front-proxy", "/CN=front-proxy", by="front-ca"))
        for job in jobs:
            job.result()
    mark.touch()


def _signed(folder: Path, name: str, subject: str, alternative: str = "", *, by: str = "ca") -> None:
    signer = ["-extensions", "leaf", "-CA", str(folder / f"{by}.crt"), "-CAkey", str(folder / f"{by}.key")]
    names = ["-addext", f"subjectAltName={alternative}"] if alternative else []
    _request(folder, name, subject, [*signer, *names])


def _request(folder: Path, name: str, subject: str, extra: list[str]) -> None:
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    common = ["-x509", "-config", str(folder / "openssl.cnf"), "-days", _DAYS, "-subj", subject]
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]
    _openssl("req", *common, *new_key, *extra, "-out", str(certificate))


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, stdin=subprocess.DEVNULL)
