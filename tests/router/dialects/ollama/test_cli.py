"""Ollama's own program, unmodified, against a running router: every command of it that talks to a server."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from dev import ollama
from dormouse_router.cluster import Resource
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.ollama import sage
from tests.router.dialects.ollama.programs import SECONDS, need_go, plain, terminal
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Engine, Stage, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MODELFILE = '''FROM org/tiny
SYSTEM You are Mario.
PARAMETER temperature 0.1
PARAMETER stop END
LICENSE """All rights reserved."""
MESSAGE user 2+2?
MESSAGE assistant 4
'''
Run = Callable[..., Coroutine[Any, Any, tuple[int, str]]]


@pytest.fixture(scope="session")
def program() -> Path:
    """The program, built where it is not in the cache yet."""
    need_go()
    return ollama.cli()


@pytest.fixture
async def sage_engine(world: Stage, make_engine: MakeEngine) -> Engine:
    """Behind tiny-chat (also org/tiny) and all-minilm, which are awake."""
    engine = await make_engine(sage.serve)
    world.cluster.add_model(model(aliases=["org/tiny"]))
    world.cluster.add_model(model("all-minilm", status=known_status(capabilities=["embedding"], contextLength=512)))
    for name in ("tiny-chat", "all-minilm"):
        world.ready(engine, name=name)
        await engines.awake(world, name)
    return engine


@pytest.fixture
async def run(world: Stage, program: Path, tmp_path: Path, sage_engine: Engine) -> Run:
    """Run `ollama ...` in a folder of its own: its exit code and what it said."""
    (tmp_path / "Modelfile").write_text(MODELFILE)
    (tmp_path / "Template").write_text('FROM org/tiny\nTEMPLATE """{{ .Prompt }}!"""\n')
    (tmp_path / "Broken").write_text('FROM org/tiny\nTEMPLATE """{{ .Prompt"""\n')
    (tmp_path / "Weights").write_text("FROM ./model.gguf\n")
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(64))

    async def ollama_(*arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            env={"HOME": str(tmp_path), "OLLAMA_HOST": world.url, "TERM": "dumb"},
            cwd=tmp_path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate()
        return process.returncode or 0, plain(said)

    return ollama_


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("--version", 0, [f"ollama version is {ollama.version()}"]),
        ("list", 0, ["tiny-chat:latest", "org/tiny:latest", "all-minilm:latest", "4.5 MB"]),
        ("ps", 0, ["org/tiny:latest", "100% CPU", "2048"]),
        ("show tiny-chat", 0, ["llama", "1.10M", "BF16", "tools", "temperature", "hf://dormouse/tiny-chat"]),
        ("show --modelfile tiny-chat", 0, ["FROM tiny-chat:latest"]),
        ("show --parameters org/tiny", 0, ["num_ctx                        2048"]),
        ("show -v tiny-chat", 0, ["llama.embedding_length", "128"]),
        ("show nobody", 1, ["model 'nobody' not found"]),
        ("run tiny-chat why is the sky blue?", 0, ["Rayleigh"]),
        ("run --verbose --keepalive 20m org/tiny hello", 0, ["Rayleigh", "eval count:           33 token(s)"]),
        ("run --think tiny-chat hello", 1, ["does not support thinking"]),
        ("run all-minilm some words", 0, ["[0."]),
        ("run nobody hello", 1, ["pull model manifest: file does not exist"]),
        ("pull org/tiny", 0, ["verifying sha256 digest", "success"]),
        ("pull nobody", 1, ["pull model manifest: file does not exist"]),
        ("push tiny-chat", 1, ["publish the weights on the hub"]),
        ("cp nobody else", 1, ['model "nobody" not found']),
        ("create own -f Template", 0, ["success"]),
        ("create own -f Broken", 1, ["template: line 1, column 1: an action is not closed"]),
        ("create own -f Weights", 1, ["publish the weights on the hub"]),
        ("create own -q q4_K_M -f Modelfile", 1, ["ollama pull org/name:q4_K_M"]),
        ("stop org/tiny", 0, []),
        ("stop all-minilm", 0, []),
        ("stop nobody", 1, ["couldn't find model"]),
        ("rm nobody", 1, ["model 'nobody' not found"]),
    ],
)
async def test_a_command(run: Run, command: str, code: int, words: list[str]) -> None:
    found, said = await run(*command.split())
    assert found == code, said
    assert not [word for word in words if word not in said], said


async def test_a_name_is_derived_called_copied_and_removed(run: Run, world: Stage, sage_engine: Engine) -> None:
    assert (await run("create", "mario", "-f", "Modelfile"))[0] == 0
    _, shown = await run("show", "mario")
    assert not [word for word in ("You are Mario.", "0.1", '"END"', "All rights reserved.") if word not in shown]
    _, said = await run("run", "mario", "hello")
    assert "Rayleigh" in said
    assert sage_engine.seen[-1].json["messages"][0] == {"role": "system", "content": "You are Mario."}
    assert "copied 'mario' to 'luigi'" in (await run("cp", "mario", "luigi"))[1]
    assert "luigi:latest" in (await run("list"))[1]
    assert await run("rm", "mario", "luigi") == (0, "deleted 'mario'\ndeleted 'luigi'\n")
    assert not world.cluster.objects[Resource.ROUTES]


async def test_a_pull_shows_its_progress_and_what_was_pulled_is_removed(run: Run, world: Stage) -> None:
    pull = asyncio.create_task(run("pull", "org/new"))
    await until(lambda: bool(world.cluster.created))
    spec: dict[str, Any] = {"aliases": ["org/new"], "source": {"uri": "hf://org/new"}}
    world.cluster.put(Resource.MODELS, model("org-new", **spec))
    code, said = await pull
    assert (code, "success" in said, "4.5 MB" in said) == (0, True, True), said
    assert (await run("rm", "org/new"))[0] == 0
    assert world.cluster.deleted == [("default", "org-new")]


async def test_a_session_at_the_terminal(world: Stage, program: Path, tmp_path: Path, sage_engine: Engine) -> None:
    env = {"HOME": str(tmp_path), "OLLAMA_HOST": world.url, "TERM": "xterm"}
    async with terminal(program, "run", "org/tiny", env=env) as screen:
        for line, answer in (
            ("why is the sky blue?", "in July ."),
            ("/set system You are Mario.", "Set system message"),
            ("/set parameter temperature 0.2", "Set parameter"),
            ("/show info", "architecture"),
            ("hello", "in July ."),
            ("/save saved", "Created new model 'saved'"),
            ("/load saved", "Loading model 'saved'"),
            ("again", "in July ."),
        ):
            await screen.says(">>> ")
            screen.type(line)
            await screen.says(answer)
        await screen.says(">>> ")
        screen.type("/bye")
    first, second, third = (exchange.json for exchange in sage_engine.seen)
    assert [turn["content"] for turn in first["messages"]] == ["why is the sky blue?"]
    assert (second["messages"][-1]["content"], second["temperature"]) == ("hello", 0.2)
    assert [turn["content"] for turn in third["messages"] if turn["role"] == "user"][-2:] == ["hello", "again"]
    [saved] = world.cluster.objects[Resource.ROUTES].values()
    assert saved["spec"]["defaults"] | {"messages": []} == {
        "system": "You are Mario.",
        "messages": [],
        "temperature": 0.2,
    }
