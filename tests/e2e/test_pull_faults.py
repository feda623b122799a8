"""Story 6: whatever hub or disk do, the condition names it, the caller hears it, and nothing is fetched twice."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from dormouse_api.conditions import ConditionType
from tests.e2e.cluster import Cluster, Object
from tests.e2e.samples import FRANCE, MIB, PARIS, model
from tests.e2e.story import ROUTER, Condition, Hub, Story, begun, chat, component, condition, raw_chat, streamed

WEIGHTS = r"/resolve/.*safetensors"
HEARD_WITHIN = 20.0
"""Seconds from the condition to the held caller's error: milliseconds, where the machine has time."""


@dataclass(frozen=True)
class Case:
    reason: str
    word: str
    """In the message: what to do about it, or what happened."""
    fault: dict[str, Any] | None = None
    """At the hub, on this case's repository; `path` continues the repository's name."""
    size: int = 64 * 1024
    storage: dict[str, str] | None = None
    published: bool = True
    seconds: float = 120


CASES = {
    "corrupt": Case("Corrupt", "hash", {"kind": "corrupt", "path": WEIGHTS, "after": 9000}),
    "unauthorized": Case("Unauthorized", "tokenSecretRef", {"kind": "status", "status": 401}),
    "gated": Case("Gated", "accept its terms", {"kind": "status", "status": 403, "code": "GatedRepo"}),
    "missing": Case("NotFound", "does not exist", published=False),
    "limited": Case("RateLimited", "429", {"kind": "status", "status": 429, "retry_after": 90}),
    "broken": Case("Network", "503", {"kind": "status", "status": 503}, seconds=180),
    "stalled": Case(
        "Stalled", "nothing", {"kind": "stall", "path": WEIGHTS, "after": 5000, "seconds": 300}, seconds=180
    ),
    "full": Case(
        "NoSpace", "raise spec.storage.size", size=24 * MIB, storage={"className": "small-disk", "size": "8Mi"}
    ),
}


@dataclass(frozen=True)
class Heard:
    """What a caller was told, and when (monotonic seconds)."""

    words: str
    at: float


@dataclass(frozen=True)
class Outcome:
    """What became of one case."""

    known: Condition
    known_at: float
    held: dict[str, Heard]
    """Callers that were held from the start, by dialect."""
    later: httpx.Response
    """To a caller that came afterwards."""
    later_seconds: float


async def _play(story: Story, base: str, case: Case) -> Outcome:
    name = story.name(base)
    if case.published:
        await story.publish(base, case.size)
    more = {"storage": case.storage} if case.storage else {}
    await story.apply(model(name, f"e2e/{name}", **more))
    await _listed(name)
    calls = {"openai": _whole(name), "openai stream": _stream(name), "ollama": _ollama(name)}
    held = {dialect: asyncio.create_task(call) for dialect, call in calls.items()}
    known = await story.failing(name, case.seconds)
    known_at = time.monotonic()
    heard = {dialect: await asyncio.wait_for(task, 30) for dialect, task in held.items()}
    started = time.monotonic()
    later = await raw_chat(name, FRANCE, seconds=30)
    return Outcome(known, known_at, heard, later, time.monotonic() - started)


async def _listed(name: str) -> None:
    """Wait until the router knows the model: its watch may be a moment behind ours."""
    async with asyncio.timeout(60), httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=30) as http:
        while name not in {row["id"] for row in (await http.get("/v1/models")).json()["data"]}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # another process has no event to wait for


async def _whole(name: str) -> Heard:
    answer = await raw_chat(name, FRANCE)
    assert answer.status_code == 503, answer.text
    return Heard(answer.json()["error"]["message"], time.monotonic())


async def _stream(name: str) -> Heard:
    """With status 503 or, where the wait was long enough for the head to be sent, in-band."""
    with pytest.raises(openai.APIError) as refused:
        await streamed(name, FRANCE)
    return Heard(refused.value.message, time.monotonic())


async def _ollama(name: str) -> Heard:
    body = {"model": name, "messages": [{"role": "user", "content": FRANCE}], "stream": False}
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=180) as http:
        answer = await http.post("/api/chat", json=body)
    assert answer.status_code == 503, answer.text
    return Heard(answer.json()["error"], time.monotonic())


