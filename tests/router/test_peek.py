"""Reading a body once, and changing one name in it."""

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.dataplane import peek
from dormouse_router.dataplane.peek import BadBody, Peek, splice_model
from dormouse_router.dataplane.usage import Tokens, from_tail, in_pieces

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("model"), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, str]:
    """JSON text with a top-level string model among other fields, in any spacing and escaping, and the model."""
    name = draw(st.text())
    before = draw(st.dictionaries(st.text().filter(lambda key: key != "model"), json_values, max_size=3))
    after = draw(st.dictionaries(st.text().filter(lambda key: key != "model"), json_values, max_size=3))
    fields = {**before, "model": name, **{key: value for key, value in after.items() if key not in before}}
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:  ")]))
    return json.dumps(fields, ensure_ascii=draw(st.booleans()), separators=separators), name


@given(bodies(), st.text(min_size=1))
def test_a_splice_changes_the_name_and_no_other_byte(made: tuple[str, str], new: str) -> None:
    text, _ = made
    body = text.encode(errors="surrogatepass")
    try:
        msgspec.json.encode(new)
    except UnicodeEncodeError:
        return
    spliced = splice_model(body, new)
    parsed = json.loads(spliced)
    assert parsed == json.loads(body) | {"model": new}
    at = next(i for i, (a, b) in enumerate(zip(body + b"\0", spliced + b"\1", strict=False)) if a != b)
    tail = len(msgspec.json.encode(new))
    assert body[:at] == spliced[:at]
    assert spliced.endswith(body[_end_of_model(text) :])
    assert tail > 0


def _end_of_model(text: str) -> int:
    """Where the top-level model's value ends, in bytes: found by the standard library's scanner, not by ours."""
    decoder = json.JSONDecoder()
    at = text.index("{") + 1
    while True:
        at = _skip(text, at)
        key, at = decoder.raw_decode(text, at)
        at = _skip(text, text.index(":", at) + 1)
        _, at = decoder.raw_decode(text, at)
        if key == "model":
            return len(text[:at].encode(errors="surrogatepass"))
        at = text.index(",", at) + 1


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\n\r":
        at += 1
    return at


@pytest.mark.parametrize(
    ("body", "spliced"),
    [
        (b'{"model":"a"}', b'{"model":"new"}'),
        (b' { "x" : {"model":"a"} , "model" :\n"a" } ', b' { "x" : {"model":"a"} , "model" :\n"new" } '),
        (b'{"user":"model","model":"a"}', b'{"user":"model","model":"new"}'),
        (b'{"stop":["model",":"],"model":"a"}', b'{"stop":["model",":"],"model":"new"}'),
        (b'{"\\u006dodel":"a"}', b'{"\\u006dodel":"new"}'),
        (b'{"model":"a","model":"b"}', b'{"model":"new","model":"new"}'),
        (b'{"model":"\\"}{\\\\"}', b'{"model":"new"}'),
        (b'{"x":"\\"model\\":\\"a\\"","model":"a"}', b'{"x":"\\"model\\":\\"a\\"","model":"new"}'),
    ],
)
def test_where_the_name_is_looked_for(body: bytes, spliced: bytes) -> None:
    assert splice_model(body, "new") == spliced


def test_a_large_body_is_spliced_without_walking_its_strings() -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "x\\" * 500_000}], "model": "a"}).encode()
    assert splice_model(body, "bb") == body.removesuffix(b'"a"}') + b'"bb"}'


