"""What the status tells of the line, and what a turn took."""

from typing import Any

from dormouse_api.lease import micro_time
from dormouse_api.status import Condition, InferenceModelStatus, Line, Queue, Swap
from dormouse_operator.decide import swaps
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.decide.places import Place
from tests.operator.builders import NOW

FIRST = Place(1, 2, ("ns", "a"), "ns/a holds it", 20)


def line(**more: object) -> Line:
    base = {"since": stamp(NOW), "position": 1, "of": 2, "holder": "ns/a", "seconds": 20}
    return Line.model_validate(base | more)


def test_the_wait_begins_once_and_the_rest_is_told_as_it_is() -> None:
    begun = swaps.waiting(None, FIRST, NOW)
    assert begun == line()
    assert swaps.waiting(begun, FIRST, NOW + 50) == begun


def test_when_the_holder_was_asked_is_kept_until_another_holds() -> None:
    asked = Place(1, 2, ("ns", "a"), "", 5, asked_to_leave=NOW + 3)
    first = swaps.waiting(line(), asked, NOW)
    assert first.asked_to_leave == stamp(NOW + 3)
    ending = Place(1, 2, ("ns", "a"), "", 5, asked_to_leave=NOW + 9)
    assert swaps.waiting(first, ending, NOW).asked_to_leave == stamp(NOW + 3)
    other = Place(1, 2, ("ns", "b"), "", 5, asked_to_leave=NOW + 12)
    assert swaps.waiting(first, other, NOW).asked_to_leave == stamp(NOW + 12)
    behind = Place(2, 2, ("ns", "a"), "", 5, asked_to_leave=NOW + 3)
    assert swaps.waiting(line(), behind, NOW).asked_to_leave is None, "it leaves for the one before"


def test_a_turn_is_measured_from_the_asking_to_the_serving() -> None:
    waited = line(asked_to_leave=stamp(NOW + 10))
    served = swaps.served(None, swaps.starting(waited, NOW), NOW + 14)
    assert served == [Swap(at=stamp(NOW + 14), seconds=4, waited_seconds=14, holder="ns/a")]
    assert swaps.served(served, None, NOW + 99) == served, "told once"
    assert swaps.served(served, line(), NOW + 99) == served, "nobody was asked: it left by itself"
    many = [Swap(at=stamp(NOW + i), seconds=1, waited_seconds=1, holder="ns/b") for i in range(swaps.KEEP)]
    assert swaps.served(many, waited, NOW + 14) == [*many[1:], served[0]]


def test_the_end_of_a_wait_is_measured_once() -> None:
    def status(ready: int = 0, pulled: str = "Queued", **more: Any) -> InferenceModelStatus:
        condition = Condition(
            type="ModelPulled",
            status="False",
            reason=pulled,
            message="",
            observed_generation=1,
            last_transition_time=stamp(NOW),
        )
        return InferenceModelStatus(conditions=[condition], ready_replicas=ready, **more)

    line = Line(since=stamp(NOW - 30), position=0, of=1)
    queue = Queue(since=micro_time(NOW - 7), position=1, of=2)
    assert swaps.waited(status(line=line), status(ready=1), NOW) == {"accelerator": 30.0}
    assert swaps.waited(status(line=line), status(), NOW) == {}, "nobody wants it any more"
    assert swaps.waited(status(queue=queue), status(pulled="Pulling"), NOW) == {"pull": 7.0}
    assert swaps.waited(status(queue=queue), status(pulled="StorageFailed"), NOW) == {"pull": 7.0}, "it waits elsewhere"
    assert swaps.waited(status(queue=queue), status(pulled="Network"), NOW) == {}
    assert swaps.waited(status(ready=1), status(ready=1), NOW) == {}
    swap = Swap(at=stamp(NOW), seconds=3, waited_seconds=5, holder="ns/b")
    assert swaps.news(None, [swap]) == [swap]
    assert swaps.news([swap], [swap]) == []
