"""Insert or update in one statement: SQLite and PostgreSQL say it alike, SQLAlchemy in two classes."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Executable


def upsert(
    connection: AsyncConnection,
    table: Table,
    values: Mapping[str, Any],
    replaced: Mapping[str, Any],
    where: ColumnElement[bool] | None = None,
) -> Executable:
    """Insert `values`; where the primary key is there already, set `replaced`, if `where` holds for the row."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    return (
        insert(table)
        .values(values)
        .on_conflict_do_update(index_elements=[*table.primary_key], set_=replaced, where=where)
    )