MESSAGES = [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({}, Peek("m")),
        ({"stream": True}, Peek("m", True)),
        ({"stream": None}, Peek("m")),
        ({"stream": True, "stream_options": {"include_usage": True}}, Peek("m", True, usage=True, options=True)),
        ({"max_tokens": 5, "temperature": 1, "top_p": 0.5, "stop": ["a"], "seed": 3, "n": 2}, Peek("m")),
        ({"logit_bias": {"50256": -100}, "logprobs": True, "top_logprobs": 3}, Peek("m")),
        ({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"}, Peek("m")),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}, Peek("m")),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, Peek("m")),
        ({"top_k": 5, "chat_template_kwargs": {"enable_thinking": False}, "made_up": [1]}, Peek("m")),
    ],
)
def test_what_is_read_of_a_chat(fields: dict[str, Any], seen: Peek) -> None:
    assert peek.chat(json.dumps({"model": "m", "messages": MESSAGES} | fields).encode()) == seen


@pytest.mark.parametrize("prompt", ["x", ["x", "y"], [1, 2], [[1], [2, 3]], ""])
def test_every_form_of_a_prompt_passes(prompt: object) -> None:
    assert peek.completion(json.dumps({"model": "m", "prompt": prompt}).encode()) == Peek("m")


@pytest.mark.parametrize("value", ["x", ["x"], [1], [[1]]])
def test_every_form_of_an_input_passes(value: object) -> None:
    assert peek.embedding(json.dumps({"model": "m", "input": value}).encode()) == Peek("m")


@pytest.mark.parametrize(
    ("check", "fields", "param", "code"),
    [
        (peek.completion, {}, "prompt", "missing_required_parameter"),
        (peek.completion, {"prompt": {"x": 1}}, "prompt", "invalid_type"),
        (peek.completion, {"prompt": [{"x": 1}]}, "prompt[0]", "invalid_type"),
        (peek.embedding, {}, "input", "missing_required_parameter"),
        (peek.embedding, {"input": 5}, "input", "invalid_type"),
        (peek.chat, {"messages": {}}, "messages", "invalid_type"),
        (peek.chat, {"messages": MESSAGES, "n": 1.5}, "n", "invalid_type"),
        (peek.chat, {"messages": MESSAGES, "max_tokens": 10**400}, "max_tokens", "invalid_value"),
        (peek.chat, {"messages": MESSAGES, "seed": -(2**63) - 1}, "seed", "invalid_value"),
        (peek.chat, {"messages": MESSAGES, "stop": 5}, "stop", "invalid_type"),
        (peek.chat, {"messages": MESSAGES, "tools": [{}]}, "tools[0].type", "missing_required_parameter"),
        (
            peek.chat,
            {"messages": MESSAGES, "stream_options": {"include_usage": True}},
            "stream_options",
            "invalid_value",
        ),
    ],
)
def test_the_parameter_that_is_wrong_is_named(check: Any, fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadBody) as bad:
        check(json.dumps({"model": "m"} | fields).encode())
    assert (bad.value.param, bad.value.code) == (param, code)
    assert str(bad.value).endswith(".")


@given(st.binary(max_size=200))
def test_no_bytes_are_anything_but_a_body_or_a_refusal(body: bytes) -> None:
    for check in (peek.chat, peek.completion, peek.embedding):
        with contextlib.suppress(BadBody):
            assert check(body).model


@pytest.mark.parametrize(
    ("tail", "usage"),
    [
        (b'"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2}}', Tokens(7, 2)),
        (b'"usage": {"prompt_tokens": 7, "completion_tokens": 2}}\n\ndata: [DONE]\n\n', Tokens(7, 2)),
        (b'"usage":{"prompt_tokens":7,"total_tokens":7}}', Tokens(7, 0)),
        (b'"usage":null}\n\ndata: [DONE]\n\n', None),
        (b'"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\ndata: {"usage":null}', None),
        (b'data: {"choices":[]}', None),
        (b"", None),
    ],
)
def test_usage_is_read_from_the_tail(tail: bytes, usage: Tokens | None) -> None:
    assert from_tail(tail) == usage


USED = b'"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2,"more":{"cached_tokens":4}}}'


@pytest.mark.parametrize(
    ("pieces", "usage"),
    [
        ([], None),
        ([b"{" + USED], Tokens(7, 2, 4)),
        ([b"x" * 5000, b"{" + USED + b"\n\n", b"data: [DONE]\n\n"], Tokens(7, 2, 4)),
        ([bytes((byte,)) for byte in USED][-8:], None),
        ([USED[at : at + 20] for at in range(0, len(USED), 20)], Tokens(7, 2, 4)),
        ([b'{"id":"rerank",' + USED + b"," + b"x" * 9000, b"y" * 9000], Tokens(7, 2, 4)),
        ([b"x" * 9000 + USED + b"y" * 3000], None),
    ],
)
def test_usage_is_read_however_the_network_cut_it(pieces: list[bytes], usage: Tokens | None) -> None:
    assert in_pieces(pieces) == usage
