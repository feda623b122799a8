"""Which objects' Events are worth reading, when again, and which of them still count. Pure.

Some causes are nowhere but in Events: a volume that cannot be mounted, a claim nobody provisions, a Job whose pods are
refused. They are read of what is stuck only, for a list of Events costs the API server a walk through a namespace.
"""

from collections.abc import Collection, Iterable

from dormouse_operator.observed import Notice, Observed

FIRST_SECONDS = 1.0
"""What moves within it is asked nothing."""
PAUSE = 2.0
LONGEST_PAUSE = 30.0
CURRENT_SECONDS = 400.0
"""What still hinders is said again: by a kubelet every two minutes at the least, by provisioners every five."""
PROGRESS = frozenset({"Pulling", "Pulled", "Created", "Started", "SuccessfulAttachVolume", "SuccessfulCreate"})
"""Said after what hindered: then it hinders no more."""


def stuck(o: Observed) -> dict[str, float]:
    """uid → since when, of what does not move and may have Events that say why."""
    found = {
        pod.uid: pod.scheduled_at or pod.created
        for pod in o.pods
        if pod.phase == "Pending" and not pod.deleting and pod.started_at is None and pod.exit is None
    }
    if o.claim is not None and not (o.claim.bound or o.claim.deleting or _filled(o)):
        found[o.claim.uid] = o.claim.created
    with_pods = {pod.job for pod in o.pods}
    for job in o.jobs or ():
        ended = job.deleting or job.complete or job.failed_reason is not None
        if not ended and job.name not in with_pods:
            found[job.uid] = job.created
    return found


def look_at(o: Observed, now: float) -> float | None:
    """When to ask again: soon at first, then later the longer it lasts. None: nothing is stuck."""
    return min((now + pause(now - since) for since in stuck(o).values()), default=None)


def pause(age: float) -> float:
    """Seconds between two readings of what has been stuck for `age` seconds."""
    return min(LONGEST_PAUSE, max(PAUSE, age / 10))


def current(notices: Iterable[Notice], reasons: Collection[str], now: float) -> Notice | None:
    """The last notice of these reasons, unless it is out of date or something went well after it."""
    told = [n for n in notices if n.at > now - CURRENT_SECONDS and (n.reason in reasons or n.reason in PROGRESS)]
    last = max(told, key=lambda n: (n.at, n.reason in reasons), default=None)
    return last if last is not None and last.reason in reasons else None


def _filled(o: Observed) -> bool:
    """Whether weights lie on the claim: then it has its volume, whatever it says of itself."""
    volume = o.model.status.volume
    return volume is not None and o.claim is not None and volume.claim_uid == o.claim.uid and bool(volume.folders)
