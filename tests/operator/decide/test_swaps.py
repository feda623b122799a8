"""What the status tells of the line, and what a turn took."""

from dormouse_api.status import Line, Swap
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
    served = swaps.served(None, swaps.starting(waited), NOW + 14)
    assert served == [Swap(at=stamp(NOW + 14), seconds=4, waited_seconds=14, holder="ns/a")]
    assert swaps.served(served, None, NOW + 99) == served, "told once"
    assert swaps.served(served, line(), NOW + 99) == served, "nobody was asked: it left by itself"
    many = [Swap(at=stamp(NOW + i), seconds=1, waited_seconds=1, holder="ns/b") for i in range(swaps.KEEP)]
    assert swaps.served(many, waited, NOW + 14) == [*many[1:], served[0]]
