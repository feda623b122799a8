"""The node's image store: import archives, list names, and the sandbox's own image. No registry takes part."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

from dev.cluster.layout import PAUSE_IMAGE, ClusterError, Layout

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def load(layout: Layout, archive: Path) -> list[str]:
    """Imports an OCI or docker archive and returns the names now in the store that were not there, or moved.

    A name that exists is moved to the archive's image; running pods keep the one they started with.
    """
    if not archive.is_file():
        raise ClusterError(f"{archive} is not a file: give the archive an image build wrote")
    before = _listed(layout)
    result = _ctr(layout, "images", "import", str(archive))
    if result.returncode:
        raise ClusterError(f"importing {archive} failed: {result.stderr.strip()}")
    return sorted(name for name, digest in _listed(layout).items() if before.get(name) != digest)


def names(layout: Layout) -> list[str]:
    """Names of the images in the store, without the digests' own entries."""
    return sorted(_listed(layout))


def remove(layout: Layout, name: str) -> None:
    """Removes a name; the blobs go when nothing uses them any more."""
    _ctr(layout, "images", "rm", name)


def answers(layout: Layout) -> bool:
    """Whether containerd serves requests."""
    return _ctr(layout, "version").returncode == 0


def ensure_pause(layout: Layout, program: Path) -> None:
    """Puts the sandbox's image into the store: one static program, packed here without any image builder."""
    if PAUSE_IMAGE not in _listed(layout):
        archive = layout.run / "pause.tar"
        archive.write_bytes(pack(PAUSE_IMAGE, program))
        load(layout, archive)
        archive.unlink()


def pack(name: str, program: Path) -> bytes:
    """A docker archive of one image: a single static program at / as the entry point, run by nobody."""
    layer = _tar({program.name: program.read_bytes()}, mode=0o755)
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created_by": "dev.cluster.images"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {"config.json": config, "manifest.json": manifest}
    return _tar({file: json.dumps(content).encode() for file, content in files.items()} | {"layer.tar": layer})


def _tar(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _listed(layout: Layout) -> dict[str, str]:
    lines = _ctr(layout, "images", "ls").stdout.splitlines()[1:]
    rows = [line.split() for line in lines]
    return {row[0]: row[2] for row in rows if not row[0].startswith("sha256:")}


def _ctr(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["ctr", "--address", str(layout.containerd_socket), "--namespace", "k8s.io", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
