"""One model: what its callers feel, what it costs, and why."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dev.monitoring.dashboards.parts import (
    HALF,
    Query,
    begun,
    choice,
    lines,
    mean,
    number,
    or_zero,
    percentiles,
    rate,
    row,
)
from dormouse_api import metrics as m

ROUTED = 'model="$namespace/$model"'
OWN = 'namespace="$namespace", model="$model"'


def dashboard() -> Dashboard:
    made = (
        begun("model", "Model", "One model: what its callers feel, what it costs, and why.")
        .with_variable(choice("namespace", "Namespace", f"label_values({m.DEVICE_SECONDS}, namespace)", several=False))
        .with_variable(
            choice(
                "model", "Model", f'label_values({m.DEVICE_SECONDS}{{namespace="$namespace"}}, model)', several=False
            )
        )
    )
    return _cost(_sleep(_answers(made)))


def _answers(made: Dashboard) -> Dashboard:
    return (
        made.with_row(row("Answers"))
        .with_panel(number("Calls", "reqps", rate(m.REQUESTS, "", ROUTED)))
        .with_panel(number("In flight", "none", f"sum({m.IN_FLIGHT}{{{ROUTED}}})"))
        .with_panel(number("Held", "none", f"sum({m.HELD}{{{ROUTED}}})"))
        .with_panel(number("May be held", "none", f"max({m.HELD_LIMIT}{{{ROUTED}}})", about="At each router."))
        .with_panel(
            lines(
                "Calls by dialect and code",
                "reqps",
                Query(rate(m.REQUESTS, "dialect, code", ROUTED), "{{dialect}} {{code}}"),
                stacked=True,
            )
        )
        .with_panel(lines("Tokens", "none", Query(rate(m.TOKENS, "kind", ROUTED), "{{kind}} a second")))
        .with_panel(
            lines("To the first token", "s", *percentiles(m.FIRST_TOKEN_SECONDS, "", ROUTED), about="Of streams.")
        )
        .with_panel(lines("Between tokens", "s", *percentiles(m.INTER_TOKEN_SECONDS, "", ROUTED), about="Of streams."))
        .with_panel(
            lines("Whole calls", "s", *percentiles(m.REQUEST_SECONDS, "", ROUTED), mean(m.REQUEST_SECONDS, "", ROUTED))
        )
        .with_panel(
            lines(
                "Refused, and engines passed over",
                "reqps",
                Query(or_zero(rate(m.REFUSED, "reason", ROUTED)), "{{reason}}"),
                Query(rate(m.PASSED_OVER, "", ROUTED), "engine passed over"),
            )
        )
    )


def _sleep(made: Dashboard) -> Dashboard:
    return (
        made.with_row(row("Sleep and wake"))
        .with_panel(lines("Time held", "s", *percentiles(m.HOLD_SECONDS, "", ROUTED)))
        .with_panel(
            lines(
                "Wakes and cold hits",
                "none",
                Query(f"sum by (model) (increase({m.WAKES}{{{ROUTED}}}[$__rate_interval]))", "wakes"),
                Query(
                    f"sum by (outcome) (increase({m.HOLD_SECONDS}_count{{{ROUTED}}}[$__rate_interval]))",
                    "held, then {{outcome}}",
                ),
            )
        )
        .with_panel(
            lines(
                "Last start",
                "s",
                Query(or_zero(f"max({m.LAST_START_SECONDS}{{{OWN}}})"), "last"),
                Query(or_zero(f"max({m.USUAL_START_SECONDS}{{{OWN}}})"), "usual"),
                about="Within the last hour; 0 where there was none.",
            )
        )
        .with_panel(
            lines(
                "Failing",
                "none",
                Query(or_zero(f"max by (reason) ({m.MODEL_FAILING}{{{OWN}}})"), "{{reason}}"),
            )
        )
    )


def _cost(made: Dashboard) -> Dashboard:
    busy, awake = (
        f'sum(rate({m.DEVICE_SECONDS}{{{OWN}, state="{state}"}}[$__rate_interval]))' for state in ("busy", "awake")
    )
    return (
        made.with_row(row("Devices"))
        .with_panel(
            lines(
                "Devices held", "none", Query(rate(m.DEVICE_SECONDS, "resource, state", OWN), "{{resource}} {{state}}")
            )
        )
        .with_panel(
            lines(
                "Share of the time awake that answered calls",
                "percentunit",
                Query(f"{busy} / ({awake} > 0) or on () vector(0)", "busy"),
            )
        )
        .with_panel(lines("Callers waited", "s", Query(rate(m.WAITED_SECONDS, "", OWN), "seconds a second"), span=HALF))
    )
