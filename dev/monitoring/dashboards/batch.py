"""Batches: how far they are, how fast they go, and what holds them up."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dev.monitoring.dashboards.parts import Query, begun, lines, number, or_zero, rate, row
from dormouse_api import metrics as m


def dashboard() -> Dashboard:
    made = begun("batch", "Batch", "How far batches are, how fast they go, and what holds them up.")
    return (
        made.with_row(row("Batches"))
        .with_panel(number("Batches that go on", "none", or_zero(f"sum(max by (status) ({m.BATCHES}))")))
        .with_panel(
            number("Will miss their window", "none", or_zero(f"max({m.BATCHES_LATE})"), about="At the rate of late.")
        )
        .with_panel(number("Until the last line", "s", or_zero(f"max({m.BATCH_ETA_SECONDS})")))
        .with_panel(number("Open lines", "none", or_zero(f"sum(max by (model) ({m.BATCH_LINES_OPEN}))")))
        .with_panel(
            lines(
                "Batches by status",
                "none",
                Query(or_zero(f"max by (status) ({m.BATCHES})"), "{{status}}"),
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Open lines by model",
                "none",
                Query(or_zero(f"max by (model) ({m.BATCH_LINES_OPEN})"), "{{model}}"),
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Lines answered", "ops", Query(or_zero(rate(m.BATCH_LINES, "model, outcome")), "{{model}} {{outcome}}")
            )
        )
        .with_panel(
            lines(
                "Waiting for models to wake",
                "percentunit",
                Query(or_zero(rate(m.BATCH_SWAP_SECONDS, "")), "share of the time"),
            )
        )
        .with_panel(
            lines("Tokens", "none", Query(or_zero(rate(m.BATCH_TOKENS, "model, kind")), "{{model}} {{kind}} a second"))
        )
        .with_panel(
            lines(
                "Lines asked again",
                "ops",
                Query(or_zero(rate(m.BATCH_AGAIN, "model, reason")), "{{model}} {{reason}}"),
                about="Nobody had room, the model slept, its engine failed.",
            )
        )
    )
