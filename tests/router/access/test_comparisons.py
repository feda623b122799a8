"""How long it takes tells nobody how much of a secret was right.

What a client shows is looked up by its hash, or judged by a library, or compared in constant time; it is never compared
as it is. The sources are read for comparisons, and each way in is gone with the comparison watched.
"""

import ast
import hmac
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from joserfc import jwt
from joserfc.jwk import OKPKey

from dormouse_router.access import passwords
from dormouse_router.access.credential import digest
from dormouse_router.access.gate import KeyGate, Source
from dormouse_router.access.grants import Grants
from dormouse_router.access.mounted import MountedKeys
from dormouse_router.access.settings import AccessSettings
from dormouse_router.access.stored import StoredKeys, Wish
from dormouse_router.access.users import Users, UserTokens
from dormouse_router.behalf import Trust
from dormouse_router.caller import Caller, Role
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings
from dormouse_router.store import open_store
from dormouse_router.store.memory_accounts import MemoryAccounts
from tests.router.access.test_gate import Asks, Clock
from tests.router.access.test_keyfiles import mount

ROOT = Path(__file__).resolve().parents[3]
WORDS = {
    *("secret", "secrets", "password", "passwords", "sealed", "credential", "pepper", "signature"),
    *("shown", "looked_up", "api_key", "authorization", "worker", "private", "jwt", "bearer"),
}
"""Names of what is secret, or made of it, wherever they are."""
NARROW = {"key", "token", "known", "digest", "hashed", "sha256", "mark", "holder"}
"""Names that mean a secret in the modules of access, and much else elsewhere."""
CLOSE = (
    *("/access/", "/dialects/auth/", "/behalf.py", "/guarded.py", "accounts.py", "/webhooks/", "/store/webhooks.py"),
    "/store/batches.py",
)
KEPT = {
    "router/dormouse_router/access/credential.py: authorization[:7].lower() == _BEARER": "the scheme, not what follows",
    "router/dormouse_router/keeping.py: authorization[:len(_BEARER)].lower() == _BEARER": "the same",
    "router/dormouse_router/behalf.py: known in self._lookups": "hashes",
    "router/dormouse_router/access/keyfiles.py: looked_up in keys": "hashes: of two files, nothing that anybody shows",
    "router/dormouse_router/store/accounts.py: _KEY.sealed == sealed": "hashes, by an index; keyed with the pepper",
}
"""Comparisons that stay, and why."""
PASSWORD = "correct horse battery staple"
SETTINGS = AccessSettings(modes=("keys",), register=True, pepper="pepper-0123456789")
ADMIN = Caller("ada", "ada", Role.ADMIN, "key")


def _name(node: ast.expr) -> str:
    """The last name of what is compared; of a call that hides nothing, its object's."""
    while isinstance(node, ast.Call | ast.Await | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
        if isinstance(node, ast.Attribute) and node.attr in ("encode", "decode", "strip", "lower", "hexdigest"):
            node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def compared() -> Iterator[str]:
    """Comparisons of something secret for equality, with what is not a constant."""
    for path in sorted((*ROOT.glob("router/*/**/*.py"), *ROOT.glob("operator/*/**/*.py"))):
        where = str(path.relative_to(ROOT))
        words = WORDS | NARROW if any(part in where for part in CLOSE) else WORDS
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Compare):
                continue
            sides = [node.left, *node.comparators]
            plain = any(isinstance(side, ast.Constant | ast.Tuple | ast.Set | ast.List) for side in sides)
            same = any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops)
            if same and not plain and any(_name(side) in words for side in sides):
                yield f"{where}: {ast.unparse(node)}"


