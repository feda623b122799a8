"""What devices cost, what of that answered calls, and what sleeping saved. Money needs the chart's prices."""

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard

from dev.monitoring import rules
from dev.monitoring.dashboards.parts import HALF, THIRD, Query, begun, lines, number, or_zero, rate, row
from dormouse_api import metrics as m


def dashboard() -> Dashboard:
    made = begun("cost", "Cost", "What devices cost, what of that answered calls, and what sleeping saved.")
    return _ahead(_money(_devices(made)))


def _devices(made: Dashboard) -> Dashboard:
    hours = f'sum by (resource) (increase({m.DEVICE_SECONDS}{{state="%s"}}[$__range])) / 3600'
    return (
        made.with_row(row("Devices"))
        .with_panel(number("Device-hours held", "none", hours % "awake", span=THIRD))
        .with_panel(number("of them busy", "none", hours % "busy", span=THIRD, about="With a call in flight."))
        .with_panel(
            number("Device-hours saved", "none", hours % "saved", span=THIRD, about="What sleep has left to others.")
        )
        .with_panel(
            lines(
                "Devices by state", "none", Query(rate(m.DEVICE_SECONDS, "resource, state"), "{{resource}} {{state}}")
            )
        )
        .with_panel(
            lines(
                "Held by model",
                "none",
                Query(rate(m.DEVICE_SECONDS, "namespace, model", 'state="awake"'), "{{namespace}}/{{model}}"),
                stacked=True,
            )
        )
    )


def _money(made: Dashboard) -> Dashboard:
    cost = rules.DEVICE_COST
    return (
        made.with_row(row("Money (monitoring.prices)"))
        .with_panel(number("Cost an hour", "none", or_zero(f'sum({cost}{{state="awake"}})'), span=THIRD))
        .with_panel(number("Saved an hour", "none", or_zero(f'sum({cost}{{state="saved"}})'), span=THIRD))
        .with_panel(number("Worth of the tokens an hour", "none", or_zero(f"sum({rules.TOKEN_WORTH})"), span=THIRD))
        .with_panel(
            _stacked(
                "Cost an hour by model",
                f'sum by (namespace, model) ({cost}{{state="awake"}})',
                "{{namespace}}/{{model}}",
            )
        )
        .with_panel(
            _stacked(
                "Saved an hour by model",
                f'sum by (namespace, model) ({cost}{{state="saved"}})',
                "{{namespace}}/{{model}}",
            )
        )
        .with_panel(_stacked("Worth of the tokens by model", f"sum by (model) ({rules.TOKEN_WORTH})", "{{model}}"))
    )


def _stacked(title: str, asked: str, legend: str) -> timeseries.Panel:
    return lines(title, "none", Query(or_zero(asked), legend), stacked=True, span=THIRD)


def _ahead(made: Dashboard) -> Dashboard:
    return (
        made.with_row(row("What it costs callers"))
        .with_panel(
            lines(
                "Callers waited",
                "s",
                Query(rate(m.WAITED_SECONDS, "namespace, model"), "{{namespace}}/{{model}}"),
                span=HALF,
            )
        )
        .with_panel(
            lines(
                "Started ahead of calls",
                "s",
                Query(rate(m.PREWARM_SAVED_SECONDS, ""), "waiting spared a second"),
                Query(rate(m.PREWARM_SPENT_SECONDS, ""), "awake ahead a second"),
                span=HALF,
            )
        )
    )
