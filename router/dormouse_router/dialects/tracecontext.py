"""The trace that a client is in (https://www.w3.org/TR/trace-context), which engines are told of in every dialect."""

from dormouse_router.request import Headers, Request


def forwarded(request: Request) -> Headers:
    """The client's headers that an engine is sent: those of distributed tracing. Credentials stay here."""
    parent = request.header(b"traceparent")
    if parent is None:
        return []
    state = request.header(b"tracestate")
    return [(b"traceparent", parent)] + ([] if state is None else [(b"tracestate", state)])
