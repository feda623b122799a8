"""Puts the transformers engine together: the model, the way it is batched, and the HTTP server."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import uvicorn

from dormouse_api.runtime import Stage
from dormouse_runtime.engines.base import announce
from dormouse_runtime.engines.generation import Batcher, GenerationError
from dormouse_runtime.engines.openai.app import Served, create_app
from dormouse_runtime.engines.transformers.continuous import ContinuousBatcher
from dormouse_runtime.engines.transformers.model import Loaded, Wanted, greedy, load
from dormouse_runtime.engines.transformers.static import StaticBatcher
from dormouse_runtime.settings import Settings

log = logging.getLogger(__name__)

WAITING = 8
"""Requests taken in per sequence decoded at once, before callers are told to come back."""
WATCH_SECONDS = 1.0
PROBE, PROBE_TOKENS = "The capital of France is", 4
"""What both ways of generating must agree on before the faster one is used."""


def main(setup: Settings, folder: str, quantization: str) -> int:
    """Load, then serve until SIGTERM (0) or until the batcher dies (1)."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # one warning per layer and token
    announce(Stage.LOADING)
    config = setup.config
    loaded = load(
        Wanted(
            folder=Path(folder),
            quantization=quantization,
            dtype=config.dtype,
            device=config.device,
            remote_code=config.remote_code,
            chat_template=config.chat_template,
            max_model_len=config.max_model_len,
            kv_cache_bytes=config.kv_cache_bytes,
        )
    )
    announce(Stage.WARMING)
    return asyncio.run(_serve(setup, loaded))


async def _serve(setup: Settings, loaded: Loaded) -> int:
    config = setup.config
    served = Served(
        name=config.model,
        batcher=await _batcher(loaded, config.max_num_seqs),
        tokenizer=loaded.tokenizer,
        max_model_len=loaded.max_model_len,
        max_waiting=WAITING * config.max_num_seqs,
        eos=loaded.eos,
        vocabulary=loaded.vocabulary,
        defaults=loaded.defaults,
    )
    server = uvicorn.Server(
        uvicorn.Config(create_app(served), setup.host, config.serving_port, log_level="warning", access_log=False)
    )
    watch = asyncio.create_task(_end_with(served.batcher, server))
    await server.serve()
    watch.cancel()
    return 0 if served.batcher.alive() else 1


async def _batcher(loaded: Loaded, max_num_seqs: int) -> Batcher:
    """Continuous batching where the model lets itself be paged; else batches as they come."""
    prompt = loaded.tokenizer.encode(PROBE) or [loaded.pad]
    if max(prompt) >= loaded.vocabulary:
        raise ValueError(f"the tokenizer makes the token {max(prompt)}, and the model has {loaded.vocabulary} tokens")
    if loaded.model.config.is_encoder_decoder or not loaded.model.is_backend_compatible():
        log.info("this model has an attention of its own: requests are batched as they come")
        return StaticBatcher(loaded, max_num_seqs)
    expected = greedy(loaded.model, prompt, PROBE_TOKENS)
    continuous = None
    try:
        continuous = ContinuousBatcher(loaded, max_num_seqs)
        await continuous.probe(prompt, expected)
    except (GenerationError, TimeoutError, ValueError, NotImplementedError) as error:
        log.warning("no continuous batching with this model (%s): requests are batched as they come", error)
        if continuous:
            continuous.close()
        return StaticBatcher(loaded, max_num_seqs)
    return continuous


async def _end_with(batcher: Batcher, server: uvicorn.Server) -> None:
    """A batcher that died never works again: end the process, and the supervisor starts a new one."""
    while batcher.alive():  # noqa: ASYNC110 - the death of a thread of another library sets no event
        await asyncio.sleep(WATCH_SECONDS)
    log.error("EngineError: the generation loop has ended")
    server.should_exit = True
