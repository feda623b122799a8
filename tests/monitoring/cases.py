"""Series that make an alert fire, and series that do not: what each alert means, said in numbers.

Values are in the notation of promtool: a start, a step and how often. A sample comes every 30 seconds, and a series
that a scrape does not find any more is stale.
"""

from dataclasses import dataclass, field

from dormouse_api import metrics as m

OF = '{namespace="team",model="qwen"}'
MODEL = '{model="team/qwen"}'


@dataclass(frozen=True)
class Case:
    """`fires`: labels of what fires at `at`, but for the severity, with its summary; empty: nothing does."""

    alert: str
    what: str
    series: dict[str, str]
    at: str
    fires: dict[str, str] | None = None
    summary: str = ""
    # every installation has an operator that leads and a router: otherwise these fire beside whatever is tested
    healthy: dict[str, str] = field(
        default_factory=lambda: {m.LEADER: "1x200", m.LEASE_WRITES: "0+1x200", m.QUEUE_OLDEST_SECONDS: "0x200"}
    )


QWEN = {"namespace": "team", "model": "qwen"}
FAILING = f'{m.MODEL_FAILING}{{namespace="team",model="qwen",reason="OutOfMemory",pod="operator-1"}}'
GPU = f'{m.POD_GPU_WARNING}{{namespace="team",model="qwen",pod="qwen-1",gpu="0",kind="Memory"}}'
OK = f'{m.REQUESTS}{{model="team/qwen",dialect="openai",code="200"}}'
BAD = f'{m.REQUESTS}{{model="team/qwen",dialect="openai",code="502"}}'

