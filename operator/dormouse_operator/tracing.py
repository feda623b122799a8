"""The spans of looks: one for each, with its outcome, and under it one for each request that writes.

Reached only where traces are on: it imports OpenTelemetry. Owns what the spans say: names of objects and words of ours,
nothing of what is in them.
"""

from collections.abc import Mapping
from typing import Any

import aiohttp
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from dormouse_api.conditions import ConditionType
from dormouse_api.status import InferenceModelStatus
from dormouse_operator.errors import Retry, Terminal
from dormouse_operator.fence import READS, Fence
from dormouse_operator.queue import Key
from dormouse_operator.reconcile import Object, Parts, Reconciler
from dormouse_operator.settings import Settings
from dormouse_operator.wire import NONE, TIMEOUT, Wire

NAMESPACE, MODEL, REASON = "k8s.namespace.name", "dormouse.model", "dormouse.reason"
OUTCOME, AGAIN = "dormouse.outcome", "dormouse.again_seconds"
METHOD, ROUTE, STATUS, ERROR = "http.request.method", "url.path", "http.response.status_code", "error.type"


class SpannedReconciler(Reconciler):
    """`reconcile.Reconciler`, whose looks have spans."""

    def __init__(self, tracer: Tracer, settings: Settings, parts: Parts) -> None:
        super().__init__(settings, parts)
        self._tracer = tracer

    async def reconcile(self, key: Key) -> float | None:
        said = {NAMESPACE: key.namespace, MODEL: f"{key.namespace}/{key.name}"}
        with self._tracer.start_as_current_span(
            "reconcile", attributes=said, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                again = await super().reconcile(key)
            except BaseException as error:
                span.set_attribute(OUTCOME, _outcome(error))
                _failed(span, error)
                raise
            span.set_attribute(OUTCOME, "ok")
            if again is not None:
                span.set_attribute(AGAIN, again)
            return again

    async def _write_status(self, key: Key, raw: Object, wanted: InferenceModelStatus) -> bool:
        ready = next((c for c in wanted.conditions or () if c.type == ConditionType.READY.value), None)
        if ready is not None:
            trace.get_current_span().set_attribute(REASON, ready.reason)
        return await super()._write_status(key, raw, wanted)


class SpannedWire(Wire):
    """`wire.Wire`, whose writes have spans where they belong to a look."""

    def __init__(self, tracer: Tracer, fence: Fence | None) -> None:
        super().__init__(fence)
        self._tracer = tracer

    async def ask(
        self,
        method: str,
        url: str,
        body: Object | bytes | None = None,
        headers: Mapping[str, str] = NONE,
        timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> tuple[int, Object]:
        if method in READS or not trace.get_current_span().get_span_context().is_valid:
            return await super().ask(method, url, body, headers, timeout)
        path = url.partition("?")[0]
        said: dict[str, Any] = {METHOD: method, ROUTE: path}
        with self._tracer.start_as_current_span(
            f"{method} {kind_of(path)}", None, SpanKind.CLIENT, said, record_exception=False
        ) as span:
            try:
                status, answer = await super().ask(method, url, body, headers, timeout)
            except BaseException as error:
                _failed(span, error)
                raise
            span.set_attribute(STATUS, status)
            if status >= 400:
                span.set_attribute(ERROR, str(status))
                span.set_status(StatusCode.ERROR)
            return status, answer


def kind_of(path: str) -> str:
    """The plural, and the subresource, of an object's path: /apis/apps/v1/namespaces/a/deployments/b → deployments."""
    parts = path.strip("/").split("/")
    inside = parts[parts.index("namespaces") + 2 :] if "namespaces" in parts else parts[-2:]
    return "/".join(inside[:1] + inside[2:]) or "namespaces"


def _outcome(error: BaseException) -> str:
    """As `dormouse_operator_reconciles_total` has it."""
    if isinstance(error, Retry):
        return "retry"
    if isinstance(error, Terminal):
        return "refused"
    return "bug" if isinstance(error, Exception) else "stopped"


def _failed(span: Span, error: BaseException) -> None:
    span.set_attribute(ERROR, type(error).__name__)
    span.set_status(StatusCode.ERROR)
