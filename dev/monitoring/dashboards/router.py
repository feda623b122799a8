"""The routers: what comes in, what goes out, what is refused, and how they follow the cluster."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dev.monitoring.dashboards.parts import (
    THIRD,
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

OF = 'model=~"$model"'


def dashboard() -> Dashboard:
    made = begun("router", "Router", "What comes in, what goes out, what is refused.").with_variable(
        choice("model", "Model", f"label_values({m.REQUESTS}, model)", several=True)
    )
    return _cluster(_routes(_calls(made)))


def _calls(made: Dashboard) -> Dashboard:
    return (
        made.with_row(row("Calls"))
        .with_panel(number("Calls", "reqps", rate(m.REQUESTS, "", OF)))
        .with_panel(number("In flight", "none", f"sum({m.IN_FLIGHT}{{{OF}}})"))
        .with_panel(number("Held", "none", f"sum({m.HELD}{{{OF}}})"))
        .with_panel(
            number("Hold nearest to its limit", "percentunit", f"max({m.HELD}{{{OF}}} / {m.HELD_LIMIT}{{{OF}}})")
        )
        .with_panel(
            lines("Calls by dialect", "reqps", Query(rate(m.REQUESTS, "dialect", OF), "{{dialect}}"), span=THIRD)
        )
        .with_panel(lines("Calls by code", "reqps", Query(rate(m.REQUESTS, "code", OF), "{{code}}"), span=THIRD))
        .with_panel(lines("Calls by router", "reqps", Query(rate(m.REQUESTS, "pod", OF), "{{pod}}"), span=THIRD))
        .with_panel(lines("Whole calls", "s", *percentiles(m.REQUEST_SECONDS, "", OF), span=THIRD))
        .with_panel(
            lines(
                "To the engine's first byte",
                "s",
                *percentiles(m.FIRST_BYTE_SECONDS, "", OF),
                mean(m.FIRST_BYTE_SECONDS, "", OF),
                span=THIRD,
            )
        )
        .with_panel(lines("Between tokens", "s", *percentiles(m.INTER_TOKEN_SECONDS, "", OF), span=THIRD))
        .with_panel(
            lines(
                "In flight by model", "none", Query(f"sum by (model) ({m.IN_FLIGHT}{{{OF}}})", "{{model}}"), span=THIRD
            )
        )
        .with_panel(
            lines("Held by model", "none", Query(f"sum by (model) ({m.HELD}{{{OF}}})", "{{model}}"), span=THIRD)
        )
        .with_panel(
            lines("Tokens", "none", Query(rate(m.TOKENS, "model, kind", OF), "{{model}} {{kind}} a second"), span=THIRD)
        )
    )


def _routes(made: Dashboard) -> Dashboard:
    return (
        made.with_row(row("Refused, and routes"))
        .with_panel(
            lines(
                "Refused",
                "reqps",
                Query(or_zero(rate(m.REFUSED, "model, reason", OF)), "{{model}} {{reason}}"),
                Query(rate(m.UNKNOWN_MODEL, ""), "unknown model"),
                span=THIRD,
            )
        )
        .with_panel(
            lines(
                "Calls by route",
                "reqps",
                Query(or_zero(rate(m.ROUTE_REQUESTS, "route, variant")), "{{route}} to {{variant}}"),
                span=THIRD,
            )
        )
        .with_panel(
            lines(
                "Stepped in for",
                "reqps",
                Query(or_zero(rate(m.ROUTE_FALLBACKS, "route, variant")), "{{route}}: {{variant}}"),
                span=THIRD,
            )
        )
    )


def _cluster(made: Dashboard) -> Dashboard:
    return (
        made.with_row(row("The cluster"))
        .with_panel(lines("Leases written", "ops", Query(rate(m.LEASE_WRITES, "pod"), "{{pod}}"), span=THIRD))
        .with_panel(
            lines(
                "Heard from the API server", "ops", Query(rate(m.WATCH_EVENTS, "resource"), "{{resource}}"), span=THIRD
            )
        )
        .with_panel(
            lines("Engines passed over", "ops", Query(rate(m.PASSED_OVER, "model", OF), "{{model}}"), span=THIRD)
        )
    )
