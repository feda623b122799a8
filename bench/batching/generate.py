"""The peer of a batch on real vLLM: `LLM.generate` over the same lines, in the engine's environment.

    DORMOUSE_RUNTIME=... python -m bench.batching.generate FILE [--threads N]

The flags and the environment are those that the runtime itself would start vLLM with, so that only the server, the
router and the worker are what differs. Prints one line of JSON: `seconds` from handing the prompts over to the last
answer, `cpu` seconds of all threads meanwhile, and the tokens that were read and made. The model is warm by then: it
has answered other prompts before.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.batching.lines import asked, warming
from dormouse_api.model import Engine
from dormouse_runtime import engines, settings
from dormouse_runtime.engines.vllm_args import MODULE

FLAGS = "BENCH_FLAGS"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads", type=int, help="of the model; without it as many as the runtime would take")
    given = parser.parse_args()
    if FLAGS not in os.environ:
        _again_as_the_engine(given.threads)
    print(json.dumps(generate(given.file, json.loads(os.environ[FLAGS]))), flush=True)


def _again_as_the_engine(threads: int | None) -> None:
    """Become a process with the engine's environment: threads and libraries are chosen before anything is imported."""
    setup = settings.from_environment()
    command = engines.adapters(setup)[Engine.VLLM].command(setup.config.attempts[0])
    env = {**os.environ, **command.env, FLAGS: json.dumps(command.argv[command.argv.index(MODULE) + 1 :])}
    if threads is not None:
        env["OMP_NUM_THREADS"] = str(threads)
    os.execve(sys.executable, [sys.executable, "-m", "bench.batching.generate", *sys.argv[1:]], env)  # noqa: S606 - no shell is wanted


def generate(file: Path, flags: list[str]) -> dict[str, float]:
    from vllm import LLM, EngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser()
    EngineArgs.add_cli_args(parser)
    known, _ = parser.parse_known_args(flags)  # the rest is the server's
    llm = LLM.from_engine_args(EngineArgs.from_cli_args(known))
    _ask(llm, warming())
    lines = list(asked(file))
    began, cpu = time.monotonic(), time.process_time()
    answers = _ask(llm, lines)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    prompt = sum(len(answer.prompt_token_ids) for answer in answers)
    made = sum(len(answer.outputs[0].token_ids) for answer in answers)
    return {"seconds": seconds, "cpu": cpu, "prompt": prompt, "completion": made}


def _ask(llm: Any, bodies: list[dict[str, Any]]) -> Any:
    from vllm import SamplingParams

    params = [
        SamplingParams(temperature=body["temperature"], max_tokens=body["max_tokens"], ignore_eos=body["ignore_eos"])
        for body in bodies
    ]
    return llm.generate([body["prompt"] for body in bodies], params, use_tqdm=False)


if __name__ == "__main__":
    main()
