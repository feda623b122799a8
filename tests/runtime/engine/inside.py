"""Runs in the engine's Python and prints what the tests ask about torch code, as JSON: `python inside.py FOLDER`."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from dormouse_runtime.engines.generation import Batcher, GenerationError, Row, Sampling
from dormouse_runtime.engines.transformers.continuous import ContinuousBatcher
from dormouse_runtime.engines.transformers.model import ChatTokenizer, Loaded
from dormouse_runtime.engines.transformers.sampling import choose
from dormouse_runtime.engines.transformers.static import StaticBatcher
from dormouse_runtime.quantize import check, compressed, layout, rtn
from dormouse_runtime.quantize.progress import Meter
from dormouse_runtime.quantize.tensorfile import read_header

DRAWS = 4000


def sampling(_: Path) -> dict[str, Any]:
    """What `choose` does with rules of many kinds."""
    scores = torch.tensor([0.0, 3.0, 2.0, 1.0, -5.0])

    def draw(rows: list[Row], times: int = 1) -> list[list[int]]:
        for _ in range(times):
            choose(scores.repeat(len(rows), 1), rows, [0])
        return [row.generated for row in rows]

    def row(**rules: Any) -> Row:
        return Row([1], Sampling(max_tokens=9, **rules))

    (plain,) = draw([row(seed=1)], DRAWS)
    alone = draw([row(seed=5)], 20)[0]
    company = draw([row(seed=9), row(temperature=0), row(seed=5, top_p=1.0), row(seed=2, top_k=2)], 20)[2]
    return {
        "expected": torch.softmax(scores, -1).tolist(),
        "frequencies": [plain.count(token) / DRAWS for token in range(5)],
        "greedy": draw([row(temperature=0)], 3)[0],
        "alone": alone,
        "in_company": company,
        "top_k_none": draw([row(seed=5, top_k=5)], 20)[0],
        "top_k_beyond": draw([row(seed=5, top_k=10**40)], 20)[0],
        "top_k": sorted(set(draw([row(seed=1, top_k=2)], 300)[0])),
        "top_p": sorted(set(draw([row(seed=1, top_p=0.6)], 300)[0])),
        "min_p": sorted(set(draw([row(seed=1, min_p=0.3)], 300)[0])),
        "biased": draw([row(temperature=0, logit_bias={4: 100.0})])[0],
        "repetition": draw([row(temperature=0, repetition_penalty=4.0)])[0],
        "presence": draw([row(temperature=0, presence_penalty=1.5)], 3)[0],
        "ends_too_early": draw([row(temperature=0, logit_bias={0: 100.0}, min_tokens=2)], 3)[0],
    }


PROMPT, BEYOND = [1, 2, 3], [10**6]
"""Tokens, and one that the model has no embedding of."""


def batching(_: Path) -> dict[str, Any]:
    """What either batcher answers to requests that raise, to one in their company, and to one that comes later."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).eval()
    loaded = Loaded(model, ChatTokenizer(None), frozenset(), 0, 32, 64, 512, {})
    return {
        batcher.__name__: asyncio.run(_hostile(batcher(loaded, 4))) for batcher in (StaticBatcher, ContinuousBatcher)
    }


async def _hostile(batcher: Batcher) -> dict[str, Any]:
    async def said(prompt: list[int], **rules: Any) -> Any:
        made: list[int] = []
        sampling = Sampling(**{"max_tokens": 8, "temperature": 0.0, **rules})
        try:
            async with asyncio.timeout(300):
                async for step in batcher.generate(prompt, sampling):
                    made += step.tokens
        except GenerationError as error:
            return str(error)
        return made

    alone = await said(PROMPT)
    torn: Any = "no number"  # stands for whatever a rule may raise
    rules, company = await asyncio.gather(said(PROMPT, temperature=1.0, top_k=torn), said(PROMPT))
    found = {"alone": alone, "rules": rules, "company": company, "nothing": await said([])}
    found |= {"beyond": await said(BEYOND), "later": await said(PROMPT), "alive": batcher.alive()}
    if isinstance(batcher, ContinuousBatcher):
        batcher.close()  # its thread would keep this process
    return found


