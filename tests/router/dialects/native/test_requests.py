"""The body of POST /pull: every field, and every way to get it wrong."""

from typing import Any

import msgspec
import pytest

from dormouse_router.dialects.creation import Wanted
from dormouse_router.dialects.native.requests import decode, model_for
from dormouse_router.request import Refusal


def ask(**fields: Any) -> Wanted:
    return model_for(decode(msgspec.json.encode(fields)))


@pytest.mark.parametrize(
    ("fields", "name", "spec"),
    [
        ({"model": "org/name"}, "org-name", {"source": {"uri": "hf://org/name", "revision": "main"}}),
        ({"source": "hf://org/name"}, "org-name", {"aliases": ["org/name"], "quantization": "auto"}),
        ({"model": "https://huggingface.co/org/name"}, "org-name", {"aliases": ["org/name"]}),
        (
            {"source": "s3://bucket/path/model"},
            "bucket-path-model",
            {"source": {"uri": "s3://bucket/path/model", "revision": "main"}},
        ),
        ({"model": "org/name", "quantization": "q4"}, "org-name-int4", {"quantization": "int4"}),
        ({"model": "org/name", "quantization": "no"}, "org-name-none", {"quantization": "none"}),
        ({"model": "org/name", "quantization": False}, "org-name-none", {"quantization": "none"}),
        ({"model": "org/name", "quantization": None}, "org-name", {"quantization": "auto"}),
        (
            {"model": "org/name", "revision": "v1"},
            "org-name-v1",
            {"source": {"uri": "hf://org/name", "revision": "v1"}},
        ),
        ({"model": "org/name", "name": "mine"}, "mine", {"aliases": ["org/name"]}),
        (
            {"model": "org/name", "token_secret": "hub"},
            "org-name",
            {"source": {"uri": "hf://org/name", "revision": "main", "tokenSecretRef": {"name": "hub", "key": "token"}}},
        ),
        (
            {"model": "org/name", "token_secret": {"name": "hub", "key": "k"}},
            "org-name",
            {"source": {"uri": "hf://org/name", "revision": "main", "tokenSecretRef": {"name": "hub", "key": "k"}}},
        ),
    ],
)
def test_what_a_request_asks_for(fields: dict[str, Any], name: str, spec: dict[str, Any]) -> None:
    wanted = ask(**fields)
    wire = wanted.spec.wire()
    assert wanted.name == name
    assert {key: wire[key] for key in spec} == spec


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "say what to pull"),
        ({"model": ""}, "say what to pull"),
        ({"model": "llama3"}, "org/name of the hub"),
        ({"model": "a/b", "source": "hf://c/d"}, "different things"),
        ({"model": 7}, "invalid request"),
        ({"model": "a/b", "quantization": "q5"}, "use one of"),
        ({"model": "a/b", "quantization": True}, "must say which"),
        ({"model": "a/b", "revision": "a b"}, "is not a branch, tag or commit"),
        ({"model": "a/b", "name": "Upper"}, "at most 40 characters"),
        ({"model": "a/b", "name": "-x"}, "at most 40 characters"),
        ({"model": "a/b", "token": "hf_x"}, "put the token into a Secret"),
        ({"model": "a/b", "token_secret": "../x"}, "must name a Secret"),
        ({"model": "a/b", "token_secret": {"name": "x", "key": "a/b"}}, "must name a Secret"),
        ({"model": "a/b", "quantisation": "q4"}, "the fields are model, source, revision, quantization"),
    ],
)
def test_what_is_wrong_is_said_with_the_fix(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal) as refused:
        ask(**fields)
    assert refused.value.status == 400
    assert words in refused.value.message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_bodies_that_are_no_request(body: bytes) -> None:
    with pytest.raises(Refusal, match=r"the body is empty|invalid request") as refused:
        decode(body)
    assert refused.value.status == 400


def test_a_token_is_not_repeated_in_the_refusal() -> None:
    with pytest.raises(Refusal) as refused:
        ask(model="a/b", token="hf_very_secret")
    assert "hf_very_secret" not in refused.value.message
