"""Which models are taken next, so that those which share devices are swapped as seldom as can be."""

import pytest

from dormouse_router.batch.rota import LINGER, TURN, Candidate, Plan, Working, barred, plan

NOW = 10_000.0


def of(model: str, awake: bool = False, pool: str | None = "gpu", held: bool = False) -> Candidate:
    return Candidate(model, awake, pool, held)


def at_work(model: str, since: float = 60.0, idle: float = 0.0, room: bool = True) -> Working:
    return Working(model, NOW - since, NOW - idle, room)


@pytest.mark.parametrize(
    ("candidates", "working", "prefer", "avoid"),
    [
        ([], [], (), set()),
        ([of("a"), of("b"), of("c")], [], (), set()),
        ([of("a", True), of("b"), of("c")], [at_work("a")], ("a",), {"b", "c"}),
        ([of("a", True), of("b", pool="other")], [at_work("a")], ("a",), set()),
        ([of("a", True), of("b", True)], [at_work("b")], ("b", "a"), set()),
        ([of("a", True), of("b", True)], [at_work("a", room=False)], ("b",), {"a"}),
        ([of("a"), of("b")], [at_work("a")], (), {"b"}),
        ([of("a", True), of("b")], [at_work("a", idle=LINGER / 2)], ("a",), {"b"}),
        ([of("a", True), of("b")], [at_work("a", idle=LINGER * 2)], ("a",), set()),
        ([of("a", True), of("b")], [at_work("a", since=TURN + 1)], ("a",), set()),
        ([of("a", True, held=True), of("b")], [], ("a",), {"b"}),
        ([of("a", True, held=True), of("b")], [at_work("a", idle=LINGER * 2)], ("a",), {"b"}),
        ([of("a", True, held=True), of("b")], [at_work("a", since=TURN + 1)], ("a",), set()),
        ([of("a", held=True), of("b")], [], (), {"b"}),
        ([of("a"), of("b", held=True)], [], (), {"a"}),
        ([of("nobody knows it", pool=None), of("a", True)], [at_work("a")], ("a",), set()),
    ],
)
def test_plans(candidates: list[Candidate], working: list[Working], prefer: tuple[str, ...], avoid: set[str]) -> None:
    assert plan(candidates, working, NOW) == Plan(prefer, frozenset(avoid))


def test_of_two_workers_that_wake_two_models_at_once_one_gives_way() -> None:
    mine = [of("a"), of("b", held=True)]
    theirs = [of("a", held=True), of("b")]
    assert not barred("a", mine, [at_work("a")], NOW)
    assert barred("b", theirs, [at_work("b")], NOW)


def test_what_one_worker_has_begun_first_goes_first() -> None:
    working = [at_work("a", since=5.0), at_work("b", since=9.0)]
    assert barred("a", [of("a"), of("b")], working, NOW)
    assert not barred("b", [of("a"), of("b")], working, NOW)


def test_a_model_that_is_awake_and_worked_on_goes_before_one_that_sleeps() -> None:
    assert barred("a", [of("a"), of("b", True)], [at_work("a", since=9.0), at_work("b", since=5.0)], NOW)
