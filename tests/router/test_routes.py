"""Routes over real sockets: split, sticky, fallback, defaults and waking, by OpenAI's API and in the lists."""

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import openai
import pytest

from dormouse_router.cluster import Resource
from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Stage, model, stage, until

pytestmark = pytest.mark.slow

URL = "/v1/chat/completions"
HI = [{"role": "user", "content": "Capital of France?"}]


def body(name: str = "ab", **more: Any) -> dict[str, Any]:
    return {"model": name, "messages": HI, **more}


@pytest.fixture
async def engines(world: Stage, make_engine: MakeEngine) -> dict[str, Engine]:
    """Two models that are awake, a and b."""
    made = {name: await make_engine() for name in "ab"}
    for name, engine in made.items():
        await world.awake(engine, name=name)
    return made


async def routed(world: Stage, name: str, *variants: tuple[str, int], **spec: Any) -> None:
    """Add a route; returns when the router knows it as it is now."""
    world.cluster.add_route(name, *variants, **spec)
    version = world.cluster.objects[Resource.ROUTES]["default", name]["metadata"]["resourceVersion"]
    await until(
        lambda: (found := world.router.catalog.routes.get(("default", name))) is not None and found.version == version
    )


async def metrics(world: Stage) -> str:
    async with httpx.AsyncClient(base_url=world.ops) as ops:
        return (await ops.get("/metrics")).text


async def ask(client: httpx.AsyncClient, **request: Any) -> httpx.Response:
    answer = await client.post(URL, **request)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.usefixtures("engines")
async def test_answers_and_metrics_say_which_variant_answered(world: Stage, client: httpx.AsyncClient) -> None:
    await routed(world, "ab", ("a", 3), ("b", 1))
    answers = [await ask(client, json=body(stream=n % 2 == 0)) for n in range(40)]
    seen = Counter(answer.headers["x-dormouse-variant"] for answer in answers)
    assert abs(seen["a"] - 30) <= 1
    assert seen.total() == 40
    for answer in answers:
        assert answer.headers["x-dormouse-route"] == "default/ab"
        assert answer.headers["x-dormouse-model"] == f"default/{answer.headers['x-dormouse-variant']}"
    assert all(answer.json()["model"] == "ab" for answer in answers[1::2])
    shown = await metrics(world)
    for variant, count in seen.items():
        assert f'dormouse_route_requests_total{{code="200",route="default/ab",variant="{variant}"}} {count}.0' in shown
    world.cluster.remove(Resource.ROUTES, "default", "ab")
    await until(lambda: not world.router.catalog.routes.every())
    assert "default/ab" not in await metrics(world)
    await routed(world, "ab", ("a", 1))  # another of that name has its own numbers
    assert "default/ab" not in await metrics(world)


async def test_a_model_called_by_its_own_name_knows_nothing_of_routes(
    world: Stage, client: httpx.AsyncClient, engines: dict[str, Engine]
) -> None:
    await routed(world, "ab", ("a", 1), defaults={"system": "Be brief.", "temperature": 0.2})
    answer = await ask(client, json=body("a"))
    assert "x-dormouse-route" not in answer.headers
    assert engines["a"].seen[0].json == body("a")


@pytest.mark.parametrize(
    ("sticky", "headers", "more"),
    [
        ({"by": "User"}, {}, {"user": "{}"}),
        ({"by": "User"}, {}, {"safety_identifier": "{}"}),
        ({"by": "Session"}, {"x-dormouse-session": "{}"}, {}),
        ({"by": "Header", "header": "X-Tenant"}, {"x-tenant": "{}"}, {}),
    ],
)
@pytest.mark.usefixtures("engines")
async def test_a_caller_stays_with_its_variant(
    world: Stage, client: httpx.AsyncClient, sticky: Any, headers: dict[str, str], more: dict[str, str]
) -> None:
    await routed(world, "ab", ("a", 1), ("b", 1), sticky=sticky)
    met: dict[int, set[str]] = {}
    for _ in range(4):
        for caller in range(12):
            own = {name: value.format(caller) for name, value in more.items()}
            answer = await ask(client, json=body(**own), headers={k: v.format(caller) for k, v in headers.items()})
            met.setdefault(caller, set()).add(answer.headers["x-dormouse-variant"])
    assert all(len(variants) == 1 for variants in met.values())
    assert set().union(*met.values()) == {"a", "b"}


