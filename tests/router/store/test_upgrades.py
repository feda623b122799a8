"""From each release to the newest: rows stay as they were, and its routers go on beside the new ones in an update."""

from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, Table, select

from dormouse_router.store import migrate
from dormouse_router.store.database import Database
from tests.router.store.conftest import NewUrl

REVISIONS = sorted(script.revision for script in ScriptDirectory.from_config(migrate.config()).walk_revisions())
VALUES: dict[type, Any] = {bytes: b"{}", float: 1_700_000_000.0, bool: False}
Row = dict[str, Any]


def value(column: "Column[Any]", number: int) -> Any:
    """Of the row with this number: texts differ, and lead where a foreign key leads."""
    for key in column.foreign_keys:
        return value(key.column, number)
    kind = column.type.python_type
    if kind is str:
        return f"{column.table.name}-{column.name}-{number}"
    return number if kind is int else VALUES[kind]


def row(table: Table, number: int) -> Row:
    return {column.name: value(column, number) for column in table.columns if not column.nullable}


async def known(database: Database) -> list[Table]:
    """The tables that there are, those that others lead to first."""

    def reflected(connection: Connection) -> list[Table]:
        found = MetaData()
        found.reflect(connection)
        return [table for table in found.sorted_tables if table.name != "alembic_version"]

    async with database.reading() as connection:
        return await connection.run_sync(reflected)


async def insert(database: Database, tables: list[Table], number: int) -> None:
    async with database.writing() as connection:
        for table in tables:
            await connection.execute(table.insert().values(row(table, number)))


@pytest.mark.parametrize("revision", REVISIONS[:-1])
async def test_rows_stay_and_routers_of_before_go_on(
    new_url: NewUrl, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, upgrade = await new_url(), command.upgrade

    def no_further(config: Config, _: str) -> None:
        upgrade(config, revision)

    old, new = Database(url), Database(url)
    try:
        with monkeypatch.context() as before:
            before.setattr(migrate, "newest", lambda: revision)
            before.setattr(command, "upgrade", no_further)
            assert await old.prepare()
        tables = await known(old)
        await insert(old, tables, 1)
        assert await new.prepare()
        await insert(old, tables, 2)
        async with new.reading() as connection:
            for table in tables:
                said = select(*(table.c[name] for name in row(table, 1)))
                found = {tuple(each) for each in await connection.execute(said)}
                assert found == {tuple(row(table, number).values()) for number in (1, 2)}, table.name
        assert {table.name for table in tables} <= {table.name for table in await known(new)}
    finally:
        await old.close()
        await new.close()
