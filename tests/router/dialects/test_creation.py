"""What a pull asks for, as an InferenceModel."""

import re

import pytest

from dormouse_api.model import Quantization
from dormouse_router.dialects.creation import object_name, quantization, source_uri, wanted


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("q4", "int4"),
        ("Q4_K_M", "int4"),
        ("iq4_xs", "int4"),
        ("int4", "int4"),
        ("4bit", "int4"),
        ("q8_0", "int8"),
        ("8bit", "int8"),
        ("fp16", "none"),
        ("no", "none"),
        ("none", "none"),
        ("auto", "auto"),
        ("", "auto"),
        ("nf4", "nf4"),
        ("llm-int8", "llm-int8"),
        ("llm_int8", "llm-int8"),
        ("awq", "awq"),
        ("FP8", "fp8"),
    ],
)
def test_words_for_quantizations(word: str, kind: str) -> None:
    assert quantization(word) == Quantization(kind)


@pytest.mark.parametrize("word", ["q5", "7b", "q4-", "high", "int3"])
def test_an_unknown_word_is_refused_with_the_words(word: str) -> None:
    with pytest.raises(ValueError, match=r"use one of .*int4.*q4"):
        quantization(word)


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("org/name", "hf://org/name"),
        ("hf://org/name", "hf://org/name"),
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("pvc://claim", "pvc://claim"),
    ],
)
def test_sources(text: str, uri: str) -> None:
    assert source_uri(text) == uri


@pytest.mark.parametrize("text", ["name", "a/b/c", "http://x/y", "file:///etc/passwd", "hf://a", "../x", "org/name "])
def test_what_is_no_source_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"org/name of the hub"):
        source_uri(text)


@pytest.mark.parametrize(
    ("uri", "variant", "name"),
    [
        ("hf://dormouse/tiny-chat", "", "dormouse-tiny-chat"),
        ("hf://dormouse/tiny-chat", "int4", "dormouse-tiny-chat-int4"),
        ("hf://Qwen/Qwen2.5-0.5B", "", "qwen-qwen2-5-0-5b"),
        ("hf://01-ai/Yi", "", "m-01-ai-yi"),
    ],
)
def test_names(uri: str, variant: str, name: str) -> None:
    assert object_name(uri, variant) == name


def test_a_long_name_is_cut_and_stays_its_own() -> None:
    a, b = (object_name(f"hf://organisation/{'long-' * 12}{end}") for end in "ab")
    assert a != b
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", name) for name in (a, b))


def test_the_whole_object() -> None:
    model = wanted("Org/Model", revision="v2", quantize="q4", alias="Org/Model")
    assert model.name == "org-model-v2-int4"
    wire = model.spec.wire()
    assert wire["source"] == {"uri": "hf://Org/Model", "revision": "v2"}
    assert (wire["quantization"], wire["aliases"]) == ("int4", ["Org/Model"])


def test_a_revision_must_be_one() -> None:
    with pytest.raises(ValueError, match="is not a branch, tag or commit"):
        wanted("org/name", revision="-x y")