async def test_defaults_reach_the_engine_and_the_requests_own_wins(
    world: Stage, client: httpx.AsyncClient, engines: dict[str, Engine]
) -> None:
    await routed(world, "ab", ("a", 1), defaults={"system": "Be brief.", "temperature": 0.2, "maxTokens": 9})
    await ask(client, json=body(temperature=1.5))
    assert engines["a"].seen[0].json == {
        "model": "a",
        "messages": [{"role": "system", "content": "Be brief."}, *HI],
        "temperature": 1.5,
        "max_tokens": 9,
    }


@pytest.mark.parametrize("broken", ["failed", "missing", "deleting"])
@pytest.mark.usefixtures("engines")
async def test_another_model_steps_in_for_one_that_cannot_serve(
    world: Stage, client: httpx.AsyncClient, broken: str
) -> None:
    gated = model("c", reason="Gated", message="Accept the licence.")
    if broken == "deleting":
        gated["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if broken != "missing":
        await world.asleep(gated)
    await routed(world, "ab", ("c", 1), fallback=["c", "b"])
    answer = await ask(client, json=body())
    assert answer.headers["x-dormouse-variant"] == "b"
    shown = await metrics(world)
    assert 'dormouse_route_fallbacks_total{route="default/ab",variant="c"} 1.0' in shown
    assert 'dormouse_route_requests_total{code="200",route="default/ab",variant="b"} 1.0' in shown


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_fails_while_its_caller_waits_is_stood_in_for(
    world: Stage, client: httpx.AsyncClient, engines: dict[str, Engine], stream: bool
) -> None:
    await world.asleep(model("c"))
    await routed(world, "ab", ("c", 1), fallback=["b"], defaults={"temperature": 0.2})
    call = asyncio.create_task(ask(client, json=body(stream=stream)))
    await until(lambda: bool(world.cluster.writes))
    assert not call.done()
    world.cluster.put(Resource.MODELS, model("c", reason="EngineFailed", message="No engine can serve it."))
    answer = await call
    assert answer.headers["x-dormouse-variant"] == "b"
    asked = engines["b"].seen[0].json
    assert ("stream_options" in asked) is stream, "every stream is asked for its usage"
    assert {**asked, "stream_options": None} == {**body("b", stream=stream, temperature=0.2), "stream_options": None}
    shown = await metrics(world)
    assert 'dormouse_route_requests_total{code="503",route="default/ab",variant="c"} 1.0' in shown


async def test_a_model_that_only_sleeps_is_woken_and_nobody_steps_in(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, engines: dict[str, Engine]
) -> None:
    await world.asleep(model("c"))
    world.wake_with(await make_engine(), name="c")
    await routed(world, "ab", ("c", 1), fallback=["b"])
    answer = await ask(client, json=body(stream=True))
    assert answer.headers["x-dormouse-variant"] == "c"
    assert [lease for _, lease, _ in world.cluster.writes] == ["c-runtime"]
    assert not engines["b"].seen


async def test_the_comments_of_a_held_stream_come_with_the_routes_headers(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    async with stage(comment_after=0.0, comment_every=0.05) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep(model("c"))
        await routed(world, "ab", ("c", 1))
        async with client.stream("POST", URL, json=body(stream=True), timeout=20) as answer:
            assert answer.headers["x-dormouse-variant"] == "c"
            lines = answer.aiter_lines()
            assert (await anext(lines)).startswith(": c ")
            world.ready(engine, name="c")
            rest = [line async for line in lines]
    assert rest[-2] == "data: [DONE]"


@pytest.mark.parametrize(
    ("variants", "objects", "status", "words"),
    [
        ([("x", 1)], [], 503, "create the InferenceModel default/x"),
        ([("x", 1)], [model("x", reason="Gated", message="Accept the licence.")], 503, "Accept the licence."),
        ([("x", 1)], [model("x", namespace="other")], 503, "create the InferenceModel default/x"),
    ],
)
async def test_a_route_nobody_can_answer_is_refused_with_the_fix(
    world: Stage, client: httpx.AsyncClient, variants: Any, objects: list[Any], status: int, words: str
) -> None:
    for obj in objects:
        await world.asleep(obj)
    await routed(world, "ab", *variants)
    answer = await client.post(URL, json=body())
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.usefixtures("engines")
async def test_a_route_is_listed_and_shown_as_a_model(world: Stage) -> None:
    for name, length in (("a", 4096), ("b", 1024)):
        world.cluster.put(Resource.MODELS, model(name, status={"contextLength": length}))
    await routed(world, "ab", ("a", 1), ("b", 1), aliases=["org/Both"])
    await routed(world, "empty", ("nobody", 1))
    async with openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key="none", max_retries=0) as sdk:
        cards = {card.id: card for card in [card async for card in sdk.models.list()]}
        assert set(cards) == {"a", "b", "ab", "empty"}
        assert cards["ab"].to_dict()["max_model_len"] == 1024
        assert (await sdk.models.retrieve("org/Both")).id == "org/Both"
        with pytest.raises(openai.NotFoundError, match="Pull it first"):
            await sdk.models.retrieve("nobody")
        whole = await sdk.chat.completions.create(model="org/Both", messages=[{"role": "user", "content": "hi"}])
        assert whole.model == "org/Both"


async def many(world: Stage, bodies: list[dict[str, Any]]) -> list[str]:
    """The variants that answer `bodies`, one after the other on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
    met = []
    for each in bodies:
        sent = json.dumps(each).encode()
        writer.write(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (URL.encode(), len(sent)) + sent)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        found = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
        await reader.readexactly(int(found["content-length"]))
        met.append(found["x-dormouse-variant"])
    writer.close()
    await writer.wait_closed()
    return met


@pytest.mark.usefixtures("engines")
async def test_ten_thousand_calls_are_split_within_one_percent(world: Stage) -> None:
    await routed(world, "ab", ("a", 90), ("b", 10))
    parts = await asyncio.gather(*(many(world, [body()] * 1000) for _ in range(10)))
    met = Counter(variant for part in parts for variant in part)
    assert met.total() == 10_000
    assert abs(met["b"] / 10_000 - 0.1) < 0.01


@pytest.mark.usefixtures("engines")
async def test_ten_thousand_calls_of_four_hundred_users_never_change_sides(world: Stage) -> None:
    await routed(world, "ab", ("a", 1), ("b", 1), sticky={"by": "User"})
    users = [[f"user-{client}-{number}" for number in range(40)] for client in range(10)]
    parts = await asyncio.gather(*(many(world, [body(user=user) for user in mine] * 25) for mine in users))
    for mine, part in zip(users, parts, strict=True):
        assert len(set(zip(mine * 25, part, strict=True))) == len(mine)
    assert {variant for part in parts for variant in part} == {"a", "b"}


async def test_a_route_whose_model_is_replaced_goes_on(
    world: Stage, client: httpx.AsyncClient, engines: dict[str, Engine]
) -> None:
    await routed(world, "ab", ("a", 1), sticky={"by": "User"})
    await ask(client, json=body(user="u"))
    await routed(world, "ab", ("b", 1), sticky={"by": "User"})
    assert (await ask(client, json=body(user="u"))).headers["x-dormouse-variant"] == "b"
    world.cluster.remove(Resource.ROUTES, "default", "ab")
    await until(lambda: not world.router.catalog.routes.every())
    assert (await client.post(URL, json=body())).status_code == 404
    assert json.loads(engines["a"].seen[0].body)["user"] == "u"
