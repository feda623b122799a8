"""Tokens of ServiceAccounts: the cluster says whose they are, so that a pod needs no key.

Only tokens made for our audience are taken (a projected volume makes one), never a pod's own for the API server: who
reads that could do at the API server what the pod may.
"""

import time
from collections.abc import Awaitable, Callable

from dormouse_router.access.gate import KNOWN_SECONDS, Found
from dormouse_router.access.grants import Grants, user_caller
from dormouse_router.access.oidc import unverified
from dormouse_router.access.settings import AccessSettings
from dormouse_router.cluster import ClusterError, Review
from dormouse_router.request import Refusal

SUBJECT = "system:serviceaccount:"


Reviewer = Callable[[str, str], Awaitable[Review]]
"""Token and audience → what the API server says. ClusterError."""


class WorkloadTokens:
    """`gate.Source`. A ServiceAccount is in the team that is called like its namespace."""

    def __init__(self, settings: AccessSettings, review: Reviewer, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._review, self._clock = settings, review, clock

    def at_once(self, _looked_up: bytes, _now: float) -> None:
        """Never: the API server is asked."""
        return

    async def find(self, shown: bytes, _looked_up: bytes, now: float) -> Found | None:
        parts = unverified(shown)
        subject = None if parts is None else parts[1].get("sub")
        if not isinstance(subject, str) or not subject.startswith(SUBJECT):
            return None  # the API server need not be asked about what cannot be one
        audience = self._settings.audience
        try:
            said = await self._review(shown.decode("ascii"), audience)
        except ClusterError as error:
            text = "The API server cannot be asked whose this token is: try again."
            raise Refusal(503, text, code="provider_unavailable", retry_after=1.0) from error
        namespace, _, name = said.username.removeprefix(SUBJECT).partition(":")
        if not said.authenticated or audience not in said.audiences or not said.username.startswith(SUBJECT):
            return None
        full = f"{namespace}/{name}"
        role = "operator" if full in self._settings.workload_operators else "user"
        granted = Grants(role=role, teams=(namespace,))
        return Found(
            user_caller(f"serviceaccount:{full}", granted, self._settings, "serviceaccount"), now + KNOWN_SECONDS
        )
