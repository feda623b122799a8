"""The line for a pull, with the whole operator: places, positions, cancelling, priority, restarts, stuck pulls."""

from collections.abc import Callable
from typing import Any

import pytest

from dormouse_api import names
from dormouse_api.results import Progress
from dormouse_operator.happenings import happenings
from dormouse_operator.queue import Key
from tests.operator.bench import Bench
from tests.operator.builders import COMMIT, failure, pulled
from tests.operator.world import World, broken, done

Object = dict[str, Any]


class Line:
    """A bench whose pulls go on until they are let go. Asserts that there are never more of them than places."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.world = bench, bench.world
        self.finished: set[str] = set()
        self.world.jobs["pull"] = self.play
        self.most = 0
        seen = bench.world.step

        def step() -> bool:
            changed = seen()
            self.most = max(self.most, len(self.pulling()))
            return changed

        self.world.step = step  # type: ignore[method-assign]

    def play(self, pod: Object) -> Object | None:
        return done(pulled()) if self.of(pod) in self.finished else None

    @staticmethod
    def of(raw: Object) -> str:
        return str(raw["metadata"]["labels"][names.LABEL_MODEL])

    def pulling(self) -> list[str]:
        pods = [raw for (kind, _, _), raw in self.world.objects.items() if kind == "Pod"]
        pulls = [raw for raw in pods if raw["metadata"]["labels"][names.LABEL_COMPONENT] == names.COMPONENT_PULL]
        return sorted(self.of(raw) for raw in pulls if raw["status"]["phase"] == "Running")

    async def add(self, name: str, space: str = "ns", **spec: Any) -> None:
        self.world.put(names.MODEL_KIND, space, name, spec={"source": {"uri": f"hf://org/{name}"}} | spec)
        await self.bench.settle()

    async def finish(self, name: str) -> None:
        self.finished.add(name)
        await self.bench.settle()

    def queue(self) -> list[str]:
        found = [(raw["status"].get("queue"), key[2]) for key, raw in self.world.objects.items() if key[0] == KIND]
        return [name for queue, name in sorted((q["position"], n) for q, n in found if q) if queue]


KIND = names.MODEL_KIND


@pytest.fixture
def pulls(bench: Bench) -> Line:
    return Line(bench)


async def test_two_are_pulled_at_once_and_the_others_see_where_they_stand(bench: Bench, pulls: Line) -> None:
    for name in "abcde":
        await pulls.add(name)
        bench.world.now += 1
    assert pulls.pulling() == ["a", "b"]
    assert pulls.queue() == ["c", "d", "e"]
    assert bench.condition("ModelPulled", "d") == bench.condition("Ready", "d") == ("False", "Queued")
    assert bench.message("ModelPulled", "d") == (
        "position 2 of 3 in the line for one of 2 pulls: after ns/c; "
        "raise spec.priority, or the chart's maxConcurrentPulls"
    )
    assert "after ns/a" in bench.message("ModelPulled", "c")
    assert bench.status("d")["progress"] == "queued 2/3"
    writes = len(bench.world.requests)
    await bench.pass_time(600)
    assert len(bench.world.requests) == writes, "who waits costs no writes"
    await pulls.finish("b")
    assert pulls.pulling() == ["a", "c"]
    assert pulls.queue() == ["d", "e"]
    assert bench.status("d")["queue"]["position"] == 1
    for name in "acde":
        await pulls.finish(name)
    assert [bench.condition("ModelPulled", name)[0] for name in "abcde"] == ["True"] * 5
    assert not any("queue" in bench.status(name) for name in "abcde")
    assert pulls.most == 2


async def test_all_at_once_are_no_more_than_the_places(bench: Bench, pulls: Line) -> None:
    for number in range(30):
        bench.world.model(f"m{number:02}")
    await bench.settle()
    assert len(pulls.pulling()) == 2
    pulls.finished = {f"m{number:02}" for number in range(30)}
    await bench.settle()
    assert pulls.most == 2
    assert not pulls.queue()


async def test_a_draft_model_takes_a_place_like_any_other(bench: Bench, pulls: Line) -> None:
    def is_draft(pod: Object) -> bool:
        job = bench.world.objects["Job", "ns", pod["metadata"]["name"].removesuffix("-0")]
        env = job["spec"]["template"]["spec"]["containers"][0]["env"]
        return {"name": "DORMOUSE_SOURCE", "value": "hf://org/small"} in env

    drafted = False
    bench.world.jobs["pull"] = lambda pod: (
        (done(pulled("d" * 40)) if drafted else None) if is_draft(pod) else pulls.play(pod)
    )
    await pulls.add("a", engine={"speculative": {"method": "draft", "source": {"uri": "hf://org/small"}}})
    for name in "bc":
        bench.world.now += 1
        await pulls.add(name)
    bench.world.now += 1
    await pulls.finish("a")
    assert pulls.pulling() == ["b", "c"]
    assert pulls.queue() == ["a"]
    assert bench.condition("Ready", "a") == ("False", "Queued")
    assert bench.condition("ModelPulled", "a") == ("True", "Pulled")
    await pulls.finish("b")
    assert pulls.pulling() == ["a", "c"]
    assert bench.message("Ready", "a") == "pulling the draft model hf://org/small"
    drafted = True
    await bench.settle()
    assert bench.condition("Ready", "a") == ("True", "ScaledToZero")
    assert pulls.most == 2


async def test_higher_priority_and_callers_overtake_and_nobody_who_is_pulled_is_stopped(
    bench: Bench, pulls: Line
) -> None:
    for name in "abcd":
        await pulls.add(name)
        bench.world.now += 1
    await pulls.add("urgent", priority=5)
    assert pulls.pulling() == ["a", "b"]
    assert pulls.queue() == ["urgent", "c", "d"]
    bench.world.wake("d", 600)
    await bench.settle()
    assert pulls.queue() == ["urgent", "d", "c"]
    bench.world.model("c", priority=9)
    await bench.settle()
    assert pulls.queue() == ["c", "urgent", "d"]


def cancel_model(bench: Bench) -> None:
    bench.world.remove(KIND, "ns", "a")


def cancel_job(bench: Bench) -> None:
    name = next(n for n in bench.of_kind("Job") if n.startswith("a-pull"))
    bench.world.remove("Job", "ns", name)


@pytest.mark.parametrize(("cancel", "left"), [(cancel_model, ["d"]), (cancel_job, ["d", "a"])])
async def test_cancelling_moves_the_line_at_once(
    bench: Bench, pulls: Line, cancel: Callable[[Bench], None], left: list[str]
) -> None:
    for name in "abcd":
        await pulls.add(name)
        bench.world.now += 1
    cancel(bench)
    await bench.settle()
    assert pulls.pulling() == ["b", "c"]
    assert pulls.queue() == left
    assert pulls.most == 2


async def test_one_that_leaves_the_line_moves_those_behind(bench: Bench, pulls: Line) -> None:
    for name in "abcde":
        await pulls.add(name)
        bench.world.now += 1
    bench.world.remove(KIND, "ns", "c")
    await bench.settle()
    assert pulls.queue() == ["d", "e"]
    assert bench.status("e")["queue"] == bench.status("e")["queue"] | {"position": 2, "of": 2, "after": "ns/d"}


async def test_the_order_survives_a_restart_and_a_ghost_does_not_stand_in_the_way(bench: Bench, pulls: Line) -> None:
    for name in "abzyx":
        await pulls.add(name)
        bench.world.now += 1
    assert pulls.queue() == ["z", "y", "x"]
    requests = len(bench.world.requests)
    bench.start()
    await bench.settle()
    assert len(bench.world.requests) == requests, "a new process has nothing to say"
    bench.world.remove(KIND, "ns", "z", told=False)
    await pulls.finish("a")
    assert pulls.pulling() == ["b", "y"]
    assert pulls.queue() == ["x"]


async def test_a_failed_pull_holds_no_place_and_stands_in_the_line_for_its_next_try(bench: Bench, pulls: Line) -> None:
    for name in "abc":
        await pulls.add(name)
        bench.world.now += 1

    def play(pod: Object) -> Object | None:
        return broken(1, failure("Network", "the hub is away"), bench.world.now) if pulls.of(pod) == "a" else None

    bench.world.jobs["pull"] = play
    await bench.settle()
    assert bench.condition("ModelPulled", "a") == ("False", "Network")
    assert pulls.pulling() == ["b", "c"]
    await bench.pass_time(25)
    assert bench.condition("ModelPulled", "a") == ("False", "Queued")
    assert "the last try failed: the hub is away" in bench.message("ModelPulled", "a")
    bench.world.jobs["pull"] = pulls.play
    await pulls.finish("c")
    assert pulls.pulling() == ["a", "b"]


async def test_a_pull_that_finds_no_node_does_not_keep_the_others_waiting(bench: Bench, pulls: Line) -> None:
    stuck = {
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
            | {"lastTransitionTime": "2027-01-15T08:00:00Z"}
        ],
    }

    def play(pod: Object) -> Object | None:
        if pulls.of(pod) in "ab" and pod["status"]["phase"] == "Running":
            pulls.world.put("Pod", "ns", pod["metadata"]["name"], status=stuck)
        return None

    bench.world.jobs["pull"] = play
    for name in "abcde":
        await pulls.add(name)
    assert pulls.pulling() == []
    await bench.pass_time(10)
    assert bench.condition("ModelPulled", "a") == ("False", "Unschedulable")
    assert pulls.pulling() == ["c", "d"]
    assert pulls.queue() == ["e"]


async def test_steps_of_a_pull_are_told_once_across_restarts(bench: Bench) -> None:
    bench.world.jobs["pull"] = lambda pod: None
    bench.world.model("tiny")
    await bench.settle()
    key = Key("ns", "tiny")

    async def at(percent: int) -> None:
        rate = float(percent)
        bench.quiet.answers[key] = Progress(stage="fetching", bytes=percent, total=100, bytes_per_second=rate)
        bench.queue.add(key)
        await bench.settle()

    for percent in (3, 26, 30):
        await at(percent)
    bench.quiet.answers.clear()
    bench.start()
    await bench.settle()
    assert bench.status()["pull"]["percent"] == 30, "what was told last stays until the pod tells more"
    for percent in (31, 10, 30, 55, 80, 100):
        await at(percent)
    bench.world.jobs["pull"] = World().jobs["pull"]
    await bench.settle()
    told = [each for old, new in bench.quiet.statuses for each in happenings("tiny", old, new)]
    notes = [each.note.partition(",")[0] for each in told if each.reason.startswith("Pull")]
    whole = f"1.0 kB of commit {COMMIT} are on the volume"
    assert notes == [
        "pulling 100 B",
        "25% pulled",
        "50% pulled",
        "75% pulled",
        whole,
    ]
    assert "pull" not in bench.status()
