"""A model as one of those that want the same devices, from what was observed of it. Pure."""

from statistics import median

from dormouse_api.conditions import Reason
from dormouse_api.lease import parse_time
from dormouse_api.status import ColdStart
from dormouse_operator.decide import prewarm, unplaced
from dormouse_operator.decide.pool import Contender, Traffic
from dormouse_operator.decide.unplaced import ENDED, lacks
from dormouse_operator.observed import Observed, Profile

MAX_AWAKE = 2
"""Models of a profile with an accelerator that may be awake at once, where the profile does not say."""
WORKING_SECONDS = 30
"""The longest wish that routers write while calls run: one that lasts longer was a caller's own."""


def shares(profile: Profile | None) -> bool:
    """Whether models of this profile take turns."""
    return profile is not None and (profile.spec.accelerator is not None or profile.spec.max_awake is not None)


def contender(
    o: Observed, wanted: bool, traffic: Traffic | None, now: float, *, guess: bool = False
) -> Contender | None:
    """None where it takes part in nothing: no Deployment yet, or a profile without anything to share."""
    if o.runtime is None or o.profile is None or not shares(o.profile):
        return None
    spec, status = o.profile.spec, o.model.status
    resource = spec.accelerator.resource if spec.accelerator is not None else f"profile/{o.profile.name}"
    count = spec.accelerator.count if spec.accelerator is not None else 1
    pods = [pod for pod in o.pods_of("runtime") if pod.phase not in ENDED]
    nodes: dict[str, int] = {}
    for pod in pods:
        if pod.node:
            nodes[pod.node] = nodes.get(pod.node, 0) + count
    granted = o.runtime.replicas > 0
    return Contender(
        key=(o.model.namespace, o.model.name),
        profile=o.profile.name,
        resource=resource,
        count=count,
        selector=dict(spec.node_selector or {}),
        limit=spec.max_awake or (MAX_AWAKE if spec.accelerator is not None else None),
        wanted=wanted,
        granted=granted,
        asked=o.runtime.asked_at if not granted else o.runtime.woken_at,
        nodes=nodes,
        pods=len(pods),
        homeless=granted and not nodes and any(lacks(pod, resource) for pod in pods),
        ready_at=min((pod.ready_at for pod in pods if pod.ready_at is not None and not pod.deleting), default=None),
        kept=_kept(o, now),
        traffic=traffic,
        last_used=min(now, o.wish.renewed) if o.wish is not None else 0.0,
        leaving=o.runtime.turned_out if granted else None,
        woken=o.runtime.woken_at,
        left=None if granted else o.runtime.turned_out,
        start_seconds=median(map(start_seconds, status.cold_starts)) if status.cold_starts else None,
        guess=guess,
        priority=o.model.spec.priority,
        waiting=parse_time(status.line.since) if status.line is not None else None,
        hopeless=not nodes and unplaced.hopeless(o, now),
    )


def start_seconds(start: ColdStart) -> float:
    """What a recorded start took once it had its node: what it waited for a device before is not its own."""
    placed = next((stage.at_milliseconds for stage in start.stages if stage.stage == "scheduled"), 0)
    return (start.stages[-1].at_milliseconds - placed) / 1000 if start.stages else float(start.seconds)


def waits_for_devices(o: Observed, reason: Reason) -> bool:
    """Whether what keeps the pod from starting is only that others have the devices."""
    accelerator = o.profile.spec.accelerator if o.profile is not None else None
    if accelerator is None or reason is not Reason.UNSCHEDULABLE:
        return False
    return any(lacks(pod, accelerator.resource) for pod in o.pods_of("runtime"))


def _kept(o: Observed, now: float) -> bool:
    """The user keeps pods, at all times or by a schedule, or a caller's own keep_alive lasts longer than the model
    would stay by itself.
    """
    scaling = o.model.spec.scaling
    usual = max(WORKING_SECONDS, scaling.idle_seconds) + 1
    scheduled = prewarm.wanted(o.model, o.runtime, now).replicas
    return max(scaling.min_replicas, scheduled) > 0 or (
        o.wish is not None and o.wish.ends > now and o.wish.duration > usual
    )
