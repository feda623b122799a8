"""Keys, users and signing keys: kept, found, gone; on every backend alike."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dormouse_router.accounts import MOST_KEYS, Accounts, KeyRecord, SigningKey, UserRecord
from dormouse_router.request import Refusal
from dormouse_router.store.accounts import SqlAccounts
from dormouse_router.store.memory_accounts import MemoryAccounts
from tests.router.store.conftest import NOW, SLOW, Clock, prepared

ONE = KeyRecord("key_1", "sealed-1", "user:a", "user:a", "ci", "dm-abc", b"{}", NOW, NOW + 10)
ANN = UserRecord("ann", "$argon2id$...", b"{}", NOW)
SIGN = SigningKey("k1", "{}", NOW, NOW + 10)


@pytest.fixture(params=["memory", "sqlite", SLOW])
async def accounts(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Accounts]:
    if request.param == "memory":
        yield MemoryAccounts(clock)
        return
    async with prepared(request, tmp_path) as database:
        yield SqlAccounts(database, clock)


async def test_a_key_is_found_by_what_is_kept_of_it_until_it_expires(accounts: Accounts, clock: Clock) -> None:
    await accounts.add_key(ONE)
    assert await accounts.key_by("sealed-1") == ONE
    assert await accounts.key_by("sealed-2") is None
    clock.now += 10
    assert await accounts.key_by("sealed-1") is None
    assert await accounts.keys("user:a") == []


async def test_keys_are_listed_newest_first_and_dropped_by_their_owner(accounts: Accounts) -> None:
    two = replace(ONE, id="key_2", sealed="sealed-2", created_at=NOW + 1, expires_at=None)
    other = replace(ONE, id="key_3", sealed="sealed-3", owner="user:b")
    for key in (ONE, two, other):
        await accounts.add_key(key)
    assert await accounts.keys("user:a") == [two, ONE]
    assert {key.id for key in await accounts.keys(None)} == {"key_1", "key_2", "key_3"}
    assert await accounts.drop_key("key_3", "user:a") is None
    assert await accounts.drop_key("key\0\ud800", None) is None
    assert await accounts.drop_key("key_3", None) == other
    assert await accounts.drop_key("key_1", "user:a") == ONE
    assert await accounts.keys(None) == [two]


async def test_nobody_has_keys_without_end(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("store.accounts", "store.memory_accounts"):
        monkeypatch.setattr(f"dormouse_router.{module}.MOST_KEYS", 1)
    await accounts.add_key(ONE)
    with pytest.raises(Refusal, match=f"You have {MOST_KEYS} API keys"):
        await accounts.add_key(replace(ONE, id="key_2", sealed="sealed-2"))
    await accounts.add_key(replace(ONE, id="key_3", sealed="sealed-3", owner="user:b"))


async def test_a_user_has_a_name_of_its_own_and_takes_its_keys_along(accounts: Accounts) -> None:
    assert await accounts.add_user(ANN)
    assert not await accounts.add_user(replace(ANN, password="other"))
    assert await accounts.user("ann") == ANN
    assert await accounts.user("bob") is None
    changed = replace(ANN, password="new", grants=b'{"role":"admin"}')
    assert await accounts.put_user(changed)
    assert not await accounts.put_user(replace(ANN, name="bob"))
    assert await accounts.users() == [changed]
    await accounts.add_key(replace(ONE, owner="user:ann"))
    assert await accounts.drop_user("ann", "user:ann")
    assert not await accounts.drop_user("ann", "user:ann")
    assert await accounts.keys(None) == []


async def test_of_two_who_make_the_next_signing_key_one_does(accounts: Accounts, clock: Clock) -> None:
    assert await accounts.add_signing_key(SIGN, None)
    assert not await accounts.add_signing_key(replace(SIGN, id="k2"), None)
    clock.now += 1
    later = SigningKey("k3", "{}", NOW + 1, NOW + 20)
    assert await accounts.add_signing_key(later, "k1")
    assert await accounts.signing_keys() == [later, SIGN]
    clock.now += 9
    assert await accounts.signing_keys() == [later]
