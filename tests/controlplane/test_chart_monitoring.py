"""The chart's objects for Prometheus and Grafana: none unless asked for, and about pods that there are."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import manifests, prometheus
from dev.cluster.controlplane import ControlPlane
from dev.monitoring import rules
from dev.monitoring.alerts import ALERTS
from dormouse_router.accounting.costs import Tokens
from dormouse_router.settings import Settings
from tests.monitoring import promtool
from tests.monitoring.panels import dashboards

Object = dict[str, Any]
ALL = (
    "monitoring.podMonitor.enabled=true,monitoring.podMonitor.labels.release=prom,monitoring.podMonitor.engines=true,"
    "monitoring.rules.enabled=true,monitoring.rules.labels.release=prom,monitoring.dashboards.enabled=true"
)


def render(*options: str) -> list[Object]:
    done = manifests.helm("template", "dormouse", str(manifests.CHART), "--namespace", "dormouse-system", *options)
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [item for item in objects if item["kind"] == kind]


def groups(*options: str) -> dict[str, list[Object]]:
    (rule,) = of_kind(render("--set", "monitoring.rules.enabled=true", *options), "PrometheusRule")
    return {group["name"]: group["rules"] for group in rule["spec"]["groups"]}


def test_nothing_of_it_is_there_unless_asked_for() -> None:
    objects = render()
    assert {item["kind"] for item in objects} & {"PodMonitor", "PrometheusRule", "ConfigMap"} == set()


def test_the_pods_of_the_release_are_those_that_are_scraped() -> None:
    objects = render("--set", ALL)
    ours = next(item for item in of_kind(objects, "PodMonitor") if item["metadata"]["name"] == "dormouse")
    assert ours["metadata"]["labels"]["release"] == "prom"
    wanted = ours["spec"]["selector"]["matchLabels"].items()
    ports = {end["port"] for end in ours["spec"]["podMetricsEndpoints"]}
    assert all(end["honorLabels"] for end in ours["spec"]["podMetricsEndpoints"]), "namespace is the model's"
    for deployment in of_kind(objects, "Deployment"):
        pod = deployment["spec"]["template"]
        assert wanted <= pod["metadata"]["labels"].items()
        for container in pod["spec"]["containers"]:
            named = {port["name"] for port in container["ports"] if port["containerPort"] >= 9000}
            assert named <= ports, "whoever tells metrics does so at a port that is scraped"


@pytest.mark.parametrize(("engines", "ports"), [("false", ["admin"]), ("true", ["admin", "serving"])])
def test_the_pods_of_models_are_scraped_under_their_model(engines: str, ports: list[str]) -> None:
    objects = render("--set", ALL, "--set", f"monitoring.podMonitor.engines={engines},watchNamespaces={{a,b}}")
    models = next(item for item in of_kind(objects, "PodMonitor") if item["metadata"]["name"] == "dormouse-models")
    spec = models["spec"]
    assert spec["namespaceSelector"] == {"matchNames": ["a", "b"]}
    assert [end["port"] for end in spec["podMetricsEndpoints"]] == ports
    assert all(end["relabelings"][0]["targetLabel"] == "model" for end in spec["podMetricsEndpoints"])


def test_promtool_takes_the_rules_as_they_are_installed(tmp_path: Path) -> None:
    found = groups("--set", "monitoring.rules.runbookUrl=https://wiki.example.com/pages/")
    told = [{"name": name, "rules": each} for name, each in found.items()]
    done = promtool.check(tmp_path, told)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [rule["alert"] for rule in found["dormouse.alerts"]] == [alert.name for alert in ALERTS]
    assert {rule["annotations"]["runbook_url"] for rule in found["dormouse.alerts"]} == {
        f"https://wiki.example.com/pages/{alert.slug}.md" for alert in ALERTS
    }
    assert rules.RUNBOOKS not in yaml.safe_dump(told)


def test_alerts_get_labels_and_can_be_left_out() -> None:
    options = "monitoring.rules.alertLabels.team=platform,monitoring.rules.disabled={DormouseWakeSlow}"
    alerts = groups("--set", options)["dormouse.alerts"]
    assert {rule["labels"]["team"] for rule in alerts} == {"platform"}
    assert {rule["labels"]["severity"] for rule in alerts} == {"warning", "critical"}
    assert {alert.name for alert in ALERTS} - {rule["alert"] for rule in alerts} == {"DormouseWakeSlow"}


def test_prices_are_recorded_under_the_names_that_costs_are_made_of(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    prices = {"devices": {"nvidia.com/gpu": 2.5, "pod": 0}, "models": {"team/qwen": {"prompt": 0.0000004}}}
    values.write_text(yaml.safe_dump({"monitoring": {"prices": prices}}))
    found = groups("-f", str(values))["dormouse.prices"]
    assert [(rule["record"], rule["expr"], rule["labels"]) for rule in found] == [
        (rules.DEVICE_PRICE, "vector(2.5)", {"resource": "nvidia.com/gpu"}),
        (rules.DEVICE_PRICE, "vector(0)", {"resource": "pod"}),
        (rules.TOKEN_PRICE, "vector(4e-07)", {"model": "team/qwen", "kind": "prompt"}),
    ]
    assert promtool.check(tmp_path, [{"name": "g", "rules": found}]).returncode == 0


def test_the_router_reads_the_prices_as_they_are_set(tmp_path: Path) -> None:
    prices = {"devices": {"nvidia.com/gpu": 2.5}, "models": {"team/qwen": {"prompt": 0.1}}}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"monitoring": {"prices": prices}}))
    found = of_kind(render("-f", str(values)), "Deployment")
    (router,) = [each for each in found if each["metadata"]["name"] == "dormouse-router"]
    env = {one["name"]: one.get("value") for one in router["spec"]["template"]["spec"]["containers"][0]["env"]}
    told = Settings.from_env({"DORMOUSE_PRICES": env["DORMOUSE_PRICES"]}).prices
    assert (told.devices, told.models) == (prices["devices"], {"team/qwen": Tokens(prompt=0.1)})


def test_dashboards_are_where_the_sidecar_looks() -> None:
    options = "monitoring.dashboards.namespace=grafana,monitoring.dashboards.label=look/here"
    maps = of_kind(render("--set", ALL, "--set", options), "ConfigMap")
    assert {item["metadata"]["namespace"] for item in maps} == {"grafana"}
    assert {item["metadata"]["labels"]["look/here"] for item in maps} == {"1"}
    told = {name: yaml.safe_load(text) for item in maps for name, text in item["data"].items()}
    assert told == {f"dormouse-{name}.json": body for name, body in dashboards().items()}


# the first on a machine generates Prometheus' CRDs, which takes minutes where much else goes on
@pytest.mark.timeout(1200)
def test_the_real_api_server_takes_every_object(plane: ControlPlane) -> None:
    for crd in prometheus.crds():
        plane.kubectl("apply", "--server-side", "-f", str(crd))
    plane.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=120s")
    plane.kubectl("create", "namespace", "dormouse-system", check=False)
    objects = [item for item in render("--set", ALL) if item["kind"] in {"PodMonitor", "PrometheusRule", "ConfigMap"}]
    dry = ("--dry-run=server", "--server-side", "--validate=strict")
    done = plane.kubectl("apply", *dry, "-f", "-", stdin=yaml.safe_dump_all(objects))
    assert len(done.stdout.splitlines()) == len(objects) == 3 + len(dashboards())
    monitor = next(item for item in objects if item["kind"] == "PodMonitor")
    monitor["spec"]["podMetricsEndpoints"][0]["honourLabels"] = True
    refused = plane.kubectl("apply", *dry, "-f", "-", stdin=yaml.safe_dump(monitor), check=False)
    assert "honourLabels" in refused.stderr, "whatever is misspelt would be found"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("monitoring.podMonitor.enable=true", "enable"),
        ("monitoring.podMonitor.interval=often", "interval"),
        ("monitoring.rules.runbookUrl=a b", "runbookUrl"),
        ("monitoring.rules.disabled={ModelFailing}", "disabled"),
        ("monitoring.dashboards.label=not a label", "label"),
        ("monitoring.prices.devices.pod=cheap", "devices"),
        ("monitoring.prices.devices.pod=-1", "devices"),
        ("monitoring.prices.models.qwen.prompt=1", "qwen"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_name(option: str, words: str) -> None:
    done = manifests.helm("template", "dormouse", str(manifests.CHART), "--set", option, check=False)
    assert done.returncode != 0
    assert words in done.stderr
