"""From the cluster's own words to a sentence with the cure: every table, with texts of several Kubernetes."""

import re
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_operator.decide import remedies
from dormouse_operator.decide.remedies import Remedy, remedy
from dormouse_operator.decide.troubles import (
    GRACE,
    GROW_SECONDS,
    LATE,
    PROVISION_SECONDS,
    claim_trouble,
    disruption,
    job_trouble,
    rejected,
    trouble,
)
from dormouse_operator.observed import Notice, Pod
from tests.operator.builders import NOW, claim, job, model, observed, pod, profile

TABLES = {
    "scheduling": (remedies.SCHEDULING, remedies.SCHEDULING_LAST),
    "refusals": (remedies.REFUSALS, remedies.REFUSALS_LAST),
    "images": (remedies.IMAGES, remedies.IMAGES_LAST),
    "volumes": (remedies.VOLUMES, remedies.VOLUMES_LAST),
    "provisioning": (remedies.PROVISIONING, remedies.PROVISIONING_LAST),
    "containers": (remedies.CONTAINERS, remedies.CONTAINERS_LAST),
    "sandboxes": (remedies.SANDBOXES, remedies.SANDBOXES_LAST),
}
IMPERATIVES = frozenset(
    {"add", "bring", "build", "correct", "create", "delete", "free", "give", "install", "label", "let", "load", "look"}
    | {"make", "mend", "obey", "open", "push", "raise", "remove", "set", "stop", "store", "use", "wait"}
)


def words(table: str, text: str) -> str:
    return remedy(*TABLES[table], text, owner="the profile", secret="kubectl create secret")[0]


@pytest.mark.parametrize(
    ("table", "text", "fix"),
    [
        ("scheduling", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "free a device"),
        ("scheduling", "0/1 nodes are available: 1 Insufficient memory.", "lower resources.requests"),
        ("scheduling", "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}.", "tolerations"),
        ("scheduling", "0/1 nodes are available: 1 node(s) had taints that the pod didn't tolerate.", "tolerations"),
        ("scheduling", "0/1 nodes are available: 1 node(s) had volume node affinity conflict.", "other nodes"),
        (
            "scheduling",
            "0/1 nodes: 1 node(s) didn't match PersistentVolume's node affinity",
            "other nodes",
        ),
        ("scheduling", "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.", "nodeSelector"),
        ("scheduling", "0/1 nodes are available: 1 node(s) were unschedulable.", "kubectl uncordon"),
        ("scheduling", "0/1 nodes are available: 1 Too many pods.", "maxPods"),
        ("scheduling", "no nodes available to schedule pods", "add a node to the cluster"),
        ("scheduling", "Scheduling is blocked due to non-empty scheduling gates", "open the gate"),
        ("scheduling", "something of a later version", "kubectl describe pod"),
        ("refusals", 'pods "x" is forbidden: exceeded quota: q, requested: pods=1', "raise the ResourceQuota"),
        (
            "refusals",
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
            "pod-security.kubernetes.io/enforce",
        ),
        (
            "refusals",
            'pods "x" is forbidden: maximum memory usage per Container is 1Gi',
            "LimitRange",
        ),
        ("refusals", 'failed calling webhook "a.b": connect: connection refused', "mend or remove the webhook"),
        ("refusals", 'admission webhook "a.b" denied the request: no', "obey the policy"),
        (
            "refusals",
            "error looking up service account ns/default: not found",
            "ServiceAccount",
        ),
        ("images", "pull access denied, repository does not exist or may require authorization", "image pull secret"),
        ("images", "no match for platform in manifest: not found", "build the image"),
        ("images", "write /var/lib: no space left on device", "free the node's disk"),
        ("images", "toomanyrequests: You have reached your pull rate limit", "use a mirror"),
        ("images", "x509: certificate signed by unknown authority", "the way from the node to the registry"),
        ("volumes", "mount failed: read-only file system", "mend the disk"),
        ("volumes", "driver name ebs.csi.aws.com not found in the list of registered CSI drivers", "CSI driver"),
        ("volumes", "Unable to attach or mount volumes: timed out waiting for the condition", "the storage's server"),
        ("volumes", "Volume is already exclusively attached to one node, waiting on detach", "the other pod has ended"),
        ("volumes", "what nobody has seen", "kubectl describe pvc"),
        ("provisioning", "rpc error: code = InvalidArgument desc = MULTI_NODE is not supported", "storage.accessMode"),
        ("provisioning", "UnauthorizedOperation: not authorized: permission denied", "the rights it misses"),
        ("containers", 'exec: "serve": executable file not found in $PATH', "correct the image in the profile"),
        ("containers", "failed to generate container: unresolvable CDI devices nvidia.com/gpu=0", "container toolkit"),
        ("containers", 'secret "x" not found', "create it"),
        ("sandboxes", "plugin type=cilium failed: no IP address available in range", "network plugin"),
    ],
)
def test_words_of_the_cluster_have_a_cure(table: str, text: str, fix: str) -> None:
    assert fix in words(table, text)


