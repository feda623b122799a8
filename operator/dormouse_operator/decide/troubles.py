"""What keeps a pod, a Job or a claim from what it is there for, in the words of a condition. Pure.

Each sentence has the cluster's own words and what cures it. Some troubles pass by themselves within seconds (a device
or a volume that is just being freed), so they are told at once but refuse a caller only when they last.
"""

from dataclasses import dataclass

from dormouse_api import names
from dormouse_api.conditions import Reason
from dormouse_api.results import Failure
from dormouse_operator.decide import remedies
from dormouse_operator.decide.notices import current
from dormouse_operator.decide.remedies import remedy
from dormouse_operator.observed import Job, Notice, Observed, Pod

GRACE = 10.0
"""Seconds an unschedulable pod may stay so before anybody is told to give up."""
PROVISION_SECONDS = 60.0
"""Seconds a volume may take to be made, or to come from another node, before callers are told to give up."""
GROW_SECONDS = 600.0
"""Seconds a cluster's autoscaler may take to add a node."""
LATE = 3.0
"""Seconds after its time to end is over, when a pod that is still there is on a node that does not answer."""
REJECTED_SECONDS = 60.0
"""A kubelet's refusal counts as long: the next pod is refused at once or not at all."""

IMAGE_ERRORS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
)
CONFIG_ERRORS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
VOLUME_NOTICES = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
SANDBOX_NOTICES = frozenset({"FailedCreatePodSandBox"})
CLAIM_NOTICES = frozenset({"ProvisioningFailed", "FailedBinding", "ClaimLost", "ClaimMisbound"})
REFUSED_NOTICES = frozenset({"FailedCreate"})
GROWING_NOTICES = frozenset({"TriggeredScaleUp", "Nominated"})
"""A cluster's autoscaler adds a node for the pod."""


@dataclass(frozen=True)
class Trouble:
    """`cause` from the first moment; what waits for the pod gives up from `due` on (None: at once)."""

    cause: Failure
    due: float | None = None

    def failure(self, now: float) -> Failure | None:
        """The cause, once it has lasted."""
        return self.cause if self.due is None or now >= self.due else None

    def look_at(self, now: float) -> float | None:
        """When to judge again, if time alone decides."""
        return self.due if self.due is not None and now < self.due else None


def trouble(o: Observed, pod: Pod, now: float) -> Trouble | None:
    """What hinders `pod`, or None."""
    if pod.deleting:
        return _stuck(pod)
    if pod.silent_since is not None:
        return _told(Reason.NODE_LOST, f"node {pod.node} of pod {pod.name} does not answer: {_NODE}")
    if pod.unschedulable is not None:
        return _homeless(o, pod, pod.unschedulable, now)
    if pod.waiting in IMAGE_ERRORS:
        fix, _ = remedy(
            remedies.IMAGES, remedies.IMAGES_LAST, f"{pod.waiting} {pod.waiting_message}", owner=_owner(o, pod)
        )
        cause = f"the image of pod {pod.name} cannot be pulled ({pod.waiting})"
        return _told(Reason.IMAGE_PULL_FAILED, f"{cause}: {_end(pod.waiting_message)}: {fix}")
    if pod.waiting in CONFIG_ERRORS:
        return _config(o, pod)
    return _noticed(o, pod, now)


_NODE = (
    "bring the node back, or delete it (kubectl delete node), and the cluster makes the pod anew elsewhere; its volume "
    "follows once the node is gone"
)


def _stuck(pod: Pod) -> Trouble | None:
    if pod.ends_at is None:
        return None
    where = f"node {pod.node} does not answer" if pod.node else "a finalizer holds it"
    # a Job waits until its pod has failed, and only the node, or the end of the node, makes it so
    fix = _NODE if pod.job else f"bring the node back, or remove the pod: kubectl delete pod {pod.name} --force"
    cause = Failure(reason=Reason.NODE_LOST, message=f"pod {pod.name} should have ended and has not, {where}: {fix}")
    return Trouble(cause, pod.ends_at + LATE)


def _homeless(o: Observed, pod: Pod, said: str, now: float) -> Trouble:
    since = pod.unschedulable_since
    words = said.split(" preemption:")[0]
    fix, reason = remedies.scheduling(words)
    message = f"no node can run pod {pod.name}: {_end(words)}: {fix}"
    if (growing := current(pod.notices, GROWING_NOTICES, now)) is not None:
        message = f"the cluster adds a node for pod {pod.name} ({_end(growing.message)}): {_end(words)}"
        return Trouble(_failure(Reason.UNSCHEDULABLE, message), growing.at + GROW_SECONDS)
    if reason is Reason.STORAGE_FAILED and (found := claim_trouble(o, now)) is not None:
        return Trouble(found, since + GRACE)
    ending = [p.ends_at for p in o.pods if p.deleting and p.component == pod.component and p.ends_at is not None]
    grace = PROVISION_SECONDS if reason is Reason.STORAGE_FAILED else GRACE
    return Trouble(_failure(reason or Reason.UNSCHEDULABLE, message), max([since + grace, *ending]))


def _config(o: Observed, pod: Pod) -> Trouble:
    words = pod.waiting_message
    fix, reason = remedy(remedies.CONTAINERS, remedies.CONTAINERS_LAST, words, owner=_owner(o, pod))
    return _told(reason or Reason.INVALID_SPEC, f"pod {pod.name} cannot start ({pod.waiting}): {_end(words)}: {fix}")


