"""One database: connections, transactions, and what becomes of its failures. Knows no table.

Until it was reached and its tables are up to date, who needs it is refused; only its first moment is waited for.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from dormouse_router.request import Refusal
from dormouse_router.store.migrate import migrate

log = structlog.get_logger()
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 30.0
POOL = 5
"""Connections kept; as many more are opened when they are all busy."""
RETRY_AFTER = 5.0
_AWAY: tuple[type[Exception], ...] = (DBAPIError, PoolTimeoutError, OSError)
_FAULTS = (DataError, IntegrityError, ProgrammingError)
"""Of those, what no waiting mends."""
_PAGE, _LEAST_PAGES = 4096, 64
_SQLITE = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA busy_timeout=15000",  # as long as somebody brings all tables up to date on a busy machine
    "PRAGMA foreign_keys=ON",
)


class Database:
    """`prepare` it, then `reading` and `writing` give connections within a transaction."""

    def __init__(self, url: str, most_bytes: int = 2**30) -> None:
        """`most_bytes`: of the volume SQLite lies on. ValueError where `url` is none of a database that can be used."""
        self._pages = max(_LEAST_PAGES, most_bytes * 9 // 10 // _PAGE)  # the rest is for SQLite's log
        self._url = _parsed(url)
        self._away = _AWAY
        self.shown = self._url.set(query={}).render_as_string(hide_password=True)
        self._engine = self._postgresql(url) if self._url.drivername == "postgresql" else self._sqlite()
        self._prepared, self._looked = False, asyncio.Event()
        self.trouble: str | None = f"the database {self.shown} has not been reached yet"
        """Why it cannot be used, as far as known; None where it last could."""

    async def prepare(self) -> bool:
        """Reach it and bring its tables up to date; whether there was work. Refusal 503 where that fails: `trouble`."""
        try:
            with self._watched():
                if self._url.drivername == "sqlite":
                    Path(self._url.database or "").parent.mkdir(parents=True, exist_ok=True)
                async with self._transaction(writes=True) as connection:
                    worked = await migrate(connection)
            self._prepared = True
        finally:
            self._looked.set()
        return worked

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads. Refusal 503 where the database is away."""
        async with self._used(writes=False) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self, *, durable: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at its end; `durable`: it survives the machine's end, not only the process's, as in
        PostgreSQL all do. Refusal 503 where the database is away."""
        async with self._used(writes=True, durable=durable) as connection:
            yield connection

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def _used(self, *, writes: bool, durable: bool = False) -> AsyncIterator[AsyncConnection]:
        if not self._prepared:
            await self._first_look()
        with self._watched():
            async with self._transaction(writes=writes, durable=durable) as connection:
                yield connection

    async def _first_look(self) -> None:
        """Who comes while the router has hardly started waits until the database was reached, or could not be."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._looked.wait()
        if not self._prepared:
            raise away()

    @asynccontextmanager
    async def _transaction(self, *, writes: bool, durable: bool = False) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            await connection.execution_options(dormouse_writes=writes, dormouse_durable=durable)
            async with connection.begin():
                yield connection

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """What goes wrong within becomes `trouble`, the log's sentence and a Refusal."""
        try:
            yield
        except _FAULTS:
            raise
        except self._away as error:
            self._say(_reason(error))
            raise away() from error
        else:
            if self.trouble is not None:
                log.info("the database is there", database=self.shown)
            self.trouble = None

    def _say(self, reason: str) -> None:
        sentence = (
            f"the database {self.shown} cannot be used: {reason}: mend it, or set DORMOUSE_DATABASE_URL to another; "
            "the router tries again by itself, and serves what needs no database"
        )
        if sentence != self.trouble:
            log.error(sentence)
        self.trouble = sentence

    def _sqlite(self) -> AsyncEngine:
        engine = create_async_engine(
            self._url.set(drivername="sqlite+aiosqlite"), pool_size=POOL, max_overflow=0, pool_timeout=CONNECT_SECONDS
        )
        event.listen(engine.sync_engine, "connect", self._set_up)
        event.listen(engine.sync_engine, "begin", _begin)
        return engine

    def _set_up(self, connection: Any, _record: object) -> None:
        """A new connection to SQLite. The driver's own idea of when a transaction begins is switched off."""
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (*_SQLITE, f"PRAGMA max_page_count={self._pages}"):
            cursor.execute(pragma)
        cursor.close()

    def _postgresql(self, url: str) -> AsyncEngine:
        import asyncpg  # whoever has SQLite does without

        self._away = (*_AWAY, asyncpg.PostgresError, asyncpg.InterfaceError)

        async def connect() -> Any:
            # the driver understands all that libpq's addresses may say: TLS, sockets, more than one host
            return await asyncpg.connect(url, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS)

        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_size=POOL,
            max_overflow=POOL,
            pool_timeout=CONNECT_SECONDS,
            pool_pre_ping=True,
        )


def away() -> Refusal:
    """What a client is told while the database cannot be used."""
    return Refusal(
        503,
        "What this request needs is kept in the router's database, which cannot be used now: send it again later. "
        "Whoever operates the router finds the reason in its log. Calls that need nothing kept are served.",
        code="store_unavailable",
        retry_after=RETRY_AFTER,
    )


def _parsed(url: str) -> URL:
    parsed = make_url(url)
    kind = {"postgres": "postgresql"}.get(parsed.drivername, parsed.drivername)
    if kind not in ("sqlite", "postgresql") or parsed.database in (None, "", ":memory:"):
        raise ValueError("DORMOUSE_DATABASE_URL must be sqlite:///file, postgresql://host/name or memory")
    return parsed.set(drivername=kind)


def _reason(error: BaseException) -> str:
    told = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(told).strip().rstrip(".") or f"no answer ({type(told).__name__})"


def _begin(connection: Connection) -> None:
    """Who writes takes the lock first: a reader that becomes a writer would fail at once where another one writes."""
    options = connection.get_execution_options()
    if options.get("dormouse_writes"):
        # NORMAL leaves it to the system when the last of the log reaches the disk
        level = "FULL" if options.get("dormouse_durable") else "NORMAL"
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("dormouse_writes") else "BEGIN")