class Peak:
    """The most private memory of this process while inside, beyond what it had before; mapped files do not count."""

    def __enter__(self) -> Peak:
        self._before, self.grown = self._now(), 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.002):
            self.grown = max(self.grown, self._now() - self._before)

    def _now(self) -> int:
        (line,) = [row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("RssAnon:")]
        return int(line.split()[1]) * 1024


def rounding(_: Path) -> dict[str, Any]:
    """Errors of normal weights, and the packing against the library's own."""
    torch.manual_seed(0)
    weights = torch.randn(64, 512, dtype=torch.bfloat16)
    numbers = torch.randint(-8, 8, (16, 64), dtype=torch.int8)
    errors = {}
    for method in layout.METHODS:
        done = rtn.quantize(weights, method, 128, torch.bfloat16)
        errors[method] = sqrt(done.error / done.power)
    return {
        "errors": errors,
        "packs_as_the_library": torch.equal(pack_to_int32(numbers, 4), rtn.pack_int4(numbers)),
        "unpacks": torch.equal(rtn.unpack_int4(rtn.pack_int4(numbers)), numbers),
        "zeros": float(rtn.quantize(torch.zeros(8, 128), "int4", 32, torch.bfloat16).error),
    }


def streaming(folder: Path) -> dict[str, Any]:
    """Quantize a tensor much larger than a block; memory, content, and what happens to a copy that was damaged."""
    torch.manual_seed(0)
    name = "model.layers.0.mlp.down_proj.weight"
    save_file(
        {name: torch.randn(16384, 4096, dtype=torch.bfloat16), "norm.weight": torch.ones(9)}, folder / "a.safetensors"
    )
    (folder / "copy").mkdir()
    files = {"a.safetensors": read_header(folder / "a.safetensors")[0]}
    planned = layout.plan("int4", files)
    rtn.quantize(torch.randn(256, 4096), "int4", 128, torch.bfloat16)  # what threads and libraries take once
    with Peak() as peak:
        written = compressed.write(folder, folder / "copy", planned, "int4", Meter(planned.source_bytes))
    check.compressed(folder, folder / "copy", planned, "int4")
    copy = folder / "copy" / "a.safetensors"
    data = bytearray(copy.read_bytes())
    data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
    _, places = read_header(copy)
    start = places["model.layers.0.mlp.down_proj.weight_packed"][0]
    data[start : start + 2**20] = bytes(2**20)
    copy.write_bytes(data)
    try:
        check.compressed(folder, folder / "copy", planned, "int4")
        refused = ""
    except layout.LayoutError as error:
        refused = str(error)
    return {
        "grown": peak.grown,
        "source": planned.source_bytes,
        "planned": planned.bytes,
        "written": written[0].size,
        "refused": refused,
    }


def damaged(folder: Path) -> dict[str, Any]:
    """Weights that are no numbers."""
    name = "model.layers.0.mlp.down_proj.weight"
    weights = torch.ones(32, 128)
    weights[3, 5] = torch.nan
    save_file({name: weights}, folder / "a.safetensors")
    (folder / "copy").mkdir()
    planned = layout.plan("int8", {"a.safetensors": read_header(folder / "a.safetensors")[0]})
    try:
        compressed.write(folder, folder / "copy", planned, "int8", Meter(1))
    except layout.LayoutError as error:
        return {"refused": str(error)}
    return {"refused": ""}


if __name__ == "__main__":
    answers = {}
    for what in (
        streaming,
        sampling,
        batching,
        rounding,
        damaged,
    ):  # the one that measures memory before any other takes some
        folder = Path(sys.argv[1], what.__name__)
        folder.mkdir()
        answers[what.__name__] = what(folder)
    sys.stdout.write(f"\nANSWERS {json.dumps(answers)}\n")
