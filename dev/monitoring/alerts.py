"""The alerts: what wakes somebody, when, and what they are told to do. Pure data.

Each has a page in docs/runbooks and, in tests/monitoring, series that make it fire and series that do not.
"""

from dataclasses import dataclass
from typing import Literal

from dormouse_api import metrics as m

Severity = Literal["critical", "warning", "info"]
HELD_SHARE = 0.8
ERROR_SHARE = 0.05
FEWEST_ERRORS = 3
"""Within five minutes: of one failed call in a night nobody wants to hear."""
SLOWER, SECONDS_SLOWER = 2, 10
"""A start is slow that takes so many times the usual, and so many seconds more than it."""
STUCK_SECONDS = 120
AUTHORITY_DAYS, TOKEN_SECONDS = 14, 300
"""An authority is renewed by somebody, a token by the kubelet a fifth of its life (12 minutes of an hour) ahead."""


@dataclass(frozen=True)
class Alert:
    """One alert. `summary` and `description` are Prometheus' templates; the description says what to do."""

    name: str
    severity: Severity
    expr: str
    lasts: str
    """How long it must be so, as Prometheus writes durations."""
    summary: str
    description: str

    @property
    def slug(self) -> str:
        """The name of its runbook page."""
        words = self.name.removeprefix("Dormouse")
        return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in words).removeprefix("-")


