"""Every way a model fails: soon (`DORMOUSE_TOLD_WITHIN=5`) a condition names cause and cure, and it goes by itself.

Each row plays one cause on the real API server with the real operator (`failing_*.py`), measures how long the condition
takes, cures the cause without touching the InferenceModel, and waits until the model is where it would be.
"""

import sys
from collections.abc import Iterator

import pytest

from dev.cluster.controlplane import ControlPlane
from dormouse_api.conditions import FAILURES
from tests.controlplane.failing import WITHIN, Kind, Outcome, play_all
from tests.controlplane.failing_cluster import CLUSTER
from tests.controlplane.failing_engines import ENGINES
from tests.controlplane.failing_jobs import JOBS
from tests.controlplane.failing_nodes import NODES
from tests.controlplane.failing_pulls import PULLS
from tests.controlplane.failing_volumes import VOLUMES
from tests.controlplane.kubelet import Rest
from tests.controlplane.operatorprocess import OperatorProcess
from tests.controlplane.ward import Ward

ROWS = (*PULLS, *JOBS, *ENGINES, *NODES, *VOLUMES, *CLUSTER)
KINDS = {kind.name: kind for kind in ROWS}
pytestmark = pytest.mark.timeout(1800)
"""All rows are played while the first of their tests is set up."""
SPACES = ("failures", "failures-walled")


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, plane: ControlPlane, rest: Rest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Outcome]]:
    """What came of the kinds whose tests were chosen: all are played together, for most of their time is waiting."""
    chosen = [
        KINDS[str(item.callspec.params["kind"])]
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and "kind" in item.callspec.params
    ]
    for space in SPACES:
        plane.kubectl("create", "namespace", space)
    log = tmp_path_factory.mktemp("failures") / "operator.log"
    env = {
        "DORMOUSE_NAMESPACES": ",".join(SPACES),
        "DORMOUSE_MAX_CONCURRENT_PULLS": "100",
        "DORMOUSE_LOAD_COOLDOWN_SECONDS": "2",
        "DORMOUSE_RECHECK_SECONDS": "2",
    }
    ward = Ward(rest, plane)
    with OperatorProcess(plane.kubeconfig, log, **env), ward:
        yield play_all(chosen, ward, SPACES)
        assert not ward.errors
    _removed(plane)
    assert "the look failed" not in log.read_text(), log.read_text()[-3000:]


def _removed(plane: ControlPlane) -> None:
    for space in SPACES:
        plane.kubectl("delete", "namespace", space, "--wait=false")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_told_with_its_cure_and_goes_by_itself(outcomes: dict[str, Outcome], kind: str) -> None:
    found = outcomes[kind]
    assert not found.error, f"{found.message}\n{found.error}"
    assert found.told is not None and found.cleared is not None  # noqa: PT018 - one fact: it came so far
    seconds = f"after {found.told:.1f} s, gone {found.cleared:.1f} s after its cure"
    sys.stdout.write(f"{kind}: {KINDS[kind].reason} {seconds}\n    {found.message}\n")
    assert found.told < WITHIN
    assert _reaches_callers(KINDS[kind], found)


def _reaches_callers(kind: Kind, found: Outcome) -> bool:
    """Routers answer from Ready alone: it must carry the cause, whichever condition it was looked for on."""
    return all(word in found.ready["message"] for word in kind.words) or kind.type == "Preflight"


def test_there_are_enough_kinds_and_they_cover_the_reasons() -> None:
    assert len(KINDS) == len(ROWS)
    assert len(KINDS) >= 25
    assert {reason.value for reason in FAILURES} - {kind.reason for kind in KINDS.values()} == {"DoesNotFit"}
