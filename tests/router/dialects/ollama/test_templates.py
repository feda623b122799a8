"""Templates over real sockets: names that are created with one, one for a single prompt, and who refuses such names."""

import json
from typing import Any

import httpx
import ollama
import pytest

from dormouse_router.cluster import Resource
from dormouse_router.gateway import COMPLETIONS
from tests.router.dialects import engines
from tests.router.dialects.engines import BODY, HI, lines
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Engine, Exchange, Stage, route, until

CHATML = (
    "{{- if .System }}<sys>{{ .System }}</sys>{{ end }}\n"
    "{{- range .Messages }}{{ if ne .Role `system` }}<{{ .Role }}>{{ .Content }}{{ end }}{{ end }}<assistant>"
)
OLD = "{{ .System }}[{{ .Prompt }}]{{ .Response }};"
CANNED = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
PNG = "iVBORw0KGgo="


async def test_a_name_that_is_created_with_a_template_writes_its_prompts(
    world: Stage, sdk: ollama.AsyncClient, serving: Engine
) -> None:
    made = await sdk.create("mario", from_="tiny", template=CHATML, system="You are Mario.", messages=CANNED)
    assert made.status == "success"
    [obj] = world.cluster.objects[Resource.ROUTES].values()
    assert obj["spec"]["defaults"] == {"template": CHATML, "system": "You are Mario.", "messages": CANNED}
    whole = await sdk.chat(model="mario", messages=HI, options={"stop": ["<user>"], "num_predict": 9}, keep_alive="7m")
    assert (whole.message.content, whole.done_reason, whole.prompt_eval_count) == ("Paris.", "stop", 7)
    sent = serving.seen[-1]
    written = "<sys>You are Mario.</sys><user>2+2?<assistant>4<user>Capital of France?<assistant>"
    assert (sent.path, sent.json["prompt"], "messages" in sent.json) == (COMPLETIONS, written, False)
    assert (sent.json["stop"], sent.json["max_tokens"], sent.json["model"]) == (["<user>"], 9, "tiny-chat")
    parts = [part async for part in await sdk.chat(model="mario", messages=HI, stream=True)]
    assert [part.message.content for part in parts] == ["Par", "is", ".", ""]
    own = await sdk.generate(model="mario", prompt="hi", system="You are Luigi.")
    assert own.response == "Paris."
    assert serving.seen[-1].json["prompt"] == "<sys>You are Luigi.</sys><user>2+2?<assistant>4<user>hi<assistant>"
    await sdk.generate(model="mario", prompt="<s>", raw=True)
    assert serving.seen[-1].json["prompt"] == "<s>"


@pytest.mark.usefixtures("serving")
async def test_show_and_the_lists_tell_the_template(sdk: ollama.AsyncClient, client: httpx.AsyncClient) -> None:
    await sdk.create("mario", from_="tiny", template=CHATML)
    shown = (await client.post("/api/show", json={"model": "mario"})).json()
    assert shown["template"] == CHATML
    assert f'TEMPLATE """{CHATML}"""' in shown["modelfile"]
    assert shown["capabilities"] == ["completion"]
    listed = {each["name"]: each["capabilities"] for each in (await client.get("/api/tags")).json()["models"]}
    assert (listed["mario:latest"], listed["tiny:latest"]) == (["completion"], ["completion", "tools"])
    await sdk.create("filler", from_="tiny", template="<{{ .Prompt }}|{{ .Suffix }}>")
    assert (await sdk.show("filler")).capabilities == ["completion", "insert"]