ALERTS = (
    Alert(
        "DormouseModelFailing",
        "warning",
        f"max by (namespace, model, reason) ({m.MODEL_FAILING}) == 1",
        "5m",
        "{{ $labels.namespace }}/{{ $labels.model }} cannot serve ({{ $labels.reason }})",
        "Calls of {{ $labels.namespace }}/{{ $labels.model }} have been refused for 5 minutes: {{ $labels.reason }}. "
        "The cause and the way out are in its condition: kubectl describe inferencemodel.dormouse.dev "
        "{{ $labels.model }} -n {{ $labels.namespace }}.",
    ),
    Alert(
        "DormouseWakeSlow",
        "warning",
        f"max by (namespace, model) ({m.LAST_START_SECONDS}) > {SLOWER} * max by (namespace, model) "
        f"({m.USUAL_START_SECONDS}) and max by (namespace, model) ({m.LAST_START_SECONDS}) - max by (namespace, model) "
        f"({m.USUAL_START_SECONDS}) > {SECONDS_SLOWER}",
        "0s",
        "{{ $labels.namespace }}/{{ $labels.model }} woke much slower than before",
        "The last start of {{ $labels.namespace }}/{{ $labels.model }} took {{ $value | humanizeDuration }}, more than "
        "twice its usual time. status.coldStarts says which stage grew: an image that is pulled again, a node with a "
        "cold disk, a volume that moved, or an engine that compiles anew.",
    ),
    Alert(
        "DormouseGpuUnderPressure",
        "warning",
        f"max by (namespace, model, pod, gpu, kind) ({m.POD_GPU_WARNING}) == 1",
        "5m",
        "GPU {{ $labels.gpu }} of {{ $labels.namespace }}/{{ $labels.pod }} warns of its {{ $labels.kind }}",
        "GPU {{ $labels.gpu }}, which serves {{ $labels.model }}, has warned for 5 minutes: {{ $labels.kind }}. "
        "Memory, Utilization and Temperature are above 80 % of what there is: more replicas "
        "(spec.scaling.maxReplicas), a shorter context or fewer sequences relieve it; for temperature look at the "
        "node's cooling. Lost and Errors are the device's own: drain the node.",
    ),
    Alert(
        "DormousePullStalled",
        "warning",
        f"max by (namespace, model) (changes({m.PULL_BYTES}[10m]) == 0 and {m.PULL_BYTES} offset 10m "
        f"and {m.PULL_BYTES} < {m.PULL_TOTAL_BYTES})",
        "0s",
        "The pull of {{ $labels.namespace }}/{{ $labels.model }} has not moved for 10 minutes",
        "No byte of the weights of {{ $labels.namespace }}/{{ $labels.model }} has come for 10 minutes. See that the "
        "pull pod reaches its source (proxy, network policy, authorities) and that the source answers: kubectl logs -n "
        "{{ $labels.namespace }} -l dormouse.dev/model={{ $labels.model }},app.kubernetes.io/component=pull.",
    ),
    Alert(
        "DormouseHoldQueueFilling",
        "critical",
        f"max by (model) ({m.HELD} / {m.HELD_LIMIT}) > {HELD_SHARE}",
        "1m",
        "Calls pile up for {{ $labels.model }}: {{ $value | humanizePercentage }} of those that may wait",
        "More than 80 % of the calls that may wait for {{ $labels.model }} to wake do, and those beyond are refused "
        "with 429. See why it does not wake (kubectl describe its InferenceModel), keep it awake "
        "(spec.scaling.minReplicas: 1) or let more wait (spec.scaling.maxHeld).",
    ),
    Alert(
        "DormouseBatchWillMissItsWindow",
        "warning",
        f"max({m.BATCHES_LATE}) > 0",
        "10m",
        "{{ $value }} batches will not be done when their window ends",
        "At the rate of the last minutes the lines of {{ $value }} batches will still be open when their completion "
        "window ends, and those then expire. Give their models more devices (spec.scaling.maxReplicas), run more "
        "workers, or cancel what matters less.",
    ),
    Alert(
        "DormouseErrorRate",
        "critical",
        f'sum by (model) (rate({m.REQUESTS}{{code=~"5.."}}[5m])) / sum by (model) (rate({m.REQUESTS}[5m])) '
        f'> {ERROR_SHARE} and sum by (model) (increase({m.REQUESTS}{{code=~"5.."}}[5m])) >= {FEWEST_ERRORS}',
        "5m",
        "{{ $value | humanizePercentage }} of the calls of {{ $labels.model }} fail",
        "More than 5 % of the calls of {{ $labels.model }} have ended with a 5xx for 5 minutes. 502 is an engine that "
        "died (kubectl logs of its pod), 503 a model that cannot serve or did not wake in time, 504 an engine that "
        "said nothing. GET /diag of the router has the last errors.",
    ),
    Alert(
        "DormouseOperatorStuck",
        "critical",
        f"max({m.QUEUE_OLDEST_SECONDS}) > {STUCK_SECONDS}",
        "2m",
        "A model has waited {{ $value | humanizeDuration }} for the operator",
        "The operator takes looks at models that wait too slowly or not at all, so wakes and changes wait with them. "
        "See dormouse_operator_reconciles_total by result and the operator's log; a restart of its pod loses nothing.",
    ),
    Alert(
        "DormouseOperatorDown",
        "critical",
        f"absent({m.LEADER} == 1)",
        "2m",
        "No operator acts",
        "No operator has told for 2 minutes that it acts: awake models go on serving, and no sleeping one wakes. See "
        "that its Deployment has a ready pod and that Prometheus reaches port 9090 of it.",
    ),
    Alert(
        "DormouseRouterDown",
        "critical",
        f"absent({m.LEASE_WRITES})",
        "2m",
        "No router answers Prometheus",
        "No router has told anything for 2 minutes: clients probably get no answers either. See that its Deployment "
        "has a ready pod and that Prometheus reaches port 9090 of it.",
    ),
    Alert(
        "DormouseCredentialExpires",
        "warning",
        f'min by (credential) ({m.CREDENTIAL_EXPIRY}{{credential!="service-account"}}) - time() '
        f'< {AUTHORITY_DAYS} * 86400 or min by (credential) ({m.CREDENTIAL_EXPIRY}{{credential="service-account"}}) '
        f"- time() < {TOKEN_SECONDS}",
        "1m",
        "The credential {{ $labels.credential }} ends in {{ $value | humanizeDuration }}",
        "The credential {{ $labels.credential }} is about to end, and what it opens will be refused then. "
        "pull-authority: give the chart's caCertificates its successor. service-account: the kubelet does not renew "
        "the token of the operator's pod; see the node's log, then delete the pod.",
    ),
    Alert(
        "DormouseUsageLost",
        "warning",
        f"sum by (what) (increase({m.USAGE_LOST}[10m])) > 0",
        "0s",
        "{{ $value | humanize }} calls are missing in usage or audit ({{ $labels.what }})",
        "Calls were answered that usage or audit know nothing of: {{ $labels.what }}. totals: the database is away or "
        "refuses; audit: the file or the reader of standard output takes no lines; queue: the router had no time to "
        "write down what it served.",
    ),
)
