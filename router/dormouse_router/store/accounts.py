"""Keys, users and signing keys in a database: `accounts.Accounts`."""

import time
from collections.abc import Callable
from dataclasses import asdict

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, text, update
from sqlalchemy.exc import IntegrityError

from dormouse_router.accounts import MOST_KEYS, MOST_LISTED, KeyRecord, SigningKey, UserRecord, too_many_keys
from dormouse_router.store.database import Database
from dormouse_router.store.files import is_ours
from dormouse_router.store.tables import api_keys, signing_keys, users

_KEY, _USER, _SIGNING = api_keys.c, users.c, signing_keys.c
_LOCK = 0x646D_7369
"""Of PostgreSQL: one router at a time makes a signing key."""


class SqlAccounts:
    """Each method is one transaction. What is written survives the machine: a key that was shown is there."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    async def add_key(self, key: KeyRecord) -> None:
        owned = select(func.count()).select_from(api_keys).where(_KEY.owner == key.owner)
        async with self._database.writing(durable=True) as connection:
            if (await connection.execute(owned)).scalar_one() >= MOST_KEYS:
                raise too_many_keys()
            await connection.execute(api_keys.insert().values(asdict(key)))

    async def key_by(self, sealed: str) -> KeyRecord | None:
        async with self._database.reading() as connection:
            found = (await connection.execute(select(api_keys).where(_KEY.sealed == sealed, self._live()))).first()
        return None if found is None else KeyRecord(*found)

    async def keys(self, owner: str | None) -> list[KeyRecord]:
        wanted = select(api_keys).where(self._live(), *(() if owner is None else (_KEY.owner == owner,)))
        wanted = wanted.order_by(_KEY.created_at.desc(), _KEY.id.desc()).limit(MOST_LISTED)
        async with self._database.reading() as connection:
            return [KeyRecord(*row) for row in await connection.execute(wanted)]

    async def drop_key(self, id: str, owner: str | None) -> KeyRecord | None:  # noqa: A002
        if not is_ours(id):
            return None
        which = _KEY.id == id if owner is None else and_(_KEY.id == id, _KEY.owner == owner)
        async with self._database.writing(durable=True) as connection:
            row = (await connection.execute(delete(api_keys).where(which).returning(*api_keys.c))).first()
        return None if row is None else KeyRecord(*row)

    async def add_user(self, user: UserRecord) -> bool:
        try:
            async with self._database.writing(durable=True) as connection:
                await connection.execute(users.insert().values(asdict(user)))
        except IntegrityError:
            return False
        return True

    async def user(self, name: str) -> UserRecord | None:
        if not is_ours(name):
            return None
        async with self._database.reading() as connection:
            row = (await connection.execute(select(users).where(_USER.name == name))).first()
        return None if row is None else UserRecord(*row)

    async def users(self) -> list[UserRecord]:
        wanted = select(users).order_by(_USER.name).limit(MOST_LISTED)
        async with self._database.reading() as connection:
            return [UserRecord(*row) for row in await connection.execute(wanted)]

    async def put_user(self, user: UserRecord) -> bool:
        changed = update(users).where(_USER.name == user.name).values(password=user.password, grants=user.grants)
        async with self._database.writing(durable=True) as connection:
            return bool((await connection.execute(changed)).rowcount)

    async def drop_user(self, name: str, owner: str) -> bool:
        if not is_ours(name):
            return False
        async with self._database.writing(durable=True) as connection:
            await connection.execute(delete(api_keys).where(_KEY.owner == owner))
            return bool((await connection.execute(delete(users).where(_USER.name == name))).rowcount)

    async def signing_keys(self) -> list[SigningKey]:
        wanted = select(signing_keys).where(_SIGNING.expires_at > self._clock()).order_by(_SIGNING.created_at.desc())
        async with self._database.reading() as connection:
            return [SigningKey(*row) for row in await connection.execute(wanted)]

    async def add_signing_key(self, key: SigningKey, after: str | None) -> bool:
        newest = select(_SIGNING.id).where(_SIGNING.expires_at > self._clock())
        newest = newest.order_by(_SIGNING.created_at.desc()).limit(1)
        async with self._database.writing(durable=True) as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            if (await connection.execute(newest)).scalar_one_or_none() != after:
                return False
            await connection.execute(signing_keys.insert().values(asdict(key)))
            return True

    def _live(self) -> ColumnElement[bool]:
        return or_(_KEY.expires_at.is_(None), _KEY.expires_at > self._clock())