def _noticed(o: Observed, pod: Pod, now: float) -> Trouble | None:
    """What only Events tell, of a pod that has its node and no container yet."""
    if pod.started_at is not None or pod.exit is not None:
        return None
    notice = current(pod.notices, VOLUME_NOTICES | SANDBOX_NOTICES, now)
    if notice is None:
        return None
    if notice.reason in SANDBOX_NOTICES:
        fix, _ = remedy(remedies.SANDBOXES, remedies.SANDBOXES_LAST, notice.message)
        cause = f"node {pod.node} cannot start pod {pod.name}: {_end(notice.message)}"
        return _told(Reason.UNSCHEDULABLE, f"{cause}: {fix}")
    fix, reason = remedy(remedies.VOLUMES, remedies.VOLUMES_LAST, notice.message, secret=_secret(o))
    volume = o.claim.name if o.claim is not None else "the model"
    secret = "the credentials" if o.model.spec.source.credentials_secret_ref else "the token"
    what = secret if reason is Reason.SECRET_MISSING else f"volume {volume}"
    message = f"{what} cannot be mounted into pod {pod.name} on node {pod.node}: {_end(notice.message)}: {fix}"
    # what another pod still holds mostly comes by itself: it is told, and callers wait for it a while
    held = "attach" in notice.message.lower() and reason is None
    start = pod.scheduled_at or pod.created
    return Trouble(_failure(reason or Reason.STORAGE_FAILED, message), start + PROVISION_SECONDS if held else None)


def rejected(o: Observed, component: str, now: float) -> Trouble | None:
    """What became of the last pod that a node would not take, or that was put out of it."""
    pods = [p for p in o.pods_of(component) if p.phase == "Failed" and p.exit is None and p.reason]
    if not pods or now >= pods[-1].created + REJECTED_SECONDS:
        return None
    pod = pods[-1]
    if pod.disrupted or pod.reason in ("Evicted", "Preempted", "Preempting", "Terminated", "NodeShutdown"):
        cause = disruption(pod)
        return Trouble(cause, pod.created + REJECTED_SECONDS) if cause is not None else None
    fix = "look at the node's device plugin and its log" if "device" in pod.message else remedies.SCHEDULING_LAST
    message = f"node {pod.node} refuses pod {pod.name} ({pod.reason}): {_end(pod.message)}: {fix}"
    return Trouble(_failure(Reason.UNSCHEDULABLE, message))


def disruption(pod: Pod) -> Failure | None:
    """Why the cluster ended the pod, where it was the cluster."""
    said = pod.message or pod.disrupted
    if not said or not (pod.disrupted or pod.reason):
        return None
    words = pod.disrupted if pod.disrupted and not pod.message else f"{pod.reason}: {pod.message}".strip(": ")
    fix = "it is made anew by itself"
    if "storage" in said or "EmptyDir" in said:
        fix += "; where it happens again, free the node's disk, or raise what the pod may use"
    elif "memory" in said:
        fix += "; where it happens again, raise resources.requests in the profile, or free the node's memory"
    elif "preempt" in said.lower():
        fix += "; where it happens again, add a node, or lower the priority of what put it out"
    elif "NoExecute" in said or "PodGC" in said:
        fix += "; where it happens again, look at the node (kubectl describe node)"
    return _failure(Reason.INTERRUPTED, f"pod {pod.name} was put out of its node, {_end(words)}: {fix}")


def claim_trouble(o: Observed, now: float) -> Failure | None:
    """Why the model's claim does not get its volume, as far as anybody has said. Who runs on it proves that it has."""
    claim = o.claim
    if (
        claim is None
        or claim.bound
        or any(pod.started_at for pod in o.pods if pod.component != names.COMPONENT_INSPECT)
    ):
        return None
    notice = current(claim.notices, CLAIM_NOTICES, now)
    if notice is None:
        return None
    fix, _ = remedy(remedies.PROVISIONING, remedies.PROVISIONING_LAST, notice.message)
    message = f"PersistentVolumeClaim {claim.name} gets no volume: {_end(notice.message)}: {fix}"
    return _failure(Reason.STORAGE_FAILED, message)


def job_trouble(job: Job, now: float) -> Failure | None:
    """Why the Job's pod is not even made."""
    notice = current(job.notices, REFUSED_NOTICES, now)
    return refused(f"the pod of Job {job.name}", notice) if notice is not None else None


def refused(what: str, notice: Notice) -> Failure:
    """Why the cluster refuses `what`, in its own words."""
    fix, _ = remedy(remedies.REFUSALS, remedies.REFUSALS_LAST, notice.message)
    return _failure(Reason.REFUSED, f"the cluster refuses {what}: {_end(notice.message)}: {fix}")


def _owner(o: Observed, pod: Pod) -> str:
    """Who says which image a pod has."""
    if pod.component in (names.COMPONENT_INSPECT, names.COMPONENT_PULL):
        return "the chart's image values"
    return f"RuntimeProfile {o.profile.name}" if o.profile is not None else "the profile"


def _secret(o: Observed) -> str:
    source, create = o.model.spec.source, f"kubectl -n {o.model.namespace} create secret generic"
    if source.credentials_secret_ref is not None:
        keys = "--from-literal=accessKeyId=ID --from-literal=secretAccessKey=KEY"
        return f"{create} {source.credentials_secret_ref.name} {keys}"
    ref = source.token_secret_ref
    if ref is None:
        return "kubectl create secret"
    return f"{create} {ref.name} --from-literal={ref.key}=TOKEN"


def _told(reason: Reason, message: str) -> Trouble:
    return Trouble(_failure(reason, message))


def _failure(reason: Reason, message: str) -> Failure:
    return Failure(reason=reason, message=message[:2000])


def _end(words: str) -> str:
    """The cluster's words as a part of a sentence, without an end that would cut off the fix behind them."""
    return " ".join(words.split())[:1200].rstrip(" .:;") or "no reason is given"
