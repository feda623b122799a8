"""`python3 -m dormouse_router.store.backup save > FILE` and `... restore < FILE`: SQLite and the folder of files.

Both while routers use them. What is saved is one moment of the database, and the bytes of every file that it knows;
restored, the whole database is replaced in one transaction, after the bytes are there. A PostgreSQL and a bucket have
tools of their own.
"""

import contextlib
import os
import shutil
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from time import sleep
from typing import BinaryIO

from sqlalchemy import make_url

from dormouse_router.settings import Settings

DATABASE, FILES = "router.db", "files"
_NEEDED = ("SELECT file_id FROM file_pins", "SELECT id FROM batch_segments")
"""What batches that have not ended stand on: without one of these blobs answers would be lost."""
_SPEAK = ("SELECT id FROM files", "SELECT id FROM upload_parts", *_NEEDED)
_FORGET = (
    "DELETE FROM files WHERE id = ?",
    "DELETE FROM upload_parts WHERE id = ?",
)
BUSY_SECONDS = 60.0
TRIES = 10
LATE_SECONDS = 1.0


class NotHere(Exception):  # noqa: N818 - said to whoever runs the command
    """Nothing of this can be saved or restored so; the text says how."""


def save(settings: Settings, out: BinaryIO) -> int:
    """Write an archive of the database and of the files that it knows; how many files."""
    database, folder = _places(settings)
    if not database.is_file():
        raise NotHere(f"there is no database {database}: is this the router's own container?")
    with _beside(database) as held:
        names = _held(database, folder, held)
        with tarfile.open(fileobj=out, mode="w|") as archive:
            for name in names:
                archive.add(held / name, f"{FILES}/{name}")
            archive.add(held / DATABASE, DATABASE)
    return len(names)


def _held(database: Path, folder: Path, held: Path) -> list[str]:
    """Copy the database, and link the blobs that the copy speaks of: what is deleted from now on stays until it is in
    the archive. A file that was deleted since is forgotten in the copy; a batch that has ended since makes it another
    copy, for its answers are elsewhere now."""
    with contextlib.closing(_connect(database)) as live, contextlib.closing(_connect(held / DATABASE)) as kept:
        for name in _names(live, _SPEAK):
            _linked(folder / name, held / name)
        for _ in range(TRIES):
            live.backup(kept)
            names = sorted(_names(kept, _SPEAK))
            missing = {name for name in names if not _linked(folder / name, held / name)}
            if not missing & _names(kept, _NEEDED):
                for words in _FORGET if missing else ():
                    kept.executemany(words, [(name,) for name in missing])
                kept.commit()
                return [name for name in names if name not in missing]
    raise NotHere("batches end faster than they can be saved, or a file of one is missing: try again")


def restore(settings: Settings, source: BinaryIO) -> int:
    """Replace what is kept by an archive; how many files it has. What has been kept since it was made is lost."""
    database, folder = _places(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with _beside(database) as held:
        with tarfile.open(fileobj=source, mode="r|") as archive:
            archive.extractall(held, filter="data")
        copy = held / DATABASE
        if not copy.is_file():
            raise NotHere("the archive has no database in it: it is none of `save`, or it is cut short")
        with contextlib.closing(_connect(copy)) as kept:
            names = _names(kept, _SPEAK)
            missing = [name for name in names if not (held / FILES / name).is_file()]
            if missing:
                raise NotHere(f"the archive is cut short: {len(missing)} of {len(names)} files are not in it")
            _put(held / FILES, folder, names)
            os.sync()
            with contextlib.closing(_connect(database)) as live:
                kept.backup(live)
            # who had ended a batch just before deletes its blobs now, which this database still needs
            _put(held / FILES, folder, names)
            sleep(LATE_SECONDS)
            _put(held / FILES, folder, names)
            os.sync()
    return len(names)


def _places(settings: Settings) -> tuple[Path, Path]:
    url = settings.database_url
    if not url.startswith("sqlite") or not settings.files.startswith("file://"):
        text = "this saves SQLite and a folder of files: of a PostgreSQL use pg_dump, of a bucket its own versions"
        raise NotHere(text)
    return Path(make_url(url).database or ""), Path(settings.files.removeprefix("file://"))


@contextlib.contextmanager
def _beside(database: Path) -> Iterator[Path]:
    held = Path(tempfile.mkdtemp(prefix=".backup-", dir=database.parent))
    try:
        yield held
    finally:
        shutil.rmtree(held)


def _put(held: Path, folder: Path, names: Collection[str]) -> None:
    """Each appears whole, in place of what may be there, and stays in `held` too."""
    spare = held / ".spare"
    for name in names:
        os.link(held / name, spare)
        spare.replace(folder / name)
        spare.unlink(missing_ok=True)  # where both are one file already, nothing was moved


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS)


def _names(database: sqlite3.Connection, queries: tuple[str, ...]) -> set[str]:
    """Of all blobs that they tell of."""
    tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {row[0] for words in queries if words.split()[-1] in tables for row in database.execute(words)}


def _linked(blob: Path, link: Path) -> bool:
    """Hold the blob; whether it is held."""
    with contextlib.suppress(FileExistsError):
        try:
            os.link(blob, link)
        except FileNotFoundError:
            return False
    return True


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["save"]:
            count = save(Settings.from_env(), sys.stdout.buffer)
        elif arguments == ["restore"]:
            count = restore(Settings.from_env(), sys.stdin.buffer)
        else:
            raise NotHere("say `save` (to the standard output) or `restore` (from the standard input)")
    except (NotHere, ValueError, OSError, sqlite3.Error, tarfile.TarError) as error:
        print(f"dormouse-router: {error}", file=sys.stderr)  # noqa: T201 - a command of a person
        return 1
    print(f"dormouse-router: {arguments[0]}d, with {count} files", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
