"""What is asked of answers later, and what requests refer to: by the SDK, strict, and by hand."""

import json
from dataclasses import replace
from typing import Any, NoReturn
from urllib.parse import quote

import httpx
import openai
import pytest

from dormouse_router.dialects.openai.responses.items import response_of
from dormouse_router.keeping import Keeping, StoredResponse, headers_owner
from dormouse_router.notifying import Event
from dormouse_router.request import Refusal
from dormouse_router.store.memory import in_memory
from tests.engine.engine import Engine
from tests.router.dialects.openai.responses.events import CREATED, TEXT, THOUGHT, kinds, parsed
from tests.router.dialects.openai.responses.test_sdk import FRANCE, asked
from tests.router.fakes import Stage

URL = "/v1/responses"
OWNER = headers_owner({"authorization": "Bearer any"})
ASK: dict[str, Any] = {"model": "tiny", "input": FRANCE}


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_is_kept_as_it_was_given(client: httpx.AsyncClient, streamed: bool) -> None:
    answer = await client.post(URL, json=ASK | {"stream": streamed, "metadata": {"a": "b"}})
    given = parsed(answer.content)[-1]["response"] if streamed else answer.json()
    assert (await client.get(f"{URL}/{given['id']}")).json() == given
    assert given["status"] == "completed"


@pytest.mark.usefixtures("played")
async def test_delete(sdk: openai.AsyncOpenAI, client: httpx.AsyncClient) -> None:
    first, second = [await sdk.responses.create(model="tiny", input=FRANCE) for _ in range(2)]
    answer = await client.delete(f"{URL}/{first.id}")
    assert answer.json() == {"id": first.id, "object": "response", "deleted": True}
    await sdk.responses.delete(second.id)
    for gone in (first.id, second.id):
        with pytest.raises(openai.NotFoundError, match="not found"):
            await sdk.responses.retrieve(gone)
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(model="tiny", input=FRANCE, previous_response_id=first.id)
    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items"), ("GET", "?stream=true")],
)
async def test_unknown_ids(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, f"{URL}/resp_nothing{path}")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, None)
    assert "resp_nothing" in error["message"]


class TestOddIds:
    @pytest.fixture
    def keeping(self) -> Keeping:
        """Nobody may ask a database for what it does not take."""
        return replace(in_memory(), responses=Away())

    @pytest.mark.usefixtures("played")
    @pytest.mark.parametrize("ident", ["resp_\0", "resp_" + "x" * 65, "resp_é", "1", "resp_1 "])
    async def test_they_are_no_ids(self, client: httpx.AsyncClient, ident: str) -> None:
        path = f"{URL}/{quote(ident)}"
        for method in ("GET", "DELETE"):
            assert (await client.request(method, path)).status_code == 404
        refused = await client.post(URL, json=ASK | {"previous_response_id": ident})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found")


@pytest.mark.usefixtures("played")
async def test_nobody_else_sees_an_answer(world: Stage) -> None:
    urls: dict[str, Any] = {"base_url": f"{world.url}/v1", "max_retries": 0}
    mine, other = openai.AsyncOpenAI(api_key="mine", **urls), openai.AsyncOpenAI(api_key="other", **urls)
    async with mine, other:
        made = await mine.responses.create(model="tiny", input=FRANCE)
        assert (await mine.responses.retrieve(made.id)).output_text == "Paris."
        for ask in (other.responses.retrieve, other.responses.delete, other.responses.cancel):
            with pytest.raises(openai.NotFoundError):
                await ask(made.id)
        with pytest.raises(openai.NotFoundError):
            await other.responses.input_items.list(made.id)
        with pytest.raises(openai.BadRequestError):
            await other.responses.create(model="tiny", input=FRANCE, previous_response_id=made.id)
        reference: Any = [{"type": "item_reference", "id": made.output[0].id}]
        with pytest.raises(openai.NotFoundError):
            await other.responses.create(model="tiny", input=reference)
        assert (await mine.responses.retrieve(made.id)).id == made.id


@pytest.mark.usefixtures("played")
async def test_input_items_page_by_page(sdk: openai.AsyncOpenAI, client: httpx.AsyncClient) -> None:
    talk: Any = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": [{"type": "input_text", "text": "three"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "sunny"},
        {"type": "reasoning", "id": "rs_mine", "summary": []},
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://x/y.png"}]},
    ]
    made = await sdk.responses.create(model="tiny", input=talk)
    listed = [item async for item in sdk.responses.input_items.list(made.id, order="asc", limit=2)]
    assert [item.type for item in listed] == [item.get("type", "message") for item in talk]
    assert listed[5].id == "rs_mine"
    names = [item.id for item in listed]
    assert len(set(names)) == len(names)
    assert [item.id async for item in sdk.responses.input_items.list(made.id)] == names[::-1]
    path = f"{URL}/{made.id}/input_items"
    page = (await client.get(path, params={"order": "asc", "limit": 1, "after": names[0], "before": names[3]})).json()
    assert (page["first_id"], page["last_id"], page["has_more"]) == (names[1], names[1], True)
    page = (await client.get(path, params={"order": "asc", "after": names[0], "before": names[3]})).json()
    assert ([item["id"] for item in page["data"]], page["has_more"]) == (names[1:3], False)
    empty = (await client.get(path, params={"after": names[0]})).json()
    assert empty == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    for bad in ({"after": "nothing"}, {"limit": 0}, {"limit": 101}, {"order": "up"}):
        refused = await client.get(path, params=bad)
        assert refused.status_code == 400
        assert refused.json()["error"]["type"] == "invalid_request_error"


