"""A real PostgreSQL and a real Redis on loopback, each in a folder of its own; neither runs as root."""

import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from bench.routing.processes import free_port

_USER = "postgres"
_DEADLINE = 60.0


def _as_nobody_special() -> dict[str, object]:
    """PostgreSQL refuses to be root: the user its package made is taken where we are."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(_USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Postgres:
    """A server that can be stopped and started again; its folder stays."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self._numbers = folder, free_port(), itertools.count()
        self._bin = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self._run("initdb", "-D", self._data, "-U", "dormouse", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://dormouse:secret@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self.folder}"
        self._run("pg_ctl", "-D", self._data, "-o", options, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        subprocess.run(command, check=True, cwd="/", timeout=_DEADLINE, capture_output=True, **_as_nobody_special())  # type: ignore[call-overload]

    async def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test{next(self._numbers)}"
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return self.url(name)


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """A running server in `folder`, which its user must be able to reach."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin")):
        pytest.fail("there is no PostgreSQL here: run `python -m dev.host`")
    if os.geteuid() == 0:
        shutil.chown(folder, _USER)
    server = Postgres(folder)
    try:
        yield server
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):  # a test may have stopped it
            server.stop()


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """The URL of a running server that keeps nothing on disk."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.fail("there is no Redis here: run `python -m dev.host`")
    port = free_port()
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder))
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _answers(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(timeout=_DEADLINE)


def _answers(port: int) -> None:
    ends = time.monotonic() + _DEADLINE
    while time.monotonic() < ends:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.01)
    raise TimeoutError(f"nothing listens on port {port}")
