"""Insert or update in one statement: SQLite and PostgreSQL say it alike, SQLAlchemy in two classes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Executable

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql


def upsert(
    connection: AsyncConnection,
    table: Table,
    values: Mapping[str, Any],
    replaced: Mapping[str, Any],
    where: ColumnElement[bool] | None = None,
) -> Executable:
    """Insert `values`; where the primary key is there already, set `replaced`, if `where` holds for the row."""
    return (
        inserting(connection.dialect.name, table)
        .values(values)
        .on_conflict_do_update(index_elements=[*table.primary_key], set_=replaced, where=where)
    )


def inserting(dialect: str, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """An insert into the table that knows `on_conflict_do_update`."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # whoever has SQLite does without

    return postgresql.insert(table)
