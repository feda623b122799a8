"""All that the overviews are made of, gathered at one moment. Types only."""

from collections.abc import Sequence
from dataclasses import dataclass

from dormouse_router.catalog.record import Record
from dormouse_router.insight import Insight, PassedOver, Reading


@dataclass(frozen=True, slots=True)
class Picture:
    """The models and the router at `now` (seconds since the epoch)."""

    models: Sequence[tuple[Record, bool]]
    """Every model that the caller sees, newest first, and whether it is awake."""
    engines: Sequence[Reading]
    passed_over: Sequence[PassedOver]
    insight: Insight
    now: float
    keeps: bool = True
    """Whether something can be kept between requests now."""
    unattended: int = 0
    """How many batches wait, because no worker was heard of lately."""

    @property
    def failed(self) -> list[Record]:
        return [record for record, _ in self.models if record.failed]
