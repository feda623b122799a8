"""Every alert fires when it should and not otherwise, says what it is about, and has a page that helps."""

import re
from pathlib import Path
from typing import Any

import pytest

from dev.monitoring import rules
from dev.monitoring.alerts import ALERTS, Alert
from tests.monitoring import promtool
from tests.monitoring.cases import CASES, Case

RUNBOOKS = Path(__file__).resolve().parents[2] / "docs" / "runbooks"
BY_NAME = {alert.name: alert for alert in ALERTS}


def with_summaries_only() -> list[dict[str, Any]]:
    """The groups; promtool compares every annotation to the letter, and one shows that labels and values get in."""
    groups = rules.groups()
    for group in groups:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["annotations"] = {"summary": rule["annotations"]["summary"]}
    return groups


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    done = promtool.check(tmp_path, rules.groups())
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(ALERTS) + len(rules.RECORDED)} rules found" in done.stdout


def test_promtool_refuses_what_is_no_query(tmp_path: Path) -> None:
    broken = [{"name": "g", "rules": [{"record": "a", "expr": "sum(up"}]}]
    assert promtool.check(tmp_path, broken).returncode != 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.what}")
def test_it_fires_exactly_when_it_should(tmp_path: Path, case: Case) -> None:
    severity = BY_NAME[case.alert].severity
    expected = []
    if case.fires is not None:
        expected = [{"exp_labels": case.fires | {"severity": severity}, "exp_annotations": {"summary": case.summary}}]
    told = {
        "interval": "30s",
        "input_series": [{"series": name, "values": values} for name, values in (case.healthy | case.series).items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
    }
    done = promtool.test(tmp_path, with_summaries_only(), [told])
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_fired_by_a_fault_on_a_system_that_lives() -> None:
    """By which: with pods that are pretended, or on the whole cluster."""
    tests = Path(__file__).resolve().parents[1]
    pages = (tests / "controlplane" / "test_alerts_fire.py", tests / "e2e" / "test_monitoring.py")
    fired = {name for page in pages for name in re.findall(r'"(Dormouse[A-Z]\w+)"', page.read_text())}
    assert fired == set(BY_NAME)


def test_every_alert_is_seen_to_fire_and_to_keep_still() -> None:
    fires = {case.alert for case in CASES if case.fires is not None}
    silent = {case.alert for case in CASES if case.fires is None}
    assert fires == silent == set(BY_NAME)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_it_has_a_runbook_that_says_what_to_do(alert: Alert) -> None:
    page = (RUNBOOKS / f"{alert.slug}.md").read_text()
    assert page.startswith(f"# {alert.name}\n")
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## What it means",
        "## What to look at",
        "## What to do",
    ]
    assert rules.alerting(alert)["annotations"]["runbook_url"] == f"{rules.RUNBOOKS}/{alert.slug}.md"
    page = (RUNBOOKS.parent / "monitoring.md").read_text()
    assert f"runbooks/{alert.slug}.md" in page
    assert f"| `{alert.name}` | {alert.severity} |" in page


def test_there_is_no_runbook_of_an_alert_that_is_no_more() -> None:
    assert {page.stem for page in RUNBOOKS.iterdir()} == {alert.slug for alert in ALERTS}


def test_prices_make_costs(tmp_path: Path) -> None:
    priced = rules.groups()
    priced[0]["rules"] = [
        {"record": rules.DEVICE_PRICE, "expr": "vector(2.5)", "labels": {"resource": "nvidia.com/gpu"}},
        {
            "record": rules.TOKEN_PRICE,
            "expr": "vector(4)",
            "labels": {"model": "team/qwen", "kind": "completion"},
        },
        *priced[0]["rules"],
    ]
    device = 'dormouse_operator_device_seconds_total{namespace="team",model="qwen",resource="nvidia.com/gpu",state='
    told = {
        "interval": "30s",
        "input_series": [
            {"series": f'{device}"awake"}}', "values": "0+60x40"},  # two devices
            {"series": f'{device}"saved"}}', "values": "0+30x40"},
            {"series": 'dormouse_tokens_total{model="team/qwen",kind="completion"}', "values": "0+3000x40"},
            {"series": 'dormouse_tokens_total{model="team/free",kind="completion"}', "values": "0+3000x40"},
        ],
        "promql_expr_test": [
            {
                "expr": rules.DEVICE_COST,
                "eval_time": "10m",
                "exp_samples": [
                    {"labels": f'{rules.DEVICE_COST}{{namespace="team",model="qwen",state="awake"}}', "value": 5},
                    {"labels": f'{rules.DEVICE_COST}{{namespace="team",model="qwen",state="saved"}}', "value": 2.5},
                ],
            },
            {
                "expr": rules.TOKEN_WORTH,
                "eval_time": "10m",
                "exp_samples": [{"labels": f'{rules.TOKEN_WORTH}{{model="team/qwen"}}', "value": 1.44}],
            },
        ],
    }
    done = promtool.test(tmp_path, priced, [told])
    assert done.returncode == 0, done.stdout + done.stderr
