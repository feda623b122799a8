"""Tokens of a provider: whose they are, and all the ways in which they are nobody's."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from joserfc.jwk import OctKey, RSAKey

from dormouse_router.access import oidc
from dormouse_router.access.gate import Found
from dormouse_router.access.oidc import LEEWAY, LOOK_SECONDS, OidcTokens
from dormouse_router.access.opening import open_access
from dormouse_router.access.settings import AccessSettings, Provider
from dormouse_router.caller import Role
from dormouse_router.request import Refusal
from dormouse_router.store.memory import in_memory
from tests.router.access.issuer import Issuer, running
from tests.router.fakes import Engine, stage


class Ticking:
    """Real time, and what a test adds to it."""

    more = 0.0

    def __call__(self) -> float:
        return time.time() + self.more


@pytest.fixture
async def issuer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Issuer]:
    monkeypatch.setattr(oidc, "FETCH_SECONDS", 60.0)  # however busy the machine is
    async with running() as made:
        yield made


def settings(issuer: Issuer, **said: Any) -> AccessSettings:
    provider = Provider(issuer=issuer.url, audience="dormouse", admins=("sre",), operators=("ml", "data"), **said)
    return AccessSettings(modes=("oidc",), provider=provider)


def source(issuer: Issuer, clock: Ticking | None = None, **said: Any) -> OidcTokens:
    chosen = settings(issuer, **said)
    return OidcTokens(chosen, chosen.provider, clock or Ticking())


async def who(tokens: OidcTokens, token: str) -> Found | None:
    return await tokens.find(token.encode(), b"", time.time())


@pytest.mark.parametrize(
    ("groups", "role"), [([], Role.USER), (["ml"], Role.OPERATOR), (["ml", "sre"], Role.ADMIN), ("sre", Role.USER)]
)
async def test_a_token_says_who_and_its_groups_say_what(issuer: Issuer, groups: object, role: Role) -> None:
    found = await who(source(issuer), issuer.token(groups=groups))
    assert found is not None
    assert (found.caller.id, found.caller.owner, found.caller.role) == ("oidc:ann", "oidc:ann", role)
    assert found.caller.teams == (frozenset(groups) if isinstance(groups, list) else frozenset())


@pytest.mark.parametrize("said", ["", "/"])
@pytest.mark.parametrize("meant", ["", "/"])
async def test_a_slash_at_the_end_of_its_name_is_no_other_provider(issuer: Issuer, said: str, meant: str) -> None:
    """Some have one, some have none, and who writes settings does not look."""
    issuer.claims_to_be = issuer.url + said
    provider = Provider(issuer=issuer.url + meant, audience="dormouse")
    tokens = OidcTokens(AccessSettings(modes=("oidc",), provider=provider), provider, Ticking())
    assert await who(tokens, issuer.token(iss=issuer.url + said)) is not None


async def test_claims_have_the_names_that_are_set(issuer: Issuer) -> None:
    tokens = source(issuer, user_claim="preferred_username", teams_claim="teams")
    found = await who(tokens, issuer.token(preferred_username="ann@example.com", teams=["red"]))
    assert found is not None
    assert (found.caller.id, found.caller.teams) == ("oidc:ann@example.com", frozenset({"red"}))


async def test_an_address_counts_only_where_the_provider_has_verified_it(issuer: Issuer) -> None:
    tokens = source(issuer, user_claim="email")
    assert await who(tokens, issuer.token(email="a@b.c", email_verified=True)) is not None
    assert await who(tokens, issuer.token(email="a@b.c", email_verified=False)) is None
    assert await who(tokens, issuer.token(email="a@b.c")) is None


WRONG: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "somebody-else"},
    "no audience": {"aud": None},
    "another issuer": {"iss": "https://elsewhere.example"},
    "expired": {"exp": 1_000_000_000},
    "never expires": {"exp": None},
    "not yet": {"nbf": 4_000_000_000},
    "nobody": {"sub": None},
    "a name with a line end": {"sub": "ann\nrole: admin"},
    "no text": {"sub": 17},
}


@pytest.mark.parametrize("claims", WRONG.values(), ids=list(WRONG))
async def test_a_token_that_says_something_else_is_nobodys(issuer: Issuer, claims: dict[str, Any]) -> None:
    tokens = source(issuer)
    assert await who(tokens, issuer.token(**claims)) is None
    assert await who(tokens, issuer.token(aud=["other", "dormouse"])) is not None


async def test_a_signature_that_is_none_of_the_providers_is_nobodys(issuer: Issuer) -> None:
    tokens = source(issuer)
    good = issuer.token()
    assert await who(tokens, good) is not None
    head, body, signature = good.split(".")
    stranger = RSAKey.generate_key(2048, {"kid": str(issuer.keys[0].kid)})
    public = OctKey.import_key(json.dumps(issuer.keys[0].as_dict(private=False)), {"kid": str(issuer.keys[0].kid)})
    unsigned = "eyJhbGciOiJub25lIn0"
    for wrong in (
        issuer.token(stranger),
        issuer.token(public, "HS256"),
        f"{unsigned}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        "a.b.c",
        "dm-key",
    ):
        assert await who(tokens, wrong) is None, wrong


async def test_the_keys_may_change_while_the_router_runs(issuer: Issuer) -> None:
    clock = Ticking()
    tokens = source(issuer, clock)
    old = issuer.token()
    assert await who(tokens, old) is not None
    issuer.rotate(elliptic=True)
    assert await who(tokens, issuer.token()) is None, "it was asked a moment ago"
    clock.more += LOOK_SECONDS
    assert await who(tokens, issuer.token()) is not None
    assert await who(tokens, old) is not None
    assert issuer.asked == 2


async def test_keys_that_do_not_end_are_not_read_to_the_end(issuer: Issuer) -> None:
    issuer.padding = 3 * oidc.MOST_BYTES
    with pytest.raises(Refusal) as refused:
        await who(source(issuer), issuer.token())
    assert refused.value.code == "provider_unavailable"


async def test_tokens_without_a_known_key_do_not_make_us_ask_each_time(issuer: Issuer) -> None:
    tokens = source(issuer)
    stranger = RSAKey.generate_key(2048, {"kid": "stranger"})
    for _ in range(5):
        assert await who(tokens, issuer.token(stranger)) is None
    assert issuer.asked == 1


async def test_a_provider_that_says_it_is_another_is_not_believed(issuer: Issuer) -> None:
    issuer.claims_to_be = "https://evil.example"
    with pytest.raises(Refusal, match="cannot be reached now") as refused:
        await who(source(issuer), issuer.token())
    assert refused.value.status == 503


async def test_what_is_believed_ends_with_the_token(issuer: Issuer) -> None:
    ends = int(time.time()) + 5
    found = await who(source(issuer), issuer.token(exp=ends))
    assert found is not None
    assert found.until <= ends + LEEWAY


async def test_a_router_with_a_provider(issuer: Issuer, engine: Engine) -> None:
    chosen, kept = settings(issuer), in_memory()
    async with (
        open_access(chosen, kept.accounts) as gate,
        stage(kept, gate=gate, access=chosen) as made,
        httpx.AsyncClient(base_url=made.url, timeout=30, trust_env=False) as client,
    ):
        await made.awake(engine)
        mine = {"authorization": f"Bearer {issuer.token(groups=['ml'])}"}
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
        assert (await client.post("/v1/chat/completions", json=body, headers=mine)).status_code == 200
        assert (await client.get("/diag", headers=mine)).status_code == 200
        assert (await client.get("/v1/auth/users", headers=mine)).status_code == 403
        assert (await client.get("/v1/models", headers={"x-api-key": "dm-" + "x" * 43})).status_code == 401


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"issuer": "http://idp.example", "audience": "a"}, "issuer must be an https"),
        ({"issuer": "https://idp.example"}, "audience is missing"),
        ({"issuer": "https://idp.example", "audience": "a", "clientSecret": "s"}, "unknown field `clientSecret`"),
    ],
)
def test_a_provider_whose_tokens_could_be_anybodys_is_refused(said: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match="DORMOUSE_ACCESS_OIDC") as wrong:
        AccessSettings.from_env({"DORMOUSE_ACCESS_MODES": "oidc", "DORMOUSE_ACCESS_OIDC": json.dumps(said)})
    assert words in str(wrong.value)