async def test_items_are_referred_to(sdk: openai.AsyncOpenAI, played: Engine) -> None:
    """As the AI SDK does, which sends no text twice."""
    made = await sdk.responses.create(model="tiny", input="!think hard !say Paris.")
    ids = [item.id for item in made.output]
    assert [response_of(ident or "") for ident in ids] == [made.id, made.id]
    talk: Any = [
        {"role": "user", "content": FRANCE},
        *({"type": "item_reference", "id": ident} for ident in ids),
        {"role": "user", "content": "Really?"},
    ]
    again = await sdk.responses.create(model="tiny", input=talk)
    expected = [
        {"role": "user", "content": FRANCE},
        {"role": "assistant", "content": "Paris.", "reasoning": "hard"},
        {"role": "user", "content": "Really?"},
    ]
    assert asked(played)["messages"] == expected
    kept = [item.id async for item in sdk.responses.input_items.list(again.id, order="asc")]
    assert kept[1:3] == ids
    await sdk.responses.create(model="tiny", input=[talk[2], talk[3]], previous_response_id=again.id)
    sent = asked(played)["messages"]
    assert [message["content"] for message in sent].count("Paris.") == 1  # the history has it already
    for gone in ("msg_" + "0" * 34, "rs_elsewhere"):
        with pytest.raises(openai.NotFoundError, match="Send the item itself"):
            await sdk.responses.create(model="tiny", input=[{"type": "item_reference", "id": gone}])


@pytest.mark.usefixtures("played")
async def test_an_answer_that_is_not_kept(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="tiny", input=FRANCE)
    second = await sdk.responses.create(model="tiny", input=FRANCE, store=False, previous_response_id=first.id)
    assert second.output_text == "Paris."
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(second.id)


@pytest.mark.usefixtures("played")
async def test_events_are_told_again(sdk: openai.AsyncOpenAI, client: httpx.AsyncClient) -> None:
    made = await sdk.responses.create(model="tiny", input="!think hard !say süß 日本")
    answer = await client.get(f"{URL}/{made.id}", params={"stream": "true"})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = parsed(answer.content)
    assert kinds(events) == [*CREATED, *THOUGHT(1), *TEXT(1), "response.completed"]
    assert events[-1]["response"] == (await client.get(f"{URL}/{made.id}")).json()
    async with sdk.responses.stream(response_id=made.id) as stream:
        assert (await stream.get_final_response()).output_text == "süß 日本"
    refused = await client.get(f"{URL}/{made.id}", params={"stream": "true", "starting_after": 3})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "starting_after")


@pytest.mark.usefixtures("played")
async def test_only_answers_in_the_background_are_cancelled(sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.responses.create(model="tiny", input=FRANCE)
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        await sdk.responses.cancel(made.id)


@pytest.mark.usefixtures("played")
async def test_answers_expire(keeping: Keeping, client: httpx.AsyncClient) -> None:
    made = (await client.post(URL, json=ASK)).json()
    kept = await keeping.responses.get(made["id"], OWNER)
    assert kept is not None
    assert kept.expires_at == made["created_at"] + 30 * 86400
    assert json.loads(kept.input_items)[0]["content"] == [{"type": "input_text", "text": FRANCE}]


class Away:
    """A store whose database is away."""

    def _refuse(self) -> NoReturn:
        raise Refusal(503, "The store cannot be reached: send it again later.")

    async def put(self, response: StoredResponse, event: Event | None = None) -> None:
        self._refuse()

    async def get(self, id: str, owner: str) -> StoredResponse | None:  # noqa: A002 - as the API calls it
        self._refuse()

    async def delete(self, id: str, owner: str) -> bool:  # noqa: A002
        self._refuse()

    async def chain(self, id: str, owner: str) -> list[StoredResponse] | None:  # noqa: A002
        self._refuse()


class TestWithoutAStore:
    """What needs the store is refused in words; an answer that nobody asked to keep is given all the same."""

    @pytest.fixture
    def keeping(self) -> Keeping:
        return replace(in_memory(), responses=Away())

    @pytest.mark.usefixtures("played")
    async def test_an_answer_says_that_it_was_not_kept(self, client: httpx.AsyncClient) -> None:
        whole = (await client.post(URL, json=ASK)).json()
        assert (whole["status"], whole["store"]) == ("completed", False)
        streamed = parsed((await client.post(URL, json=ASK | {"stream": True})).content)
        assert streamed[0]["response"]["store"] is True
        assert (streamed[-1]["type"], streamed[-1]["response"]["store"]) == ("response.completed", False)

    @pytest.mark.usefixtures("played")
    async def test_who_insists_is_refused(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(URL, json=ASK | {"store": True})
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "service_unavailable")
        streamed = parsed((await client.post(URL, json=ASK | {"store": True, "stream": True})).content)
        assert kinds(streamed)[-2:] == ["error", "response.failed"]
        assert "store cannot be reached" in streamed[-1]["response"]["error"]["message"]

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/resp_1", None),
            ("DELETE", "/resp_1", None),
            ("POST", "/resp_1/cancel", None),
            ("GET", "/resp_1/input_items", None),
            ("POST", "", {"background": True}),
            ("POST", "", {"previous_response_id": "resp_1"}),
            ("POST", "", {"input": [{"type": "item_reference", "id": "msg_" + "0" * 34}]}),
            ("POST", "/input_tokens", {"previous_response_id": "resp_1"}),
        ],
    )
    async def test_what_needs_it(
        self, played: Engine, client: httpx.AsyncClient, method: str, path: str, body: Any
    ) -> None:
        answer = await client.request(method, URL + path, json=None if body is None else ASK | body)
        assert answer.status_code == 503
        assert answer.json()["error"]["message"] == "The store cannot be reached: send it again later."
        assert not played.api.requests
