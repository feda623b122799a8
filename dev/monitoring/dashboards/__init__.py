"""The dashboards for Grafana, by the names of their files. Built with Grafana's typed SDK; no server is needed.

A dashboard is a list of rows of panels, each of which asks Prometheus; nothing else of Grafana is used.
"""

from collections.abc import Callable

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dev.monitoring.dashboards import batch, cost, fleet, model, router

ALL: dict[str, Callable[[], Dashboard]] = {
    "fleet": fleet.dashboard,
    "model": model.dashboard,
    "router": router.dashboard,
    "batch": batch.dashboard,
    "cost": cost.dashboard,
}


def texts() -> dict[str, str]:
    """The JSON of every dashboard, by its name."""
    encoder = JSONEncoder(sort_keys=True, indent=1)
    return {name: encoder.encode(make().build()) + "\n" for name, make in ALL.items()}
