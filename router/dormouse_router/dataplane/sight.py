"""What a caller sees of the catalogue: `access.rules` asked of models, and of the routes over them.

Asked only where something is not for everybody: what is has been found before this is.
"""

from dormouse_router.access.rules import Verb, may, named
from dormouse_router.caller import Caller
from dormouse_router.catalog.catalog import Catalog, Entry
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route


class Sight:
    """Of one catalogue."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def sees(self, caller: Caller, found: Record | Route) -> bool:
        """A route is seen by whoever sees all models behind it that are there. A key for some models sees those."""
        return (not caller.models or self.permits(caller, found)) and self._may_see(caller, found)

    def permits(self, caller: Caller, found: Record | Route) -> bool:
        """Whether the caller's key is for it: for a route by its own name, or by those of all models behind it."""
        if named(caller.models, found.name, found.full_name):
            return True
        behind = () if isinstance(found, Record) else found.models
        return bool(behind) and all(named(caller.models, name, f"{found.namespace}/{name}") for name in behind)

    def _may_see(self, caller: Caller, found: Record | Route) -> bool:
        if not self._closed(found):
            return True
        if isinstance(found, Record):
            return may(caller, found.spec.access, Verb.SEE)
        entries = (self._catalog.get((found.namespace, model)) for model in found.models)
        return all(entry is None or self._may_see(caller, entry.record) for entry in entries)

    def plain(self, name: str, *, exact: bool) -> Record | Route | None:
        """What `name` means, where that is the same for everybody; None also where it means nothing."""
        found = self._first(name, exact)
        return found if found is not None and not self._closed(found) and _there(found) else None

    def find(self, name: str, caller: Caller, *, exact: bool) -> Record | Route | None:
        """The model, route or adapted model that `name` means to the caller; of several the oldest that it sees."""
        found = self._first(name, exact)
        if found is None:
            return None
        claimants = self._catalog.claimants(name, exact=exact) if self._closed(found) else ()
        listed = [claimant.record if isinstance(claimant, Entry) else claimant for claimant in claimants] or [found]
        return next((one for one in listed if _there(one) and self.sees(caller, one)), None)

    def _first(self, name: str, exact: bool) -> Record | Route | None:
        entry = self._catalog.find(name, exact=exact)
        if entry is not None:
            return entry.record
        return self._catalog.find_route(name, exact=exact) or self._catalog.find_adapter(name, exact=exact)

    def _closed(self, found: Record | Route) -> bool:
        return found.closed if isinstance(found, Record) else self._catalog.closed(found)


def _there(found: Record | Route) -> bool:
    return not (isinstance(found, Record) and found.deleting)
