"""Guessed tokens on a real vLLM: by n-grams and by a draft model the answers stay, and the speed is another."""

import asyncio
import time
from typing import Any

import pytest

from dormouse_api.names import PORT_SERVING
from tests.e2e.samples import FRANCE, PARIS, model
from tests.e2e.shell import kubectl
from tests.e2e.story import Story, chat, sdk

QUESTIONS = ("Count to twenty.", "Tell me a story.") * 3
NGRAM = {"method": "ngram", "tokens": 3, "promptLookupMin": 1}
"""One word is enough to guess by: the tiny answers repeat no two."""
DRAFT = {"method": "draft", "tokens": 3, "source": {"uri": "hf://dormouse/tiny-draft"}}
WAYS: dict[str, dict[str, Any]] = {"none": {}, "ngram": NGRAM, "draft": DRAFT}
WAKE_SECONDS = 150


async def measured(name: str) -> tuple[list[str], float]:
    """(answers, tokens a second) of one caller."""
    said, tokens, began = [], 0, time.monotonic()
    async with sdk(seconds=60) as client:
        for question in QUESTIONS:
            answer = await client.chat.completions.create(
                model=name, messages=[{"role": "user", "content": question}], temperature=0
            )
            said.append(answer.choices[0].message.content or "")
            assert answer.usage is not None
            tokens += answer.usage.completion_tokens
    return said, tokens / (time.monotonic() - began)


async def guesses(story: Story, name: str) -> tuple[float, float]:
    """(guessed, right) tokens, as the engine counts them."""
    (pod,) = await story.runtime_pods(name)
    path = f"/api/v1/namespaces/{story.namespace}/pods/{pod['metadata']['name']}:{PORT_SERVING}/proxy/metrics"
    text = await asyncio.to_thread(kubectl, "get", "--raw", path)  # this machine has no way to pods itself
    found = dict.fromkeys(("draft", "accepted"), 0.0)
    for kind in found:
        lines = (line for line in text.splitlines() if line.startswith(f"vllm:spec_decode_num_{kind}_tokens_total"))
        found[kind] = sum(float(line.rpartition(" ")[2]) for line in lines)
    return found["draft"], found["accepted"]


@pytest.mark.timeout(470)
async def test_guessed_tokens_change_the_speed_and_nothing_else(story: Story) -> None:
    answers, lines = {}, []
    for way, speculative in WAYS.items():
        name = story.name(f"spec-{way}")
        engine: dict[str, Any] = {"order": ["vllm"], "maxModelLen": 256}
        if speculative:
            engine["speculative"] = speculative
        await story.apply(model(name, "dormouse/tiny-chat", profile="cpu", engine=engine))
        await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
        assert await chat(name, FRANCE, seconds=WAKE_SECONDS) == PARIS
        answers[way], speed = await measured(name)
        guessed, right = await guesses(story, name)
        assert (guessed > 0) == bool(speculative)
        lines.append(f"{way}: {speed:.0f} tokens/s, {right:.0f} of {guessed:.0f} guesses right")
        await story.cluster.delete("inferencemodels", story.namespace, name)
        await story.asleep(name)
    assert answers["ngram"] == answers["none"]
    assert answers["draft"] == answers["none"]
    print("\nspeculative decoding, one caller:", *lines, sep="\n  ")  # noqa: T201
