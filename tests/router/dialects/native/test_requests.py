"""The body of POST /pull: every field, and every way to get it wrong."""

from typing import Any

import msgspec
import pytest

from dormouse_router.dialects.creation import Wanted
from dormouse_router.dialects.native.requests import decode, model_for, refuse_impossible
from dormouse_router.request import Refusal
from tests.router.dialects.records import known_status, record


def ask(**fields: Any) -> Wanted:
    return model_for(decode(msgspec.json.encode(fields)))


@pytest.mark.parametrize(
    ("fields", "name", "spec"),
    [
        ({"model": "org/name"}, "org-name", {"source": {"uri": "hf://org/name", "revision": "main"}}),
        ({"source": "hf://org/name"}, "org-name", {"aliases": ["org/name"], "quantization": "auto"}),
        ({"model": "https://huggingface.co/org/name"}, "org-name", {"aliases": ["org/name"]}),
        ({"model": "hf.co/org/name"}, "org-name", {"source": {"uri": "hf://org/name", "revision": "main"}}),
        ({"model": "huggingface.co/org/name"}, "org-name", {"aliases": ["org/name"]}),
        (
            {"source": "s3://bucket/path/model"},
            "bucket-path-model",
            {"source": {"uri": "s3://bucket/path/model", "revision": "main"}},
        ),
        ({"model": "org/name", "quantization": "q4"}, "org-name-int4", {"quantization": "int4"}),
        ({"model": "org/name", "quantization": "no"}, "org-name-none", {"quantization": "none"}),
        ({"model": "org/name", "quantization": False}, "org-name-none", {"quantization": "none"}),
        ({"model": "org/name", "quantization": None}, "org-name", {"quantization": "auto"}),
        ({"model": "org/name", "quantize": "auto"}, "org-name", {"quantization": "auto"}),
        ({"model": "org/name", "quantize": "q4"}, "org-name-int4", {"quantization": "int4"}),
        ({"model": "org/name", "quantize": "fp16"}, "org-name-none", {"quantization": "none"}),
        ({"model": "org/name", "quantize": "int8"}, "org-name-int8", {"quantization": "int8"}),
        ({"model": "org/name", "quantize": "int4"}, "org-name-int4", {"quantization": "int4"}),
        ({"model": "org/name", "quantize": "gptq"}, "org-name-gptq", {"quantization": "gptq"}),
        ({"model": "org/name", "quantize": "awq"}, "org-name-awq", {"quantization": "awq"}),
        ({"model": "org/name", "quantize": "no"}, "org-name-none", {"quantization": "none"}),
        ({"model": "org/name", "quantize": "q4", "quantization": "q4"}, "org-name-int4", {"quantization": "int4"}),
        ({"model": "org/name", "quantize": False}, "org-name-none", {"quantization": "none"}),
        (dict.fromkeys(("source", "revision", "quantize", "init", "name"), None) | {"model": "a/b"}, "a-b", {}),
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
        (
            {"source": "s3://models/team/tiny", "token_secret": "store"},
            "models-team-tiny",
            {
                "source": {
                    "uri": "s3://models/team/tiny",
                    "revision": "main",
                    "credentialsSecretRef": {"name": "store"},
                }
            },
        ),
        (
            {"source": "pvc://training/runs/42", "revision": "monday"},
            "training-runs-42-monday",
            {"source": {"uri": "pvc://training/runs/42", "revision": "monday"}},
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
        ({"model": "https://huggingface.co/"}, "say what to pull"),
        ({"model": "https://evil.example/org/name"}, "org/name of the hub"),
        ({"model": "org/hf.co/name"}, "org/name of the hub"),
        ({"model": "a/b", "source": "hf://c/d"}, "different things"),
        ({"model": 7}, "invalid request"),
        ({"model": "a/b", "quantization": "q5"}, "use one of"),
        ({"model": "a/b", "quantization": True}, "must say which"),
        ({"model": "a/b", "quantize": True}, "quantize must say which"),
        ({"model": "a/b", "quantize": "q4", "quantization": "q8"}, "different things"),
        ({"model": "a/b", "init": "yes"}, "invalid request"),
        ({"model": "a/b", "revision": "a b"}, "is not a branch, tag or commit"),
        ({"model": "a/b", "name": "Upper"}, "at most 40 characters"),
        ({"model": "a/b", "name": "-x"}, "at most 40 characters"),
        ({"model": "a/b", "token": "hf_x"}, "put the token into a Secret"),
        ({"model": "a/b", "token_secret": "../x"}, "must name a Secret"),
        ({"source": "pvc://training/a", "token_secret": "x"}, "leave it out, a claim needs none"),
        ({"model": "a/b", "token_secret": {"name": "x", "key": "a/b"}}, "must name a Secret"),
        ({"model": "a/b", "quantisation": "q4"}, "the fields are model, source, revision, quantize, quantization"),
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


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model": 7}, "model"),
        ({"model": "a/b", "init": "yes"}, "init"),
        ({"model": "a/b", "quantize": 4}, "quantize"),
        ({"model": "a/b", "quantize": "q5"}, "quantization"),
        ({"model": "a/b", "revision": "a b"}, "revision"),
        ({"model": "a/b", "token_secret": {"nam": "x"}}, "token_secret"),
        ({"model": "llama3"}, "model"),
        ({"model": "a/b", "name": "Upper"}, "name"),
    ],
)
def test_the_field_to_blame_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Refusal) as refused:
        ask(**fields)
    assert refused.value.param == field


@pytest.mark.parametrize(("init", "preload"), [(True, True), (False, None), (None, None)])
def test_init_is_preloading(init: bool | None, preload: bool | None) -> None:
    spec = ask(model="a/b", init=init).spec
    assert spec.scaling.preload is preload
    assert ("preload" in spec.wire()["scaling"]) is bool(preload)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("quantize", "native", "words"),
    [
        ("gptq", "gptq", None),
        ("awq", "awq", None),
        ("gptq", None, "send quantize int4"),
        ("gptq", "awq", "send quantize auto"),
        ("awq", None, "AWQ weights"),
        ("int4", "gptq", "are gptq already"),
        ("int8", "fp8", "are fp8 already"),
        ("int4", None, None),
        ("auto", "gptq", None),
        ("no", "gptq", None),
    ],
)
def test_what_is_known_not_to_go_is_refused(quantize: str, native: str | None, words: str | None) -> None:
    inspected = {"key": "k", "nativeQuantization": native}
    known = record("other", source={"uri": "hf://a/b"}, status=known_status(inspected=inspected))
    wish = ask(model="a/b", quantize=quantize)
    if words is None:
        refuse_impossible(wish, [known])
        return
    with pytest.raises(Refusal, match=words) as refused:
        refuse_impossible(wish, [known])
    assert (refused.value.status, refused.value.param) == (400, "quantize")


def test_of_weights_that_nobody_has_seen_nothing_is_refused() -> None:
    unseen = record("other", source={"uri": "hf://a/b"}, status={})
    elsewhere = record("third", source={"uri": "hf://a/b", "revision": "v2"})
    wish = ask(model="a/b", quantize="gptq")
    seen = record(
        "seen", source={"uri": "hf://a/b"}, status=known_status(inspected={"key": "k", "nativeQuantization": "awq"})
    )
    with pytest.raises(Refusal):
        refuse_impossible(wish, [seen])
    assert refuse_impossible(wish, [unseen, elsewhere]) is None  # type: ignore[func-returns-value]
