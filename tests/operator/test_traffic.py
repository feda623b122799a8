"""What all routers said last: when it tells that no call runs, and when it tells nothing."""

from dormouse_api.demand import Demand, ModelDemand
from dormouse_operator.decide.pool import Traffic
from dormouse_operator.queue import Key
from dormouse_operator.traffic import STALE_SECONDS, Heard

KEY = Key("ns", "a")


def said(in_flight: int = 0, held: int = 0) -> Demand:
    return Demand(models={"ns/a": ModelDemand(in_flight=in_flight, held=held)} if in_flight or held else {})


def test_all_routers_together() -> None:
    heard = Heard()
    assert heard.of(KEY, 100.0) is None, "nobody has told yet"
    heard.take(100.0, [said(1), said(2, 3)], whole=True)
    assert heard.of(KEY, 100.5) == Traffic(100.0, 3, 3, 0.5)
    heard.take(102.0, [said(), said()], whole=True)
    assert heard.of(KEY, 104.0) == Traffic(102.0, 0, 0, 4.0)


def test_quiet_counts_from_the_first_answer_for_what_was_before_is_not_known() -> None:
    heard = Heard()
    heard.take(100.0, [said()], whole=True)
    heard.take(107.0, [said()], whole=True)
    assert heard.of(KEY, 107.0) == Traffic(107.0, 0, 0, 7.0)


def test_a_silent_router_may_have_a_call() -> None:
    heard = Heard()
    heard.take(100.0, [said(1), said()], whole=True)
    heard.take(102.0, [said()], whole=False)
    assert heard.of(KEY, 103.0) == Traffic(100.0, 1, 0, 3.0), "the last whole answer counts"
    assert heard.of(KEY, 100.0 + STALE_SECONDS + 0.1) is None, "and then nothing is known"
    heard.take(112.0, [said(1)], whole=False)
    heard.take(113.0, [said(), said()], whole=True)
    assert heard.of(KEY, 113.0) == Traffic(113.0, 0, 0, 1.0), "what one tells of calls counts all the same"


def test_what_was_long_ago_is_forgotten() -> None:
    heard = Heard()
    heard.take(100.0, [said(1)], whole=True)
    heard.take(1000.0, [said()], whole=True)
    assert heard.of(KEY, 1000.0) == Traffic(1000.0, 0, 0, 900.0)
    assert not heard._busy