def test_a_scheduler_that_names_several_causes_gets_a_cure_for_each() -> None:
    said = (
        "0/9 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, "
        "7 node(s) didn't match Pod's node affinity/selector."
    )
    fix, reason = remedies.scheduling(said)
    for cure in ("tolerations", "kubectl uncordon", "label a node as the profile's nodeSelector says"):
        assert cure in fix
    assert reason is None
    assert remedies.scheduling("something of a later version") == (remedies.SCHEDULING_LAST, None)


@pytest.mark.parametrize("table", TABLES)
def test_each_cure_is_something_to_do(table: str) -> None:
    rows, last = TABLES[table]
    for fix in (last, *(row.fix for row in rows)):
        asked = re.split(r"[ ,;:()]+", fix)
        assert any(verb in asked for verb in IMPERATIVES), fix
        assert not fix.endswith("."), f"it is a part of a sentence: {fix}"


def test_no_row_hides_behind_one_before_it() -> None:
    """Each row is the first for some text: its own pattern's first alternative, made plain."""
    for rows, _ in TABLES.values():
        assert len({row.words.pattern for row in rows}) == len(rows)
        assert all(isinstance(row, Remedy) for row in rows)


PENDING: dict[str, Any] = {"phase": "Pending", "started_at": None}


def notice(reason: str, message: str, at: float = NOW - 1) -> Notice:
    return Notice(reason, message, at)


def found(p: Pod, **more: Any) -> tuple[Reason, str, float | None]:
    hindered = trouble(observed(pods=(p,), **more), p, NOW)
    assert hindered is not None
    return hindered.cause.reason, hindered.cause.message, hindered.due


def test_a_pod_that_starts_is_in_no_trouble() -> None:
    assert trouble(observed(), pod(), NOW) is None
    assert trouble(observed(), pod(**PENDING), NOW) is None


def test_what_went_well_after_it_is_no_trouble_any_more() -> None:
    told = (notice("FailedMount", "x", NOW - 20), notice("Pulling", "image", NOW - 5))
    assert trouble(observed(), pod(**PENDING, notices=told), NOW) is None
    old = (notice("FailedMount", "x", NOW - 1000),)
    assert trouble(observed(), pod(**PENDING, notices=old), NOW) is None


def test_a_missing_secret_is_told_with_the_command_that_makes_it() -> None:
    with_token = model(source={"uri": "hf://o/n", "tokenSecretRef": {"name": "hub", "key": "t"}})
    p = pod("pull", **PENDING, node="n1", notices=(notice("FailedMount", 'secret "hub" not found'),))
    reason, message, due = found(p, m=with_token)
    assert (reason, due) == (Reason.SECRET_MISSING, None)
    assert message.endswith("create it: kubectl -n ns create secret generic hub --from-literal=t=TOKEN")
    assert "on node n1" in message


def test_a_volume_that_another_pod_holds_is_waited_for_a_while() -> None:
    held = notice("FailedAttachVolume", "Multi-Attach error for volume v: Volume is already used by pod(s) other")
    reason, message, due = found(pod(**PENDING, notices=(held,), scheduled_at=NOW - 4))
    assert reason is Reason.STORAGE_FAILED
    assert "pod(s) other" in message
    assert due == NOW - 4 + PROVISION_SECONDS


def test_a_pod_without_a_node_is_told_at_once_and_given_a_moment() -> None:
    homeless = pod(**PENDING, unschedulable="0/1 nodes: 1 Insufficient cpu. preemption: none", unschedulable_since=NOW)
    reason, message, due = found(homeless)
    assert (reason, due) == (Reason.UNSCHEDULABLE, NOW + GRACE)
    assert "preemption" not in message


