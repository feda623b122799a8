"""The one caller of buildah: its own storage in the cache, no registry, no trace outside.

Every call runs in a mount namespace of its own, because buildah leaves its storage mounted. Knows no image of ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev import cache
from dev.images.oci import Image, Store

_CERTIFICATES = Path("/etc/ssl/certs")
_BUNDLE = _CERTIFICATES / "ca-certificates.crt"
_UV_CACHE = "/root/.cache/uv"
_MOST_IMAGES = 1000  # intermediate ones count; a change of our own code makes about 5, and 5 MB
_HEARTBEAT_SECONDS = 15.0


class ImageError(Exception):
    """An image could not be made or shipped; the message says what to do."""


@dataclass(frozen=True)
class Build:
    """One Dockerfile to build. Paths in it are relative to `context`."""

    context: Path
    file: Path
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, Path] = field(default_factory=dict)
    """More folders, by the name `COPY --from` knows them by."""
    mounts: Mapping[Path, str] = field(default_factory=dict)
    """Folders of this machine that RUN steps see, and that the image does not keep."""


class Buildah:
    """buildah on one OCI layout: images come from it and go back to it."""

    def __init__(self, storage: Path, store: Store) -> None:
        self._storage, self._store = storage, store

    def adopt(self, name: str) -> str:
        """Makes the layout's image `name` a base image for builds and returns what to call it there."""
        local = f"localhost/{name}"
        if self._run("images", "--quiet", "--no-trunc", local, check=False).strip():
            return local
        # The layout's path goes relative: buildah takes it for a name, and names have no capitals.
        where = f"oci:{self._store.folder.name}:{name}"
        identity = self._run("pull", "--quiet", "--signature-policy", str(self._policy()), where).split()[-1]
        self._run("tag", identity, local)
        return local

    def build(self, name: str, order: Build) -> Image:
        """Builds, writes the image to the layout under `name` and returns it."""
        local = f"localhost/{name}"
        command = ["build", "--quiet", "--layers", "--pull-never", "--format", "oci", "--isolation", "chroot"]
        command += ["--signature-policy", str(self._policy()), "--file", str(order.file), "--tag", local]
        command += ["--target", order.target] if order.target else []
        arguments = {"SSL_CERT_FILE": str(_BUNDLE), **order.arguments}
        command += [f"--build-arg={key}={value}" for key, value in arguments.items()]
        command += [f"--build-context={key}={path}" for key, path in order.contexts.items()]
        mounts = {_CERTIFICATES: str(_CERTIFICATES), **order.mounts}
        command += [f"--volume={host}:{inside}:ro" for host, inside in mounts.items()]
        downloads = self._storage / "downloads"  # a changed lock fetches the changed packages only
        downloads.mkdir(exist_ok=True)
        command += [f"--volume={downloads}:{_UV_CACHE}:rw"]
        self._run(*command, str(order.context))
        target = f"oci:{self._store.folder.name}:{name}"
        self._run("push", "--quiet", "--signature-policy", str(self._policy()), local, target)
        return self._store.image(name)

    def tidy(self) -> None:
        """Starts the builder's cache anew once it is large: the next build takes a minute or two more."""
        root, discarded = self._storage / "root", self._storage / "discarded"
        images = root / "overlay-images"
        self._policy()
        with _only_one(self._storage / ".lock"):
            shutil.rmtree(discarded, ignore_errors=True)
            if images.is_dir() and len(list(images.iterdir())) > _MOST_IMAGES:
                cache.say("images: clearing the builder's cache")
                root.rename(discarded)  # whoever is stopped while it removes must leave no half of a cache behind
                shutil.rmtree(discarded)

    def _policy(self) -> Path:
        policy = self._storage / "policy.json"
        if not policy.exists():
            self._storage.mkdir(parents=True, exist_ok=True)
            (self._storage / "registries.conf").write_text("")
            policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        return policy

    def _run(self, *arguments: str, check: bool = True) -> str:
        self._policy()
        folders = ("--root", str(self._storage / "root"), "--runroot", str(self._storage / "run"))
        command = ["unshare", "--mount", "buildah", *folders, "--storage-driver", "overlay", *arguments]
        own = {"CONTAINERS_REGISTRIES_CONF": str(self._storage / "registries.conf")}
        with _only_one(self._storage / ".lock"):
            status, said = _watched(command, self._store.folder.parent, os.environ | own)
        if status and check:
            raise ImageError(
                f"buildah {arguments[0]} failed (status {status}); the end of what it said:\n{said[-4000:]}"
            )
        return said if not status else ""


def _watched(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    started, said = time.monotonic(), ""
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        while process.poll() is None:
            try:
                said = process.communicate(timeout=_HEARTBEAT_SECONDS)[0]
            except subprocess.TimeoutExpired:
                cache.say(f"images: still building ({time.monotonic() - started:.0f} s)")
    return process.returncode, said


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Two builds at once would fight over layers that both make; the second waits."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
