"""Which warnings of GPUs the status tells of, and which are news. Pure."""

from collections.abc import Mapping

from dormouse_api.gpu import MAX_WARNINGS, GpuReport, GpuWarning
from dormouse_api.profile import Device
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.observed import Pod, Profile


def asked(pods: tuple[Pod, ...], profile: Profile | None) -> dict[str, str]:
    """The pods that have GPUs to tell of, with their addresses."""
    if profile is None or profile.spec.device is not Device.CUDA:
        return {}
    return {pod.name: pod.ip for pod in pods if pod.ip and pod.ready_at is not None and not pod.deleting}


def standing(old: list[GpuWarning] | None, told: Mapping[str, GpuReport] | None, now: float) -> list[GpuWarning] | None:
    """The warnings now, those known already as they were first told; as they were where nothing is known."""
    if told is None:
        return old
    known = {_key(warning): warning for warning in old or ()}
    found = [
        GpuWarning(pod=pod, gpu=reading.gpu, kind=warned.kind.value, since=stamp(now), message=warned.message)
        for pod, report in sorted(told.items())
        for reading in report.gpus
        for warned in reading.warnings
    ]
    return [known.get(_key(warning), warning) for warning in found][:MAX_WARNINGS] or None


def news(old: list[GpuWarning] | None, new: list[GpuWarning] | None) -> list[GpuWarning]:
    """The warnings that were not there before."""
    known = {_key(warning) for warning in old or ()}
    return [warning for warning in new or () if _key(warning) not in known]


def _key(warning: GpuWarning) -> tuple[str, str, str]:
    return warning.pod, warning.gpu, warning.kind
