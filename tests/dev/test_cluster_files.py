"""What the cluster writes before it starts anything: paths, certificates, configuration, command lines."""

from __future__ import annotations

import io
import json
import ssl
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest

from dev import host
from dev.cluster import binaries, configs, images, lifecycle, pki
from dev.cluster.components import Components
from dev.cluster.layout import ClusterError, Layout, Ports, node_layout

BUILT = binaries.Binaries(kube="/bin/kube", tools="/bin/tools", pause="/bin/pause")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(state=tmp_path / "state", run=tmp_path / "run")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    pki.make(folder)
    return folder


def test_two_clones_differ_in_state_and_run_folder() -> None:
    one, two = node_layout(Path("/tmp/one/.cluster")), node_layout(Path("/tmp/two/.cluster"))
    assert one.state != two.state
    assert one.run != two.run
    assert len(str(one.containerd_socket)) < 50


def test_the_state_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DORMOUSE_CLUSTER_DIR", "/tmp/elsewhere")
    assert node_layout().state == Path("/tmp/elsewhere")


def test_a_path_too_long_for_a_socket_is_refused_with_the_way_out(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90) / ".cluster"
    with pytest.raises(ClusterError, match="DORMOUSE_CLUSTER_DIR"):
        node_layout(long).check_sockets()
    node_layout(Path("/tmp/xyz/.cluster")).check_sockets()


def test_certificates_pass_strict_verification(certificates: Path) -> None:
    for name in ("apiserver", "kubelet-server", "admin", "kubelet"):
        command = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt", f"{name}.crt"]
        assert subprocess.run(command, cwd=certificates, capture_output=True, check=False).returncode == 0, name
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    context.load_cert_chain(certificates / "admin.crt", certificates / "admin.key")


def test_keys_are_the_owners_alone(certificates: Path) -> None:
    assert certificates.stat().st_mode & 0o077 == 0
    assert all(key.stat().st_mode & 0o077 == 0 for key in certificates.glob("*.key"))


