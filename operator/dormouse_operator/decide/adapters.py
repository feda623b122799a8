"""What is known of a model's adapters, and what the list on its volume shall name. Pure."""

from dormouse_api import names
from dormouse_api.adapters import Adapter, AdapterStatus
from dormouse_operator.observed import Claim, Observed

UNKNOWN_BYTES = 128 * 2**20
"""Room for an adapter of which nothing is known yet."""
Listed = tuple[tuple[str, str], ...]
"""(name, commit), sorted."""


def key(adapter: Adapter) -> str:
    """Hash of what is pulled for it; another one means pulling anew."""
    return names.digest(adapter.source.uri, adapter.source.revision)


def room(o: Observed) -> int:
    """Bytes of the volume that they need."""
    sizes = {s.name: s.bytes or UNKNOWN_BYTES for s in o.model.status.adapters or ()}
    return sum(sizes.get(adapter.name, UNKNOWN_BYTES) for adapter in o.model.spec.adapters or ())


def asks(o: Observed) -> bool:
    """Whether their Jobs must be read: one is to be pulled, or the list to be written."""
    if o.claim is None:
        return False
    told = {s.name: s for s in o.model.status.adapters or ()}
    wanted = {adapter.name: adapter for adapter in o.model.spec.adapters or ()}
    if any(pulled(adapter, told.get(name), o.claim) is None for name, adapter in wanted.items()):
        return True
    entries = tuple(told[name] for name in wanted)
    return due(o, entries, o.claim)


def pulled(adapter: Adapter, old: AdapterStatus | None, claim: Claim) -> AdapterStatus | None:
    """What the status remembers of it, if that is of the present source and volume, and lies there whole."""
    whole = old is not None and old.commit is not None and old.claim_uid == claim.uid and old.key == key(adapter)
    return old if whole else None


def listed(o: Observed, entries: tuple[AdapterStatus, ...]) -> Listed:
    """What the list shall name: of one whose next revision is still to come, what it named before."""
    keys = {adapter.name: key(adapter) for adapter in o.model.spec.adapters or ()}
    found = []
    for entry in entries:
        commit = entry.commit if entry.key == keys.get(entry.name) else entry.bound
        if commit is not None and too_high(o, entry) is None:
            found.append((entry.name, commit))
    return tuple(sorted(found))


def on_list(o: Observed, claim: Claim) -> Listed:
    """What the list names, as the status has it."""
    told = o.model.status.adapters or ()
    return tuple(sorted((s.name, s.bound) for s in told if s.bound is not None and s.claim_uid == claim.uid))


def due(o: Observed, entries: tuple[AdapterStatus, ...], claim: Claim) -> bool:
    """Whether the list is to be written, or something to be removed."""
    return listed(o, entries) != on_list(o, claim) or bool(leaving(o, {entry.name for entry in entries}, claim))


def leaving(o: Observed, stay: set[str], claim: Claim) -> tuple[AdapterStatus, ...]:
    """Those of the status that the spec names no more, and of which something lies on the volume."""
    told = (s for s in o.model.status.adapters or () if s.name not in stay)
    return tuple(s for s in told if s.claim_uid == claim.uid and s.commit is not None)


def dropped(o: Observed, wanted: Listed) -> tuple[str, ...]:
    """Commits of the status that the list will not name."""
    told = o.model.status.adapters or ()
    known = {commit for s in told for commit in (s.commit, s.bound) if commit is not None}
    return tuple(sorted(known - {commit for _, commit in wanted}))


def too_high(o: Observed, entry: AdapterStatus) -> str | None:
    """Why the engine would not take it, and the way out."""
    most = o.model.spec.engine.lora.max_rank
    if entry.rank is None or entry.rank <= most:
        return None
    return f"its rank is {entry.rank}, and engine.lora.maxRank is {most}: raise that, which restarts the runtime pods"
