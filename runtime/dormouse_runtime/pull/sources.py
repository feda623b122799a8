"""Which kind of source a URI is. Each has a module of its own, imported when it is wanted: a pull from the hub does not
pay for object storage, nor the other way round."""

from __future__ import annotations

from dormouse_runtime.pull.settings import CLAIM, STORE, Settings
from dormouse_runtime.pull.source import Source


def open_source(settings: Settings, read_seconds: float) -> Source:
    """The source of `settings`; `read_seconds` without a byte end a request as Stalled."""
    if settings.source.startswith(STORE):
        from dormouse_runtime.pull.store import Store

        return Store(settings, read_seconds)
    if settings.source.startswith(CLAIM):
        from dormouse_runtime.pull.claim import Claim

        return Claim(settings)
    from dormouse_runtime.pull.hub import Hub

    return Hub(settings, read_seconds)