def test_certificates_are_made_once_and_made_anew_when_half_made(certificates: Path, tmp_path: Path) -> None:
    before = (certificates / "ca.crt").read_bytes()
    pki.make(certificates)
    assert (certificates / "ca.crt").read_bytes() == before
    half = tmp_path / "pki"
    half.mkdir()
    (half / "ca.crt").write_text("half a certificate")
    pki.make(half)
    assert (half / "ca.crt").read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_a_kubeconfig_names_server_user_and_certificates(certificates: Path, tmp_path: Path) -> None:
    content = json.loads(configs.kubeconfig(certificates, "admin", "https://127.0.0.1:7443"))
    assert content["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:7443"
    assert content["contexts"][0]["context"] == {"cluster": "dormouse", "user": "admin", "namespace": "default"}
    assert content["users"][0]["user"].keys() == {"client-certificate-data", "client-key-data"}
    configs.write_secret(tmp_path / "kubeconfig", "secret")
    assert (tmp_path / "kubeconfig").stat().st_mode & 0o077 == 0


def test_the_nodes_files_can_be_read_by_what_they_are_for(layout: Layout) -> None:
    files = configs.node_files(layout)
    containerd = tomllib.loads(files["containerd.toml"])
    cri = containerd["plugins"]["io.containerd.grpc.v1.cri"]
    assert containerd["grpc"]["address"] == str(layout.containerd_socket)
    assert cri["restrict_oom_score_adj"] is True
    assert cri["sandbox_image"] == "localhost/pause:1"
    kubelet = json.loads(files["kubelet.yaml"])
    assert kubelet["containerRuntimeEndpoint"] == f"unix://{layout.containerd_socket}"
    assert set(kubelet["evictionHard"].values()) == {"0%"}
    network = json.loads(files["cni/10-dormouse.conflist"])
    assert [plugin["type"] for plugin in network["plugins"]] == ["bridge", "portmap"]
    assert str(layout.kubeconfigs) in files["Corefile"]


def test_only_a_plane_without_node_stays_on_loopback(layout: Layout) -> None:
    with_node = Components(layout, BUILT, Ports(), node=True).apiserver()
    without = Components(layout, BUILT, Ports(api=7000), node=False, audit=Path("/tmp/audit")).apiserver()
    assert "--bind-address=0.0.0.0" in with_node
    assert not [flag for flag in with_node if flag.startswith("--audit")]
    assert {"--bind-address=127.0.0.1", "--secure-port=7000", "--audit-log-path=/tmp/audit"} <= set(without)


def test_every_component_uses_the_ports_it_is_given(layout: Layout) -> None:
    ports = Ports(api=1, etcd=2, etcd_peer=3, controller_manager=4, scheduler=5, kwok=6)
    parts = Components(layout, BUILT, ports, node=False)
    assert parts.api_url == "https://127.0.0.1:1"
    assert "--listen-client-urls=http://127.0.0.1:2" in parts.etcd()
    assert "--listen-peer-urls=http://127.0.0.1:3" in parts.etcd()
    assert "--secure-port=4" in parts.controller_manager()
    assert "--secure-port=5" in parts.scheduler()
    assert "--server-address=127.0.0.1:6" in parts.kwok()


def test_a_packed_image_holds_its_program_and_names_it(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_bytes(b"\x7fELF")
    with tarfile.open(fileobj=io.BytesIO(images.pack("localhost/tool:1", program))) as archive:
        content = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    assert json.loads(content["manifest.json"])[0]["RepoTags"] == ["localhost/tool:1"]
    assert json.loads(content["config.json"])["config"]["Entrypoint"] == ["/tool"]
    with tarfile.open(fileobj=io.BytesIO(content["layer.tar"])) as layer:
        (member,) = layer.getmembers()
        assert (member.name, member.mode) == ("tool", 0o755)


@pytest.mark.parametrize(
    ("status", "beat", "taints", "expected"),
    [
        ("True", "2026-11-21T12:00:10Z", None, True),
        ("True", "2026-11-21T12:00:00Z", None, False),  # told before the kubelet was started: old news
        ("False", "2026-11-21T12:00:10Z", None, False),
        ("True", "2026-11-21T12:00:10Z", [{"key": "node.kubernetes.io/not-ready"}], False),
    ],
)
def test_a_node_is_ready_by_fresh_news_and_without_taints(
    status: str, beat: str, taints: list[dict[str, str]] | None, expected: bool
) -> None:
    since = 1795262405  # 2026-11-21T12:00:05Z
    conditions = [{"type": "Ready", "status": status, "lastHeartbeatTime": beat}]
    spec = {"taints": taints} if taints else {}
    assert lifecycle.node_ready({"status": {"conditions": conditions}, "spec": spec}, since) is expected


def test_the_versions_told_to_kubernetes_are_the_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kube").mkdir()
    (tmp_path / "kube" / "go.mod").write_text("module kube\n\nrequire (\n\tk8s.io/kubernetes v1.40.3\n)\n")
    monkeypatch.setattr(binaries, "_SOURCES", tmp_path)
    flags = binaries._kubernetes_flags()
    assert "-X k8s.io/component-base/version.gitVersion=v1.40.3" in flags
    assert "-X k8s.io/client-go/pkg/version.gitMinor=40" in flags


@pytest.mark.parametrize(
    ("version", "good"), [("go1.26.0", True), ("go1.27rc1", True), ("go1.25.9", False), ("devel", False)]
)
def test_an_old_go_is_refused_with_the_fix(
    version: str, good: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\necho {version}\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if good:
        binaries.require_go()
    else:
        with pytest.raises(ClusterError, match=r"too old[^$]*install Go 1\.26"):
            binaries.require_go()


def test_no_go_at_all_is_refused_with_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="no go command"):
        binaries.require_go()


def test_kubectl_and_helm_are_links_that_follow_a_new_build(tmp_path: Path) -> None:
    binaries.link(BUILT, tmp_path)
    assert {p.name: str(p.readlink()) for p in tmp_path.iterdir()} == {"kubectl": "/bin/kube", "helm": "/bin/tools"}
    binaries.link(binaries.Binaries(kube="/new/kube", tools="/bin/tools", pause="/bin/pause"), tmp_path)
    assert str((tmp_path / "kubectl").readlink()) == "/new/kube"


def test_only_missing_packages_are_installed() -> None:
    every = frozenset(name for names in host.PACKAGES.values() for name in names)
    assert host.missing(every) == []
    assert host.missing(every - {"runc", "conntrack"}) == ["runc", "conntrack"]
    assert host.missing((every - {"nginx-light"}) | {"nginx-full"}) == []


@pytest.mark.parametrize(("user", "lacks", "status"), [(0, ["runc"], 0), (1000, [], 0), (1000, ["runc"], 1)])
def test_only_what_is_missing_needs_root(
    user: int, lacks: list[str], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    got: list[str] = []
    monkeypatch.setattr("dev.host.os.geteuid", lambda: user)
    monkeypatch.setattr(host, "installed", frozenset)
    monkeypatch.setattr(host, "missing", lambda _: lacks)
    monkeypatch.setattr(host, "install", got.extend)
    assert host.main() == status
    assert got == (lacks if user == 0 else [])
    assert ("runc: installing these packages needs root" in capsys.readouterr().err) is bool(status)


def test_nothing_missing_runs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[object] = []
    monkeypatch.setattr("dev.host.subprocess.run", lambda *command, **_: ran.append(command))
    monkeypatch.setattr(host, "_POLICY", tmp_path / "policy-rc.d")
    host.install([])
    assert ran == []
    assert list(tmp_path.iterdir()) == []


def test_services_may_not_start_while_packages_are_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    policy, seen = tmp_path / "policy-rc.d", tmp_path / "seen"
    apt = tmp_path / "apt-get"
    lines = (
        "#!/bin/sh",
        f'{policy}; echo "policy $? $@" >> {seen}',
        f'test "$1" = update && touch {seen}.lists',
        f"test -e {seen}.lists",  # without lists nothing can be installed
    )
    apt.write_text("\n".join(lines))
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(host, "_POLICY", policy)
    host.install(["containerd"])
    first, second, third = seen.read_text().splitlines()
    assert first.startswith("policy 101 install")  # with the lists there are: most of the time they will do
    assert second.startswith("policy 101 update")
    assert third.startswith("policy 101 install")
    assert third.endswith("containerd")
    assert not policy.exists()
