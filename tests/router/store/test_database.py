"""The database itself: tables made once by whoever comes first, rows that outlive routers, and what if it is away."""

import asyncio
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from dormouse_router.keeping import StoredResponse
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings
from dormouse_router.store import open_store
from dormouse_router.store.database import Database
from dormouse_router.store.migrate import config, newest
from dormouse_router.store.responses import SqlResponses
from dormouse_router.store.sessions import SqlSessions
from dormouse_router.store.sweep import sweep
from dormouse_router.store.tables import metadata
from tests.router.fakes import until
from tests.router.store.conftest import NewUrl
from tests.router.store.servers import Postgres

NOW = 1_700_000_000.0
ONE = StoredResponse("resp_1", "ann", None, NOW, b"{}", b"[]")


async def test_the_migrations_make_just_the_tables_of_the_metadata(new_url: NewUrl) -> None:
    database = Database(await new_url())
    await database.prepare()

    def compared(connection: Connection) -> list[object]:
        found: list[object] = compare_metadata(MigrationContext.configure(connection), metadata)
        return found

    async with database.reading() as connection:
        assert await connection.run_sync(compared) == []
    await database.close()


def test_the_newest_migration_is_known_by_the_name_of_its_file() -> None:
    assert newest() == ScriptDirectory.from_config(config()).get_current_head()


async def test_rows_outlive_the_router(new_url: NewUrl) -> None:
    settings = replace(Settings(), database_url=await new_url())
    for restart in range(2):
        async with open_store(settings) as keeping:
            await until(lambda: keeping.trouble() is None)
            if restart:
                assert await keeping.responses.get("resp_1", "ann") == ONE
                assert await keeping.sessions.history("ann", "s") == [{"role": "user", "content": "hi"}]
            else:
                await keeping.responses.put(ONE)
                await keeping.sessions.append("ann", "s", [{"role": "user", "content": "hi"}], 10, 60)


@pytest.mark.slow
async def test_four_processes_at_once_migrate_once(new_url: NewUrl) -> None:
    url, program = await new_url(), Path(__file__).with_name("migrating.py")
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, str(program), url, stdin=pipe, stdout=pipe)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    said = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert sorted(out.splitlines()[-1] for out, _ in said) == [b"idle"] * 3 + [b"worked"]
    assert [process.returncode for process in processes] == [0] * 4


async def test_a_database_of_a_newer_release_is_used_as_it_is(new_url: NewUrl) -> None:
    url = await new_url()
    newer = Database(url)
    await newer.prepare()
    async with newer.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await newer.close()
    older = Database(url)
    await older.prepare()
    await SqlResponses(older).put(ONE)
    assert await SqlResponses(older).get("resp_1", "ann") == ONE
    await older.close()


