"""The pure parts of bench.reconcile: what the audit log tells, what kwok is told, and when a run has failed."""

import math
from typing import Any

import pytest
import yaml

from bench.reconciling.passage import passages
from bench.reconciling.stages import messages, stages
from bench.reconciling.trace import Moment, asked_most, percentile, requests, waits, written
from bench.reconciling.verdict import Row, Sense, Target, failed, table
from bench.reconciling.world import fleet
from dormouse_api import names
from dormouse_api.results import Outcome

Event = dict[str, Any]
READY = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata:
  name: pod-ready
spec:
  resourceRef:
    apiGroup: v1
    kind: Pod
  selector:
    matchExpressions:
    - key: '.status.phase'
      operator: 'In'
      values: [Pending]
  next:
    statusTemplate: ready
"""
OTHERS = "\nkind: Stage\nmetadata:\n  name: pod-complete\n---\nkind: Stage\nmetadata:\n  name: node-initialize\n"


def event(second: float, verb: str, resource: str, name: str, agent: str, **more: Any) -> Event:
    stamp = f"2026-11-21T10:00:{second:09.6f}Z"
    ref = {"resource": resource, "name": name, "namespace": "ns"}
    return {
        "stage": "ResponseComplete",
        "stageTimestamp": stamp,
        "verb": verb,
        "objectRef": ref,
        "userAgent": agent,
        "responseStatus": {"code": 200},
    } | more


def test_a_wake_lasts_from_the_wish_to_the_first_pod_of_that_very_model() -> None:
    born = [
        Moment("ns", "a", 1.0),  # of an earlier wake
        Moment("ns", "a", 2.5),
        Moment("ns", "a", 2.25),
        Moment("other", "a", 2.01),
        Moment("ns", "a-runtime", 2.02),
    ]
    first, second = waits([Moment("ns", "a", 2.0), Moment("ns", "b", 3.0)], born)
    assert first == pytest.approx(250)
    assert second == math.inf


def test_a_refused_write_is_a_write_and_an_unfinished_one_is_counted_when_it_ends() -> None:
    refused = event(1, "patch", "jobs", "a", "dormouse-operator", responseStatus={"code": 409})
    begun = event(2, "patch", "jobs", "a", "dormouse-operator", stage="ResponseStarted")
    assert written([refused, begun], 0) == ["patch jobs/a"]


def test_writes_and_requests_are_the_operators_own_and_of_the_time_asked_for() -> None:
    log = [
        event(1, "patch", "jobs", "early", "dormouse-operator"),
        event(5, "patch", "jobs", "j", "dormouse-operator"),
        event(6, "get", "pods", "p", "dormouse-operator"),
        event(6, "watch", "pods", "", "dormouse-operator"),
        event(6, "create", "pods", "p", "kube-controller-manager"),
    ]
    since = 1795255203.0  # three seconds past the minute
    assert written(log, since) == ["patch jobs/j"]
    assert requests(log, since) == 2
    assert requests(log, since, since + 2.5) == 1


@pytest.mark.parametrize(
    ("values", "share", "expected"), [([3, 1, 2], 0.5, 2), (range(1, 101), 0.99, 99), ([7], 0.99, 7), ([1, 2], 0.0, 1)]
)
def test_percentiles_are_values_that_were_seen(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(percentile([], 0.5))


@pytest.mark.parametrize(
    ("value", "target", "met", "far"),
    [
        (90, Target(100), True, False),
        (120, Target(100), False, False),
        (151, Target(100), False, True),
        (math.inf, Target(100), False, True),
        (math.nan, Target(100), False, True),
        (110, Target(100, Sense.AT_LEAST), True, False),
        (70, Target(100, Sense.AT_LEAST), False, False),
        (60, Target(100, Sense.AT_LEAST), False, True),
        (math.nan, Target(100, Sense.AT_LEAST), False, True),
        (1, Target(0, exact=True), False, True),
        (0, Target(0, exact=True), True, False),
        (999, Target(1000, Sense.AT_LEAST, exact=True), False, True),
        (math.nan, None, True, False),
    ],
)
def test_a_target_missed_by_far_fails_the_run(value: float, target: Target | None, met: bool, far: bool) -> None:
    row = Row("m", "s", value, target)
    assert (row.met, row.far) == (met, far)
    assert failed([row]) == (["m"] if far else [])


def test_the_table_has_the_target_beside_the_figure() -> None:
    lines = table([Row("wakes", "ms", 123.4, Target(100)), Row("looks", "1/s", 12.345), Row("end", "s", math.inf)])
    _, wakes_, looks, end = (line.split() for line in lines.splitlines())
    assert wakes_ == ["wakes", "123", "ms", "at", "most", "100", "missed"]
    assert looks == ["looks", "12.3", "1/s"]
    assert end == ["end", "never", "s"]


def test_kwok_ends_our_jobs_with_the_real_messages_and_makes_only_runtime_pods_ready() -> None:
    found = {stage["metadata"]["name"]: stage for stage in yaml.safe_load_all(stages(f"{OTHERS}---\n{READY}", 1.5))}
    assert set(found) == {"node-initialize", "pod-ready", "inspect-ended", "pull-ended"}
    ready = found["pod-ready"]["spec"]
    assert ready["selector"]["matchLabels"] == {names.LABEL_COMPONENT: names.COMPONENT_RUNTIME}
    assert ready["selector"]["matchExpressions"][0]["key"] == ".status.phase"
    assert ready["delay"] == {"durationMilliseconds": 1500}
    for component, said in messages().items():
        template = found[f"{component}-ended"]["spec"]["next"]["statusTemplate"]
        line = next(line for line in template.splitlines() if "message:" in line)
        outcome = Outcome.model_validate_json(yaml.safe_load(line.strip())["message"])
        assert outcome == Outcome.model_validate_json(said)
        assert getattr(outcome, component) is not None


def test_a_fleet_has_distinct_names_in_several_namespaces() -> None:
    found = fleet(10)
    assert len(set(found)) == 10
    assert {name.space for name in found} == {f"bench-{number}" for number in range(4)}


def request(came: float, done: float, verb: str, resource: str, agent: str) -> Event:
    name = "a" if resource == "inferencemodels" else "a-runtime"
    return event(done, verb, resource, name, agent) | {"requestReceivedTimestamp": f"2026-11-21T10:00:{came:09.6f}Z"}


def test_a_wake_is_told_apart_by_who_had_it_in_hand() -> None:
    minute = 1795255200.0
    ours, router, controller = "dormouse-operator", "bench-router", "kube-controller-manager/v1 deployment-controller"
    log = [
        request(0.5, 0.6, "patch", "deployments", ours),  # of an earlier wake
        request(1.01, 1.02, "patch", "leases", router),
        request(1.05, 1.07, "get", "inferencemodels", ours),
        request(1.06, 1.08, "get", "leases", ours),
        request(1.10, 1.14, "patch", "deployments", ours),
        request(1.15, 1.20, "update", "replicasets", controller),
        event(3, "get", "pods", "b", ours) | {"requestReceivedTimestamp": "2026-11-21T10:00:03Z"},
    ]
    (found,) = passages([Moment("ns", "a", minute + 1)], [Moment("ns", "a", minute + 1.3)], log)
    milliseconds = [found.asked, found.taken, found.decided, found.served, found.own]
    assert milliseconds == pytest.approx([20, 30, 50, 30, 50], abs=0.01)
    assert [found.accepted, found.controlled, found.born] == pytest.approx([40, 60, 100], abs=0.01)
    (never,) = passages([Moment("ns", "b", minute + 1)], [], log)
    assert never.decided == math.inf


def test_what_is_asked_most_is_told_by_whom() -> None:
    log = [event(1, "get", "pods", "p", "dormouse-operator/1")] * 2 + [event(1, "watch", "pods", "", "x")] * 3
    assert asked_most(log, 5) == ["dormouse-operator get pods: 2"]
