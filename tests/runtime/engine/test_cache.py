"""The operator's arithmetic of the KV cache is vLLM's own, to the byte."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from dormouse_api.anatomy import Anatomy, CacheLayers
from dormouse_operator.decide.memory import BATCHES_IN_FLIGHT, Terms, kv_cache

pytestmark = pytest.mark.engine

LLAMA = [CacheLayers(layers=32, heads=8, width=256)]
GEMMA_12B = [CacheLayers(layers=40, heads=8, width=512, window=1024), CacheLayers(layers=8, heads=8, width=512)]
GEMMA_27B = [CacheLayers(layers=52, heads=16, width=256, window=1024), CacheLayers(layers=10, heads=16, width=256)]
GPT_OSS = [CacheLayers(layers=12, heads=8, width=128, window=128), CacheLayers(layers=12, heads=8, width=128)]
UNEVEN = [CacheLayers(layers=12, heads=8, width=128, window=128), CacheLayers(layers=13, heads=8, width=128)]
DEEPSEEK = [CacheLayers(layers=61, heads=1, width=576)]
MISTRAL_01 = [CacheLayers(layers=32, heads=8, width=256, window=4096)]
CASES = [
    (cache, context, devices, batch)
    for cache in (LLAMA, GEMMA_12B, GEMMA_27B, GPT_OSS, UNEVEN, DEEPSEEK, MISTRAL_01)
    for context, devices, batch in ((100, 1, 2048), (8192, 1, 2048), (8193, 2, 2048), (131_072, 8, 8192))
]


def test_vllm_counts_the_same(python: str) -> None:
    rows, ours = [], []
    for cache, context, devices, batch in CASES:
        shared = [[g.layers, -(-g.heads // devices), g.width, g.window] for g in cache]
        rows.append([shared, context, BATCHES_IN_FLIGHT * batch])
        ours.append(kv_cache(Anatomy(cache=cache), Terms(devices=devices, batch_tokens=batch)).bytes(context))
    script = str(Path(__file__).with_name("vllmcache.py"))
    done = subprocess.run(
        [python, script], input=json.dumps(rows), capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert ours == json.loads(done.stdout.splitlines()[-1])
