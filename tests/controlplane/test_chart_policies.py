"""The chart's NetworkPolicies: everything denied, and the ways that settings ask for; judged as an enforcer would."""

import functools
from typing import Any

import pytest
import yaml

from dev import manifests
from dev.cluster.policies.selecting import matches
from dormouse_api import names
from tests.controlplane.test_chart import of_kind, render

Object = dict[str, Any]
ON = ("--set", "networkPolicy.enabled=true,networkPolicy.modelNamespaces={models}")
CONTROL = {"app.kubernetes.io/name": "dormouse", "app.kubernetes.io/instance": "dormouse"}


@functools.cache
def policies(*options: str) -> dict[str, Object]:
    """Each policy's spec by its namespace and name, to be read alone."""
    found = of_kind(render(*ON, *options), "NetworkPolicy")
    return {f"{item['metadata']['namespace']}/{item['metadata']['name']}": item["spec"] for item in found}


def of_component(component: str) -> dict[str, str]:
    return CONTROL | {"app.kubernetes.io/component": component}


def of_model(component: str) -> dict[str, str]:
    return {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_COMPONENT: component}


def ports(rules: list[Object]) -> list[set[int]]:
    return [{port["port"] for port in rule["ports"]} for rule in rules]


def out(component: str, *options: str) -> list[int]:
    """Where a part of the control plane may go, as ports."""
    rules = policies(*options)[f"dormouse-system/dormouse-{component}"]["egress"]
    return sorted({port for each in ports(rules) for port in each})


def test_there_are_none_unless_asked_for() -> None:
    assert of_kind(render(), "NetworkPolicy") == []


