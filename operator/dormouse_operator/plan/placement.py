"""Where pods of a profile run and what they get, as parts of a pod. Pure."""

from dormouse_api import names
from dormouse_operator.observed import Claim, Profile
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


def beside(claim: Claim) -> Object:
    """With whom a pod must run that mounts `claim`: a ReadWriteOnce volume is attached to one node at a time, and a pod
    elsewhere would wait for it for ever. The first such pod goes anywhere, for the scheduler counts it as its own peer.
    """
    if not claim.one_node:
        return {}
    same = {"labelSelector": {"matchLabels": on_claim(claim)}, "topologyKey": "kubernetes.io/hostname"}
    return {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [same]}}}


def on_claim(claim: Claim) -> dict[str, str]:
    """The label of every pod, and every Job, that mounts the claim."""
    return {names.LABEL_CLAIM: names.claim_label(claim.name)}


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
