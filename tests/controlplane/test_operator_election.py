"""Two operators at once: one acts, whatever becomes of it, and the audit log says that the other wrote nothing."""

import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane
from dormouse_api.names import runtime_name
from tests.controlplane.electorate import LEASE, Electorate
from tests.controlplane.kubelet import Kubelet
from tests.controlplane.operatorprocess import Models, created, until

log = logging.getLogger(__name__)

SECONDS = 6
"""Of the Lease: a leader that is not answered for 4 s ends, and a full machine is to be no cause of that."""
START = 60.0
"""Seconds a new leader may take to its first write on a full machine; less than 1 on an idle one."""


@pytest.fixture
def electorate(plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Electorate]:
    made = Electorate(plane, namespace, tmp_path, SECONDS)
    yield made
    made.close()


def wake(models: Models, name: str) -> float:
    """Wake it and wait for the pod's Deployment; seconds that took."""
    began = time.monotonic()
    models.wake(name, 600)
    until(lambda: models.replicas(name) == 1, why="awake")
    return time.monotonic() - began


def sleep(models: Models, name: str) -> None:
    models.wake(name, 1)
    until(lambda: models.replicas(name) == 0, why="asleep")


@pytest.mark.timeout(600)
def test_one_acts_and_hands_over_whether_it_is_stopped_killed_or_frozen(
    kubelet: Kubelet, electorate: Electorate, own_models: Models
) -> None:
    for name in "abcd":
        electorate.start(name)
    electorate.ready()
    first = electorate.leader()
    standby = next(name for name in "abcd" if name != first)
    own_models.apply("calm")
    own_models.await_reason("calm", "ScaledToZero")
    assert {name for name, _, _ in electorate.writes()} == {first}
    assert f"stands by, {first}_" in electorate.operators[standby].ask("/readyz").text

    # stopped: the Lease is let go
    assert electorate.operators[first].stop() == 0
    took = wake(own_models, "calm")
    log.info("stopped: the next one acts after %.2f s", took)
    assert took < 1 + START
    second = electorate.leader()
    sleep(own_models, "calm")

    # killed: the Lease must be void first
    electorate.operators[second].kill()
    took = wake(own_models, "calm")
    log.info("killed: the next one acts after %.2f s", took)
    assert took < SECONDS + 1 + START
    third = electorate.leader()
    sleep(own_models, "calm")

    # frozen: it wakes up while another leads, hears of everything it missed, and writes none of it
    electorate.operators[third].freeze()
    took = wake(own_models, "calm")
    log.info("frozen: the next one acts after %.2f s", took)
    assert took < SECONDS + 1 + START
    sleep(own_models, "calm")
    own_models.rest.patch(own_models.path("calm"), {"spec": {"scaling": {"idleSeconds": 77}}})
    electorate.operators[third].thaw()
    until(lambda: not electorate.operators[third].alive(), why="who lost the lead ends")
    assert electorate.operators[third].stop() == 1
    fourth = electorate.leader()
    own_models.wake("calm", 600)
    until(lambda: own_models.replicas("calm") == 1)

    turns = [first, second, third, fourth]
    assert sorted(turns) == list("abcd")
    writes = electorate.writes()
    for before, after in itertools.pairwise(turns):
        at = electorate.taken(after)
        late = [(name, ref) for name, when, ref in writes if name == before and when > at]
        assert late == [], f"{before} wrote after {after} had the Lease"
        assert not [ref for name, when, ref in writes if name == after and when < at], f"{after} wrote as a standby"
    made = Counter(created(electorate.plane, own_models.namespace))
    assert [name for name, times in made.items() if times > 1 and not name.endswith(LEASE)] == []
    refused = [e["requestURI"] for _, e in electorate.audit() if e.get("responseStatus", {}).get("code") == 403]
    assert refused == [], "the chart's rights are enough"


def test_who_leads_is_told(kubelet: Kubelet, electorate: Electorate, own_models: Models) -> None:
    electorate.start("a")
    assert electorate.leader() == "a"
    path = f"/apis/coordination.k8s.io/v1/namespaces/{own_models.namespace}/leases/{LEASE}"
    lease = own_models.rest.get(path)
    assert lease["spec"]["holderIdentity"].startswith("a_")
    assert lease["spec"]["leaseDurationSeconds"] == SECONDS
    assert lease["metadata"]["annotations"] == {"dormouse.dev/serves": own_models.namespace}

    def event() -> list[str]:
        found = own_models.child("events.k8s.io/v1", "events").get("items", [])
        return [e["note"] for e in found if e["regarding"].get("uid") == lease["metadata"]["uid"]]

    notes = until(event, why="an Event beside the Lease")
    assert notes == [f"{lease['spec']['holderIdentity']} leads from now on"]
    assert own_models.child("coordination.k8s.io/v1", "leases", runtime_name("x")) == {}


def test_an_api_server_that_stays_away_ends_the_leader(
    plane: ControlPlane, electorate: Electorate, own_models: Models
) -> None:
    leader = electorate.start("a")
    assert electorate.leader() == "a"
    plane.pause_apiserver()
    try:
        time.sleep(1.0)  # of the 3.2 s that it has at least
        alive = leader.alive()
    finally:
        plane.resume_apiserver()
    assert alive
    until(lambda: leader.ask("/readyz").status_code == 200, why="it goes on")
    plane.pause_apiserver()
    try:
        until(lambda: not leader.alive(), seconds=SECONDS + START, why="the leader ends")
    finally:
        plane.resume_apiserver()
    assert leader.stop() == 1
    electorate.start("b")
    assert electorate.leader() == "b"
