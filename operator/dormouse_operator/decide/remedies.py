"""What a person can do about what the cluster says: from its words to one sentence in the imperative. Pure.

Owns the tables. The words are those of Kubernetes' own components, and of older ones where they differ; what no row
knows gets the table's last resort. Knows no pods and no models: the name of what is to be changed is handed in.
"""

import re
from dataclasses import dataclass

from dormouse_api.conditions import Reason


@dataclass(frozen=True)
class Remedy:
    """Words that tell a cause, and what cures it."""

    words: re.Pattern[str]
    fix: str
    reason: Reason | None = None
    """Where the cause deserves another reason than the rest of its table."""


def _remedy(words: str, fix: str, reason: Reason | None = None) -> Remedy:
    return Remedy(re.compile(words, re.IGNORECASE), fix, reason)


SCHEDULING = (
    _remedy(
        r"unbound immediate PersistentVolumeClaims|available persistent volumes to bind|have enough free storage",
        "look at the claim (kubectl describe pvc), and make a StorageClass or a volume that serves it",
        Reason.STORAGE_FAILED,
    ),
    _remedy(
        r"persistentvolumeclaim \S+ (not found|is being deleted)|bound to non-existent pv",
        "wait until the claim is made anew, or remove what still uses it",
        Reason.STORAGE_FAILED,
    ),
    _remedy(
        r"volume node affinity|PersistentVolume's node affinity|available volume zone",
        "the volume can only be used on other nodes: make room there, or delete the claim, and the weights are pulled "
        "into a new one",
    ),
    _remedy(
        r"Insufficient (?!cpu|memory|ephemeral-storage)\S+/\S+",
        "free a device, add a node, or lower accelerator.count in the profile; where no node offers any, install the "
        "device plugin (kubectl describe nodes shows what is allocatable)",
    ),
    _remedy(
        r"Insufficient (cpu|memory|ephemeral-storage)",
        "add a node, free what others hold, or lower resources.requests in the profile",
    ),
    _remedy(r"taint", "add the taint to the profile's tolerations, or remove it from a node (kubectl taint)"),
    _remedy(r"were unschedulable", "let pods onto a node again: kubectl uncordon"),
    _remedy(r"Too many pods", "add a node, or raise its kubelet's maxPods"),
    _remedy(r"max volume count", "add a node: these have as many volumes as they may"),
    _remedy(r"ReadWriteOncePod", "stop the other pod that uses the volume, or use accessMode ReadWriteOnce"),
    # last of those of nodes: it is true of every node that is meant for others
    _remedy(
        r"node affinity/selector|node selector",
        "label a node as the profile's nodeSelector says, or correct the nodeSelector",
    ),
    _remedy(r"no nodes available", "add a node to the cluster"),
    _remedy(r"scheduling gate|gated", "open the gate, or look at the queue that set it (kubectl describe pod)"),
)
MOST_FIXES = 3
SCHEDULING_LAST = "look at kubectl describe pod, and at the nodes' room"

REFUSALS = (
    _remedy(
        r"exceeded quota|failed quota|quota",
        "raise the ResourceQuota, delete what uses it up, or ask for less (kubectl describe resourcequota)",
    ),
    _remedy(
        r"PodSecurity",
        "let the namespace have the level of what the profile asks for (kubectl label namespace "
        "pod-security.kubernetes.io/enforce=...), or ask for less in the profile",
    ),
    _remedy(
        r"(maximum|minimum) \S+ usage per|limit to request ratio|must be less than or equal to \S+ limit",
        "set the profile's resources within the LimitRange (kubectl describe limitrange), or change it",
    ),
    _remedy(
        r"failed calling webhook|calling webhook",
        "mend or remove the webhook: kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations",
    ),
    _remedy(r"ValidatingAdmissionPolicy|denied the request", "obey the policy that it names, or change that"),
    _remedy(r"serviceaccount|service account", "make the namespace's ServiceAccount default again"),
    _remedy(r"no PriorityClass|PriorityClass", "make the PriorityClass, or correct its name"),
    _remedy(r"RuntimeClass", "make the RuntimeClass, or correct runtimeClassName in the profile"),
)
REFUSALS_LAST = "correct what it names, in the spec or in its profile"

IMAGES = (
    _remedy(r"no matching manifest|no match for platform", "build the image for the nodes' platform"),
    _remedy(r"InvalidImageName|couldn't parse image|invalid reference", "correct the name in {owner}"),
    _remedy(
        r"ErrImageNeverPull|pull policy of Never",
        "load the image onto the node, or set imagePullPolicy IfNotPresent in {owner}",
    ),
    _remedy(
        r"unauthorized|forbidden|denied|authentication required|\b401\b|\b403\b",
        "give the namespace's ServiceAccount an image pull secret for that registry, or correct the name in {owner}",
    ),
    _remedy(
        r"not found|manifest unknown|does not exist|\b404\b",
        "push that image, or correct its name in {owner}",
    ),
    _remedy(
        r"no such host|i/o timeout|connection refused|TLS|x509|deadline exceeded|network is unreachable|EOF",
        "look at the way from the node to the registry; it is tried again by itself",
    ),
    _remedy(r"no space left", "free the node's disk (kubectl describe node shows DiskPressure)"),
    _remedy(r"toomanyrequests|429|rate limit", "use a mirror or an image pull secret; it is tried again by itself"),
)
IMAGES_LAST = "correct the image in {owner}, or give the namespace an image pull secret"