async def test_what_expired_is_swept_in_batches_and_nothing_else(new_url: NewUrl) -> None:
    database = Database(await new_url())
    await database.prepare()
    responses, sessions = SqlResponses(database, lambda: NOW), SqlSessions(database, lambda: NOW)
    for number in range(7):
        await responses.put(replace(ONE, id=str(number), expires_at=NOW + number))
        await sessions.append("ann", str(number), [{"role": "user", "content": "x"}], 10, number)
    await responses.put(replace(ONE, id="kept"))
    assert await sweep(database, NOW + 4, batch=2) == 10
    async with database.reading() as connection:
        for table, left in (("responses", 3), ("sessions", 2), ("session_messages", 2)):
            assert (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar() == left  # noqa: S608
    assert await sweep(database, NOW + 4, batch=2) == 0
    await database.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////proc/no/router.db", "No such file or directory: '/proc/no'"),
        ("sqlite:////proc", "unable to open database file"),
        ("postgresql://u:hunter2@127.0.0.1:1/d?password=hunter2", "Connect call failed"),
    ],
)
async def test_a_database_that_is_away_is_told_of_once_without_its_password(
    url: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(threading.enumerate())
    async with open_store(replace(Settings(), database_url=url)) as keeping:
        with pytest.raises(Refusal) as refused:
            await keeping.responses.get("resp_1", "")
        await until(lambda: words in (keeping.trouble() or ""))
        trouble = keeping.trouble() or ""
    # a connection that failed ends in a thread of the driver's, which answers to this loop
    await until(
        lambda: not any("_connection_worker_thread" in each.name for each in set(threading.enumerate()) - before)
    )
    assert refused.value.status == 503
    assert refused.value.retry_after
    assert "DORMOUSE_DATABASE_URL" in trouble
    assert "hunter2" not in trouble + refused.value.message
    assert capsys.readouterr().out.count(words) == 1


@pytest.mark.slow
async def test_a_database_that_comes_back_is_used_again(postgres: Postgres) -> None:
    url = await postgres.new_database()
    postgres.stop()
    async with open_store(replace(Settings(), database_url=url)) as keeping:
        await until(lambda: "cannot be used" in (keeping.trouble() or ""))
        postgres.start()
        await until(lambda: keeping.trouble() is None)
        await keeping.responses.put(ONE)
        postgres.stop()
        with pytest.raises(Refusal) as refused:
            await keeping.responses.get("resp_1", "ann")
        assert refused.value.status == 503
        assert keeping.trouble() is not None
        postgres.start()
        assert await keeping.responses.get("resp_1", "ann") == ONE
        assert keeping.trouble() is None


async def test_a_full_volume_is_told_and_has_room_again_once_something_expired(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/router.db", most_bytes=1_000_000)
    await database.prepare()
    responses = SqlResponses(database, lambda: NOW)
    full = None
    for number in range(20):
        try:
            await responses.put(replace(ONE, id=str(number), body=bytes(100_000), expires_at=NOW + 1))
        except Refusal as refusal:
            full = refusal
            break
    assert full is not None
    assert full.status == 503
    assert "full" in (database.trouble or "")
    assert await asyncio.to_thread(lambda: (tmp_path / "router.db").stat().st_size) < 1_000_000
    assert await sweep(database, NOW + 1) == number
    await responses.put(replace(ONE, body=bytes(100_000)))
    assert database.trouble is None
    await database.close()


async def test_a_redis_that_is_away_is_told_of_without_its_password(capsys: pytest.CaptureFixture[str]) -> None:
    url = "redis://:hunter2@127.0.0.1:1/0"  # where nobody listens
    async with open_store(replace(Settings(), database_url="memory", sessions=url)) as keeping:
        await until(lambda: keeping.trouble() is not None)
        trouble = keeping.trouble() or ""
        for work in (keeping.sessions.history("", "s"), keeping.sessions.delete("", "s")):
            with pytest.raises(Refusal) as refused:
                await work
            assert refused.value.status == 503
        await keeping.responses.put(ONE)
    assert "DORMOUSE_SESSIONS" in trouble
    assert "hunter2" not in trouble + refused.value.message
    assert capsys.readouterr().out.count("cannot be used") == 1


async def test_memory_is_only_taken_when_asked_for() -> None:
    async with open_store(replace(Settings(), database_url="memory")) as keeping:
        await keeping.responses.put(ONE)
        assert keeping.trouble() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DORMOUSE_DATABASE_URL", "mysql://host/name"),
        ("DORMOUSE_DATABASE_URL", "sqlite:///"),
        ("DORMOUSE_DATABASE_URL", "/var/lib/router.db"),
        ("DORMOUSE_SESSIONS", "disk"),
        ("DORMOUSE_SESSIONS", "redis://"),
        ("DORMOUSE_STORAGE_SIZE", "much"),
    ],
)
def test_a_place_that_is_none_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.from_env({name: value})
    assert Settings.from_env({"DORMOUSE_SESSIONS": "redis://h:1/0"}).sessions == "redis://h:1/0"
    assert Settings.from_env({"DORMOUSE_DATABASE_URL": "memory"}).database_url == "memory"
    alone = {"DORMOUSE_FILES": "s3://bucket"}
    given = [alone | {"DORMOUSE_STORAGE_SIZE": size} for size in ("1.5Gi", "2G", "512")]
    sizes = [Settings.from_env(env).database_bytes for env in given]
    assert sizes == [1610612736, 2_000_000_000, 512]
