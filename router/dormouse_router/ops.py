"""The router's own port: /metrics, /livez, /readyz for the cluster, /demand for the operator. Wakes nothing."""

from collections.abc import Callable

from dormouse_api.demand import FIRST_TOKEN_TOLD, Demand, ModelDemand
from dormouse_router.asgi import Receive, Scope, Send
from dormouse_router.dataplane.plane import DataPlane


class Ops:
    """A small ASGI application. `unready` says why no calls should be sent here now, or None."""

    def __init__(self, plane: DataPlane, unready: Callable[[], str | None]) -> None:
        self._plane, self._unready = plane, unready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, content_type, body = self._answer(scope["path"])
        headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        if path == "/livez":
            return 200, "text/plain", b"ok\n"
        if path == "/readyz":
            why = self._unready()
            return (200, "text/plain", b"ok\n") if why is None else (503, "text/plain", f"{why}\n".encode())
        if path == "/demand":
            return 200, "application/json", self.demand().model_dump_json().encode()
        if path == "/metrics":
            body, content_type = self._plane.exposition()
            return 200, content_type, body
        return 404, "text/plain", b"there is /metrics, /livez, /readyz and /demand\n"

    def demand(self) -> Demand:
        """Who needs what now; models that nobody needs are left out."""
        now = self._plane.clock()
        models = {}
        for (namespace, name), lane in self._plane.lanes.items():
            ago = None if lane.first_token is None else now - lane.first_token
            ago = None if ago is None or ago > FIRST_TOKEN_TOLD else round(ago, 3)
            if lane.in_flight or lane.held or ago is not None:
                models[f"{namespace}/{name}"] = ModelDemand(
                    in_flight=lane.in_flight,
                    held=len(lane.held),
                    oldest_wait_seconds=round(lane.oldest_wait(now), 3),
                    first_token_ago_seconds=ago,
                )
        return Demand(models=models)
