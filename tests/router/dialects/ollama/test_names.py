"""Ollama's names: spellings that mean the same, the form that lists show, and what is no name."""

import pytest

from dormouse_router.dialects.ollama import names


@pytest.mark.parametrize(
    ("text", "key", "listed"),
    [
        ("tiny", "tiny", "tiny:latest"),
        ("tiny:latest", "tiny", "tiny:latest"),
        ("Tiny:LATEST", "tiny", "Tiny:latest"),
        ("library/tiny", "tiny", "tiny:latest"),
        ("registry.ollama.ai/library/tiny:latest", "tiny", "tiny:latest"),
        ("tiny:7b", "tiny:7b", "tiny:7b"),
        ("Org/Model", "org/model", "Org/Model:latest"),
        ("hf.co/Org/Model-1.5:q4_K_M", "org/model-1.5:q4_k_m", "Org/Model-1.5:q4_K_M"),
        ("huggingface.co/Org/Model", "org/model", "Org/Model:latest"),
        ("https://hf.co/Org/Model", "org/model", "Org/Model:latest"),
        ("example.com:5000/a/b:c", "example.com:5000/a/b:c", "example.com:5000/a/b:c"),
    ],
)
def test_spellings(text: str, key: str, listed: str) -> None:
    assert names.key(text) == key
    assert names.listed(text) == listed


@pytest.mark.parametrize("text", ["", ":", "a:b:c", "-a", "a b", "a/b/c/d", "x" * 600, "a/", "/a", "ä"])
def test_what_is_no_name(text: str) -> None:
    assert names.parse(text) is None
    assert names.key(text) == text.lower()


@pytest.mark.parametrize(
    ("text", "on_hub"), [("org/model", True), ("hf.co/org/model", True), ("model", False), ("quay.io/org/model", False)]
)
def test_what_can_be_a_repository_of_the_hub(text: str, on_hub: bool) -> None:
    name = names.parse(text)
    assert name is not None
    assert name.on_hub is on_hub


@pytest.mark.parametrize(
    ("text", "elsewhere"),
    [("m", False), ("m:8b", False), ("m:cloud", True), ("m:8b-cloud", True), ("m:Local", True), ("m-cloud", False)],
)
def test_tags_that_mean_another_place(text: str, elsewhere: bool) -> None:
    name = names.parse(text)
    assert name is not None
    assert name.elsewhere is elsewhere
