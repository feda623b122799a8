"""Batches as they come, by `generate`: for models whose attention the continuous manager cannot page.

Requests that wait when a batch begins are generated together; rows end one by one, and what comes in
meanwhile makes the next batch. One thread owns the model.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import LogitsProcessorList, StoppingCriteriaList

from dormouse_runtime.engines.generation import Finish, GenerationError, Row, Sampling, Step
from dormouse_runtime.engines.transformers.model import Loaded
from dormouse_runtime.engines.transformers.sampling import choose

WINDOW = 0.01
"""Seconds to wait for company after the first request of a batch."""


@dataclass
class _Request:
    row: Row
    loop: asyncio.AbstractEventLoop
    outputs: asyncio.Queue[Step | GenerationError] = field(default_factory=asyncio.Queue)
    cancelled: bool = False
    done: bool = False

    def tell(self, said: Step | GenerationError) -> None:
        """From the model's thread to the caller's loop."""
        self.loop.call_soon_threadsafe(self.outputs.put_nowait, said)


class StaticBatcher:
    """`generation.Batcher` over `model.generate`."""

    def __init__(self, loaded: Loaded, max_num_seqs: int) -> None:
        self._loaded = loaded
        self._size = max_num_seqs
        self._waiting: queue.Queue[_Request] = queue.Queue()
        self._left_over: _Request | None = None
        """The one that did not fit into the last batch: the first of the next."""
        self._thread = threading.Thread(target=self._run, name="generate", daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        return self._thread.is_alive()

    async def generate(self, prompt: Sequence[int], sampling: Sampling) -> AsyncGenerator[Step, None]:
        request = _Request(Row(prompt, sampling), asyncio.get_running_loop())
        self._waiting.put(request)
        try:
            while True:
                said = await request.outputs.get()
                if isinstance(said, GenerationError):
                    raise said
                yield said
                if said.finish:
                    return
        finally:
            request.cancelled = True

    def _run(self) -> None:
        while True:
            batch = self._batch()
            try:
                self._generate(batch)
            except torch.AcceleratorError as error:
                self._fail(batch, error)
                raise  # nothing runs on this device any more: the process ends, and a new one serves
            except Exception as error:  # noqa: BLE001 - memory and all else: this batch fails, the next may not
                self._fail(batch, error)

    @staticmethod
    def _fail(batch: list[_Request], error: Exception) -> None:
        for request in batch:
            if not request.done:
                request.tell(GenerationError(str(error)))

    def _batch(self) -> list[_Request]:
        """Who waits, as many as the profile decodes at once and as fit into the KV memory; one at least."""
        batch = [self._left_over or self._waiting.get()]
        self._left_over = None
        while len(batch) < self._size:
            try:
                request = self._waiting.get(timeout=WINDOW)
            except queue.Empty:
                break
            if cache_tokens([*batch, request]) > self._loaded.cache_tokens:
                self._left_over = request
                break
            batch.append(request)
        return [request for request in batch if not request.cancelled]

    def _generate(self, batch: list[_Request]) -> None:
        if not batch:
            return
        longest = max(len(request.row.prompt) for request in batch)
        ids = torch.full((len(batch), longest), self._loaded.pad)
        mask = torch.zeros_like(ids)
        # what is continued must end where the answer begins; what an encoder reads begins at its first position
        encodes = bool(getattr(self._loaded.model.config, "is_encoder_decoder", False))
        for place, request in enumerate(batch):
            length = len(request.row.prompt)
            part = slice(0, length) if encodes else slice(longest - length, longest)
            ids[place, part] = torch.tensor(request.row.prompt)
            mask[place, part] = 1
        with torch.inference_mode():
            self._loaded.model.generate(
                input_ids=ids.to(self._loaded.model.device),
                attention_mask=mask.to(self._loaded.model.device),
                max_new_tokens=max(request.row.sampling.max_tokens for request in batch),
                do_sample=False,
                eos_token_id=None,  # each row ends by its own rules, below
                pad_token_id=self._loaded.pad,
                logits_processor=LogitsProcessorList([_Choice(batch, sorted(self._loaded.eos))]),
                stopping_criteria=StoppingCriteriaList([_Ends(batch, self._loaded.eos)]),
            )


def cache_tokens(batch: Sequence[_Request]) -> int:
    """Tokens the padded batch takes in the cache when every row runs to its end."""
    longest = max(len(request.row.prompt) for request in batch)
    return len(batch) * (longest + max(request.row.sampling.max_tokens for request in batch))


class _Choice:
    """Leaves one token standing in each row. Rows that have ended are padded by `generate` whatever stands there."""

    def __init__(self, batch: list[_Request], eos: Sequence[int]) -> None:
        self._batch, self._eos = batch, eos

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        open_rows = [place for place, request in enumerate(self._batch) if not request.done]
        tokens = choose(scores[open_rows], [self._batch[place].row for place in open_rows], self._eos)
        only = torch.full_like(scores, -torch.inf)
        only[:, 0] = 0.0
        only[open_rows] = -torch.inf
        only[torch.tensor(open_rows), torch.tensor(tokens)] = 0.0
        return only


class _Ends:
    """Tells each caller its new token, and `generate` which rows have ended."""

    def __init__(self, batch: list[_Request], eos: frozenset[int]) -> None:
        self._batch, self._eos = batch, eos

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: object) -> torch.Tensor:
        for request in self._batch:
            if not request.done:
                self._tell(request)
        return torch.tensor([request.done for request in self._batch], device=input_ids.device)

    def _tell(self, request: _Request) -> None:
        row = request.row
        if row.failed:
            request.done = True
            request.tell(GenerationError(row.failed))
            return
        token, sampling = row.generated[-1], row.sampling
        finish = None
        if token in self._eos and not sampling.ignore_eos:
            finish = Finish.STOP
        elif len(row.generated) >= sampling.max_tokens:
            finish = Finish.LENGTH
        request.done = finish is not None or request.cancelled
        request.tell(Step((token,), finish))
