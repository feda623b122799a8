"""Models for whose pod others have made room in vain. Pure; what is remembered is in the model's status.

A scheduler that finds no device for a pod says the same whether another has it or no node ever had so many. But where
nobody else of ours holds one any more and the pod still finds none, others' leaving does not cure it: for an hour they
are not asked again. Its pod is made all the same, and waits: what it needs may come from elsewhere (a new node,
somebody else's pod that ends), and once it has a node all this is forgotten.
"""

from dormouse_api.lease import parse_time
from dormouse_api.names import digest
from dormouse_api.results import Failure
from dormouse_api.status import Unplaced
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.decide.pool import PLACING_SECONDS
from dormouse_operator.decide.troubles import GRACE
from dormouse_operator.observed import Observed, Pod, Profile

ENDED = frozenset({"Succeeded", "Failed"})
AGAIN_SECONDS = 3600.0
"""Until it is tried again whether the others' leaving helps."""


def known(o: Observed, now: float) -> Unplaced | None:
    """What was found out of the devices that it asks for now, not long ago."""
    told = o.model.status.unplaced
    if told is None or told.key != _key(o.profile) or now >= parse_time(told.since) + AGAIN_SECONDS:
        return None
    return told


def after(o: Observed, now: float) -> Unplaced | None:
    """What the status shall remember."""
    pods = [pod for pod in o.pods_of("runtime") if pod.phase not in ENDED]
    if any(pod.node for pod in pods):
        return None
    told, since = known(o, now), _alone_since(o)
    if told is not None or since is None or now < since + PLACING_SECONDS:
        return told
    return Unplaced(since=stamp(now), key=_key(o.profile))


def look_at(o: Observed, now: float) -> float | None:
    """When there is something to be found out."""
    since = _alone_since(o)
    return since + PLACING_SECONDS if since is not None and now < since + PLACING_SECONDS else None


def hopeless(o: Observed, now: float) -> bool:
    """Whether others' leaving would not help it: as was found out, or as the scheduler says of its pod for a while."""
    return known(o, now) is not None or any(
        pod.unschedulable is not None and not _waits(o, pod) and now >= pod.unschedulable_since + GRACE
        for pod in o.pods_of("runtime")
    )


def explained(why: Failure, told: Unplaced) -> Failure:
    """The failure, with what was tried."""
    tried = (
        f"; tried at {told.since} with no other model on these devices, so none is asked to make room for it for an "
        "hour: add a node with as many, free them from pods that are not Dormouse's, or lower the profile's "
        "accelerator.count"
    )
    return why.model_copy(update={"message": why.message[:1500] + tried})


def _alone_since(o: Observed) -> float | None:
    """Since when its pod finds no device though nobody else of the pool has one; None where that is not so."""
    if o.turn is None or not o.turn.go or o.turn.place is not None or o.runtime is None:
        return None
    if not any(_waits(o, pod) for pod in o.pods_of("runtime")):
        return None
    line = o.model.status.line
    turn_at = parse_time(line.turn_at) if line is not None and line.turn_at is not None else None
    return max((at for at in (turn_at, o.runtime.woken_at) if at is not None), default=None)


def lacks(pod: Pod, resource: str) -> bool:
    """Whether the scheduler found no free device for it."""
    return pod.unschedulable is not None and f"Insufficient {resource}" in pod.unschedulable


def _waits(o: Observed, pod: Pod) -> bool:
    accelerator = o.profile.spec.accelerator if o.profile is not None else None
    return accelerator is not None and lacks(pod, accelerator.resource)


def _key(profile: Profile | None) -> str:
    if profile is None or profile.spec.accelerator is None:
        return ""
    return digest(profile.spec.accelerator.model_dump_json(), str(sorted((profile.spec.node_selector or {}).items())))
