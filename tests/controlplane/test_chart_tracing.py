"""The chart's traces: off by default, with what was asked for in the variables that the programs read."""

from typing import Any

from dormouse_api.tracing import wanted
from dormouse_operator.settings import Settings as OperatorSettings
from tests.controlplane.test_chart import of_kind, render

ON = "tracing.endpoint=http://collector.monitoring:4318/"
PARTS = ("operator", "router")


def environments(*options: str) -> dict[str, dict[str, Any]]:
    """By the part, the values of its variables, or where they are from."""
    found = {}
    for item in of_kind(render(*options), "Deployment"):
        (first, *_) = item["spec"]["template"]["spec"]["containers"]
        found[first["name"]] = {one["name"]: one.get("value", one.get("valueFrom")) for one in first["env"]}
    return found


def test_without_an_endpoint_nothing_speaks_of_it() -> None:
    for part, env in environments().items():
        assert not [name for name in env if "OTEL" in name or "TRACES" in name], part


def test_operator_and_router_are_told_the_same() -> None:
    found = environments("--set", f"{ON},tracing.percent=5,tracing.headers.existingSecret=otlp")
    for part in PARTS:
        env = found[part]
        assert env["OTEL_TRACES_SAMPLER_ARG"] == "0.05"
        assert env.pop("OTEL_EXPORTER_OTLP_HEADERS") == {"secretKeyRef": {"name": "otlp", "key": "headers"}}
        assert wanted({name: value for name, value in env.items() if name.startswith("OTEL_")})


def test_engines_make_spans_only_where_they_shall() -> None:
    assert "DORMOUSE_ENGINE_TRACES" not in environments("--set", ON)["operator"]
    env = environments("--set", f"{ON},tracing.engines=true")["operator"]
    told = OperatorSettings.from_environment({name: value for name, value in env.items() if isinstance(value, str)})
    assert (
        dict(told.engine_traces)["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == "http://collector.monitoring:4318/v1/traces"
    )


def test_engines_that_make_spans_reach_their_receiver_through_the_policies() -> None:
    options = f"{ON},networkPolicy.enabled=true,networkPolicy.modelNamespaces={{a}}"
    for engines, reached in (("false", []), ("true", [[53, 53], [4318]])):
        policies = of_kind(render("--set", f"{options},tracing.engines={engines}"), "NetworkPolicy")
        (models,) = [each for each in policies if each["metadata"]["name"].endswith("-models")]
        assert [[port["port"] for port in rule["ports"]] for rule in models["spec"]["egress"]] == reached
