"""Continuous batching by transformers' own manager: a paged cache, and a new request joins at the next token.

The manager samples for all requests alike; a logits processor of ours decides per request instead, and leaves one
token standing in each row. That needs the requests at hand in Python, so CUDA graphs and asynchronous batching are off.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)

from dormouse_runtime.engines.generation import Finish, GenerationError, Row, Sampling, Step
from dormouse_runtime.engines.transformers.model import Loaded
from dormouse_runtime.engines.transformers.sampling import choose

log = logging.getLogger(__name__)

PAGE_TOKENS = 32
"""Tokens of one cache page: small, because a page belongs to one sequence."""
BATCH_TOKENS = 512
"""Tokens of one forward pass: a long prompt is read in pieces, between which others go on."""
PROBE_SECONDS = 300.0


class ContinuousBatcher:
    """`generation.Batcher` over a ContinuousBatchingManager."""

    def __init__(self, loaded: Loaded, max_num_seqs: int) -> None:
        self._eos = sorted(loaded.eos)
        blocks = max(4, -(-loaded.cache_tokens // PAGE_TOKENS))
        config = ContinuousBatchingConfig(
            page_size=PAGE_TOKENS,
            num_blocks=blocks,
            max_batch_tokens=min(BATCH_TOKENS, blocks * PAGE_TOKENS),
            max_requests_per_batch=max_num_seqs,
            use_cuda_graph=False,
            use_async_batching=False,
            allow_block_sharing=True,
        )
        generation = GenerationConfig(do_sample=False, eos_token_id=self._eos or -1, pad_token_id=loaded.pad)
        self._manager = loaded.model.init_continuous_batching(generation, config)
        # Set before the start, because the manager builds its list from a generation config that all requests share.
        processors = ContinuousBatchingLogitsProcessorList(LogitsProcessorList([_PerRequest(self._eos)]))
        processors.tensors_required = 1
        self._manager.logit_processor = processors
        self._turn = self._manager._generation_loop_body
        self._manager._generation_loop_body = self._guarded_turn
        self._manager.start()

    async def probe(self, prompt: Sequence[int], expected: Sequence[int]) -> None:
        """GenerationError where the tokens are not `expected`: a model whose attention takes no notice of the paged
        cache runs without an error and says nonsense."""
        made: list[int] = []
        sampling = Sampling(max_tokens=len(expected), temperature=0, ignore_eos=True)
        async with asyncio.timeout(PROBE_SECONDS):
            async for step in self.generate(prompt, sampling):
                made += step.tokens
        if made != list(expected):
            raise GenerationError(f"its paged tokens {made} are not its own {list(expected)}")

    def alive(self) -> bool:
        return bool(self._manager.is_running()) and self._manager.background_thread_status.fatal_error is None

    def close(self) -> None:
        """Stop, and give the model back as it was."""
        self._manager.stop(block=True)

    def _guarded_turn(self, processor: Any, bootstrapping: bool) -> bool:
        """A turn of the manager's loop, which of itself ends for good with the first error: here only those fail that
        were under way, or, where none was, those that wait."""
        try:
            return bool(self._turn(processor, bootstrapping))
        except torch.AcceleratorError:
            raise  # nothing runs on this device any more: the process ends, and a new one serves
        except Exception as error:
            under_way = list(processor.scheduler.active_requests.values())
            if not under_way and not processor.scheduler.waiting_requests:
                raise  # no request's doing, so it would come again at once
            log.exception("a batch failed: %s answered with the error", len(under_way) or "all that wait")
            if not under_way:
                processor.fail_all_requests(error)
            for state in under_way:
                processor._handle_request_error(error, state)
                processor.scheduler.finish_request(state.request_id)
            return True

    async def generate(self, prompt: Sequence[int], sampling: Sampling) -> AsyncGenerator[Step, None]:
        outputs: asyncio.Queue[Any] = asyncio.Queue()
        name = uuid.uuid4().hex
        row = Row(prompt, sampling)
        self._manager.register_result_handler(name, outputs.put_nowait)
        accepted = self._manager.add_request(
            list(prompt),
            request_id=name,
            max_new_tokens=sampling.max_tokens,
            streaming=True,
            eos_token_id=-1 if sampling.ignore_eos else (self._eos or -1),
            row=row,
        )
        finished, seen = accepted is None, 0
        try:
            if accepted is None:
                raise GenerationError("the engine takes no more requests: it is being started again")
            while not finished:
                output = await outputs.get()
                finished = output.is_finished()
                if failed := output.error or row.failed:
                    raise GenerationError(failed)
                tokens, seen = tuple(output.generated_tokens[seen:]), len(output.generated_tokens)
                yield Step(tokens, self._finish(tokens, sampling) if finished else None)
        finally:
            self._manager.output_router.result_handlers.pop(name, None)
            if not finished:
                self._manager.cancel_request(name)

    def _finish(self, tokens: tuple[int, ...], sampling: Sampling) -> Finish:
        ended = bool(tokens) and tokens[-1] in self._eos and not sampling.ignore_eos
        return Finish.STOP if ended else Finish.LENGTH


class _PerRequest(ContinuousBatchingLogitsProcessor):  # type: ignore[misc]
    """Chooses each request's token by its own Row, and leaves nothing else for the manager to choose."""

    supported_kwargs = {"row": Row}  # noqa: RUF012 - the base class reads it off the instance
    ignored_kwargs = ()

    def __init__(self, eos: Sequence[int]) -> None:
        self._eos = eos
        self._rows: list[Row] = []

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: list[Any]) -> torch.Tensor:
        """Called before each forward pass with the requests that get a token from it, in the order of the scores."""
        self._rows = [request.state.logit_processor_kwargs["row"] for request in requests_with_new_token]
        return torch.zeros(len(self._rows), dtype=torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        only = torch.full_like(scores, -torch.inf)
        if self._rows:
            tokens = choose(scores[: len(self._rows)], self._rows, self._eos)
            only[torch.arange(len(tokens)), torch.tensor(tokens)] = 0.0
        return only
