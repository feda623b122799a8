"""OpenAI's Python SDK, strict: pictures, voices, and a clear word where a model has none."""

import base64
import io
import json
import wave
from typing import Any

import openai
import pytest

from tests.clients.world import CHAT, EMBED, MEDIA, World
from tests.engine.others import picture, sound

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_pictures_are_drawn(sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.images.generate(model=MEDIA, prompt="a mouse", n=2, size="256x256", response_format="b64_json")
    drawn = [base64.b64decode(image.b64_json or "") for image in made.data or []]
    assert [data[:4] for data in drawn] == [b"\x89PNG"] * 2


async def test_pictures_are_changed(sdk: openai.AsyncOpenAI) -> None:
    file = ("mouse.png", base64.b64decode(picture("a mouse")), "image/png")
    made = await sdk.images.edit(model=MEDIA, image=file, prompt="a cat")
    assert made.data
    assert made.data[0].b64_json


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # what the SDK says of its translations
async def test_voices(sdk: openai.AsyncOpenAI) -> None:
    spoken = await sdk.audio.speech.create(model=MEDIA, voice="alloy", input="hello", response_format="wav")
    content: Any = spoken.content
    with wave.open(io.BytesIO(content)) as opened:
        assert opened.getnframes() == 5
    file = ("voice.wav", sound("hello"), "audio/wav")
    for heard in (
        await sdk.audio.transcriptions.create(model=MEDIA, file=file, language="en"),
        await sdk.audio.translations.create(model=MEDIA, file=file),
    ):
        assert heard.text == f"I heard {len(sound('hello'))} bytes."
    text = await sdk.audio.transcriptions.create(model=MEDIA, file=file, response_format="text")
    assert str(text).startswith("I heard")


async def test_a_model_that_cannot_is_not_asked(sdk: openai.AsyncOpenAI, router: World) -> None:
    before = len(router.asked(CHAT))
    file = ("voice.wav", sound("hello"), "audio/wav")
    calls: list[Any] = [
        lambda: sdk.images.generate(model=CHAT, prompt="a mouse"),
        lambda: sdk.audio.speech.create(model=CHAT, voice="alloy", input="hello"),
        lambda: sdk.audio.transcriptions.create(model=CHAT, file=file),
        lambda: sdk.embeddings.create(model=CHAT, input="a"),
    ]
    for call in calls:
        with pytest.raises(openai.BadRequestError, match=CHAT) as refused:
            await call()
        assert (refused.value.param, refused.value.type) == ("model", "invalid_request_error")
    assert len(router.asked(CHAT)) == before


async def test_ranks_and_tokens(sdk: openai.AsyncOpenAI) -> None:
    """Routes that the SDK has no methods for, by its own `post`."""
    wish = {"model": EMBED, "query": "a small mouse", "documents": ["a cat", "a small mouse"]}
    ranked = json.loads(json.dumps(await sdk.post("/rerank", body=wish, cast_to=object)))
    assert [row["index"] for row in ranked["results"]] == [1, 0]
    scored = json.loads(
        json.dumps(await sdk.post("/score", body={"model": EMBED, "text_1": "a", "text_2": ["a", "b"]}, cast_to=object))
    )
    assert [row["score"] for row in scored["data"]] == [1, 0]
