"""Story 4, continued: Ollama's own program, unmodified, against the cluster: a name is derived, called and removed."""

import asyncio
import re
from pathlib import Path

import pytest

from dev import ollama
from tests.e2e.samples import FRANCE, PARIS
from tests.e2e.story import ROUTER
from tests.e2e.test_quickstart import applied

NAME = "tiny-chat"
ALIAS = "tiny"
GREEDY = "greedy-cli"
SECONDS = 180.0
STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
"""What a terminal is told beside the words, also in the middle of them."""


@pytest.fixture(autouse=True)
def quickstart(testbed: object) -> None:
    applied()


async def test_the_command_line(tmp_path: Path) -> None:
    program = await asyncio.to_thread(ollama.cli)
    (tmp_path / "Modelfile").write_text(f"FROM {ALIAS}\nPARAMETER temperature 0\n")

    async def said(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            env={"HOME": str(tmp_path), "OLLAMA_HOST": ROUTER, "TERM": "dumb"},
            cwd=tmp_path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return STYLE.sub("", output.decode())

    assert f"{NAME}:latest" in await said("list")
    assert "architecture" in await said("show", ALIAS)
    assert "success" in await said("pull", ALIAS)
    assert "success" in await said("create", GREEDY, "-f", "Modelfile")
    assert PARIS in await said("run", GREEDY, FRANCE)
    assert f"{GREEDY}:latest" in await said("ps")
    await said("cp", GREEDY, f"{GREEDY}-copy")
    assert "deleted" in await said("rm", GREEDY, f"{GREEDY}-copy")
    assert GREEDY not in await said("list")
    await said("stop", NAME)
