"""The embeddings route over an embedder that counts."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from dormouse_runtime.engines.openai.embeddings import Library, create_app
from dormouse_runtime.engines.worker import Worker


class Counting:
    """A vector is a text's first token and its length; a token is a letter."""

    max_model_len = 8

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def embed(self, prompts: Sequence[list[int]], left: Callable[[], bool]) -> list[list[float]]:
        return [[float(prompt[0]), float(len(prompt))] for prompt in prompts]


async def post(body: Any, most: int = 4) -> httpx.Response:
    app = create_app(Library("tiny", Counting(), Worker(most)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://engine") as http:
        return await http.post("/v1/embeddings", json=body)


@pytest.mark.parametrize(
    ("given", "vectors", "tokens"),
    [
        ("ab", [[97, 2]], 2),
        (["ab", "b"], [[97, 2], [98, 1]], 3),
        ([7, 8, 9], [[7, 3]], 3),
        ([[7], [8, 9]], [[7, 1], [8, 2]], 3),
    ],
)
async def test_texts_and_tokens_become_vectors_in_their_order(given: Any, vectors: list[Any], tokens: int) -> None:
    answer = (await post({"input": given, "model": "tiny"})).json()
    assert [item["embedding"] for item in answer["data"]] == vectors
    assert [item["index"] for item in answer["data"]] == list(range(len(vectors)))
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


async def test_vectors_come_as_base64_where_that_is_asked_for() -> None:
    answer = (await post({"input": "ab", "encoding_format": "base64"})).json()
    assert array("f", base64.b64decode(answer["data"][0]["embedding"])).tolist() == [97, 2]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"input": "x" * 9}, 400, "maximum context length is 8"),
        ({"input": ""}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": [-1]}, 400, "input"),
        ({}, 400, "input"),
        ({"input": "a", "model": "other"}, 404, "does not exist"),
        ({"input": "a", "dimensions": 1}, 400, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, 400, "encoding_format"),
    ],
)
async def test_what_cannot_be_embedded_is_refused_with_the_fix(body: Any, status: int, words: str) -> None:
    answer = await post(body)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


async def test_beyond_the_line_callers_are_told_to_come_back() -> None:
    answer = await post({"input": "a"}, most=0)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
