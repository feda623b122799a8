"""Which files of requests are taken, and what is said of the others."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.batch import endpoints, splitting, validate
from dormouse_router.batch.lifecycle import MOST_ERRORS, LineError
from dormouse_router.batch.validate import Rules, Validation

CHAT = "/v1/chat/completions"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"model": "tiny", "prompt": "hi"},
    "/v1/embeddings": {"model": "tiny", "input": ["a", "b"]},
    "/v1/responses": {"model": "tiny", "input": "hi"},
    "/v1/images/generations": {"model": "tiny", "prompt": "a cat"},
    "/v1/score": {"model": "tiny", "text_1": "a", "text_2": "b"},
    "/v1/rerank": {"model": "tiny", "query": "a", "documents": ["b"]},
}


def line(number: int = 0, **more: Any) -> bytes:
    """One good line, with other fields where they are given; None leaves one out."""
    base = {"custom_id": f"r-{number}", "method": "POST", "url": CHAT, "body": BODIES[CHAT]} | more
    return json.dumps({name: value for name, value in base.items() if value is not None}).encode()


def body(**more: Any) -> dict[str, Any]:
    return {name: value for name, value in (BODIES[CHAT] | more).items() if value is not None}


def checked(text: bytes, path: str = CHAT, size: int = 7, **rules: Any) -> Validation:
    """The file, fed in pieces of `size` bytes."""
    names = frozenset({"tiny", "large"})
    asked = Rules(endpoints.known(scores=True)[path], names.__contains__, **rules)
    validation = Validation(asked)
    for begin in range(0, len(text), size):
        validation.feed(text[begin : begin + size])
    validation.end()
    return validation


@pytest.mark.parametrize("path", BODIES)
def test_every_endpoint_has_its_lines(path: str) -> None:
    found = checked(line(url=path, body=BODIES[path]), path)
    assert (found.errors, len(found.index)) == ([], 1)
    needs = endpoints.known(scores=True)[path].needs
    without = {name: value for name, value in BODIES[path].items() if name != needs}
    [error] = checked(line(url=path, body=without), path).errors
    assert error == LineError("invalid_request", f"{needs.capitalize()} parameter is required.", 1, f"body.{needs}")


@pytest.mark.parametrize(
    ("text", "code", "param", "said"),
    [
        (b"", "empty_file", None, "no lines"),
        (b"\n\n", "empty_file", None, "no lines"),
        (b"{", "invalid_json_line", None, "not parseable"),
        (b'{"a": "\x00"}', "invalid_json_line", None, "not parseable"),
        (b'{"a": "\xff"}', "invalid_json_line", None, "not parseable"),
        (b"\xef\xbb\xbf" + line(), "invalid_json_line", None, "byte order mark"),
        (b"\n" + line(), "invalid_json_line", None, "not parseable"),
        (b'{"x": ' + b"[" * 100_000, "invalid_json_line", None, "not parseable"),
        (b'{"body": 7, "x": ' + b"[" * 100_000, "invalid_json_line", None, "not parseable"),
        (b"[]", "invalid_request", "body", "A line must be an object"),
        (line(body=[]), "invalid_request", "body", "body must be an object"),
        (line(custom_id=None), "missing_required_parameter", "custom_id", "Missing required parameter: 'custom_id'."),
        (line(method=None), "missing_required_parameter", "method", "'method'"),
        (line(url=None), "missing_required_parameter", "url", "'url'"),
        (line(body=None), "missing_required_parameter", "body", "'body'"),
        (line(custom_id=7), "invalid_request", "custom_id", "must be a string"),
        (line(custom_id=""), "invalid_request", "custom_id", "1 to 512"),
        (line(custom_id="x" * 513), "invalid_request", "custom_id", "1 to 512"),
        (line(method="GET"), "invalid_method", "method", "must be POST"),
        (line(url="/v1/completions"), "invalid_url", "url", "does not match the batch endpoint"),
        (line(body=body(model=None)), "invalid_request", "body.model", "Model parameter is required."),
        (line(body=body(model=3)), "invalid_request", "body.model", "Model parameter is required."),
        (line(body=body() | {"messages": None}), "invalid_request", "body.messages", "Messages parameter is required."),
        (line(body=body(model="gpt-9")), "model_not_found", "body.model", "'gpt-9' is not supported"),
        (line(body=body(stream=True)), "streaming_unsupported", "body.stream", "Chat Completions: Streaming"),
        (line() + b"\n" + line(), "duplicate_custom_id", "custom_id", "r-0"),
    ],
)
def test_each_code_of_a_refused_file(text: bytes, code: str, param: str | None, said: str) -> None:
    [error] = checked(text).errors
    assert (error.code, error.param) == (code, param)
    assert said in error.message
    expected = None if code == "empty_file" else 2 if code == "duplicate_custom_id" else 1
    assert error.line == expected


def test_a_stream_that_is_switched_off_is_none() -> None:
    assert checked(line(body=body(stream=False))).errors == []


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n", b"\n \n"])
def test_what_stands_behind_the_last_line_is_nothing(end: bytes) -> None:
    assert checked(line() + end).errors == []


@pytest.mark.parametrize("size", [1, 3, 64, 1 << 20])
def test_the_index_finds_every_line_again(size: int) -> None:
    lines = [line(n, body=body(model="large" if n % 3 else "tiny")) for n in range(20)]
    text = b"\r\n".join(lines)
    index = checked(text, size=size).index
    assert index.names == ["tiny", "large"]
    for place, whole in enumerate(lines):
        begin = index.offsets[place]
        assert text[begin : begin + index.lengths[place]].rstrip(b"\r") == whole
        assert index.numbers[place] == place + 1
        assert index.names[index.models[place]] == json.loads(whole)["body"]["model"]


def test_prompts_that_begin_alike_have_one_prefix() -> None:
    def asks(system: str, number: int) -> bytes:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": f"{number}"}]
        return line(number, body=body(messages=messages))

    index = checked(b"\n".join([asks("a", 0), asks("b", 1), asks("a", 2)])).index
    assert index.prefixes[0] == index.prefixes[2] != index.prefixes[1]


def test_several_models_only_where_that_is_allowed() -> None:
    text = line(0) + b"\n" + line(1, body=body(model="large"))
    assert checked(text).errors == []
    [error] = checked(text, mixed=False).errors
    assert (error.code, error.line) == ("model_mismatch", 2)


def test_a_model_that_is_not_served_is_told_once() -> None:
    text = b"\n".join(line(number, body=body(model="gone")) for number in range(5))
    assert [error.line for error in checked(text).errors] == [1]


def test_too_many_lines_inputs_and_tokens() -> None:
    text = b"\n".join(line(number) for number in range(4))
    assert [error.code for error in checked(text, most_lines=3).errors] == ["too_many_tasks"]
    assert checked(text, most_lines=4).errors == []
    assert [error.code for error in checked(text, most_tokens=50).errors] == ["token_limit_exceeded"]
    many = {"model": "tiny", "input": ["x"] * (validate.MOST_INPUTS // 2 + 1)}
    pair = b"\n".join(line(number, url="/v1/embeddings", body=many) for number in range(2))
    [error] = checked(pair, "/v1/embeddings", size=1 << 16).errors
    assert (error.code, error.line, error.param) == ("too_many_tasks", 2, "body.input")
    tokens = {"model": "tiny", "input": [1] * (validate.MOST_INPUTS + 1)}
    assert checked(line(url="/v1/embeddings", body=tokens), "/v1/embeddings", size=1 << 16).errors == []


def test_errors_are_many_and_bounded() -> None:
    found = checked(b"{\n" * (MOST_ERRORS + 50))
    assert len(found.errors) == MOST_ERRORS
    assert found.hopeless


def test_an_endless_line_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "MOST_LINE_BYTES", 400)
    [error] = checked(line() + b"\n" + b"x" * 5000).errors
    assert (error.code, error.line) == ("invalid_request", 2)
    assert "at most" in error.message


@given(st.binary(max_size=300), st.integers(1, 40))
def test_no_bytes_break_it(text: bytes, size: int) -> None:
    found = checked(text, size=size)
    assert bool(found.errors) != bool(len(found.index))
    whole = checked(text, size=len(text) or 1)
    assert found.errors == whole.errors
