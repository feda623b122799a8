"""Where pods of a profile run and what they get, as parts of a pod. Pure."""

from dormouse_api.profile import RemoteCode
from dormouse_operator.decide.facts import Facts
from dormouse_operator.observed import Profile
from dormouse_operator.plan.common import Object


def placement(profile: Profile) -> Object:
    """Node selector, tolerations and runtime class; only what the profile says."""
    spec = profile.spec
    part: Object = {}
    if spec.node_selector:
        part["nodeSelector"] = dict(spec.node_selector)
    if spec.tolerations:
        part["tolerations"] = [toleration.wire() for toleration in spec.tolerations]
    if spec.runtime_class_name:
        part["runtimeClassName"] = spec.runtime_class_name
    return part


def resources(profile: Profile, *, devices: bool) -> Object:
    """Requests and limits; devices are limits, which Kubernetes takes as requests too."""
    part = profile.spec.resources.wire()
    accelerator = profile.spec.accelerator
    if devices and accelerator is not None:
        limits = part.get("limits")
        part["limits"] = (dict(limits) if isinstance(limits, dict) else {}) | {
            accelerator.resource: str(accelerator.count)
        }
    return part


def runs_remote_code(facts: Facts, profile: Profile) -> bool:
    """Both must agree: the repository needs its own code, and the administrator lets it run."""
    return facts.remote_code and profile.spec.remote_code is RemoteCode.ALLOWED
