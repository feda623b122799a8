"""What choosing is for: turns of a conversation meet the engine that still keeps what it computed for the last one.

First a simulation with seeded chance: engines that remember the latest conversations they served, many conversations
under one system prompt, and a steady number of calls in flight. Then sessions, over sockets.
"""

import json
import random
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from dormouse_router.catalog.catalog import Endpoint
from dormouse_router.catalog.record import record_from
from dormouse_router.dataplane.balance import Balancer, bound
from dormouse_router.gateway import CHAT, EMBEDDINGS, Call
from tests.router.conftest import MakeEngine
from tests.router.fakes import Stage, model

RECORD = record_from(model())
SYSTEM = {"role": "system", "content": "You are a helpful assistant of the Dormouse project. " * 20}
CONVERSATIONS, CALLS, WARM_UP = 120, 6000, 1000


@dataclass
class Memory:
    """The conversations an engine's cache has room for, the latest last."""

    room: int
    kept: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def serve(self, conversation: int) -> bool:
        """Whether it was remembered."""
        known = self.kept.pop(conversation, 0) is None
        self.kept[conversation] = None
        if len(self.kept) > self.room:
            self.kept.popitem(last=False)
        return known


class Talk:
    """A conversation that grows by a turn with each call."""

    def __init__(self, number: int) -> None:
        self.messages = [SYSTEM, {"role": "user", "content": f"Tell me of topic {number}."}]

    def call(self, path: str) -> Call:
        body = json.dumps({"model": "tiny", "messages": self.messages}).encode()
        self.messages = [*self.messages[:8], {"role": "assistant", "content": "Well."}]
        return Call(RECORD, path, body, "openai")


def hits(path: str, engines: int, in_flight: int) -> float:
    """The share of calls whose engine remembers the conversation. No engine ever exceeds its bound."""
    chance = random.Random(7)  # noqa: S311 - a simulation
    made = tuple(Endpoint(f"10.0.0.{number}", 8000) for number in range(engines))
    memories = {id(endpoint): Memory(room=3 * CONVERSATIONS // (2 * engines)) for endpoint in made}
    talks = [Talk(number) for number in range(CONVERSATIONS)]
    balancer, out, found = Balancer(), deque[Endpoint](), 0
    for number in range(CALLS):
        while len(out) >= in_flight:
            out.rotate(chance.randrange(in_flight))
            out.popleft().in_flight -= 1
        who = chance.randrange(CONVERSATIONS)
        endpoint = balancer.choose(made, talks[who].call(path), 1.0)
        assert endpoint is not None
        endpoint.in_flight += 1
        out.append(endpoint)
        assert endpoint.in_flight <= bound(len(out) - 1, engines)
        known = memories[id(endpoint)].serve(who)
        found += known and number >= WARM_UP
    return found / (CALLS - WARM_UP)


@pytest.mark.parametrize(
    ("engines", "in_flight", "wanted"), [(2, 8, 0.9), (4, 4, 0.8), (4, 16, 0.75), (4, 64, 0.95), (8, 64, 0.75)]
)
def test_conversations_meet_their_engine(engines: int, in_flight: int, wanted: float) -> None:
    """Beside it the same calls without a key (embeddings have none), which go to the least in flight."""
    alike, anywhere = hits(CHAT, engines, in_flight), hits(EMBEDDINGS, engines, in_flight)
    assert alike > wanted
    assert alike > anywhere + 0.15


SESSION = {"x-dormouse-session": "s-1"}


@pytest.mark.parametrize(
    ("path", "body", "headers", "engines"),
    [
        ("/v1/chat/completions", {}, SESSION, 1),
        ("/v1/chat/completions", {"prompt_cache_key": "s-1"}, {}, 1),
        ("/v1/chat/completions", {}, {}, 3),
        ("/api/chat", {"stream": False}, SESSION, 1),
        ("/api/chat", {"stream": False}, {}, 3),
        ("/v1/messages", {"max_tokens": 9}, SESSION, 1),
        ("/v1/messages", {"max_tokens": 9}, {}, 3),
    ],
)
async def test_a_session_meets_one_engine_whatever_it_says(
    world: Stage,
    client: httpx.AsyncClient,
    make_engine: MakeEngine,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
    engines: int,
) -> None:
    made = [await make_engine() for _ in range(3)]
    await world.awake(*made)
    for number in range(24):
        says = [{"role": "user", "content": f"Question {number}"}]
        answer = await client.post(path, json={"model": "tiny", "messages": says, **body}, headers=headers)
        assert answer.status_code == 200
    assert sum(bool(engine.seen) for engine in made) == engines
