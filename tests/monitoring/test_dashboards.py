"""Every query of every dashboard is one that Prometheus can answer, of metrics that there are."""

import re
from pathlib import Path

import pytest

from dev.monitoring import rules
from dormouse_api import metrics
from tests.monitoring import promtool
from tests.monitoring.panels import INTERVALS, Panel, choices, dashboards, every, panels, resolved

_METRIC = re.compile(r"\b(dormouse(?:_|:)[a-z0-9_:]+)")
_LEGEND = re.compile(r"\{\{(\w+)\}\}")
_BY = re.compile(r"by \(([^)]*)\)")
NAMES = {value for name, value in vars(metrics).items() if name.isupper() and name != "PREFIX"}
RECORDED = {*rules.RECORDED, rules.DEVICE_PRICE, rules.TOKEN_PRICE}
DOCS = Path(__file__).resolve().parents[2] / "docs"


def unknown(expr: str) -> set[str]:
    """Metrics in `expr` that nobody tells."""
    named = set(_METRIC.findall(expr))
    return {name for name in named if name not in NAMES | RECORDED and _family(name) not in NAMES}


def _family(name: str) -> str:
    """The histogram that `name` is a part of, if it is."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def known(name: str) -> dict[str, str]:
    return {variable: "x" for variable, _, _ in choices(dashboards()[name])} | INTERVALS


def test_promtool_can_read_every_query(tmp_path: Path) -> None:
    asked = [resolved(panel.expr, known(panel.dashboard)) for panel in every()]
    asked += [resolved(series, known(name)) for name, one in dashboards().items() for _, series, _ in choices(one)]
    groups = [{"name": "g", "rules": [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(asked)]}]
    done = promtool.check(tmp_path, groups)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(asked)} rules found" in done.stdout


@pytest.mark.parametrize("panel", every(), ids=lambda panel: panel.name)
def test_it_asks_for_what_there_is_and_names_its_series(panel: Panel) -> None:
    assert not unknown(panel.expr)
    grouped = {label.strip() for labels in _BY.findall(panel.expr) for label in labels.split(",")}
    assert set(_LEGEND.findall(panel.legend)) <= grouped


def test_a_misspelt_metric_would_be_found() -> None:
    assert unknown("sum(rate(dormouse_request_total[5m]))") == {"dormouse_request_total"}
    assert unknown(f"sum(rate({metrics.REQUEST_SECONDS}_bucket[5m]))") == set()


def test_the_rules_ask_for_what_there_is() -> None:
    exprs = [rule["expr"] for group in rules.groups() for rule in group["rules"]]
    assert [expr for expr in exprs if unknown(expr)] == []


@pytest.mark.parametrize("name", ["fleet", "model", "router", "batch", "cost"])
def test_a_dashboard_is_one_that_grafana_shows(name: str) -> None:
    one = dashboards()[name]
    assert one["uid"] == f"dormouse-{name}"
    assert one["tags"] == ["dormouse"]
    titles = [panel["title"] for panel in one["panels"] if panel["type"] != "row"]
    assert len(titles) == len(set(titles)), "a panel is called by its title"
    for panel in one["panels"]:
        if panel["type"] != "row":
            letters = [target["refId"] for target in panel["targets"]]
            assert letters == sorted(set(letters)), "queries of a panel are told apart by their letters"
            assert panel["datasource"]["uid"] == "${datasource}"
    assert list(panels(name, one))


def test_every_metric_is_documented_and_nothing_else_is() -> None:
    text = (DOCS / "metrics.md").read_text()
    told = {_family(name) if _family(name) in NAMES else name for name in _METRIC.findall(text)}
    assert NAMES - told == set(), "not in docs/metrics.md"
    assert told - NAMES - RECORDED == set(), "in docs/metrics.md, and nobody tells it"
