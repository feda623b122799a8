"""The adapters of models, by the names that clients call them by: `<model>:<adapter>`. Pure.

A record that was found by such a name says so (`Record.adapter`), and is otherwise its model's. Names of models,
aliases and routes go first: nobody's calls are taken over by an adapter.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from dormouse_router.catalog.record import Key, Record


class AdapterNames:
    """The index, made anew with every change of the names there are."""

    def __init__(self) -> None:
        self._exact: dict[str, tuple[Key, str]] = {}
        self._folded: dict[str, tuple[Key, str]] = {}
        self._marked: dict[tuple[Key, str], tuple[Record, Record]] = {}

    def index(self, records: Iterable[Record], taken: Callable[[str], bool]) -> None:
        """`records`: every model, the oldest first. `taken`: whether a name means something else."""
        self._exact, self._folded, self._marked = {}, {}, {}
        for record in records:
            for adapter in adapters_of(record):
                for name in names_of(record, adapter):
                    if not taken(name):
                        self._exact.setdefault(name, (record.key, adapter))
                        self._folded.setdefault(name.casefold(), (record.key, adapter))

    def find(self, name: str, *, exact: bool = True) -> tuple[Key, str] | None:
        """(model, adapter) of a name."""
        found = self._exact.get(name)
        return found if found is not None or exact else self._folded.get(name.casefold())

    def marked(self, record: Record, adapter: str) -> Record:
        """`record` as found by the adapter's name; made once for as long as the model's own stays the same."""
        key = (record.key, adapter)
        known = self._marked.get(key)
        if known is None or known[0] is not record:
            self._marked[key] = known = (record, replace(record, adapter=adapter))
        return known[1]


def adapters_of(record: Record) -> tuple[str, ...]:
    """Their names, as the spec has them."""
    return tuple(adapter.name for adapter in record.spec.adapters or ())


def names_of(record: Record, adapter: str) -> list[str]:
    """What clients may call it by; the first is the one that lists show."""
    return [f"{name}:{adapter}" for name in record.served if ":" not in name]
