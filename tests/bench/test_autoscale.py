"""The simulation serves everybody once, and its figures are those of what happened."""

import subprocess

import pytest

from bench.autoscale import ROWS, rules
from bench.routing.processes import python
from bench.scaling.rules import Dormouse, Rule
from bench.scaling.traces import TRACES, Trace
from bench.scaling.world import Service, World

SHORT = Trace("short", 300.0, lambda now: 5.0 if now < 100 else 0.5, 5.0)
SERVICE = Service(cold_start=20.0)
NAMES = [rule.name for rule in rules(SERVICE)]


@pytest.mark.parametrize("name", NAMES)
def test_everybody_is_served_once(name: str) -> None:
    rule = next(rule for rule in rules(SERVICE) if rule.name == name)
    outcome = World(SERVICE, rule, 1).run(SHORT, 1)
    assert outcome.requests == len(outcome.waits) == len(list(SHORT.arrivals(1)))
    assert outcome.waits[0] >= SERVICE.cold_start - 1e-9, "nothing was there when the first one came"
    assert 0 < outcome.cold < outcome.requests
    assert outcome.starts * SERVICE.cold_start < outcome.pod_seconds


def test_pods_that_are_always_there_make_nobody_wait_for_a_start() -> None:
    class Always(Dormouse):
        def pods(self, samples: object, now: int) -> int:
            return 16

    rule: Rule = Always(SERVICE.slots, SERVICE.cold_start)
    outcome = World(SERVICE, rule, 1).run(SHORT, 1)
    assert outcome.starts == 16
    assert outcome.flaps == 0
    assert max(outcome.waits[outcome.cold :]) < SERVICE.cold_start


def test_engines_that_are_asked_make_up_for_slots_that_are_wrong() -> None:
    steady = Trace("steady", 900.0, lambda now: 5.0, 5.0)
    service = Service(slots=4, told=16, cold_start=20.0)
    asked, unasked = rules(service)[:2]
    attained = [World(service, rule, 1).run(steady, 1).attained for rule in (asked, unasked)]
    assert attained[0] > 0.9
    assert attained[1] < 0.7


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_rates_stay_below_what_the_thinning_assumes(trace: Trace) -> None:
    assert all(0 <= trace.rate(float(at)) <= trace.most for at in range(int(trace.seconds)))


@pytest.mark.slow
def test_the_table_names_every_rule_and_trace() -> None:
    done = subprocess.run(
        python("bench.autoscale", "--seeds", 1), capture_output=True, text=True, timeout=280, check=True
    )
    assert all(f"| {trace.name} | {name} |" in done.stdout for trace in TRACES for name in NAMES)
    assert all(row in done.stdout for row in ROWS)