def test_no_secret_is_compared_as_it_is() -> None:
    assert sorted(set(compared()) - set(KEPT)) == []
    assert set(KEPT) - set(compared()) == set(), "what is gone needs no reason"


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was compared in constant time: both sides of each, as text."""
    seen: list[str] = []
    real = hmac.compare_digest

    def compare(a: str | bytes, b: str | bytes) -> bool:
        sides = [side if isinstance(side, str) else side.decode() for side in (a, b)]
        seen.extend(sides)
        return real(sides[0], sides[1])

    monkeypatch.setattr(hmac, "compare_digest", compare)
    return seen


def remembered(thing: object, seen: dict[int, object]) -> Iterator[str]:
    """All text that can be reached from `thing` through our own objects and plain containers."""
    if id(thing) in seen:
        return
    seen[id(thing)] = thing  # kept: another must not get its id
    if isinstance(thing, str | bytes):
        yield thing if isinstance(thing, str) else thing.decode("latin-1")
    elif isinstance(thing, dict):
        for pair in list(thing.items()):
            yield from remembered(pair, seen)
    elif isinstance(thing, list | tuple | set | frozenset):
        for each in list(thing):
            yield from remembered(each, seen)
    elif type(thing).__module__.startswith(("dormouse_router", "tests.")):
        slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        held = {name: getattr(thing, name, None) for name in slots} | getattr(thing, "__dict__", {})
        yield from remembered(held, seen)


async def test_no_key_is_remembered_and_the_store_is_asked_for_its_hash(tmp_path: Path, watched: list[str]) -> None:
    clock, accounts = Clock(), MemoryAccounts(Clock())
    stored = StoredKeys(accounts, SETTINGS, clock=clock)
    _, made = await stored.make(Wish("k", Grants()), ADMIN)
    file = "dm-mounted-0123456789abcdefghij"
    mount(tmp_path, "a", {"k": file})
    mounted = MountedKeys(AccessSettings(modes=("keys",), keys=str(tmp_path)))
    await mounted.look()
    sources: list[Source] = [mounted, stored, UserTokens(accounts, SETTINGS, clock)]
    gate = KeyGate(SETTINGS, sources, clock)
    for key in (made, file):
        await gate.ask(Asks(key))
        assert gate.enter(Asks(key)) is not None
    with pytest.raises(Refusal) as refused:
        await gate.ask(Asks(made[::-1]))
    assert refused.value.status == 401
    assert watched, "the store's hash is compared in constant time"
    kept = [*watched, *remembered([gate, accounts], {})]
    assert {digest(key.encode()).decode("latin-1") for key in (made, file)} <= set(kept), "this looks where they are"
    parts = {part for key in (made, file, made[::-1]) for part in (key[:20], key[-20:])}
    assert [text for text in kept for part in parts if part in text] == []


async def test_a_password_is_judged_by_its_library_and_as_often_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]  # noqa: A002
            judged.append(str(hash).rpartition("$")[0].rpartition("$")[0])
            return super().verify(hash, password)

    monkeypatch.setattr(passwords, "_hasher", Counting(time_cost=1, memory_cost=8, parallelism=1))
    users = Users(MemoryAccounts(Clock()), SETTINGS, clock=Clock())
    await users.add("ann", PASSWORD, Grants())
    for name, password in (("ann", "wrong"), ("nobody", "wrong"), ("nobody", PASSWORD)):
        with pytest.raises(Refusal, match="no such user, or the password is wrong"):
            await users.sign_in(name, password, "10.0.0.1")
    await users.sign_in("ann", PASSWORD, "10.0.0.1")
    assert len(judged) == 4, "once each, whether there is such a user or not"
    assert len(set(judged)) == 1, "by a hash that costs the same"


async def test_a_token_is_judged_by_its_library_with_our_algorithm_alone(
    monkeypatch: pytest.MonkeyPatch, watched: list[str]
) -> None:
    judged: list[list[str]] = []
    real = jwt.decode

    def decode(token: str, key: OKPKey, algorithms: list[str]) -> jwt.Token:
        judged.append(algorithms)
        return real(token, key, algorithms=algorithms)

    monkeypatch.setattr(jwt, "decode", decode)
    accounts = MemoryAccounts(Clock())
    users = Users(accounts, SETTINGS, clock=Clock())
    await users.add("ann", PASSWORD, Grants())
    token, _ = await users.sign_in("ann", PASSWORD, "10.0.0.1")
    known = UserTokens(accounts, SETTINGS, Clock())
    head, body, signature = token.split(".")
    assert await known.find(token.encode(), b"", Clock.now) is not None
    assert await known.find(f"{head}.{body}.{signature[::-1]}".encode(), b"", Clock.now) is None
    assert judged == [["Ed25519"], ["Ed25519"]]
    assert len(watched) == 2, "whose password it was made of, once the signature was good"


async def test_a_batch_workers_name_is_compared_in_constant_time(tmp_path: Path, watched: list[str]) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/router.db", files=f"file://{tmp_path}/files")
    name = "worker-1/" + "a" * 32
    async with open_store(settings) as keeping:
        assert keeping.work is not None
        await keeping.work.renew(name, [], [], 60.0)
        for asked, right in ((name, True), ("worker-1/" + "a" * 31 + "b", False), ("worker-2/" + "a" * 32, False)):
            watched.clear()
            assert await keeping.batches.attended(asked) is right
            assert bool(watched) is asked.startswith("worker-1/")
        trust = Trust(keeping.batches.attended, Clock())
        with pytest.raises(Refusal):
            trust.looking(name.encode())
        assert [text for text in remembered(trust, {}) if "a" * 16 in text] == []
        await trust.close()
