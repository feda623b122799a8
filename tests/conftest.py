"""What holds for every test: no example of hypothesis fails because the machine was busy, and who shares what."""

import os

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# The default deadline of 200 ms an example measures the machine's load here, not our code. The same examples every
# time: what a change breaks is seen, and nobody is stopped by what another has left. DORMOUSE_EXPLORE=1 tries new ones.
settings.register_profile("dormouse", deadline=None, derandomize="DORMOUSE_EXPLORE" not in os.environ)
settings.load_profile("dormouse")

OF_THE_CLUSTER = ("tests/e2e/", "tests/dev/")


class ByCluster(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """What needs the one cluster runs in one process, in order; the tests of every other file stay together."""

    def _split_scope(self, nodeid: str) -> str:
        return "the cluster" if nodeid.startswith(OF_THE_CLUSTER) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByCluster | None:
    """For `--dist loadgroup`, whose own groups pytest 9 does not show to pytest-xdist 3.8."""
    return ByCluster(config, log) if config.getvalue("dist") == "loadgroup" else None