@pytest.mark.usefixtures("serving")
async def test_a_template_is_inherited_replaced_and_taken_back(world: Stage, sdk: ollama.AsyncClient) -> None:
    def template(name: str) -> str | None:
        spec = world.cluster.objects[Resource.ROUTES]["default", name]["spec"]
        return spec.get("defaults", {}).get("template")  # type: ignore[no-any-return]

    await sdk.create("mario", from_="tiny", template=CHATML)
    await sdk.create("luigi", from_="mario", system="x")
    await sdk.create("peach", from_="mario", template=OLD)
    await sdk.create("toad", from_="mario", template=(await sdk.show("tiny")).template)
    await sdk.copy("mario", "copy")
    assert [template(name) for name in ("luigi", "peach", "toad", "copy")] == [CHATML, OLD, None, CHATML]


async def test_one_prompt_by_a_template_of_its_own(sdk: ollama.AsyncClient, serving: Engine) -> None:
    first = await sdk.generate(model="tiny", prompt="one", system="s", template=OLD)
    assert serving.seen[-1].json["prompt"] == "s[one]"
    assert first.context
    parts = [
        part
        async for part in await sdk.generate(
            model="tiny", prompt="two", template=OLD, context=first.context, stream=True
        )
    ]
    assert serving.seen[-1].json["prompt"] == "s[one]Paris.;[two]"
    assert "".join(part.response or "" for part in parts) == "Paris."
    assert parts[-1].context
    assert len(parts[-1].context) > len(first.context)
    await sdk.create("mario", from_="tiny", template=CHATML)
    await sdk.generate(model="mario", prompt="one", template=OLD)
    assert serving.seen[-1].json["prompt"] == "[one]"
    await sdk.generate(model="tiny", prompt="a", suffix="b", template="<{{ .Prompt }}|{{ .Suffix }}>")
    assert serving.seen[-1].json["prompt"] == "<a|b>"
    assert "suffix" not in serving.seen[-1].json
    shown = (await sdk.show("tiny")).template
    assert shown
    await sdk.generate(model="tiny", prompt="one", template=shown)
    assert serving.seen[-1].json["messages"] == [{"role": "user", "content": "one"}]


async def test_a_conversation_that_is_too_long_loses_its_older_half(
    client: httpx.AsyncClient, sdk: ollama.AsyncClient, serving: Engine
) -> None:
    async def short(exchange: Exchange) -> None:
        if len(exchange.json["prompt"]) > 60:
            words = "This model's maximum context length is 60 tokens. However, your prompt contains 90 input tokens"
            await exchange.answer({"error": {"message": words, "code": 400}}, 400)
        else:
            await engines.paris(exchange)

    serving.serve = short
    await sdk.create("mario", from_="tiny", template=CHATML, system="Brief.")
    turns = [{"role": role, "content": f"{n}"} for n in range(6) for role in ("user", "assistant")]
    body = {"model": "mario", "messages": [*turns, *HI], "stream": False}
    answer = await client.post("/api/chat", json=body)
    assert answer.json()["message"]["content"] == "Paris."
    assert serving.seen[-1].json["prompt"] == "<sys>Brief.</sys><user>Capital of France?<assistant>"
    refused = await client.post("/api/chat", json=body | {"truncate": False})
    assert (refused.status_code, "exceeds the context length" in refused.json()["error"]) == (400, True)


async def test_a_thought_that_the_template_begins(world: Stage, sdk: ollama.AsyncClient, serving: Engine) -> None:
    async def thinks(exchange: Exchange) -> None:
        await exchange.stream_head()
        for word in ("I see.</th", "ink>\n", "Paris."):
            await exchange.event({"choices": [{"index": 0, "text": word, "finish_reason": None}]})
        await exchange.event({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]})
        await engines.finish(exchange)

    serving.serve = thinks
    status = known_status(capabilities=["completion", "thinking", "tools"])
    world.cluster.add_model(model("thinker", status=status))
    world.ready(serving, name="thinker")
    await engines.awake(world, "thinker")
    await sdk.create("mario", from_="thinker", template="{{ .Prompt }}{{ if .Think }}<think>{{ end }}\n")
    assert (await sdk.show("mario")).capabilities == ["completion", "thinking"]
    whole = await sdk.chat(model="mario", messages=HI)
    assert (whole.message.thinking, whole.message.content) == ("I see.", "Paris.")
    assert serving.seen[-1].json["prompt"] == "Capital of France?<think>\n"
    await sdk.chat(model="mario", messages=HI, think=False)
    assert serving.seen[-1].json["prompt"] == "Capital of France?\n"
    await sdk.create("plain", from_="thinker", template="{{ .Prompt }}")
    with pytest.raises(ollama.ResponseError, match='"plain" does not support thinking'):
        await sdk.chat(model="plain", messages=HI, think=True)


