"""Whether a pull holds one of the places for pulls. Pure.

It does while it works, or is about to. One that cannot begin (no node, no image) holds none, or a single bad model
would stop all pulls for ever; when what it lacks comes it goes on, and nobody else starts until there is a place again.
Nor does one that failed and waits for its next try.
"""

from collections.abc import Iterable

from dormouse_api.results import EXIT_PERMANENT
from dormouse_operator.decide.troubles import CONFIG_ERRORS, GRACE, IMAGE_ERRORS
from dormouse_operator.observed import Job, Pod

SLOW_SECONDS = 120.0
"""A pod whose container has not run by then may never run: its volume does not come, say."""
ENDED = frozenset({"Succeeded", "Failed"})


def holds(job: Job | None, pods: Iterable[Pod], now: float) -> bool:
    """Whether a pull has its place: `job` and the pods that are its own."""
    found = sorted(pods, key=lambda pod: (pod.created, pod.name))
    living = [pod for pod in found if pod.phase not in ENDED]
    if living:
        return any(_works(pod, now) for pod in living)
    if job is None or job.deleting or job.complete or job.failed_reason is not None:
        return False
    if any(pod.phase == "Succeeded" or (pod.exit and pod.exit.code == EXIT_PERMANENT) for pod in found):
        return False  # the Job says so itself a moment later
    # its next pod is still to be made: a few seconds, unless the cluster refuses it
    return now < max([job.created, *(pod.exit.finished for pod in found if pod.exit)]) + SLOW_SECONDS


def _works(pod: Pod, now: float) -> bool:
    if pod.deleting:
        return True
    if pod.silent_since is not None or pod.waiting in IMAGE_ERRORS | CONFIG_ERRORS:
        return False
    if pod.unschedulable is not None:
        return now < pod.unschedulable_since + GRACE
    return pod.phase == "Running" or now < pod.created + SLOW_SECONDS
