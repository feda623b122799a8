"""The images that ours stand on, made from Debian packages, the engine's environment and the uv program.

They go to the layout as layers, without a builder. The engine's 4.8 GB are one layer over the base: packed once,
and (see `node.py`) linked into the node instead of copied.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev import cache, enginevenv
from dev import uv as uv_programs
from dev.images.buildah import ImageError
from dev.images.oci import Image, Layer, Store

SUITE = "bookworm"  # Python 3.11: what requirements-cpu.txt is pinned for
PYTHON = ("python3", "ca-certificates", "libnuma1", "libgomp1", "libstdc++6")
UNUSED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
ENGINE_FOLDER = "/opt/engine"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class EngineLayer:
    """The engine's packages as a layer, the folder it was packed from, and the image it lies on."""

    layer: Layer
    source: Path
    base: Image


def base(store: Store, packages: Sequence[str] = PYTHON) -> str:
    """Name of the Debian image with these packages; with Python it is what `python:slim` is elsewhere."""
    name = f"dormouse-base:{cache.key('base 1', SUITE, *packages, *UNUSED)}"
    if not _has(store, name):
        layer = _timed(f"Debian {SUITE} with {packages[0]} (about 30 s)", lambda: _rootfs(store, packages))
        store.add_image(name, [layer], {"Env": [f"PATH={_PATH}", "LANG=C.UTF-8"], "Cmd": ["/bin/bash"]})
    return name


def engine_shell(store: Store) -> str:
    """Name of the base with the engine's folder on its PATH: complete once the engine is mounted or layered in."""
    name = base(store).replace("dormouse-base", "dormouse-engine-shell")
    if not _has(store, name):
        settings = {"Env": [f"PATH={ENGINE_FOLDER}/bin:{_PATH}", "LANG=C.UTF-8"]}
        store.add_image(name, store.image(base(store)).layers, settings)
    return name


def engine(store: Store) -> EngineLayer:
    """The engine's packages, packed when this environment never was."""
    venv = enginevenv.ensure()
    name = f"dormouse-engine:{cache.key('engine 1', venv.name)}"
    if not _has(store, name):
        layer = _timed("the engine's layer, 4.8 GB (about 20 s)", lambda: _packed(store, venv))
        store.add_image(name, [layer], {})
    return EngineLayer(store.image(name).layers[0], venv, store.image(base(store)))


def uv(store: Store) -> str:
    """Name of an image with nothing but the uv program at /uv, like the public one."""
    program = uv_programs.program()
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    name = f"uv:{version}"
    if not _has(store, name):
        command = ["tar", "-C", str(program.parent), *_ROOT_OWNS, "-cf", "-", program.name]
        store.add_image(name, [_layer(store, command)], {})
    return name


_ROOT_OWNS = ("--owner=0", "--group=0", "--numeric-owner", "--sort=name")


def _rootfs(store: Store, packages: Sequence[str]) -> Layer:
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch, "rootfs.tar")
        options = [f"--dpkgopt=path-exclude={pattern}" for pattern in UNUSED]
        command = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(packages)}", *options]
        done = subprocess.run([*command, SUITE, str(archive), _mirror()], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ImageError(f"mmdebstrap failed; `python -m dev.host` installs it. It said:\n{done.stderr[-2000:]}")
        with archive.open("rb") as stream:
            return store.add_layer(stream)


def _packed(store: Store, venv: Path) -> Layer:
    inside = ENGINE_FOLDER.lstrip("/")
    # S: names are moved below the folder, the targets of symbolic links are left alone.
    return _layer(store, ["tar", "-C", str(venv), *_ROOT_OWNS, f"--transform=s,^\\.,{inside},S", "-cf", "-", "."])


def _layer(store: Store, command: Sequence[str]) -> Layer:
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        if process.stdout is None:
            raise ImageError("tar has no output")
        layer = store.add_layer(process.stdout)
    if process.returncode:
        raise ImageError(f"{' '.join(command)} failed")
    return layer


def _has(store: Store, name: str) -> bool:
    try:
        store.image(name)
    except KeyError:
        return False
    return True


def _timed(what: str, work: Callable[[], Layer]) -> Layer:
    cache.say(f"images: making {what}")
    started = time.monotonic()
    result = work()
    cache.say(f"images: made it in {time.monotonic() - started:.1f} s")
    return result


def _mirror() -> str:
    """The Debian mirror that this machine's own apt uses for the suite."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", f"Release: {SUITE}"]
    sites = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    if not sites:
        raise ImageError(
            f"apt knows no mirror of Debian {SUITE}: add one to /etc/apt/sources.list and run apt-get update"
        )
    return sites[0]
