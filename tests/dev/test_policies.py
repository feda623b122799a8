"""The local cluster's enforcer of NetworkPolicies: what passes, judged by the text that the firewall is given."""

from typing import Any

import pytest

from dev.cluster.policies.ruleset import ruleset
from dev.cluster.policies.selecting import matches, world

Object = dict[str, Any]
NAMESPACES = [
    {"metadata": {"name": "system", "labels": {"kubernetes.io/metadata.name": "system"}}},
    {"metadata": {"name": "models", "labels": {"kubernetes.io/metadata.name": "models"}}},
]
ROUTERS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "system"}}}
NOBODY = "counter drop;"


def pod(namespace: str, address: str, app: str, **status: Any) -> Object:
    port = {"name": "serving", "containerPort": 8000}
    return {
        "metadata": {"namespace": namespace, "labels": {"app": app}},
        "spec": {"containers": [{"ports": [port]}]},
        "status": {"podIP": address, "phase": "Running", **status},
    }


def policy(namespace: str, **spec: Any) -> Object:
    return {"metadata": {"namespace": namespace}, "spec": {"podSelector": {}, **spec}}


PODS = [pod("system", "10.0.0.1", "router"), pod("models", "10.0.0.2", "engine"), pod("models", "10.0.0.3", "pull")]


def chains(*policies: Object, pods: list[Object] = PODS) -> dict[str, list[str]]:
    """The lines of each chain by its name."""
    found: dict[str, list[str]] = {}
    for line in ruleset(world(pods, NAMESPACES, policies)).splitlines():
        if line.startswith("  chain"):
            found[line.split()[1]] = current = []
        elif line.startswith("    "):
            current.append(line.strip())
    return found


@pytest.mark.parametrize(
    ("selector", "taken"),
    [
        ({}, True),
        ({"matchLabels": {"app": "router"}}, True),
        ({"matchLabels": {"app": "router", "tier": "front"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["router", "pull"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["router"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_a_selector_takes_labels_as_the_api_says(selector: Object, taken: bool) -> None:
    assert matches(selector, {"app": "router"}) is taken


def test_without_a_policy_everything_passes() -> None:
    assert chains().keys() == {"forwarded", "to_node"}
    assert not [line for lines in chains().values() for line in lines if "drop" in line or "jump" in line]


def test_a_policy_without_rules_drops_what_is_new_and_keeps_what_goes_on() -> None:
    found = chains(policy("models", policyTypes=["Ingress", "Egress"]))
    assert found["in_10_0_0_2"] == found["out_10_0_0_2"] == [NOBODY]
    assert "in_10_0_0_1" not in found, "another namespace's pod"
    hook, kept, *jumps = found["forwarded"]
    assert "hook forward" in hook
    assert kept.startswith("ct state established,related accept")
    assert {"ip daddr 10.0.0.2 jump in_10_0_0_2;", "ip saddr 10.0.0.2 jump out_10_0_0_2;"} <= set(jumps)
    assert [line for line in found["to_node"] if "daddr" in line] == [], "the node may always reach its pods"
    assert "ip saddr 10.0.0.2 jump out_10_0_0_2;" in found["to_node"]


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ({}, ["return;"]),
        ({"from": [ROUTERS]}, ["ip saddr { 10.0.0.1 } return;"]),
        ({"from": [{"podSelector": {}}]}, ["ip saddr { 10.0.0.2, 10.0.0.3 } return;"]),
        ({"from": [{"podSelector": {"matchLabels": {"app": "nobody"}}}]}, []),
        ({"from": [{**ROUTERS, "podSelector": {"matchLabels": {"app": "engine"}}}]}, []),
        ({"from": [ROUTERS], "ports": [{"port": "serving"}]}, ["ip saddr { 10.0.0.1 } tcp dport 8000 return;"]),
        ({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}, ["udp dport 53 return;", "tcp dport 53 return;"]),
        ({"ports": [{"port": 80, "endPort": 90}]}, ["tcp dport 80-90 return;"]),
        ({"ports": [{"protocol": "UDP"}]}, ["meta l4proto udp return;"]),
        ({"ports": [{"port": "nameless"}]}, []),
        (
            {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
            ["ip saddr 10.0.0.0/8 ip saddr != { 10.1.0.0/16 } return;"],
        ),
        ({"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}, []),
    ],
)
def test_what_may_come_in(rule: Object, lines: list[str]) -> None:
    selector = {"matchLabels": {"app": "engine"}}
    found = chains(policy("models", podSelector=selector, policyTypes=["Ingress"], ingress=[rule]))
    assert found["in_10_0_0_2"] == [*lines, NOBODY]
    assert not {"out_10_0_0_2", "in_10_0_0_3"} & found.keys()


def test_what_may_go_out_by_a_ports_name_goes_to_the_number_of_each_pod() -> None:
    rule = {"to": [{"podSelector": {}}], "ports": [{"port": "serving"}]}
    found = chains(policy("models", egress=[rule], policyTypes=["Egress"]))
    assert found["out_10_0_0_2"] == [
        "ip daddr 10.0.0.2 tcp dport 8000 return;",
        "ip daddr 10.0.0.3 tcp dport 8000 return;",
        NOBODY,
    ]


def test_policies_add_up() -> None:
    first = policy("models", ingress=[{"ports": [{"port": 1}]}])
    second = policy("models", ingress=[{"ports": [{"port": 2}]}, {"ports": [{"port": 1}]}], policyTypes=["Ingress"])
    assert chains(first, second)["in_10_0_0_2"] == ["tcp dport 1 return;", "tcp dport 2 return;", NOBODY]


@pytest.mark.parametrize("status", [{"phase": "Succeeded"}, {"podIP": None}])
def test_a_pod_that_has_ended_or_has_no_address_is_left_alone(status: Object) -> None:
    assert chains(policy("models"), pods=[pod("models", "10.0.0.9", "engine", **status)]).keys() == {
        "forwarded",
        "to_node",
    }
