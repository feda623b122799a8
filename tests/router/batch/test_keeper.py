"""The worker's process ends, again and again, and its container does not: real processes, really killed."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from bench.routing.processes import free_port
from dormouse_api.metrics import BATCH_WORKER_RESTARTS
from dormouse_router.worker.keeper import FIRST_PAUSE, LONGEST_PAUSE, pause

DEADLINE = 120.0
KILLS = int(os.environ.get("DORMOUSE_KEEPER_KILLS", "2"))
MOST_PRIVATE = 12 * 2**20


def test_it_waits_longer_each_time_but_never_gives_up() -> None:
    pauses = [pause(failures) for failures in range(1, 40)]
    assert pauses[:4] == [FIRST_PAUSE * 2**doubled for doubled in range(4)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


class Kept:
    """A keeper, and whatever it keeps."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.url = process, f"http://127.0.0.1:{port}"
        self.client = httpx.AsyncClient(base_url=self.url, timeout=DEADLINE, trust_env=False)

    async def told(self, path: str) -> tuple[int, str]:
        """What the port says; of an answer that its process took along to its grave the next one."""
        async with asyncio.timeout(DEADLINE):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    found = await self.client.get(path, headers={"connection": "close"})
                    return found.status_code, found.text
                await asyncio.sleep(0.02)

    async def until(self, path: str, status: int, words: str = "") -> str:
        async with asyncio.timeout(DEADLINE):
            while True:
                found, text = await self.told(path)
                if found == status and words in text:
                    return text
                await asyncio.sleep(0.02)

    async def restarts(self) -> int:
        _, text = await self.told("/metrics")
        found = re.search(rf"^{BATCH_WORKER_RESTARTS} (\d+)", text, re.MULTILINE)
        assert found is not None, text
        return int(found[1])

    async def begun_again(self, times: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while await self.restarts() < times:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)

    def child(self) -> int:
        pid = self.process.pid
        (found,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(found)

    def private(self) -> int:
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))

    async def stop(self) -> tuple[int, list[dict[str, object]]]:
        """Exit status and log after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE):
            _, log = await self.process.communicate()
        assert self.process.returncode is not None
        lines = [line for line in log.decode().splitlines() if line.startswith("{")]
        return self.process.returncode, [json.loads(line) for line in lines]


@contextlib.asynccontextmanager
async def keeping(*command: str, port: int, **env: str) -> AsyncIterator[Kept]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, stderr=asyncio.subprocess.PIPE, env={**os.environ, **env}
    )
    kept = Kept(process, port)
    try:
        yield kept
    finally:
        await kept.client.aclose()
        if process.returncode is None:
            process.kill()
            await process.communicate()


@contextlib.asynccontextmanager
async def children(how: str) -> AsyncIterator[Kept]:
    port = free_port()
    async with keeping("tests.router.batch.kept", str(port), how, port=port) as kept:
        yield kept


async def test_what_crashes_at_once_is_begun_again_and_says_why() -> None:
    async with children("crash") as kept:
        await kept.begun_again(3)
        assert await kept.told("/livez") == (200, "ok\n")
        assert "status 1" in await kept.until("/readyz", 503, "in a row")
        assert (await kept.told("/else"))[0] == 404
        status, log = await kept.stop()
    assert status == 0
    assert [line["why"] for line in log[:3]] == ["it ended with status 1"] * 3
    assert [line["in_a_row"] for line in log[:3]] == [1, 2, 3]


async def test_what_falls_silent_is_killed_and_begun_again() -> None:
    async with children("silent") as kept:
        await kept.begun_again(2)
        assert await kept.told("/livez") == (200, "ok\n")
        status, log = await kept.stop()
    assert status == 0
    assert {"the worker has fallen silent and is killed", "the worker is begun again"} <= {
        line["event"] for line in log
    }


async def test_told_to_stop_it_lets_the_child_end_in_its_own_time() -> None:
    async with children("stay") as kept:
        await kept.until("/livez", 200, "at work")
        pid = await asyncio.to_thread(kept.child)
        status, log = await kept.stop()
        assert status == 0
        assert log[-1]["event"] == "drained"
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def worker(folder: Path, port: int, **env: str) -> "contextlib.AbstractAsyncContextManager[Kept]":
    places = {"DORMOUSE_DATABASE_URL": f"sqlite:///{folder}/router.db", "DORMOUSE_FILES": f"file://{folder}/files"}
    ports = {"DORMOUSE_HOST": "127.0.0.1", "DORMOUSE_WORKER_OPS_PORT": str(port)}
    return keeping("dormouse_router.worker", port=port, **places, **ports, **env)


@pytest.mark.slow
async def test_a_worker_that_is_killed_again_and_again_works_on_and_its_container_never_ends(tmp_path: Path) -> None:
    async with worker(tmp_path, free_port(), DORMOUSE_ROUTER_URL="http://127.0.0.1:9") as kept:
        for number in range(KILLS):
            await kept.until("/readyz", 200)
            assert await kept.restarts() == number
            os.kill(await asyncio.to_thread(kept.child), signal.SIGKILL)
            assert "signal 9" in await kept.until("/readyz", 503, "in a row")
            assert await kept.told("/livez") == (200, "ok\n")
        await kept.until("/readyz", 200)
        assert await kept.restarts() == KILLS
        assert kept.process.returncode is None
        assert await asyncio.to_thread(kept.private) < MOST_PRIVATE
        status, log = await kept.stop()
    assert status == 0
    assert "draining" in {line["event"] for line in log}, "SIGTERM reaches the worker, which takes its leave"


@pytest.mark.slow
async def test_settings_that_cannot_be_used_cost_no_other_container_its_pod(tmp_path: Path) -> None:
    async with worker(tmp_path, free_port(), DORMOUSE_ROUTER_URL="ftp://nowhere") as kept:
        assert "status 2" in await kept.until("/readyz", 503, "in a row")
        assert await kept.told("/livez") == (200, "ok\n")
        assert (await kept.stop())[0] == 0
