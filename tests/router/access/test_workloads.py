"""Tokens of ServiceAccounts: the cluster's word decides, and it is not asked about what cannot be one."""

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from dormouse_router.access.settings import AccessSettings
from dormouse_router.access.workloads import WorkloadTokens
from dormouse_router.caller import Role
from dormouse_router.cluster import ClusterError, Review
from dormouse_router.request import Refusal

SETTINGS = AccessSettings(modes=("serviceaccounts",), workload_operators=("ops/deployer",))
APP, DEPLOYER = "system:serviceaccount:team-a:app", "system:serviceaccount:ops:deployer"


class Reviewing:
    """Says what it is told to say."""

    def __init__(self, said: Review | ClusterError) -> None:
        self.said = said
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, token: str, audience: str) -> Review:
        self.asked.append((token, audience))
        if isinstance(self.said, ClusterError):
            raise self.said
        return self.said


def token(subject: str | None = APP) -> bytes:
    """As a kubelet would write one; who signed it is the API server's business."""
    claims = {} if subject is None else {"sub": subject}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key("k" * 32), algorithms=["HS256"]).encode()


@pytest.mark.parametrize(("subject", "role"), [(APP, Role.USER), (DEPLOYER, Role.OPERATOR)])
async def test_a_pod_is_its_service_account(subject: str, role: Role) -> None:
    reviewing = Reviewing(Review(True, subject, ("dormouse",)))
    found = await WorkloadTokens(SETTINGS, reviewing).find(token(subject), b"", 0.0)
    assert found is not None
    namespace, name = subject.split(":")[2:]
    assert (found.caller.id, found.caller.role) == (f"serviceaccount:{namespace}/{name}", role)
    assert found.caller.teams == frozenset({namespace})
    assert reviewing.asked == [(token(subject).decode(), "dormouse")]


@pytest.mark.parametrize(
    "said",
    [
        Review(False),
        Review(True, APP, ("https://kubernetes.default.svc",)),
        Review(True, "system:node:a", ("dormouse",)),
    ],
)
async def test_what_the_cluster_does_not_say_is_nobodys(said: Review) -> None:
    assert await WorkloadTokens(SETTINGS, Reviewing(said)).find(token(), b"", 0.0) is None


@pytest.mark.parametrize("shown", [b"dm-key", b"a.b.c", token(None), token("ann")])
async def test_the_cluster_is_not_asked_about_what_is_none(shown: bytes) -> None:
    reviewing = Reviewing(Review(True, APP, ("dormouse",)))
    assert await WorkloadTokens(SETTINGS, reviewing).find(shown, b"", 0.0) is None
    assert reviewing.asked == []


async def test_a_cluster_that_cannot_be_asked_is_no_refusal_for_ever() -> None:
    source = WorkloadTokens(SETTINGS, Reviewing(ClusterError(0, "away")))
    with pytest.raises(Refusal, match="try again") as refused:
        await source.find(token(), b"", 0.0)
    assert refused.value.status == 503
