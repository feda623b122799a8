"""A hub and a puller for each test."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import objectstore
from dev.hub.client import HubControl
from dev.hub.server import running
from tests.runtime.pull.harness import Puller
from tests.runtime.pull.objects import Objects, behind_proxy


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubControl]:
    root = tmp_path / "hub"
    root.mkdir()
    with running(root) as url:
        yield HubControl(url)


@pytest.fixture
def puller(hub: HubControl, tmp_path: Path) -> Iterator[Puller]:
    before = signal.getsignal(signal.SIGTERM)
    yield Puller(hub, tmp_path)
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB, of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def keys() -> Iterator[objectstore.Keys]:
    with objectstore.running() as found:
        yield found


@pytest.fixture
def objects(keys: objectstore.Keys, request: pytest.FixtureRequest) -> Iterator[Objects]:
    with behind_proxy(keys, f"team/t{abs(hash(request.node.nodeid)):x}") as there:
        yield there


@pytest.fixture
def s3(puller: Puller, objects: Objects, tmp_path: Path) -> Puller:
    """A puller told to pull the objects."""
    puller.environ["DORMOUSE_SOURCE"] = objects.uri
    puller.environ["DORMOUSE_CREDENTIALS_DIR"] = str(objects.secret(tmp_path / "secret"))
    return puller
