"""What of a body makes its key: how the prompt begins, the same in every turn, and never more than a little."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.dataplane import balance
from dormouse_router.dataplane.balance import prefix
from dormouse_router.gateway import CHAT, COMPLETIONS, EMBEDDINGS


def chat(*messages: Any, **fields: Any) -> bytes:
    return json.dumps({"model": "tiny", "messages": list(messages), **fields}).encode()


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def system(content: str) -> dict[str, Any]:
    return {"role": "system", "content": content}


LONG = "You are a helpful assistant. " * 100
FIRST = (system("Be brief."), user("Capital of France?"))
NEXT = (*FIRST, {"role": "assistant", "content": "Paris."}, user("And of Spain?"))


def turned(message: dict[str, Any]) -> dict[str, Any]:
    """The same message with its role last."""
    return {"content": message["content"], "role": message["role"]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (chat(*FIRST), chat(*NEXT)),
        (chat(*FIRST, temperature=0.1), chat(*FIRST, temperature=0.9, stream=True)),
        (chat(*FIRST), b'{"model": "another"' + chat(*NEXT)[len(b'{"model": "tiny"') :]),
        (chat(user("Hi")), chat(user("Hi"), {"role": "assistant", "content": "Hello."}, user("{"))),
        (chat(system(LONG), user("Hi")), chat(system(LONG), user("Hi"), user("again"))),
        (chat(system(LONG), user("x" * 500)), chat(system(LONG), user("x" * 500), user("again"))),
        (chat(user('say "{}" and }')), chat(user('say "{}" and }'), user("again"))),
        (chat(user([{"type": "text", "text": "Hi"}])), chat(user([{"type": "text", "text": "Hi"}]), user("again"))),
        (chat(turned(user("Hi"))), chat(turned(user("Hi")), turned(user("again")))),
        (chat(*map(turned, FIRST)), chat(*map(turned, NEXT))),
        (chat(system(LONG)), chat(system(LONG), temperature=1)),
    ],
)
def test_turns_of_one_conversation_have_one_key(one: bytes, other: bytes) -> None:
    assert prefix(CHAT, one) == prefix(CHAT, other) != b""


TEXT = st.text(max_size=40) | st.sampled_from(["user", '"user"', '{"role": "user"}', "}", "messages", "x" * 700])
ROLE = st.sampled_from(["user", "assistant", "system", "tool"])
MESSAGE = st.builds(lambda role, text: {"role": role, "content": text}, ROLE, TEXT)


@given(st.lists(MESSAGE, max_size=4), TEXT, st.lists(MESSAGE, max_size=4), st.booleans(), st.booleans())
def test_whatever_follows_the_first_users_message_changes_no_key(
    before: list[dict[str, Any]], first: str, after: list[dict[str, Any]], last: bool, tight: bool
) -> None:
    def body(*messages: dict[str, Any], **fields: Any) -> bytes:
        written = [turned(message) if last else message for message in messages]
        whole = {"model": "tiny", "messages": written, **fields}
        return json.dumps(whole, separators=(",", ":") if tight else None).encode()

    key = prefix(CHAT, body(*before, user(first)))
    assert key == prefix(CHAT, body(*before, user(first), *after, temperature=0.5)) != b""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (chat(user("Capital of France?")), chat(user("Capital of Spain?"))),
        (chat(system("Be brief."), user("Hi")), chat(system("Be rude."), user("Hi"))),
        (chat(system(LONG), user("Capital of France?")), chat(system(LONG), user("Capital of Spain?"))),
        (chat(user("a" * 200)), chat(user("a" * 199 + "b"))),
        (chat(turned(user("Hi"))), chat(turned(user("Ho")))),
    ],
)
def test_prompts_that_begin_otherwise_have_another(one: bytes, other: bytes) -> None:
    assert prefix(CHAT, one) != prefix(CHAT, other)


def test_of_a_long_prompt_only_the_beginning_counts() -> None:
    body = chat(system("x" * 220_000), user("Hi"))
    assert len(prefix(CHAT, body)) == balance.HEAD_BYTES
    body = chat(system("x" * 10_000), user("y" * 220_000))
    assert len(prefix(CHAT, body)) == balance.HEAD_BYTES + balance.WORDS_BYTES


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        (COMPLETIONS, b'{"model":"tiny","prompt":"Once upon","max_tokens":5}', b':"Once upon'),
        (COMPLETIONS, b'{"model":"tiny","prompt": ["Once", "upon"]}', b': ["Once'),
        (COMPLETIONS, b'{"model":"tiny"}', b""),
        (COMPLETIONS, b'{"prompt":"' + b"x" * 9000 + b'"}', b':"' + b"x" * 510),
        (COMPLETIONS, b'{"prompt":[1,2,3]}', b":[1,2,3]}"),
        (EMBEDDINGS, b'{"model":"tiny","input":"a","messages":"b"}', b""),
        (CHAT, b'{"model":"tiny"}', b""),
        (CHAT, b"", b""),
    ],
)
def test_what_counts_of_other_bodies(path: str, body: bytes, key: bytes) -> None:
    assert prefix(path, body) == key


@given(st.binary(max_size=400), st.sampled_from([CHAT, COMPLETIONS, EMBEDDINGS]))
def test_any_bytes_have_a_short_key(body: bytes, path: str) -> None:
    assert len(prefix(path, b'"messages""prompt"' + body)) <= balance.HEAD_BYTES + balance.WORDS_BYTES
