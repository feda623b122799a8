"""What goes wrong in story 7: processes killed without a word, and how to know that they are back."""

from tests.e2e import shell
from tests.e2e.cluster import Cluster, Object

SYSTEM = "dormouse-system"


async def kill(cluster: Cluster, deployment: str) -> None:
    """SIGKILL every pod of an installation's Deployment."""
    for pod in await _pods(cluster, deployment):
        await cluster.delete("pods", SYSTEM, pod["metadata"]["name"], grace=0)


async def back(cluster: Cluster, deployment: str, seconds: float = 120) -> None:
    """Wait until the Deployment's pods are ready again."""

    def holds(items: list[Object]) -> bool:
        mine = [item for item in items if item["metadata"]["name"] == deployment]
        status = mine[0].get("status", {}) if mine else {}
        wanted = mine[0]["spec"]["replicas"] if mine else 1
        return bool(status.get("readyReplicas", 0) == wanted and not status.get("unavailableReplicas", 0))

    await cluster.until("deployments", SYSTEM, holds, f"{deployment} is back", seconds)


async def restart_api_server() -> None:
    """SIGKILL, then a start on the same state."""
    await shell.cluster("kill", "apiserver")
    await shell.cluster("restart", "apiserver")


async def _pods(cluster: Cluster, deployment: str) -> list[Object]:
    return [p for p in await cluster.find("pods", SYSTEM) if p["metadata"]["name"].startswith(f"{deployment}-")]
