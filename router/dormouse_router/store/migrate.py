"""The tables brought up to date, once, however many routers start together.

Whoever comes first holds a lock for the length of one transaction: an advisory lock in PostgreSQL, the write lock of
`BEGIN IMMEDIATE` in SQLite. Who waited for it finds nothing left to do, and does not import Alembic either: most starts
need no more of it than the name of the newest migration, and it takes 8 MB of every process.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

if TYPE_CHECKING:
    from alembic.config import Config

log = structlog.get_logger()
_LOCK = 0x646F726D6F757365
"""Of PostgreSQL's advisory locks the one that spells our name, which nobody else takes."""
_FOLDER = Path(__file__).parent / "migrations"


def config() -> "Config":
    """Alembic's configuration: our folder of migrations."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return made


def newest() -> str:
    """The revision that all migrations lead to: their files are called after theirs, `r0009_....py`."""
    return max(file.name[1:5] for file in (_FOLDER / "versions").glob("r[0-9]*.py"))


async def migrate(connection: AsyncConnection) -> bool:
    """Bring the tables up to date within the transaction that `connection` has begun; whether there was work."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    return await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> bool:
    found = _found(connection)
    return found != newest() and _upgraded(connection, found)


def _found(connection: Connection) -> str | None:
    """The revision that the tables are of; None where there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _upgraded(connection: Connection, found: str | None) -> bool:
    from alembic import command
    from alembic.script import ScriptDirectory

    made = config()
    scripts = ScriptDirectory.from_config(made)
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        # a newer router was here, and its changes leave us what we use
        log.warning("the database is of a newer release than this router", found=found, known=newest())
        return False
    made.attributes["connection"] = connection
    command.upgrade(made, "head")
    log.info("the database was brought up to date", before=found, now=newest())
    return True