CASES = (
    Case(
        "DormouseModelFailing",
        "it fails for longer than 5 minutes",
        {FAILING: "1x40"},
        "6m",
        QWEN | {"reason": "OutOfMemory"},
        "team/qwen cannot serve (OutOfMemory)",
    ),
    Case("DormouseModelFailing", "it was mended within 5 minutes", {FAILING: "1x8 stale"}, "6m"),
    Case(
        "DormouseModelFailing",
        "another operator leads now and says the same",
        {FAILING: "1x6 stale", FAILING.replace("operator-1", "operator-2"): "_x6 1x40"},
        "6m",
        QWEN | {"reason": "OutOfMemory"},
        "team/qwen cannot serve (OutOfMemory)",
    ),
    Case(
        "DormouseWakeSlow",
        "three times the usual",
        {f"{m.LAST_START_SECONDS}{OF}": "90x10", f"{m.USUAL_START_SECONDS}{OF}": "30x10"},
        "1m",
        QWEN,
        "team/qwen woke much slower than before",
    ),
    Case(
        "DormouseWakeSlow",
        "three times the usual, and still soon",
        {f"{m.LAST_START_SECONDS}{OF}": "6x10", f"{m.USUAL_START_SECONDS}{OF}": "2x10"},
        "1m",
    ),
    Case(
        "DormouseWakeSlow",
        "a little more than usual",
        {f"{m.LAST_START_SECONDS}{OF}": "59x10", f"{m.USUAL_START_SECONDS}{OF}": "30x10"},
        "1m",
    ),
    Case("DormouseWakeSlow", "nothing is usual yet", {f"{m.LAST_START_SECONDS}{OF}": "900x10"}, "1m"),
    Case(
        "DormouseGpuUnderPressure",
        "a warning stands",
        {GPU: "1x40"},
        "6m",
        QWEN | {"pod": "qwen-1", "gpu": "0", "kind": "Memory"},
        "GPU 0 of team/qwen-1 warns of its Memory",
    ),
    Case("DormouseGpuUnderPressure", "it passed", {GPU: "1x6 stale"}, "6m"),
    Case(
        "DormousePullStalled",
        "no byte for 10 minutes",
        {f"{m.PULL_BYTES}{OF}": "0+100x10 1000x60", f"{m.PULL_TOTAL_BYTES}{OF}": "5000x80"},
        "20m",
        QWEN,
        "The pull of team/qwen has not moved for 10 minutes",
    ),
    Case(
        "DormousePullStalled",
        "a slow pull",
        {f"{m.PULL_BYTES}{OF}": "0+1x80", f"{m.PULL_TOTAL_BYTES}{OF}": "5000x80"},
        "20m",
    ),
    Case(
        "DormousePullStalled",
        "it began 5 minutes ago",
        {f"{m.PULL_BYTES}{OF}": "_x30 0x60", f"{m.PULL_TOTAL_BYTES}{OF}": "_x30 5000x60"},
        "20m",
    ),
    Case(
        "DormousePullStalled",
        "every byte is there and they are being checked",
        {f"{m.PULL_BYTES}{OF}": "5000x80", f"{m.PULL_TOTAL_BYTES}{OF}": "5000x80"},
        "20m",
    ),
    Case(
        "DormouseHoldQueueFilling",
        "at one router of two",
        {
            f'{m.HELD}{{model="team/qwen",pod="a"}}': "90x10",
            f'{m.HELD_LIMIT}{{model="team/qwen",pod="a"}}': "100x10",
            f'{m.HELD}{{model="team/qwen",pod="b"}}': "5x10",
            f'{m.HELD_LIMIT}{{model="team/qwen",pod="b"}}': "100x10",
        },
        "2m",
        {"model": "team/qwen"},
        "Calls pile up for team/qwen: 90% of those that may wait",
    ),
    Case(
        "DormouseHoldQueueFilling",
        "half of it",
        {f"{m.HELD}{MODEL}": "50x10", f"{m.HELD_LIMIT}{MODEL}": "100x10"},
        "2m",
    ),
    Case(
        "DormouseHoldQueueFilling",
        "for a moment",
        {f"{m.HELD}{MODEL}": "0 0 100 0 0 0 0 0", f"{m.HELD_LIMIT}{MODEL}": "100x10"},
        "2m",
    ),
    Case(
        "DormouseBatchWillMissItsWindow",
        "two will, as both workers say",
        {f'{m.BATCHES_LATE}{{pod="a"}}': "2x60", f'{m.BATCHES_LATE}{{pod="b"}}': "2x60"},
        "12m",
        {},
        "2 batches will not be done when their window ends",
    ),
    Case("DormouseBatchWillMissItsWindow", "an estimate that passed", {m.BATCHES_LATE: "0x10 1x10 0x60"}, "12m"),
    Case(
        "DormouseErrorRate",
        "a tenth",
        {OK: "0+90x60", BAD: "0+10x60"},
        "15m",
        {"model": "team/qwen"},
        "10% of the calls of team/qwen fail",
    ),
    Case("DormouseErrorRate", "one of a hundred", {OK: "0+99x60", BAD: "0+1x60"}, "15m"),
    Case("DormouseErrorRate", "one failure in a quiet night", {OK: "0x60", BAD: "0x25 1x40"}, "15m"),
    Case(
        "DormouseErrorRate",
        "callers who leave are no failures",
        {OK: "0+50x60", OK.replace("200", "499"): "0+50x60", OK.replace("200", "404"): "0+50x60"},
        "15m",
    ),
    Case(
        "DormouseOperatorStuck",
        "a model waits for minutes",
        {},
        "5m",
        {},
        "A model has waited 2m 30s for the operator",
        {m.LEADER: "1x200", m.LEASE_WRITES: "0x200", m.QUEUE_OLDEST_SECONDS: "150x20"},
    ),
    Case(
        "DormouseOperatorStuck",
        "a busy moment",
        {},
        "5m",
        None,
        "",
        {m.LEADER: "1x200", m.LEASE_WRITES: "0x200", m.QUEUE_OLDEST_SECONDS: "0x5 130x2 0x20"},
    ),
    Case(
        "DormouseOperatorDown",
        "two stand by and none leads",
        {},
        "5m",
        {},
        "No operator acts",
        {f'{m.LEADER}{{pod="a"}}': "0x20", f'{m.LEADER}{{pod="b"}}': "0x20", m.LEASE_WRITES: "0x20"},
    ),
    Case("DormouseOperatorDown", "none is there", {}, "8m", {}, "No operator acts", {m.LEASE_WRITES: "0x20"}),
    Case(
        "DormouseOperatorDown",
        "the lead passed on",
        {},
        "5m",
        None,
        "",
        {f'{m.LEADER}{{pod="a"}}': "1x3 0x20", f'{m.LEADER}{{pod="b"}}': "0x4 1x20", m.LEASE_WRITES: "0x20"},
    ),
    Case("DormouseRouterDown", "none is there", {}, "8m", {}, "No router answers Prometheus", {m.LEADER: "1x20"}),
    Case("DormouseRouterDown", "one of two is", {f'{m.LEASE_WRITES}{{pod="b"}}': "_x30"}, "8m"),
    Case(
        "DormouseCredentialExpires",
        "an authority, in a day",
        {f'{m.CREDENTIAL_EXPIRY}{{credential="pull-authority"}}': "86700x20"},
        "5m",
        {"credential": "pull-authority"},
        "The credential pull-authority ends in 1d 0h 0m 0s",
    ),
    Case(
        "DormouseCredentialExpires",
        "a token that nobody renews",
        {f'{m.CREDENTIAL_EXPIRY}{{credential="service-account"}}': "420x20"},
        "5m",
        {"credential": "service-account"},
        "The credential service-account ends in 2m 0s",
    ),
    Case(
        "DormouseCredentialExpires",
        "an authority of next year, and a token that is renewed in time",
        {
            f'{m.CREDENTIAL_EXPIRY}{{credential="pull-authority"}}': "31536000x20",
            f'{m.CREDENTIAL_EXPIRY}{{credential="service-account"}}': "1500x20",
        },
        "5m",
    ),
    Case(
        "DormouseUsageLost",
        "lines that nobody took, at both routers",
        {
            f'{m.USAGE_LOST}{{what="audit",pod="a"}}': "0x10 5x60",
            f'{m.USAGE_LOST}{{what="audit",pod="b"}}': "0x10 5x60",
            f'{m.USAGE_LOST}{{what="totals",pod="a"}}': "0x70",
        },
        "7m",
        {"what": "audit"},
        "10 calls are missing in usage or audit (audit)",
    ),
    Case("DormouseUsageLost", "long ago", {f'{m.USAGE_LOST}{{what="totals"}}': "7x90"}, "30m"),
)
