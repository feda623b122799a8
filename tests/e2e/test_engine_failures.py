"""Story: real engines that fail on the cluster, the reason in the status within seconds, and who serves instead.

The whole table is played on real engines without a cluster (tests/runtime/engine/test_failures.py), and on a cluster
without engines (tests/controlplane/test_failures.py); here both meet, a few at a time.
"""

import asyncio
import json
import os
import sys
import time
from datetime import datetime
from typing import Any

import pytest

from dev.models import store
from dormouse_api.conditions import ConditionType
from dormouse_api.runtime import RuntimeState, Stage
from tests.e2e.cluster import Object, Seen
from tests.e2e.engines import WAKE_SECONDS
from tests.e2e.samples import FRANCE, PARIS, model
from tests.e2e.story import Condition, Story, chat, component, condition, raw_chat

WITHIN = float(os.environ.get("DORMOUSE_TOLD_WITHIN", "30"))
"""Seconds from the failure to the condition; 5 where the machine does nothing else."""

pytestmark = pytest.mark.timeout(480)


async def _published(story: Story, base: str, without: str = "", **config: Any) -> str:
    """The trained model with something wrong, on the hub; the model's name."""
    folder = (await asyncio.to_thread(store.ensure)) / "dormouse" / "tiny-chat"
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    files["config.json"] = json.dumps(json.loads(files["config.json"]) | config).encode()
    name = story.name(base)
    kept = {path: data for path, data in files.items() if not without or not path.startswith(without)}
    await story.hub.publish(f"e2e/{name}", kept)
    return name


async def _fails(story: Story, name: str, **engine: Any) -> tuple[Condition, RuntimeState, float]:
    """Wake it, and wait for the failure: the condition, the supervisor's last word, and seconds between them."""
    await story.apply(model(name, f"e2e/{name}", profile="cpu", engine={"maxModelLen": 256} | engine))
    await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
    async with story.recorded("pods") as seen:
        call = asyncio.create_task(raw_chat(name, FRANCE, seconds=WAKE_SECONDS))
        found = await story.failing(name, WAKE_SECONDS)
        told = time.time()
        answer = await call
        async with asyncio.timeout(WITHIN):  # pods and models are watched apart from each other
            while (last := _last_word(seen["pods"], name)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert answer.status_code == 503
    assert found.message.partition(";")[0] in answer.json()["error"]["message"]
    (ended,) = [entry.at for entry in last.timeline if entry.stage is Stage.FAILED]
    sys.stdout.write(f"{name}: {found.reason} {told - ended:.1f} s after the last engine's end: {found.message}\n")
    return found, last, told - ended


def _last_word(pods: Seen, name: str) -> RuntimeState | None:
    for pod in component(pods, name, "runtime"):
        for container in pod["status"].get("containerStatuses") or ():
            for state in (container.get("state") or {}, container.get("lastState") or {}):
                if "terminated" in state:
                    return RuntimeState.model_validate_json(state["terminated"]["message"])
    return None


async def test_a_tokenizer_that_is_missing(story: Story) -> None:
    name = await _published(story, "no-tokenizer", without="token")
    found, last, seconds = await _fails(story, name)
    assert found.reason == "Corrupt"
    assert "the tokenizer's files do not fit the model" in found.message
    assert [passed.engine for passed in last.passed] == ["vllm", "transformers"]
    assert last.passed[1].message.startswith("not tried, for it would read the same files")
    assert seconds < WITHIN


async def test_a_context_that_is_too_long(story: Story) -> None:
    name = await _published(story, "long")
    found, last, seconds = await _fails(story, name, maxModelLen=100_000)
    assert found.reason == "InvalidSpec"
    assert "lower spec.engine.maxModelLen" in found.message
    assert last.passed[1].message.startswith("not tried")
    assert seconds < WITHIN


async def test_an_architecture_that_nobody_knows(story: Story) -> None:
    name = await _published(story, "nosuch", architectures=["NoSuchForCausalLM"], model_type="nosuch")
    found, last, seconds = await _fails(story, name)
    assert found.reason == "Unsupported"
    assert "use an engine that knows it" in found.message
    assert [passed.reason.value for passed in last.passed] == ["Unsupported", "Unsupported"]
    assert seconds < WITHIN


async def _passes_over(story: Story, name: str, words: str) -> tuple[Object, float]:
    """Wake it: the model once it serves, and the seconds from the first engine's line to its reason in the status."""
    await story.apply(model(name, f"e2e/{name}", profile="cpu", quantization="auto", engine={"maxModelLen": 256}))
    await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
    call = asyncio.create_task(chat(name, FRANCE, seconds=WAKE_SECONDS))

    def told(item: Object) -> bool:
        return f"; vllm, {words}" in condition(item, ConditionType.RUNTIME_AVAILABLE).message

    await story.seen(name, f"vllm, {words}", told, WAKE_SECONDS)
    at = time.time()
    assert await call == PARIS
    (pod,) = await story.runtime_pods(name)
    log = await story.cluster.log(story.namespace, pod["metadata"]["name"], timestamps=True)
    second = next(line for line in log.splitlines() if "stage importing" in line and _at(line) > _first_end(log))
    sys.stdout.write(f"{name}: {words} {at - _first_end(log):.1f} s after its line; then: {second}\n")
    served = await story.seen(name, "which engine serves", lambda item: item["status"].get("engine") is not None)
    return served, at - _first_end(log)


def _first_end(log: str) -> float:
    """When the first engine said its last: the line before the second one's first."""
    marks = [number for number, line in enumerate(log.splitlines()) if "stage importing" in line]
    assert len(marks) > 1, log[-3000:]
    return _at(log.splitlines()[marks[1] - 1])


def _at(line: str) -> float:
    """The moment before a line, in seconds since the epoch; nanoseconds are more than Python 3.11 reads."""
    stamp = line.partition(" ")[0]
    return datetime.fromisoformat(f"{stamp.rstrip('Z')[:26]}Z").timestamp()


@pytest.mark.parametrize(
    ("base", "wrong", "words"),
    [
        ("odd-class", {"architectures": ["NoSuchForCausalLM"]}, "Unsupported: Model architectures"),
        (
            "odd-weights",
            {"quantization_config": {"quant_method": "nosuch"}},
            "QuantizationFailed: Unknown quantization",
        ),
    ],
)
async def test_what_one_engine_refuses_is_told_while_the_other_starts(
    story: Story, base: str, wrong: dict[str, Any], words: str
) -> None:
    found, seconds = await _passes_over(story, await _published(story, base, **wrong), words)
    assert found["status"]["engine"]["name"] == "transformers"
    (attempt,) = found["status"]["engine"]["attempts"]
    assert f"{attempt['reason']}: {attempt['message']}".startswith(words)
    assert seconds < WITHIN
