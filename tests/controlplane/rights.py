"""Rights that were given a moment ago: the API server's own view of them follows what is written."""

from dev.cluster.controlplane import ControlPlane
from tests.controlplane.operatorprocess import until


def until_granted(plane: ControlPlane, account: str, namespace: str, *lists: str) -> None:
    """Wait until a ServiceAccount of the namespace may list these there."""
    user = f"system:serviceaccount:{namespace}:{account}"
    for what in lists:
        ask = ("auth", "can-i", "list", what, "--as", user, "-n", namespace)
        until(lambda ask=ask: plane.kubectl(*ask, check=False).stdout.strip() == "yes", why=" ".join(ask))  # type: ignore[misc]
