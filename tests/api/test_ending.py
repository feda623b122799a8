"""Processes that end when their work is done, as processes."""

import asyncio
import contextlib
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.pull.mirror import authority

LEFT = """
import asyncio, pathlib, sys, time
from dormouse_api import ending

def slow(path):
    time.sleep(0.3)
    pathlib.Path(path).write_text("whole")

async def aside():
    try:
        await asyncio.sleep(1000)
    finally:
        print("aside ended")

async def work(path):
    asyncio.get_running_loop().run_in_executor(None, slow, path)
    keep = asyncio.create_task(aside())
    await asyncio.sleep(0)
    print("done", end="")

ending.run(work(sys.argv[1]), asyncio.new_event_loop)
"""
FAILS = """
import asyncio
from dormouse_api import ending

async def work():
    raise RuntimeError("a part has ended")

ending.run(work(), asyncio.new_event_loop)
"""
WATCHES = """
import asyncio, ssl, sys
import aiohttp, uvloop
from dormouse_api import ending

async def watch(session, url):
    async with session.get(url) as answer:
        for _ in range(50):
            await answer.content.readline()

async def work(url, trusted):
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=trusted))
    async with aiohttp.ClientSession(connector=trust) as session:
        await asyncio.gather(*(watch(session, url) for _ in range(8)))

ending.run(work(*sys.argv[1:]), uvloop.new_event_loop)
"""
RUNS = 6


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_what_was_left_ends_first(tmp_path: Path) -> None:
    done = run(LEFT, str(tmp_path / "file"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "doneaside ended\n", "")
    assert (tmp_path / "file").read_text() == "whole"


def test_work_that_fails_is_a_failure() -> None:
    done = run(FAILS)
    assert done.returncode == 1
    assert "RuntimeError: a part has ended" in done.stderr


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lines without an end, as a watch of something busy."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b'8\r\n{"a":1}\n\r\n')
            await writer.drain()
            await asyncio.sleep(0)


@pytest.mark.slow
async def test_watches_that_still_talk_make_no_failure_of_an_end(tmp_path: Path) -> None:
    """uvloop's own `run` ended with exit status 1 in about every other of these."""
    known = authority(tmp_path)
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(known.certificate)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(known.server)
    async with await asyncio.start_server(talk, "127.0.0.1", 0, ssl=served) as server:
        port = server.sockets[0].getsockname()[1]
        for _ in range(RUNS):
            done = await asyncio.to_thread(run, WATCHES, f"https://127.0.0.1:{port}/", str(trusted))
            assert (done.returncode, done.stderr) == (0, "")
