"""One control plane for the whole session, and a namespace of its own for each test that asks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane

_HERE = Path(__file__).parent
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder, so that `-m "not controlplane"` leaves out what needs the built Kubernetes."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.controlplane)


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """A real API server with audit log; CRDs and the like are the tests' own to install."""
    with ControlPlane(audit=True) as started:
        yield started


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """The name of a fresh namespace; its objects are removed with it, without waiting for that."""
    name = f"test-{next(_numbers)}"
    plane.kubectl("create", "namespace", name)
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")
