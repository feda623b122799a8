"""Lets the node pretend to have accelerators, so that scheduling on a full GPU can be tried without one."""

from __future__ import annotations

import json

from dev.cluster.layout import NODE
from dev.cluster.lifecycle import Cluster

RESOURCE = "nvidia.com/gpu"


def pretend(cluster: Cluster, count: int) -> None:
    """Sets the node's number of `nvidia.com/gpu`; it is kept until changed, over restarts too."""
    key = RESOURCE.replace("/", "~1")
    # Allocatable as well: the kubelet would copy it from the capacity only up to ten seconds later.
    fields = ("capacity", "allocatable")
    patch = [{"op": "add", "path": f"/status/{field}/{key}", "value": str(count)} for field in fields]
    cluster.kubectl("patch", "node", NODE, "--subresource=status", "--type=json", f"--patch={json.dumps(patch)}")
