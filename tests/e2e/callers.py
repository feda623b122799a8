"""Pods that call something with curl, as any other pod of the cluster would, and what became of it."""

import shlex

from tests.e2e.cluster import Object
from tests.e2e.story import Story

IMAGE = "localhost/dormouse-caller:dev"
COULD_NOT_CONNECT = (7, 28)
"""curl's exit statuses: refused or unreachable, and timed out."""
TOKEN = "/var/run/dormouse/token"
_SECONDS = 120
_POD_SECURITY = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


async def curl(story: Story, name: str, *arguments: str) -> tuple[int, str]:
    """curl's exit status, and what it printed."""
    return await shell(story, name, shlex.join(["curl", "-sS", "--max-time", str(_SECONDS), *arguments]))


async def shell(story: Story, name: str, script: str, audience: str | None = None) -> tuple[int, str]:
    """A shell's exit status and output; with an `audience` the pod has a token for it, at TOKEN."""
    container: Object = {
        "name": "caller",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "securityContext": _CONTAINER_SECURITY,
    }
    spec: Object = {"restartPolicy": "Never", "securityContext": _POD_SECURITY, "containers": [container]}
    if audience:
        folder, _, file = TOKEN.rpartition("/")
        source = {"serviceAccountToken": {"audience": audience, "path": file, "expirationSeconds": 3600}}
        spec["volumes"] = [{"name": "token", "projected": {"sources": [source]}}]
        container["volumeMounts"] = [{"name": "token", "mountPath": folder}]
    await story.cluster.create("pods", story.namespace, {"metadata": {"name": name}, "spec": spec})

    def ended(items: list[Object]) -> Object | None:
        mine = [item for item in items if item["metadata"]["name"] == name]
        states = [state["state"] for item in mine for state in item["status"].get("containerStatuses", ())]
        return next((state["terminated"] for state in states if "terminated" in state), None)

    end = await story.cluster.until("pods", story.namespace, ended, f"the end of pod {name}", _SECONDS + 30)
    return int(end["exitCode"]), await story.cluster.log(story.namespace, name)
