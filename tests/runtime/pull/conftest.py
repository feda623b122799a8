"""A hub and a puller for each test."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.hub.client import HubControl
from dev.hub.server import running
from tests.runtime.pull.harness import Puller


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
