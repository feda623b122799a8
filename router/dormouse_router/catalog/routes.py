"""The InferenceRoutes in memory: names over models, read from the API server's objects into frozen values.

Owns what a route is to the router, and which routes there are. Who has a name that a model claims too is
`catalog.py`'s to say. Knows nothing of requests, nor of where the objects come from.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dormouse_api.lease import parse_time
from dormouse_api.names import LABEL_DERIVED
from dormouse_api.route import Defaults, InferenceRouteSpec
from dormouse_router.catalog.record import NOTHING, Key, Served


@dataclass(frozen=True, slots=True)
class Route(Served):
    """An InferenceRoute."""

    spec: InferenceRouteSpec
    derived: bool
    """A client made it, so clients may replace it."""

    @property
    def defaults(self) -> Defaults:
        return self.spec.defaults or NOTHING

    @property
    def models(self) -> tuple[str, ...]:
        """metadata.name of every model that may answer: the variants', then the fallbacks, each once."""
        return tuple(dict.fromkeys([*(v.model for v in self.spec.variants), *(self.spec.fallback or ())]))


def route_from(obj: Mapping[str, Any]) -> Route:
    """The route of an InferenceRoute as the API server sends it. ValueError (pydantic's) where it is not one."""
    meta = obj["metadata"]
    namespace, name = meta["namespace"], meta["name"]
    spec = InferenceRouteSpec.model_validate(obj.get("spec") or {})
    return Route(
        namespace=namespace,
        name=name,
        uid=meta["uid"],
        created=parse_time(meta["creationTimestamp"]),
        version=meta.get("resourceVersion", ""),
        served=tuple(dict.fromkeys([name, *(spec.aliases or ()), f"{namespace}/{name}"])),
        spec=spec,
        derived=LABEL_DERIVED in (meta.get("labels") or {}),
    )


class Routes:
    """Every route, by its key. `changed` is called with the keys of those that came, changed or went."""

    def __init__(self, changed: Callable[[Iterable[Key]], None]) -> None:
        self._routes: dict[Key, Route] = {}
        self._changed = changed

    def get(self, key: Key) -> Route | None:
        return self._routes.get(key)

    def every(self) -> list[Route]:
        """All of them, newest first."""
        return sorted(self._routes.values(), key=lambda route: (route.created, route.full_name), reverse=True)

    def put(self, route: Route) -> None:
        """A route was added or changed."""
        self._routes[route.key] = route
        self._changed([route.key])

    def drop(self, key: Key) -> None:
        """A route was deleted."""
        if self._routes.pop(key, None) is not None:
            self._changed([key])

    def replace(self, routes: Iterable[Route], namespace: str | None = None) -> None:
        """A fresh list of the routes of `namespace` (None: all): what is not in it is gone."""
        found = {route.key: route for route in routes}
        gone = [key for key in self._routes if key not in found and namespace in (None, key[0])]
        for key in gone:
            del self._routes[key]
        self._routes |= found
        self._changed([*gone, *found])
