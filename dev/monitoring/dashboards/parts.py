"""What all dashboards are made of: variables, panels, and the ways our metrics are asked for."""

from dataclasses import dataclass
from string import ascii_uppercase

from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig, VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, StackingMode
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, VariableRefresh

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "dormouse"
WIDE, HALF, THIRD, QUARTER = 24, 12, 8, 6
PERCENTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Query:
    """PromQL, and the legend of its series."""

    expr: str
    legend: str = ""


def begun(name: str, title: str, description: str) -> Dashboard:
    """A dashboard without panels."""
    return (
        Dashboard(f"Dormouse / {title}")
        .uid(f"dormouse-{name}")
        .description(description)
        .tags([TAG])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-3h", "now")
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )


def choice(name: str, label: str, query: str, *, several: bool) -> QueryVariable:
    """A variable whose values Prometheus knows; with `several`, all of them unless somebody chooses."""
    variable = (
        QueryVariable(name).label(label).query(query).datasource(SOURCE).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )
    return variable.multi(True).include_all(True).all_value(".*") if several else variable


def row(title: str) -> Row:
    return Row(title)


def lines(
    title: str, unit: str, *queries: Query, span: int = HALF, stacked: bool = False, about: str = ""
) -> timeseries.Panel:
    """What goes on over time."""
    legend = VizLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.BOTTOM)
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(span)
        .height(8)
        .fill_opacity(10)
        .legend(legend.show_legend(True).calcs(["lastNotNull", "max"]))
    )
    if stacked:
        panel = panel.stacking(StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(60)
    for letter, query in zip(ascii_uppercase, queries, strict=False):
        panel = panel.with_target(_target(query, letter))
    return panel


def number(title: str, unit: str, expr: str, *, span: int = QUARTER, about: str = "") -> stat.Panel:
    """One number now, with its past behind it."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(span)
        .height(4)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target(Query(expr), "A"))
    )


def _target(query: Query, letter: str) -> prometheus.Dataquery:
    made = prometheus.Dataquery().ref_id(letter).expr(query.expr).range()
    return made.legend_format(query.legend) if query.legend else made


def rate(metric: str, by: str, where: str = "") -> str:
    """The rate of a counter, summed by labels."""
    return f"{_sum(by)} (rate({metric}{_selector(where)}[$__rate_interval]))"


def percentiles(histogram: str, by: str = "", where: str = "", legend: str = "") -> list[Query]:
    """Of a histogram of seconds."""
    labels = f"le, {by}" if by else "le"
    buckets = f"sum by ({labels}) (rate({histogram}_bucket{_selector(where)}[$__rate_interval]))"
    return [
        Query(f"histogram_quantile({share}, {buckets})", f"p{share * 100:g} {legend}".strip()) for share in PERCENTILES
    ]


def mean(histogram: str, by: str = "", where: str = "", legend: str = "mean") -> Query:
    """The mean of a histogram's observations."""
    grouped = _sum(by)
    total, count = (
        f"{grouped} (rate({histogram}_{part}{_selector(where)}[$__rate_interval]))" for part in ("sum", "count")
    )
    return Query(f"{total} / {count}", legend)


def or_zero(expr: str) -> str:
    """0 where nothing is counted: for what there is only while something is wrong or under way."""
    return f"{expr} or on () vector(0)"


def _sum(by: str) -> str:
    return f"sum by ({by})" if by else "sum"


def _selector(where: str) -> str:
    return f"{{{where}}}" if where else ""