def test_while_the_pod_before_it_ends_it_is_not_yet_homeless_for_good() -> None:
    homeless = pod(**PENDING, unschedulable="1 Insufficient cpu", unschedulable_since=NOW)
    ending = pod(name="before", uid="before", deleting=True, ends_at=NOW + 300)
    hindered = trouble(observed(pods=(homeless, ending)), homeless, NOW)
    assert hindered is not None
    assert hindered.due == NOW + 300


def test_a_cluster_that_grows_is_waited_for() -> None:
    told = (notice("TriggeredScaleUp", "pod triggered scale-up"),)
    _, message, due = found(pod(**PENDING, unschedulable="1 Insufficient cpu", unschedulable_since=NOW, notices=told))
    assert "the cluster adds a node" in message
    assert due == NOW - 1 + GROW_SECONDS


def test_a_pod_that_waits_for_its_claim_tells_what_the_claim_says() -> None:
    unbound = claim(bound=False, notices=(notice("FailedBinding", "no storage class is set"),))
    homeless = pod(
        "pull", **PENDING, unschedulable="pod has unbound immediate PersistentVolumeClaims", unschedulable_since=NOW
    )
    reason, message, _ = found(homeless, claim=unbound)
    assert reason is Reason.STORAGE_FAILED
    assert "tiny-weights" in message
    assert "set storage.className" in message
    bound = claim(notices=unbound.notices)
    assert claim_trouble(observed(claim=bound), NOW) is None, "a bound claim has got what it waited for"
    for component, told in (("inspect", True), ("pull", False), ("runtime", False)):
        running = observed(claim=unbound, pods=(pod(component),))
        assert (claim_trouble(running, NOW) is not None) is told, f"{component}: who runs on a volume has it"
    waiting = observed(claim=unbound, pods=(pod("pull", phase="Pending", started_at=None),))
    assert claim_trouble(waiting, NOW) is not None


def test_a_node_that_is_silent_and_a_pod_that_does_not_end() -> None:
    reason, message, _ = found(pod(silent_since=NOW - 5, node="n1"))
    assert (reason, "node n1" in message) == (Reason.NODE_LOST, True)
    reason, message, due = found(pod(deleting=True, ends_at=NOW - 1, node="n1"))
    assert (reason, due) == (Reason.NODE_LOST, NOW - 1 + LATE)
    assert "--force" in message


def test_an_image_is_corrected_where_it_is_named() -> None:
    broken: dict[str, Any] = {"waiting": "ErrImagePull", "waiting_message": "x:1: not found", "started_at": None}
    assert "RuntimeProfile cpu" in found(pod(**broken))[1]
    assert "RuntimeProfile" not in found(pod("pull", **broken), profile=profile())[1]


@pytest.mark.parametrize(
    ("p", "fix"),
    [
        (pod(reason="Evicted", message="The node was low on resource: memory. "), "raise resources.requests"),
        (
            pod(reason="Evicted", message='Usage of EmptyDir volume "tmp" exceeds the limit "1Gi". '),
            "free the node's disk",
        ),
        (pod(disrupted="PreemptionByScheduler: preempting to accommodate a higher priority pod"), "lower the priority"),
        (pod(disrupted="DeletionByPodGC: PodGC: node no longer exists"), "look at the node"),
        (pod(disrupted="EvictionByEvictionAPI: Eviction API: evicting"), "made anew by itself"),
    ],
)
def test_a_pod_that_was_put_out(p: Pod, fix: str) -> None:
    cause = disruption(p)
    assert cause is not None
    assert cause.reason is Reason.INTERRUPTED
    assert fix in cause.message


def test_a_pod_that_ended_by_itself_was_not_put_out() -> None:
    assert disruption(pod()) is None


def test_a_kubelet_that_refuses_is_told_for_a_minute() -> None:
    gone = pod(phase="Failed", reason="UnexpectedAdmissionError", message="no healthy devices present", node="n1")
    hindered = rejected(observed(pods=(gone,)), "runtime", NOW)
    assert hindered is not None
    assert "node n1 refuses" in hindered.cause.message
    assert rejected(observed(pods=(gone,)), "runtime", NOW + 100) is None


def test_a_job_whose_pods_are_refused() -> None:
    cause = job_trouble(job("pull", "i", notices=(notice("FailedCreate", "exceeded quota: q"),)), NOW)
    assert cause is not None
    assert cause.reason is Reason.REFUSED
    assert "raise the ResourceQuota" in cause.message
    assert job_trouble(job("pull", "i"), NOW) is None
