"""Totals of what calls used, of this process alone: `accounting.entries.Usage`. The oldest days go first."""

from collections.abc import Mapping
from dataclasses import replace

from dormouse_router.accounting.entries import Key, Total, Totals, Wanted, merge

MOST = 20_000
"""Rows."""


class MemoryUsage:
    """What is read is a copy."""

    def __init__(self, most: int = MOST) -> None:
        self._totals: Totals = {}
        self._most = most

    async def add(self, totals: Mapping[Key, Total]) -> None:
        merge(self._totals, totals)
        if len(self._totals) > self._most:
            for key in sorted(self._totals)[: len(self._totals) - self._most]:
                del self._totals[key]

    async def read(self, wanted: Wanted) -> list[tuple[Key, Total]]:
        found = [
            (key, replace(total))
            for key, total in sorted(self._totals.items())
            if wanted.since <= key.day <= wanted.until
            and wanted.owner in (None, key.owner)
            and wanted.model in (None, key.model)
        ]
        return sorted(found, key=lambda row: row[0].day, reverse=True)[: wanted.limit]
