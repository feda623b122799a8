"""The OCI layout of the cache: blobs named by their digest, images as manifests over them.

Large layers are kept as plain tar: packing and unpacking gzip cost more than the disk saves on one machine.
Standard library only; knows neither buildah nor any cluster.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_BLOCK = 1 << 20
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Blob:
    """A file of the layout."""

    digest: str
    """sha256:<hex>."""
    size: int


@dataclass(frozen=True)
class Layer(Blob):
    """A file system layer, packed or plain."""

    kind: str
    """Media type."""
    diff_id: str
    """Digest of the plain tar: the name the file system knows the layer by."""


@dataclass(frozen=True)
class Image:
    """A finished image. `id` is its config's digest: the same files and settings give the same id."""

    manifest: Blob
    config: Blob
    layers: tuple[Layer, ...]

    @property
    def id(self) -> str:
        return self.config.digest

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return (*self.layers, self.config, self.manifest)


class Store:
    """One OCI layout folder, shared by all images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"

    def create(self) -> None:
        """Makes the folder a valid, empty layout unless it is one."""
        self._blobs.mkdir(parents=True, exist_ok=True)
        for name, content in {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": _index([])}.items():
            if not (self.folder / name).exists():
                (self.folder / name).write_text(json.dumps(content))

    def path(self, blob: Blob) -> Path:
        return self._blobs / blob.digest.removeprefix("sha256:")

    def add(self, content: bytes) -> Blob:
        return self.add_stream(io.BytesIO(content))

    def add_stream(self, stream: IO[bytes]) -> Blob:
        """Copies a stream into the layout; a killed copy leaves only a scratch file."""
        scratch, digest, size = self._blobs / ".partial", hashlib.sha256(), 0
        with scratch.open("wb") as out:
            while block := stream.read(_BLOCK):
                digest.update(block)
                size += len(block)
                out.write(block)
        blob = Blob(f"sha256:{digest.hexdigest()}", size)
        scratch.rename(self.path(blob))
        return blob

    def add_layer(self, stream: IO[bytes]) -> Layer:
        """Copies a plain tar into the store as a layer."""
        blob = self.add_stream(stream)
        return Layer(blob.digest, blob.size, _LAYER, blob.digest)

    def add_image(self, name: str, layers: Iterable[Layer], settings: dict[str, Any]) -> Image:
        """Writes config and manifest over `layers`, lists them under `name` and returns the image.

        `settings` is the config's `config` object: Env, Entrypoint and so on.
        """
        layers = tuple(layers)
        config = {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created_by": "dev.images"} for _ in layers],
        }
        config_blob = self.add(json.dumps(config).encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config_blob),
            "layers": [_descriptor(layer.kind, layer) for layer in layers],
        }
        manifest_blob = self.add(json.dumps(manifest).encode())
        entry = _descriptor(_MANIFEST, manifest_blob, name)
        index = json.loads((self.folder / "index.json").read_text())
        kept = [m for m in index["manifests"] if _name(m) != name]
        (self.folder / "index.json").write_text(json.dumps(_index([*kept, entry])))
        return Image(manifest_blob, config_blob, layers)

    def image(self, name: str) -> Image:
        """The image listed under `name`; KeyError when there is none."""
        index = json.loads((self.folder / "index.json").read_text())
        for entry in index["manifests"]:
            if _name(entry) == name:
                return self._read(_blob(entry))
        raise KeyError(f"no image {name} in {self.folder}")

    def keep_newest(self, count: int, also: Iterable[Image] = ()) -> list[str]:
        """Forgets all but the newest `count` images of each repository, and the blobs that only they used.

        Those in `also` stay whatever their age. Returns the forgotten names.
        """
        used_now = {image.manifest.digest for image in also}
        entries = json.loads((self.folder / "index.json").read_text())["manifests"]
        kept, seen = [], Counter[str]()
        for entry in reversed(entries):
            repository = str(_name(entry)).partition(":")[0]
            seen[repository] += 1
            if seen[repository] <= count or entry["digest"] in used_now:
                kept.append(entry)
        if len(kept) == len(entries):
            return []
        (self.folder / "index.json").write_text(json.dumps(_index(kept[::-1])))
        used = {self.path(blob) for entry in kept for blob in self._read(_blob(entry)).blobs}
        for path in self._blobs.iterdir():
            if path not in used:
                path.unlink()
        return [str(_name(entry)) for entry in entries if entry not in kept]

    def settings(self, image: Image) -> dict[str, Any]:
        """The `config` object of an image: Env, Entrypoint, User and so on."""
        found: dict[str, Any] = json.loads(self.path(image.config).read_bytes())["config"]
        return found

    def _read(self, manifest: Blob) -> Image:
        content = json.loads(self.path(manifest).read_bytes())
        config = _blob(content["config"])
        ids = json.loads(self.path(config).read_bytes())["rootfs"]["diff_ids"]
        found = zip(content["layers"], ids, strict=True)
        layers = tuple(Layer(d["digest"], d["size"], d["mediaType"], diff_id) for d, diff_id in found)
        return Image(manifest, config, layers)

    def archive(self, image: Image, names: Iterable[str], without: frozenset[str], out: IO[bytes]) -> int:
        """Writes an OCI archive of the image under `names` to `out` and returns its bytes.

        Blobs whose digest is in `without` are left out: the receiver has them.
        """
        entries = [_descriptor(_MANIFEST, image.manifest, full=name) for name in names]
        written = 0
        with tarfile.open(fileobj=out, mode="w|") as tar:
            for name, content in {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": _index(entries)}.items():
                data = json.dumps(content).encode()
                tar.addfile(_entry(name, len(data)), io.BytesIO(data))
            for blob in dict.fromkeys(image.blobs):
                if blob.digest not in without:
                    with self.path(blob).open("rb") as source:
                        tar.addfile(_entry(f"blobs/sha256/{self.path(blob).name}", blob.size), source)
                    written += blob.size
        return written


def _entry(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def _index(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schemaVersion": 2, "manifests": manifests}


def _descriptor(kind: str, blob: Blob, name: str = "", full: str = "") -> dict[str, Any]:
    notes = {"org.opencontainers.image.ref.name": name} if name else {"io.containerd.image.name": full} if full else {}
    return {"mediaType": kind, "digest": blob.digest, "size": blob.size, **({"annotations": notes} if notes else {})}


def _name(entry: dict[str, Any]) -> str | None:
    found: str | None = entry.get("annotations", {}).get("org.opencontainers.image.ref.name")
    return found


def _blob(descriptor: dict[str, Any]) -> Blob:
    return Blob(descriptor["digest"], descriptor["size"])
