"""All models at once: what they are doing, what wakes and pulls cost, what devices carry, how the operator keeps up."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dev.monitoring.dashboards.parts import (
    THIRD,
    Query,
    begun,
    lines,
    mean,
    number,
    or_zero,
    percentiles,
    rate,
    row,
)
from dormouse_api import metrics as m

GPU = "{{namespace}}/{{model}} GPU {{gpu}}"


def dashboard() -> Dashboard:
    made = begun("fleet", "Fleet", "All models: what they do, what wakes cost, how the operator keeps up.")
    return _operator(_devices(_starts(_models(made))))


def _models(made: Dashboard) -> Dashboard:
    errors = f'sum(rate({m.REQUESTS}{{code=~"5.."}}[$__rate_interval]))'
    return (
        made.with_row(row("Models"))
        .with_panel(number("Models", "none", f"sum({m.MODELS})"))
        .with_panel(number("Failing", "none", or_zero(f"sum({m.MODEL_FAILING})"), about="Calls of these are refused."))
        .with_panel(number("Calls held now", "none", f"sum({m.HELD})", about="They wait for their model to wake."))
        .with_panel(
            number(
                "Calls that fail",
                "percentunit",
                f"({errors} or on () vector(0)) / sum(rate({m.REQUESTS}[$__rate_interval]))",
            )
        )
        .with_panel(
            lines("Models by state", "none", Query(f"sum by (reason) ({m.MODELS})", "{{reason}}"), stacked=True)
        )
        .with_panel(lines("Calls by model", "reqps", Query(rate(m.REQUESTS, "model"), "{{model}}"), stacked=True))
        .with_panel(
            lines(
                "Failing models",
                "none",
                Query(
                    or_zero(f"max by (namespace, model, reason) ({m.MODEL_FAILING})"),
                    "{{namespace}}/{{model}} {{reason}}",
                ),
            )
        )
        .with_panel(
            lines(
                "Cold hits",
                "reqps",
                Query(rate(f"{m.HOLD_SECONDS}_count", "model"), "{{model}}"),
                about="Calls that found their model asleep.",
            )
        )
    )


def _starts(made: Dashboard) -> Dashboard:
    stages = f"rate({m.START_STAGE_SECONDS}_sum[$__rate_interval])"
    return (
        made.with_row(row("Wakes and pulls"))
        .with_panel(lines("Starts", "s", *percentiles(m.START_SECONDS, "engine", "", "{{engine}}"), span=THIRD))
        .with_panel(
            lines(
                "What starts go into",
                "s",
                Query(
                    f"sum by (stage) ({stages}) / scalar(sum(rate({m.START_SECONDS}_count[$__rate_interval])))",
                    "{{stage}}",
                ),
                span=THIRD,
                stacked=True,
                about="Seconds of each stage, in the mean of all starts.",
            )
        )
        .with_panel(
            lines(
                "In line for an accelerator or a pull",
                "s",
                Query(
                    or_zero(
                        f"sum by (line) (rate({m.LINE_WAIT_SECONDS}_sum[$__rate_interval])) "
                        f"/ sum by (line) (rate({m.LINE_WAIT_SECONDS}_count[$__rate_interval]))"
                    ),
                    "{{line}}",
                ),
                span=THIRD,
            )
        )
        .with_panel(lines("Pulls by result", "none", Query(f"sum by (result) ({m.PULLS})", "{{result}}"), span=THIRD))
        .with_panel(
            lines(
                "Pulls under way",
                "percentunit",
                Query(
                    or_zero(f"max by (namespace, model) ({m.PULL_BYTES} / {m.PULL_TOTAL_BYTES})"),
                    "{{namespace}}/{{model}}",
                ),
                span=THIRD,
            )
        )
        .with_panel(lines("Pulled", "bytes", Query(f"sum({m.PULLED_BYTES})", "all weights"), span=THIRD))
    )


def _devices(made: Dashboard) -> Dashboard:
    used = f"max by (namespace, model, gpu) ({m.POD_GPU_MEMORY_USED} / {m.POD_GPU_MEMORY_TOTAL})"
    return (
        made.with_row(row("Devices"))
        .with_panel(
            lines("Devices held", "none", Query(rate(m.DEVICE_SECONDS, "resource, state"), "{{resource}} {{state}}"))
        )
        .with_panel(lines("GPU memory", "percentunit", Query(used, GPU)))
        .with_panel(
            lines(
                "GPU utilisation",
                "percentunit",
                Query(f"max by (namespace, model, gpu) ({m.POD_GPU_UTILIZATION})", GPU),
            )
        )
        .with_panel(
            lines("GPU temperature", "celsius", Query(f"max by (namespace, model, gpu) ({m.POD_GPU_TEMPERATURE})", GPU))
        )
    )


def _operator(made: Dashboard) -> Dashboard:
    return (
        made.with_row(row("Operator"))
        .with_panel(number("Operators that act", "none", f"sum({m.LEADER})", about="1, or 0 while the lead passes on."))
        .with_panel(number("Waiting for a look", "none", f"sum({m.QUEUE_DEPTH})"))
        .with_panel(number("Longest wait", "s", f"max({m.QUEUE_OLDEST_SECONDS})"))
        .with_panel(number("Looks", "ops", rate(m.RECONCILES, "")))
        .with_panel(lines("Looks by result", "ops", Query(rate(m.RECONCILES, "result"), "{{result}}"), span=THIRD))
        .with_panel(lines("One look", "s", *percentiles(m.RECONCILE_SECONDS), mean(m.RECONCILE_SECONDS), span=THIRD))
        .with_panel(
            lines(
                "Writes to the API server",
                "ops",
                Query(rate(m.API_WRITES, "kind, verb"), "{{verb}} {{kind}}"),
                span=THIRD,
            )
        )
    )