Outcomes = dict[str, asyncio.Task[Outcome]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def outcomes(cluster: Cluster, hub: Hub) -> AsyncIterator[Outcomes]:
    """All cases at once; each test awaits its own, and those that take long go on beside the other stories."""
    async with begun(cluster, hub, "pull faults") as story:
        await story.faults(
            *(
                {"times": None, **case.fault, "path": f"e2e/{story.name(base)}.*{case.fault.get('path', '')}"}
                for base, case in CASES.items()
                if case.fault
            )
        )
        tasks = {base: asyncio.create_task(_play(story, base, case)) for base, case in CASES.items()}
        yield tasks
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


def _unheard(case: Case, outcome: Outcome) -> list[str]:
    """The held callers, by dialect, who were not told the cause, or not in time."""
    return [
        f"{dialect}: {heard}"
        for dialect, heard in outcome.held.items()
        if case.word not in heard.words or heard.at - outcome.known_at > HEARD_WITHIN
    ]


@pytest.mark.parametrize("base", [base for base in CASES if base != "stalled"])
async def test_fault_is_named_and_heard(outcomes: Outcomes, base: str) -> None:
    case, outcome = CASES[base], await outcomes[base]
    assert (outcome.known.reason, case.word in outcome.known.message) == (case.reason, True), outcome.known
    assert (len(outcome.held), _unheard(case, outcome)) == (3, [])
    assert outcome.later.status_code == 503
    assert outcome.later_seconds < HEARD_WITHIN


async def test_pull_killed_at_half_resumes(story: Story) -> None:
    size = 24 * MIB
    name, repo = story.name("halved"), await story.publish("halved", size)
    slow = {"kind": "slow", "path": f"{repo}{WEIGHTS}", "rate": MIB, "times": None}
    await story.faults(slow)
    await story.apply(model(name, repo))
    half = await story.seen(name, "a pull at half", lambda item: _pulled(item) >= size // 3)
    assert 0 < half["status"]["pull"]["percent"] < 100
    assert half["status"]["progress"].endswith("%")
    before = len(await story.hub.sent(repo))
    pod = await story.pod(name, "pull")
    await story.faults()
    await story.cluster.delete("pods", story.namespace, pod["metadata"]["name"], grace=0)
    found = await story.ready(name)
    assert condition(found, ConditionType.MODEL_PULLED).status == "True"
    after = (await story.hub.sent(repo))[before:]
    fetched = sum(entry["sent"] for entry in after)
    assert 0 < fetched < size - size // 4, f"{fetched} of {size} bytes came again"
    assert all(entry["range"] for entry in after if entry["sent"]), after
    assert await chat(name, FRANCE) == PARIS


async def test_interrupted_connection_is_no_failure(story: Story) -> None:
    """A cut line is taken up again inside the same Job."""
    size = 8 * MIB
    name, repo = story.name("cut"), await story.publish("cut", size)
    cut = {"kind": "cut", "path": f"{repo}{WEIGHTS}", "after": 3 * MIB, "times": 2}
    await story.faults(cut)
    async with story.recorded("pods") as seen:
        await story.apply(model(name, repo))
        await story.ready(name)
        assert len(component(seen["pods"], name, "pull")) == 1
    assert sum(entry["sent"] for entry in await story.hub.sent(repo)) < 2 * size


async def test_token_comes_from_the_models_own_secret(story: Story) -> None:
    """A gated repository opens with the right token, and the token shows up nowhere."""
    token = f"hf_{secrets.token_hex(12)}"
    name = story.name("gated")
    repo = await story.publish("gated", gated=True, tokens=[token])
    secret = {"metadata": {"name": "hub"}, "stringData": {"token": token}}
    await story.cluster.create("secrets", story.namespace, secret)
    source = {"uri": f"hf://{repo}", "tokenSecretRef": {"name": "hub"}}
    async with story.recorded("pods", "jobs", "events") as seen:
        await story.apply(model(name, repo, source=source))
        found = await story.ready(name)
        shown = [found, *(item for kind in seen.values() for item in kind.objects.values())]
        assert not [item["metadata"]["name"] for item in shown if token in str(item)]


async def test_failed_pull_is_taken_up_after_the_cure(story: Story) -> None:
    """A repository that appears later: any change of its spec is a new try."""
    name = story.name("late")
    await story.apply(model(name, f"e2e/{name}"))
    assert (await story.failing(name)).reason == "NotFound"
    await story.publish("late")
    touch = {"spec": {"aliases": [f"{name}-found"]}}
    await story.cluster.patch("inferencemodels", story.namespace, name, touch)
    await story.ready(name)


async def test_silence_is_named_and_heard(outcomes: Outcomes) -> None:
    """Told last: the puller is patient with a silent hub, and the other stories need not wait for it."""
    case, outcome = CASES["stalled"], await outcomes["stalled"]
    assert (outcome.known.reason, case.word in outcome.known.message) == (case.reason, True), outcome.known
    assert (len(outcome.held), _unheard(case, outcome)) == (3, [])
    assert outcome.later.status_code == 503
    assert outcome.later_seconds < HEARD_WITHIN


def _pulled(item: Object) -> int:
    return int((item.get("status", {}).get("pull") or {}).get("bytes", 0))