VOLUMES = (
    _remedy(r"secret \"?[^\" ]+\"? not found", "create it: {secret}", Reason.SECRET_MISSING),
    _remedy(
        r"references non-existent secret key",
        "store the token under that key: {secret}; or correct spec.source.tokenSecretRef.key",
        Reason.SECRET_MISSING,
    ),
    _remedy(
        r"Multi-Attach|exclusively attached|already used by pod",
        "wait until the other pod has ended (delete it with --force where its node is gone), or use accessMode "
        "ReadWriteMany",
    ),
    _remedy(r"read-only|readonly", "mend the disk, or give the model another claim: this one cannot be written"),
    _remedy(
        r"executable file not found|unknown filesystem|bad option|need a /sbin/mount",
        "install the file system's mount helper on the node",
    ),
    _remedy(
        r"driver name \S+ not found|CSINode|csi driver",
        "install the CSI driver on the node, or wait until its pod runs",
    ),
    _remedy(r"Permission denied|access denied", "let the node use the storage: its server refuses it"),
    _remedy(
        r"timed out|timeout|deadline exceeded|connection refused|no route to host|Stale file handle",
        "look at the storage's server and its CSI driver's pods; it is tried again by itself",
    ),
)
VOLUMES_LAST = (
    "look at the storage's CSI driver (kubectl get pods -A) and at kubectl describe pvc; it is tried again by itself"
)

PROVISIONING = (
    _remedy(
        r"no storage class is set",
        "set storage.className to one of kubectl get storageclass, or make one of them the default",
    ),
    _remedy(
        r"storageclass\S* \"?[^\" ]+\"? not found",
        "make that StorageClass, or make the model anew with storage.className set to one of kubectl get storageclass",
    ),
    _remedy(
        r"ResourceExhausted|quota|exceed|no space|not enough|capacity",
        "free or add storage, or lower storage.size",
    ),
    _remedy(r"access ?mode|MULTI_NODE", "set storage.accessMode to one the StorageClass offers"),
    _remedy(
        r"permission|denied|forbidden|unauthori[sz]ed|credential",
        "give the provisioner of that StorageClass the rights it misses",
    ),
)
PROVISIONING_LAST = "look at the provisioner of its StorageClass (kubectl describe pvc); it is tried again by itself"

CONTAINERS = (
    _remedy(r"runAsNonRoot|run as root", "use an image that runs as another user than root"),
    _remedy(r"secret \"?[^\" ]+\"? not found|couldn't find key", "create it, with that key", Reason.SECRET_MISSING),
    _remedy(r"configmap", "create it"),
    _remedy(
        r"executable file not found|no such file or directory|exec format error",
        "use an image of Dormouse's for the nodes' platform: correct the image in {owner}",
    ),
    _remedy(
        r"nvidia|libcuda|cuda|cdi|device",
        "install the GPU's driver and container toolkit on the node, or set runtimeClassName in the profile",
    ),
    _remedy(r"subPath", "look at the volume: its folders cannot be made"),
)
CONTAINERS_LAST = "correct what it names; kubectl describe pod has the rest"

SANDBOXES = (
    _remedy(r"RuntimeHandler|runtime handler|no runtime for", "correct runtimeClassName in the profile"),
    _remedy(r"network|cni|ip address", "look at the cluster's network plugin on that node"),
)
SANDBOXES_LAST = "look at the node's container runtime (kubectl describe node)"


def scheduling(words: str) -> tuple[str, Reason | None]:
    """(fix, reason) for a scheduler's `words`: a fix for each cause: the scheduler counts nodes by what kept the pod
    off each of them, and only a person knows on which of them it was to run.
    """
    found = [each for each in SCHEDULING if each.words.search(words)][:MOST_FIXES]
    if not found:
        return SCHEDULING_LAST, None
    return "; or ".join(each.fix for each in found), found[0].reason


def remedy(table: tuple[Remedy, ...], last: str, words: str, **names: str) -> tuple[str, Reason | None]:
    """(fix, reason) for the cluster's `words`; `names` fill in what a fix calls by name."""
    found = next((each for each in table if each.words.search(words)), None)
    fix, reason = (found.fix, found.reason) if found is not None else (last, None)
    return (fix.format(**names) if names else fix), reason