@pytest.mark.parametrize(
    ("path", "more", "words"),
    [
        ("/api/chat", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "does not support tools: it has a"),
        ("/api/chat", {"messages": [HI[0] | {"images": [PNG]}]}, "does not support vision: its template"),
        ("/api/generate", {"prompt": "x", "images": [PNG]}, "does not support vision: its template"),
        ("/api/generate", {"prompt": "x", "suffix": "y"}, "does not support insert: its template speaks of no .Suffix"),
        ("/api/generate", {"prompt": "x", "template": "{{ .Nope.x }}"}, "template: line 1, column 4: nothing has no"),
        ("/api/generate", {"prompt": "x", "template": "{{"}, "template: line 1, column 1"),
        ("/v1/chat/completions", {}, "its InferenceRoute"),
        ("/v1/chat/completions", {"stream": True}, "its InferenceRoute"),
        ("/v1/responses", {"input": "x"}, "its InferenceRoute"),
        ("/v1/responses", {"input": "x", "stream": True}, "its InferenceRoute"),
        ("/v1/messages", {"max_tokens": 9}, "its InferenceRoute"),
        ("/v1/messages", {"max_tokens": 9, "stream": True}, "its InferenceRoute"),
        ("/v1/messages/count_tokens", {}, "its InferenceRoute"),
        ("/tokenize", {}, "its InferenceRoute"),
        ("/chat", {}, "its InferenceRoute"),
        ("/chat", {"stream": True}, "its InferenceRoute"),
    ],
)
async def test_what_a_template_cannot_do_is_refused_before_anything_wakes(
    world: Stage, client: httpx.AsyncClient, path: str, more: dict[str, Any], words: str
) -> None:
    world.cluster.add_model(model(aliases=["tiny"]))
    world.cluster.put(Resource.ROUTES, route("mario", ("tiny-chat", 1), defaults={"template": CHATML}))
    await engines.known(world)
    await until(lambda: world.router.catalog.find_route("mario") is not None)
    body = {**({} if "input" in more or "prompt" in more else BODY), "model": "mario", **more}
    answer = await client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert words in json.dumps(answer.json())
    assert world.cluster.writes == []


async def test_other_dialects_send_finished_prompts(
    world: Stage, client: httpx.AsyncClient, sdk: ollama.AsyncClient, serving: Engine
) -> None:
    await sdk.create("mario", from_="tiny", template=CHATML)
    answer = await client.post("/v1/completions", json={"model": "mario", "prompt": "<user>x", "stream": True})
    assert (answer.status_code, serving.seen[-1].json["prompt"]) == (200, "<user>x")
    streamed = await client.post("/api/chat", json={"model": "mario", "messages": HI})
    assert [line["done"] for line in lines(streamed)] == [False, False, False, True]


async def test_a_route_whose_template_is_none_says_so(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model())
    world.cluster.put(Resource.ROUTES, route("broken", ("tiny-chat", 1), defaults={"template": "{{ end }}"}))
    await engines.known(world)
    await until(lambda: world.router.catalog.find_route("broken") is not None)
    answer = await client.post("/api/chat", json={"model": "broken", "messages": HI})
    assert (answer.status_code, "line 1, column 4" in answer.json()["error"]) == (400, True)
    shown = (await client.post("/api/show", json={"model": "broken"})).json()
    assert (shown["template"], shown["capabilities"]) == ("{{ end }}", ["completion", "tools"])
