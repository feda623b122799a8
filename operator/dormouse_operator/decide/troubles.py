"""What keeps a pod from starting, in the words of a condition. Pure.

Some troubles pass by themselves within seconds (a pod whose volume or device is just being freed), so a caller is
refused only when they last.
"""

from dataclasses import dataclass

from dormouse_api.conditions import Reason
from dormouse_api.results import Failure
from dormouse_operator.observed import Pod

GRACE = 10.0
"""Seconds an unschedulable pod may stay so before anybody is told to give up."""

IMAGE_ERRORS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
)
CONFIG_ERRORS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


@dataclass(frozen=True)
class Trouble:
    """`failure` once it lasts; until then `look_at` says when to judge again."""

    failure: Failure | None
    look_at: float | None = None


def trouble(pod: Pod, now: float) -> Trouble | None:
    """What hinders `pod`, or None."""
    if pod.unschedulable is not None:
        due = pod.unschedulable_since + GRACE
        message = f"no node can run pod {pod.name}: {pod.unschedulable}"
        return (
            Trouble(None, due) if now < due else Trouble(Failure(reason=Reason.UNSCHEDULABLE, message=message[:2000]))
        )
    if pod.waiting in IMAGE_ERRORS:
        message = f"the image of pod {pod.name} cannot be pulled ({pod.waiting}): {pod.waiting_message}"
        return Trouble(Failure(reason=Reason.IMAGE_PULL_FAILED, message=message[:2000]))
    if pod.waiting in CONFIG_ERRORS:
        message = f"pod {pod.name} cannot start ({pod.waiting}): {pod.waiting_message}"
        return Trouble(Failure(reason=Reason.INVALID_SPEC, message=message[:2000]))
    return None
