"""Which pods and namespaces a NetworkPolicy means. Pure: API objects in, plain values out; knows no firewall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
Labels = Mapping[str, str]

_NO_SELECTOR: Object = {}
"""An empty selector takes everything."""


@dataclass(frozen=True)
class Pod:
    """A pod with an address of its own. `ports`: number and protocol (lower case) by the name of a container port."""

    namespace: str
    address: str
    labels: Labels
    ports: Mapping[str, tuple[int, str]]


@dataclass(frozen=True)
class World:
    """What policies are judged against, as it is now."""

    pods: Sequence[Pod]
    namespaces: Mapping[str, Labels]
    policies: Sequence[Object]


def world(pods: Sequence[Object], namespaces: Sequence[Object], policies: Sequence[Object]) -> World:
    """The items of three lists. Pods of the node's own network, without an address, or at their end are left out."""
    return World(
        [_pod(item) for item in pods if _counts(item)],
        {item["metadata"]["name"]: item["metadata"].get("labels", {}) for item in namespaces},
        policies,
    )


def matches(selector: Object, labels: Labels) -> bool:
    """Whether a label selector takes these labels. An operator that does not exist is a KeyError."""
    wanted: Labels = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _holds(each, labels) for each in selector.get("matchExpressions") or ()
    )


def peers(peer: Object, home: str, there: World) -> list[Pod]:
    """The pods of a peer of a policy in namespace `home`; not for an ipBlock."""
    if "namespaceSelector" in peer:
        chosen = peer["namespaceSelector"]
        homes = {name for name, labels in there.namespaces.items() if matches(chosen, labels)}
    else:
        homes = {home}
    wanted = peer.get("podSelector") or _NO_SELECTOR
    return [pod for pod in there.pods if pod.namespace in homes and matches(wanted, pod.labels)]


def selecting(pod: Pod, direction: str, there: World) -> list[Object]:
    """The policies that have a say in the pod's traffic of a direction, `Ingress` or `Egress`."""
    return [
        policy
        for policy in there.policies
        if policy["metadata"]["namespace"] == pod.namespace
        and direction in types(policy["spec"])
        and matches(policy["spec"].get("podSelector") or _NO_SELECTOR, pod.labels)
    ]


def types(spec: Object) -> Sequence[str]:
    """A policy's directions: the API server fills them in, files may leave them out."""
    told: Sequence[str] = spec.get("policyTypes") or ()
    return told or ("Ingress", *(("Egress",) if "egress" in spec else ()))


def _holds(expression: Object, labels: Labels) -> bool:
    key, values = expression["key"], expression.get("values", ())
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[expression["operator"]]


def _counts(item: Object) -> bool:
    status = item["status"]
    own = not item["spec"].get("hostNetwork")
    return bool(own and status.get("podIP") and status.get("phase") in ("Pending", "Running"))


def _pod(item: Object) -> Pod:
    containers = [*(item["spec"].get("initContainers") or ()), *item["spec"]["containers"]]
    ports = {
        port["name"]: (int(port["containerPort"]), port.get("protocol", "TCP").lower())
        for container in containers
        for port in container.get("ports") or ()
        if "name" in port
    }
    meta = item["metadata"]
    return Pod(meta["namespace"], item["status"]["podIP"], meta.get("labels", {}), ports)
