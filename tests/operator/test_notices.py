"""Events are read of what is stuck only, seldom, and few at a time."""

from dataclasses import replace
from typing import Any

from dormouse_api.status import Condition, InferenceModelStatus, Volume
from dormouse_operator.decide import notices as rules
from dormouse_operator.decide.recheck import LATEST, SOONEST, again_in
from dormouse_operator.notices import PER_SECOND, REMEMBERED, Notices
from tests.operator.bench import Bench
from tests.operator.builders import NOW, claim, job, model, observed, pod, remembered
from tests.operator.builders import facts as some

PENDING: dict[str, Any] = {"phase": "Pending", "started_at": None}


class Events:
    """An API server that counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.said: dict[str, list[dict[str, Any]]] = {}

    async def notices(self, namespace: str, uid: str) -> list[dict[str, Any]]:
        self.asked.append(uid)
        return self.said.get(uid, [])


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def event(reason: str, note: str, at: str = "2027-01-15T08:00:00Z") -> dict[str, Any]:
    return {"reason": reason, "note": note, "deprecatedLastTimestamp": at}


def test_what_is_stuck() -> None:
    waits = pod(**PENDING)
    assert list(rules.stuck(observed(pods=(waits,)))) == [waits.uid]
    assert rules.stuck(observed(pods=(pod(),))) == {}
    assert rules.stuck(observed(claim=claim())) == {}
    assert list(rules.stuck(observed(claim=claim(bound=False)))) == ["claim-1"]
    assert list(rules.stuck(observed(jobs=(job("pull", "i"),)))) == ["job-pull"]
    assert rules.stuck(observed(jobs=(job("pull", "i"),), pods=(pod("pull"),))) == {}


def test_a_claim_that_holds_the_weights_already_is_not_asked_about() -> None:
    there = remembered(model(), some(), some().commit)
    assert rules.stuck(observed(there, claim=claim(bound=False))) == {}
    assert rules.look_at(observed(there, claim=claim(bound=False)), NOW) is None
    empty = replace(there, status=there.status.model_copy(update={"volume": Volume(claim_uid="claim-1", folders=[])}))
    assert list(rules.stuck(observed(empty, claim=claim(bound=False)))) == ["claim-1"], "nothing is there yet"


def test_the_longer_it_lasts_the_less_often_it_is_asked() -> None:
    assert [rules.pause(age) for age in (0, 10, 40, 100, 1e6)] == [2, 2, 4, 10, 30]
    assert rules.look_at(observed(pods=(pod(**PENDING, scheduled_at=NOW - 100),)), NOW) == NOW + 10


async def test_notices_are_added_and_remembered_between_readings() -> None:
    api, clock = Events(), Clock()
    api.said["pod-runtime"] = [event("FailedMount", "why")]
    reader, seen = Notices(api, clock), observed(pods=(pod(**PENDING, scheduled_at=NOW - 5),))
    for _ in range(5):
        with_notices = await reader.add(seen, clock.now)
        assert [n.message for n in with_notices.pods[0].notices] == ["why"]
    assert api.asked == ["pod-runtime"]
    clock.now += 3
    await reader.add(seen, clock.now)
    assert len(api.asked) == 2


async def test_the_whole_operator_reads_a_bounded_number_a_second_and_remembers_a_bounded_number() -> None:
    api, clock = Events(), Clock()
    reader = Notices(api, clock)
    for number in range(500):
        await reader.add(observed(pods=(pod(**PENDING, uid=f"p{number}", scheduled_at=NOW - 5),)), clock.now)
    assert len(api.asked) == PER_SECOND
    for number in range(REMEMBERED + 100):
        clock.now += 1
        await reader.add(observed(pods=(pod(**PENDING, uid=f"q{number}", scheduled_at=NOW - 5),)), clock.now)
    assert len(reader._known) == REMEMBERED


async def test_a_stuck_job_is_told_and_goes_on_by_itself(bench: Bench) -> None:
    """A quota lets no pod of the Job be; when it is raised the Job controller makes one, and all goes on."""
    bench.world.jobless = True
    bench.world.model("tiny")
    await bench.work()
    (name,) = bench.of_kind("Job")
    uid = bench.world.objects["Job", "ns", name]["metadata"]["uid"]
    bench.world.events[uid] = [event("FailedCreate", "pods is forbidden: exceeded quota: small")]
    await bench.pass_time(3)
    assert bench.condition() == ("False", "Refused")
    assert "raise the ResourceQuota" in bench.message()
    bench.world.jobless = False
    await bench.pass_time(3)
    assert bench.condition() == ("True", "ScaledToZero")
    asked = len(bench.world.noticed)
    await bench.pass_time(10_000)
    assert len(bench.world.noticed) == asked, "what is not stuck is not asked about"


def test_what_blocks_is_looked_at_again_soon_at_first() -> None:
    assert again_in(model(), NOW) == SOONEST
    assert again_in(model(_not_ready_since("2027-01-15T07:58:20Z")), NOW) == 25
    assert again_in(model(_not_ready_since("2026-01-15T07:58:20Z")), NOW) == LATEST


def _not_ready_since(at: str) -> InferenceModelStatus:
    told = Condition(
        type="Ready", status="False", reason="Refused", message="m", observed_generation=1, last_transition_time=at
    )
    return InferenceModelStatus(conditions=[told])
