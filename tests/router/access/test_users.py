"""Users with passwords: what they sign in with, how long it is good, and what a guesser meets."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from dormouse_router.access import credential
from dormouse_router.access.gate import Found, KeyGate
from dormouse_router.access.grants import Grants
from dormouse_router.access.settings import AccessSettings
from dormouse_router.access.signing import ROTATE_SECONDS, Signer, key_ident, mark_of
from dormouse_router.access.stored import StoredKeys, Wish
from dormouse_router.access.throttle import MOST
from dormouse_router.access.users import Users, UserTokens
from dormouse_router.accounts import UserRecord
from dormouse_router.caller import Caller, Role
from dormouse_router.request import Refusal
from dormouse_router.store.memory import in_memory
from dormouse_router.store.memory_accounts import MemoryAccounts
from tests.router.access.callers import CALLERS, KEYS, Known
from tests.router.access.test_gate import Clock
from tests.router.fakes import stage

PASSWORD = "correct horse battery staple"
SETTINGS = AccessSettings(modes=("keys",), register=True)
ANN = UserRecord("ann", "hash", b"{}", 0.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(clock: Clock) -> MemoryAccounts:
    return MemoryAccounts(clock)


async def known(accounts: MemoryAccounts, clock: Clock, token: str) -> Found | None:
    """Who a router that has seen nothing yet says it is."""
    return await UserTokens(accounts, SETTINGS, clock).find(token.encode(), b"", clock.now)


async def test_a_token_is_its_users_until_it_expires(accounts: MemoryAccounts, clock: Clock) -> None:
    users = Users(accounts, SETTINGS, clock=clock)
    await users.add("ann", PASSWORD, Grants(role="operator", teams=("red",)))
    token, seconds = await users.sign_in("ann", PASSWORD, "10.0.0.1")
    assert PASSWORD not in token
    found = await known(accounts, clock, token)
    assert found is not None
    assert (found.caller.id, found.caller.role, found.caller.teams) == ("user:ann", Role.OPERATOR, frozenset({"red"}))
    clock.now += seconds
    assert await known(accounts, clock, token) is None


async def test_another_password_ends_the_tokens_and_so_does_a_deleted_user(
    accounts: MemoryAccounts, clock: Clock
) -> None:
    told: list[int] = []
    users = Users(accounts, SETTINGS, lambda: told.append(1), clock)
    await users.add("ann", PASSWORD, Grants())
    first, _ = await users.sign_in("ann", PASSWORD, "10.0.0.1")
    await users.change("ann", PASSWORD[::-1], None)
    assert await known(accounts, clock, first) is None
    second, _ = await users.sign_in("ann", PASSWORD[::-1], "10.0.0.1")
    await users.change("ann", None, Grants(role="admin"))
    found = await known(accounts, clock, second)
    assert found is not None
    assert found.caller.role is Role.ADMIN
    await users.drop("ann")
    assert await known(accounts, clock, second) is None
    assert len(told) == 3


async def test_keys_that_sign_are_replaced_and_what_they_signed_stays_good(
    accounts: MemoryAccounts, clock: Clock
) -> None:
    here, there = Signer(accounts, 3600, clock), Signer(accounts, 3600, clock)
    before, _ = await here.token(ANN)
    assert await there.verified(before) is not None, "one router's are good at the other"
    clock.now += ROTATE_SECONDS
    at_the_end, _ = await here.token(ANN)
    await here.rotate()
    clock.now += 5
    after, _ = await here.token(ANN)
    idents = [key_ident(each) for each in (before, at_the_end, after)]
    assert len(set(idents)) == 3
    assert await there.verified(at_the_end) is not None
    assert await there.verified(after) is not None
    assert await there.verified(before) is None, "it has expired"
    clock.now += ROTATE_SECONDS * 2
    assert await accounts.signing_keys() == []


async def test_routers_that_start_together_agree_on_one_key(accounts: MemoryAccounts, clock: Clock) -> None:
    signers = [Signer(accounts, 3600, clock) for _ in range(5)]
    tokens = await asyncio.gather(*(signer.token(ANN) for signer in signers))
    assert len({key_ident(token) for token, _ in tokens}) == 1


async def test_tokens_of_others_are_none(accounts: MemoryAccounts, clock: Clock) -> None:
    signer = Signer(accounts, 3600, clock)
    good, _ = await signer.token(ANN)
    kid = key_ident(good)
    claims = {"iss": "dormouse", "sub": "ann", "mark": mark_of(ANN), "exp": clock.now + 99}
    other = OKPKey.generate_key("Ed25519")
    forged = jwt.encode({"alg": "Ed25519", "kid": kid}, claims, other, algorithms=["Ed25519"])
    shared = jwt.encode({"alg": "HS256", "kid": kid}, claims, OctKey.import_key("k" * 32), algorithms=["HS256"])
    head, body, signature = good.split(".")
    assert await signer.verified(good) is not None
    for wrong in (forged, shared, f"{head}.{body}.", f"{head}.{body[:-2]}AA.{signature}", "eyJ.x.y", "", "a.b.c", "{}"):
        assert await signer.verified(wrong) is None, wrong


async def test_who_guesses_passwords_waits_and_does_not_learn_who_is_here(
    accounts: MemoryAccounts, clock: Clock
) -> None:
    users = Users(accounts, SETTINGS, clock=clock)
    await accounts.add_user(replace(ANN, password="$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAA"))
    said = set()
    for number in range(MOST):
        with pytest.raises(Refusal) as refused:
            await users.sign_in("ann" if number % 2 else "nobody", "wrong", "10.0.0.1")
        said.add((refused.value.status, refused.value.message))
    assert said == {(401, "There is no such user, or the password is wrong.")}
    with pytest.raises(Refusal, match="Too many wrong passwords") as refused:
        await users.sign_in("ann", PASSWORD, "10.0.0.1")
    assert (refused.value.status, refused.value.retry_after) == (429, 60.0)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    kept = in_memory()
    gate = KeyGate(SETTINGS, [Known(CALLERS), StoredKeys(kept.accounts, SETTINGS), UserTokens(kept.accounts, SETTINGS)])
    async with (
        stage(kept, gate=gate, access=SETTINGS) as made,
        httpx.AsyncClient(base_url=made.url, timeout=30, trust_env=False) as client,
    ):
        yield client


async def test_somebody_registers_signs_in_and_makes_a_key(client: httpx.AsyncClient) -> None:
    ann = {"username": "ann", "password": PASSWORD}
    made = await client.post("/v1/auth/register", json=ann)
    assert (made.status_code, made.json()["role"]) == (200, "user")
    assert (await client.post("/v1/auth/register", json=ann)).status_code == 409
    signed = (await client.post("/v1/auth/token", data={"grant_type": "password", **ann})).json()
    assert signed["token_type"] == "bearer"
    mine = {"authorization": f"Bearer {signed['access_token']}"}
    assert (await client.get("/v1/auth/me", headers=mine)).json()["id"] == "user:ann"
    key = (await client.post("/v1/auth/keys", json={"name": "k"}, headers=mine)).json()["key"]
    assert (await client.get("/v1/auth/me", headers={"x-api-key": key})).json()["id"] == "user:ann"
    wrong = await client.post("/v1/auth/token", json=ann | {"password": "wrong"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_grant")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"username": "ann", "password": "short"}, "password must have 12 to 1024"),
        ({"username": "a b", "password": PASSWORD}, "username must be letters"),
        ({"username": "ann"}, "missing required field `password`"),
    ],
)
async def test_who_cannot_be_is_not_registered(client: httpx.AsyncClient, sent: dict[str, str], words: str) -> None:
    answer = await client.post("/v1/auth/register", json=sent)
    assert answer.status_code == 400
    assert words in answer.text


async def test_an_admin_makes_changes_and_deletes_users(client: httpx.AsyncClient) -> None:
    admin = {"x-api-key": KEYS["admin"]}
    bob = {"username": "bob", "password": PASSWORD, "role": "operator", "teams": ["red"]}
    assert (await client.post("/v1/auth/users", json=bob, headers=admin)).json()["teams"] == ["red"]
    assert [each["username"] for each in (await client.get("/v1/auth/users", headers=admin)).json()["data"]] == ["bob"]
    changed = await client.patch("/v1/auth/users/bob", json={"grants": {"role": "user"}}, headers=admin)
    assert changed.json()["role"] == "user"
    assert (await client.post("/v1/auth/signing-keys", headers=admin)).json()["id"].startswith("dm-")
    assert (await client.delete("/v1/auth/users/bob", headers=admin)).json()["deleted"]
    assert (await client.delete("/v1/auth/users/bob", headers=admin)).status_code == 404
    assert (await client.get("/v1/auth/users", headers={"x-api-key": KEYS["operator"]})).status_code == 403


@pytest.mark.parametrize(
    ("now", "role", "teams", "scopes"),
    [
        (Grants(role="operator", teams=("red", "blue")), Role.OPERATOR, {"red"}, set()),
        (Grants(role="user", teams=("red",)), Role.USER, {"red"}, set()),
        (Grants(role="operator", scopes=("inference",)), Role.OPERATOR, set(), {"inference"}),
        (Grants(role="admin", teams=("red",)), Role.OPERATOR, {"red"}, set()),
    ],
)
async def test_a_key_that_a_user_made_is_never_more_than_the_user_is_now(
    accounts: MemoryAccounts, clock: Clock, now: Grants, role: Role, teams: set[str], scopes: set[str]
) -> None:
    users, keys = Users(accounts, SETTINGS, clock=clock), StoredKeys(accounts, SETTINGS, clock=clock)
    wish = Wish("k", Grants(role="operator", teams=("red",)))
    await users.add("ann", PASSWORD, Grants(role="operator", teams=("red",)))
    token, _ = await users.sign_in("ann", PASSWORD, "10.0.0.1")
    ann = await known(accounts, clock, token)
    assert ann is not None
    _, key = await keys.make(wish, ann.caller)
    with_key = await keys.find(key.encode(), credential.digest(key.encode()), clock.now)
    assert with_key is not None
    _, second = await keys.make(wish, with_key.caller)  # a key of a key is no more either
    admin = Caller("key:admin", "admin", Role.ADMIN, kind="key")
    _, given = await keys.make(replace(wish, user="ann"), admin)
    await users.change("ann", None, now)
    for each in (key, second):
        found = await keys.find(each.encode(), credential.digest(each.encode()), clock.now)
        assert found is not None
        assert (found.caller.role, set(found.caller.teams), set(found.caller.scopes)) == (role, teams, scopes)
    found = await keys.find(given.encode(), credential.digest(given.encode()), clock.now)
    assert found is not None
    assert (found.caller.role, set(found.caller.teams)) == (Role.OPERATOR, {"red"})  # what an admin gave stays


async def test_a_key_for_what_its_user_may_no_longer_is_nobodys(accounts: MemoryAccounts, clock: Clock) -> None:
    users, keys = Users(accounts, SETTINGS, clock=clock), StoredKeys(accounts, SETTINGS, clock=clock)
    await users.add("ann", PASSWORD, Grants())
    ann = Caller("user:ann", "user:ann", Role.USER, kind="user")
    _, key = await keys.make(Wish("k", Grants(scopes=("files",))), ann)
    await users.change("ann", None, Grants(scopes=("inference",)))
    assert await keys.find(key.encode(), credential.digest(key.encode()), clock.now) is None


async def test_a_key_made_while_its_user_was_deleted_is_nobodys(accounts: MemoryAccounts, clock: Clock) -> None:
    users, keys = Users(accounts, SETTINGS, clock=clock), StoredKeys(accounts, SETTINGS, clock=clock)
    await users.add("ann", PASSWORD, Grants())
    ann = Caller("user:ann", "user:ann", Role.USER, kind="user")
    await users.drop("ann")
    _, key = await keys.make(Wish("k", Grants()), ann)  # a request that had come in before
    assert await keys.find(key.encode(), credential.digest(key.encode()), clock.now) is None


async def test_nobody_registers_where_that_is_not_allowed(accounts: MemoryAccounts, clock: Clock) -> None:
    users = Users(accounts, AccessSettings(modes=("keys",)), clock=clock)
    with pytest.raises(Refusal, match=r"router\.access\.register") as refused:
        await users.register("ann", PASSWORD, "10.0.0.1")
    assert refused.value.status == 403