def test_every_pod_is_closed_in_both_directions() -> None:
    found = policies()
    assert all(spec["policyTypes"] == ["Ingress", "Egress"] for spec in found.values())
    for deployment in of_kind(render(*ON), "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        mine = {name for name, spec in found.items() if matches(spec["podSelector"], labels)}
        component = labels["app.kubernetes.io/component"]
        assert mine == {"dormouse-system/dormouse", f"dormouse-system/dormouse-{component}"}
    assert found["dormouse-system/dormouse"].keys() == {"podSelector", "policyTypes"}, "no way at all"
    stages = (names.COMPONENT_INSPECT, names.COMPONENT_PULL, names.COMPONENT_ADAPTER)
    offline = (names.COMPONENT_QUANTIZE, names.COMPONENT_SWEEP, names.COMPONENT_BIND, names.COMPONENT_RUNTIME)
    for component in (*stages, *offline):
        mine = {name for name, spec in found.items() if matches(spec["podSelector"], of_model(component))}
        assert mine == {"models/dormouse-models", *(["models/dormouse-pulls"] if component in stages else [])}
    assert found["models/dormouse-models"]["egress"] == []


def test_an_engine_is_asked_by_router_and_operator_alone() -> None:
    (rule,) = policies()["models/dormouse-models"]["ingress"]
    assert ports([rule]) == [{names.PORT_SERVING, names.PORT_ADMIN}]
    for component, may in (("router", True), ("operator", True), ("worker", False)):
        taken = [peer for peer in rule["from"] if matches(peer["podSelector"], of_component(component))]
        assert bool(taken) is may
    homes = [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in rule["from"]]
    assert set(homes) == {"dormouse-system"}


@pytest.mark.parametrize("component", ["router", "operator"])
def test_those_who_ask_engines_may_go_there(component: str) -> None:
    rules = policies()[f"dormouse-system/dormouse-{component}"]["egress"]
    (rule,) = [rule for rule in rules if {port["port"] for port in rule["ports"]} == {8000, 8001}]
    ((peer,),) = [rule["to"]]
    assert matches(peer["podSelector"], of_model(names.COMPONENT_RUNTIME))
    assert peer["namespaceSelector"] == {}, "wherever models are served"
    (named,) = [
        rule["to"][0]["namespaceSelector"]
        for rule in policies("--set", "watchNamespaces={a}")[f"dormouse-system/dormouse-{component}"]["egress"]
        if {port["port"] for port in rule["ports"]} == {8000, 8001}
    ]
    assert matches(named, {"kubernetes.io/metadata.name": "a"})
    assert not matches(named, {"kubernetes.io/metadata.name": "b"})


BASE = [53, 443, 6443, 8000, 8001, 8443]


@pytest.mark.parametrize(
    ("options", "reached"),
    [
        ("replicaCount=", BASE),
        ("router.database.existingSecret=store", [*BASE, 5432]),
        ("router.sessions.existingSecret=redis", [*BASE, 6379]),
        ("router.access.limits.existingSecret=redis,networkPolicy.redis.ports={6380}", [*BASE, 6380]),
        ("router.files.bucket=files,router.files.endpoint=http://minio.store:9000", [*BASE, 9000]),
        ("router.files.bucket=files,router.files.endpoint=http://minio.store", [*BASE, 80]),
        ("router.files.bucket=files", BASE),
        (
            "router.access.modes={oidc},router.access.oidc.issuer=https://login:9443/realm,router.access.oidc.audience=a",
            [*BASE, 9443],
        ),
        ("router.webhooks.allowed={receiver:8080}", [*BASE, 8080]),
        ("tracing.endpoint=http://collector.monitoring:4318", [*BASE, 4318]),
        ("tracing.endpoint=https://otlp.example.com/in,networkPolicy.traces.ports={8888}", [*BASE, 8888]),
        ("networkPolicy.webhooks.ports={8443},networkPolicy.apiServer.ports={6443}", [53, 6443, 8000, 8001, 8443]),
    ],
)
def test_the_router_reaches_what_its_settings_name(options: str, reached: list[int]) -> None:
    wish = () if options == "replicaCount=" else ("--set", options)
    assert out("router", *wish) == sorted(reached)


def test_pulls_reach_names_and_sources() -> None:
    found = policies("--set", "hub.endpoint=http://hub.dev:8900,proxy.https=http://proxy:3128")
    assert ports(found["models/dormouse-pulls"]["egress"]) == [{53}, {443, 8900, 3128}]
    named = policies("--set", "networkPolicy.sources.to[0].ipBlock.cidr=10.0.0.0/8,networkPolicy.sources.ports={80}")
    assert named["models/dormouse-pulls"]["egress"][1] == {
        "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "ports": [{"port": 80, "protocol": "TCP"}],
    }


def test_a_worker_of_its_own_reaches_store_and_router() -> None:
    shared = "router.database.existingSecret=store,router.files.bucket=files,networkPolicy.bucket.ports={9000}"
    assert out("worker", "--set", shared) == [53, 5432, 8080, 9000]
    clients = "networkPolicy.clients[0].podSelector.matchLabels.app=chat"
    into = policies("--set", shared, "--set", clients)["dormouse-system/dormouse-router"]["ingress"][0]
    assert any(matches(peer["podSelector"], of_component("worker")) for peer in into["from"]), "workers are clients"
    assert not any(matches(peer["podSelector"], {"app": "other"}) for peer in into["from"])


def test_who_scrapes_is_said_before_somebody_shall_scrape() -> None:
    def on_port(number: int, *options: str) -> list[Object]:
        rules = [rule for spec in policies(*options).values() for rule in spec.get("ingress") or ()]
        return [peer for rule in rules if {"port": number, "protocol": "TCP"} in rule["ports"] for peer in rule["from"]]

    wish = "networkPolicy.scrapers[0].namespaceSelector.matchLabels.team=watch"
    peer = {"namespaceSelector": {"matchLabels": {"team": "watch"}}}
    for port, engines in ((9090, False), (9091, False), (8001, False), (8000, True)):
        assert peer not in on_port(port)
        assert (peer in on_port(port, "--set", wish)) is not engines
    assert peer in on_port(8000, "--set", wish, "--set", "monitoring.podMonitor.engines=true")
    monitored = ("--set", "networkPolicy.enabled=true,monitoring.podMonitor.enabled=true")
    done = manifests.helm("template", "dormouse", str(manifests.CHART), *monitored, check=False)
    assert "set networkPolicy.scrapers" in done.stderr


def test_extra_ways_are_taken_as_they_are(tmp_path: Any) -> None:
    more = [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 4317, "protocol": "TCP"}]}]
    kinds = {"router": "dormouse-system", "worker": "dormouse-system", "operator": "dormouse-system"}
    kinds |= {"pulls": "models", "engines": "models"}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"networkPolicy": {"extraEgress": dict.fromkeys(kinds, more)}}))
    found = policies("-f", str(values))
    for kind, namespace in kinds.items():
        name = "models" if kind == "engines" else kind
        assert more[0] in found[f"{namespace}/dormouse-{name}"]["egress"]


def test_watched_namespaces_are_those_of_models() -> None:
    found = of_kind(render("--set", "networkPolicy.enabled=true,watchNamespaces={a,b}"), "NetworkPolicy")
    assert {item["metadata"]["namespace"] for item in found} == {"dormouse-system", "a", "b"}
