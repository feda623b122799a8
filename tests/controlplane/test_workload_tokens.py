"""Whose a token of a ServiceAccount is, asked of a real API server."""

import time

from dev.cluster.controlplane import ControlPlane
from dormouse_router.access.gate import Found
from dormouse_router.access.settings import AccessSettings
from dormouse_router.access.workloads import WorkloadTokens
from dormouse_router.kube import Kube

SETTINGS = AccessSettings(modes=("serviceaccounts",))


async def test_a_token_made_for_us_is_its_accounts_and_no_other_is(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "serviceaccount", "app", "-n", namespace)

    def token(*more: str) -> str:
        return plane.kubectl("create", "token", "app", "-n", namespace, *more).stdout.strip()

    async with Kube({"KUBECONFIG": str(plane.kubeconfig)}) as kube:

        async def who(shown: str) -> Found | None:
            return await WorkloadTokens(SETTINGS, kube.review).find(shown.encode(), b"", time.time())

        good = token("--audience", "dormouse")
        found = await who(good)
        assert found is not None
        assert (found.caller.id, found.caller.teams) == (f"serviceaccount:{namespace}/app", frozenset({namespace}))
        assert await who(token()) is None, "the pod's own, for the API server"
        assert await who(token("--audience", "another")) is None
        head, body, signature = good.split(".")
        assert await who(f"{head}.{body}.{signature[::-1]}") is None
