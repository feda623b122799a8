"""Lines of answers and the tokens that answers tell of."""

import json
from typing import Any

import msgspec
import pytest

from dormouse_router.batch import answers
from dormouse_router.batch.lifecycle import Usage

ID = answers.request_id("batch_1", 7)


def test_the_line_of_an_answer() -> None:
    line = answers.answered(ID, b'"a\\u00e9\\n"', 200, "req-1", b'{"id":"x","choices":[]}')
    assert b"\n" not in line
    assert json.loads(line) == {
        "id": ID,
        "custom_id": "a\u00e9\n",
        "response": {"status_code": 200, "request_id": "req-1", "body": {"id": "x", "choices": []}},
        "error": None,
    }


def test_an_error_of_http_is_an_answer_too() -> None:
    line = json.loads(answers.answered(ID, b'"a"', 400, "r", answers.refusal(400, b'{"error":{"message":"No."}}')))
    assert line["error"] is None
    assert line["response"]["status_code"] == 400
    assert line["response"]["body"] == {"error": {"message": "No."}}


@pytest.mark.parametrize("body", [b'{\n  "a": "b\\n",\r\n "c": [1,\n2]}', b'{"a":"b\\n","c":[1,2]}'])
def test_an_answer_of_many_lines_becomes_one(body: bytes) -> None:
    line = answers.answered(ID, b'"a"', 200, "r", body)
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line)["response"]["body"] == {"a": "b\n", "c": [1, 2]}


@pytest.mark.parametrize(
    "body", [b"", b"<html>busy</html>", b"[]", b'{"detail":"x"}', b'{"error":"x"}', b'{"error":null}', b"\xff"]
)
def test_what_is_no_error_of_openais_becomes_one(body: bytes) -> None:
    error = json.loads(answers.refusal(502, body))["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["message"]


def test_ids_are_of_batch_and_line() -> None:
    ids = {answers.request_id(batch, number) for batch in ("batch_1", "batch_2") for number in range(1, 100)}
    assert len(ids) == 198
    assert answers.request_id("batch_1", 7) == ID
    assert ID.startswith("batch_req_")


DETAILS = {"cached_tokens": 4}


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}, Usage(7, 0, 2, 0)),
        ({"usage": {"prompt_tokens": 7, "prompt_tokens_details": DETAILS, "completion_tokens": 2}}, Usage(7, 4, 2, 0)),
        ({"usage": {"prompt_tokens": 7, "prompt_tokens_details": None}}, Usage(7, 0, 0, 0)),
        (
            {
                "usage": {
                    "input_tokens": 7,
                    "input_tokens_details": DETAILS,
                    "output_tokens": 5,
                    "output_tokens_details": {"reasoning_tokens": 3},
                }
            },
            Usage(7, 4, 5, 3),
        ),
        ({"data": [{"b64_json": "x"}]}, Usage()),
        ({"usage": None}, Usage()),
        ({"usage": "many"}, Usage()),
        ({"usage": {"prompt_tokens": 1.5}}, Usage()),
        ([], None),
        ("x", None),
    ],
)
def test_tokens(body: Any, tokens: Usage | None) -> None:
    assert answers.usage(json.dumps(body).encode()) == tokens


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":1}}', b"<html>", b'{"usage":{"prompt_tokens":"x"}', b"[" * 100_000])
def test_what_is_no_json_is_no_answer(body: bytes) -> None:
    assert answers.usage(body) is None


def test_a_line_is_passed_on_as_it_was_written() -> None:
    line = b'{"custom_id": "a/1", "method": "POST", "url": "/v1/x", "body": {"model": "m",  "x": 1.50}}'
    asked = answers.asked(line)
    assert bytes(asked.custom_id) == b'"a/1"'
    assert bytes(asked.body) == b'{"model": "m",  "x": 1.50}'
    with pytest.raises(msgspec.DecodeError):
        answers.asked(line[:-1])
