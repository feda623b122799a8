"""The integration tests that Ollama publishes, unmodified, against a running router and an engine with answers."""

import asyncio
import re

import pytest

from dev import ollama
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.ollama import sage
from tests.router.dialects.ollama.programs import need_go
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SECONDS = 300.0
TALKERS = ["llama3.2:1b", "llama3.2", "gemma4", "lfm2.5", "qwen3.5:2b", "gpt-oss:20b", "gemma2:2b", "nemotron3:33b"]
"""Names of models the tests call; those that are not here they skip."""
ROUTES = ("ollama", "openai_chat_completions", "openai_responses", "anthropic_messages")
PICTURES = ("multiturn", "count", "scene", "spatial", "detail", "multi-image", "description")
HOW = ("default", "explicit")
PASSED, FAILED = (re.compile(rf"^ *--- {word}: (\S+)", re.MULTILINE) for word in ("PASS", "FAIL"))


@pytest.fixture(scope="session")
def judge() -> ollama.Suite:
    """The tests, built where they are not in the cache yet."""
    need_go()
    return ollama.suite()


@pytest.mark.parametrize(
    ("tests", "among"),
    [
        ("TestAPI", ["api-generate/llama3.2:1b", "api-chat/llama3.2:1b", "api-list-models", "api-show-model/llama3.2"]),
        ("TestAPI/.*-logprobs", ["generate-logprobs/llama3.2:1b/logprobs_with_top_5", "chat-logprobs/llama3.2:1b"]),
        ("TestBasic", ["blue-sky/llama3.2:1b", "unicode-output/gemma2:2b", "num-predict/llama3.2:1b"]),
        ("TestBasic/thinking", [f"thinking-{how}/llama3.2:1b/llama3.2:1b" for how in ("enabled", "suppressed")]),
        ("TestChat", ["chat/gemma4", "chat/gpt-oss:20b", "chat-history/llama3.2:1b"]),
        ("TestContext", ["context-exhaustion/llama3.2:1b", "parallel-chat-history/gpt-oss:20b"]),
        ("TestConcurrency/concurrent", ["concurrent-chat/llama3.2:1b"]),
        ("TestTools/^tools/", ["tools/gemma4", "tools/lfm2.5"]),
        ("TestTools/tools-stress", ["tools-stress/lfm2.5/multi_turn"]),
        ("TestTools/tools-routes", [f"tools-routes/gemma4/{route}" for route in ROUTES]),
        ("TestVision/vision-(m|c|s|de)", [f"vision-{what}/nemotron3:33b" for what in PICTURES]),
        ("TestVision/vision-text", ["vision-text/gemma4"]),
        # those left out compare with the vectors of real weights
        ("TestEmbedding/embed-correlation", ["embed-correlation/all-minilm", "embed-correlation/qwen3-embedding"]),
        ("TestEmbedding/embed-api-truncate", [f"embed-api-truncate/all-minilm/{how}_truncate" for how in HOW]),
        ("TestEmbedding/embed-api-truncate", ["embed-api-truncate/all-minilm/truncate_error"]),
        ("TestEmbedding/embed-truncation", ["embed-truncation/qwen3-embedding/truncation_batch"]),
        ("TestEmbedding/embed-large-input", ["embed-large-input/all-minilm/very_large_input_800_words"]),
        ("TestEmbedding/embed-status-code", ["embed-status-code/all-minilm/batch_truncation_error_status_code"]),
    ],
)
async def test_ollamas_own_tests(
    world: Stage, make_engine: MakeEngine, judge: ollama.Suite, tests: str, among: list[str]
) -> None:
    """`among`: some of those that must have run."""
    engine = await make_engine(sage.serve)
    # a few are for models on an accelerator only
    talks = known_status(
        capabilities=["completion", "tools", "thinking", "vision"], contextLength=131_072, device="cuda"
    )
    embeds = known_status(capabilities=["embedding"], contextLength=sage.CONTEXT)
    world.cluster.add_model(model("talker", aliases=TALKERS, status=talks))
    world.cluster.add_model(model("all-minilm", aliases=["qwen3-embedding"], status=embeds))
    for name in ("talker", "all-minilm"):
        world.ready(engine, name=name)
        await engines.awake(world, name)
    process = await asyncio.create_subprocess_exec(
        judge.program,
        *("-test.v", "-test.timeout", "10m", "-test.run", tests),
        cwd=judge.folder,
        env={"OLLAMA_HOST": world.url, "OLLAMA_TEST_EXISTING": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(SECONDS):
        output, _ = await process.communicate()
    said = output.decode(errors="replace")
    assert (FAILED.findall(said), process.returncode) == ([], 0), said[-8000:]
    passed = {name.partition("/")[2] for name in PASSED.findall(said)}
    assert not [name for name in among if name not in passed], sorted(passed)
