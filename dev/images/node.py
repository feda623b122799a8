"""Ships images from the store into the node's containerd: only what it lacks, and the engine's layer by links.

An import copies every byte through a socket and unpacks it again: 107 s for the engine's 4.8 GB on two busy cores.
The packages already lie unpacked in the cache, so when both are on one disk their layer is linked into place
instead (4 s): the tar into containerd's content, the files into a snapshot. Both are then found, not fetched.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from dev import cache
from dev.cluster.layout import Layout
from dev.images.bases import ENGINE_FOLDER, EngineLayer
from dev.images.buildah import ImageError
from dev.images.oci import Image, Layer, Store

BASE_NAME = "localhost/dormouse-base:dev"
_LINKED = "dormouse-engine"  # the name of the work in progress, for containerd
_ROOT_LABEL = "containerd.io/gc.root"
_TRIES = 3


class Node:
    """The image store of a running cluster's node."""

    def __init__(self, layout: Layout, store: Store) -> None:
        self._layout, self._store = layout, store

    def holds(self, name: str, image: Image) -> bool:
        """Whether `name` is this very image there, with every layer."""
        for line in self._ctr("images", "check", f"name=={name}").splitlines()[1:]:
            words = line.split()
            if words[0] == name:
                return words[2] == image.manifest.digest and "complete" in words
        return False

    def ship(self, name: str, image: Image, engine: EngineLayer | None = None) -> bool:
        """Brings the image under `name`, moving the name when it is another image's; False when it was there."""
        if self.holds(name, image):
            return False
        for _ in range(_TRIES):  # containerd's collector may take a linked layer before the image refers to it
            if engine is not None:
                self._link(engine)
            self._import(name, image)
            if self.holds(name, image):
                self._let_go(engine)
                return True
        raise ImageError(f"{name} did not arrive whole in the node: `make wipe`, then `make up`, starts afresh")

    def _import(self, name: str, image: Image) -> None:
        there = frozenset(self._ctr("content", "ls", "--quiet").split())
        command = self._command("images", "import", "-")
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            if process.stdin is None or process.stderr is None:
                raise ImageError("ctr was started without pipes")
            self._store.archive(image, [name], there, process.stdin)
            process.stdin.close()
            said = process.stderr.read().decode(errors="replace")
        if process.returncode:
            raise ImageError(f"importing {name} failed: {said.strip()[-1000:]}")

    def _link(self, engine: EngineLayer) -> None:
        """Puts the engine's layer into containerd without copying it; leaves it to the import across disks."""
        content = self._layout.containerd / "io.containerd.content.v1.content" / "blobs" / "sha256"
        blob = self._store.path(engine.layer)
        if content.stat().st_dev != blob.stat().st_dev or content.stat().st_dev != engine.source.stat().st_dev:
            cache.say("images: the cluster's folder is not on the cache's disk: copying the engine, 2 minutes")
            return
        self.ship(BASE_NAME, engine.base)
        self._link_files(engine)
        if not (content / blob.name).exists():
            os.link(blob, content / blob.name)
        with blob.open("rb") as file:
            # The blob is in place, so the writer opened for its digest only records that it is ours.
            expected = ("--expected-digest", engine.layer.digest, "--expected-size", str(engine.layer.size))
            self._ctr("content", "ingest", *expected, _LINKED, stdin=file)

    def _link_files(self, engine: EngineLayer) -> None:
        finished = _finished(engine)
        if finished in self._ctr("snapshots", "ls").split():
            return
        self._ctr("snapshots", "rm", _LINKED, check=False)
        mounts = json.loads(self._ctr("snapshots", "prepare", "--mounts", _LINKED, chain_id(engine.base.layers)))
        upper = next(o.removeprefix("upperdir=") for o in mounts[0]["Options"] if o.startswith("upperdir="))
        target = Path(upper, ENGINE_FOLDER.lstrip("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", "--link", str(engine.source), str(target)], check=True)
        self._ctr("snapshots", "commit", finished, _LINKED)

    def _let_go(self, engine: EngineLayer | None) -> None:
        """Once an image refers to the linked snapshot, it may go with the image."""
        if engine is not None and (linked := _finished(engine)) in self._ctr("snapshots", "ls").split():
            self._ctr("snapshots", "label", linked, f"{_ROOT_LABEL}=")

    def _command(self, *arguments: str) -> list[str]:
        return ["ctr", "--address", str(self._layout.containerd_socket), "--namespace", "k8s.io", *arguments]

    def _ctr(self, *arguments: str, check: bool = True, stdin: IO[bytes] | int = subprocess.DEVNULL) -> str:
        done = subprocess.run(self._command(*arguments), capture_output=True, text=True, check=False, stdin=stdin)
        if done.returncode and check:
            raise ImageError(f"ctr {' '.join(arguments[:2])} failed: {done.stderr.strip()[-1000:]}")
        return done.stdout


def _finished(engine: EngineLayer) -> str:
    return chain_id((*engine.base.layers, engine.layer))


def chain_id(layers: Sequence[Layer]) -> str:
    """containerd's name for the snapshot of a stack of layers (OCI image-spec, config.md)."""
    name = layers[0].diff_id
    for layer in layers[1:]:
        name = f"sha256:{hashlib.sha256(f'{name} {layer.diff_id}'.encode()).hexdigest()}"
    return name
