"""The tables brought up to date, once, however many routers start together.

Whoever comes first holds a lock for the length of one transaction: an advisory lock in PostgreSQL, the write lock of
`BEGIN IMMEDIATE` in SQLite. Who waited for it finds nothing left to do.
"""

from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

log = structlog.get_logger()
_LOCK = 0x646F726D6F757365
"""Of PostgreSQL's advisory locks the one that spells our name, which nobody else takes."""


def config() -> Config:
    """Alembic's configuration: our folder of migrations."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return made


async def migrate(connection: AsyncConnection) -> bool:
    """Bring the tables up to date within the transaction that `connection` has begun; whether there was work."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    return await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> bool:
    made = config()
    scripts = ScriptDirectory.from_config(made)
    head, found = scripts.get_current_head(), MigrationContext.configure(connection).get_current_revision()
    if found == head:
        return False
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        # a newer router was here, and its changes leave us what we use
        log.warning("the database is of a newer release than this router", found=found, known=head)
        return False
    made.attributes["connection"] = connection
    command.upgrade(made, "head")
    log.info("the database was brought up to date", before=found, now=head)
    return True
