"""Who answers a call by a route, and what its request becomes: pure decisions, in tables."""

import json
from collections import Counter
from typing import Any

import pytest

from dormouse_api.route import Defaults
from dormouse_router.catalog.routes import Route, route_from
from dormouse_router.dataplane.defaults import merged
from dormouse_router.dataplane.variants import choose_variant, label, next_draw, stand_ins, sticky_key
from dormouse_router.gateway import CHAT, COMPLETIONS, EMBEDDINGS, TOKENIZE
from dormouse_router.request import Refusal
from tests.router import fakes

CALLS = 10_000


def route(*variants: tuple[str, int], **spec: Any) -> Route:
    return route_from(fakes.route("r", *variants, **spec))


def shares(chosen: list[str]) -> dict[str, float]:
    return {name: count / len(chosen) for name, count in Counter(chosen).items()}


SPLITS = [
    [("a", 1)],
    [("a", 1), ("b", 1)],
    [("a", 9), ("b", 1)],
    [("a", 999), ("b", 1)],
    [("a", 1), ("b", 0)],
    [("a", 50), ("b", 30), ("c", 20)],
    [(f"m{n}", n + 1) for n in range(16)],
]


@pytest.mark.parametrize("variants", SPLITS)
@pytest.mark.parametrize("start", [0.0, 0.3])
def test_calls_are_split_by_weight_within_one_percent(variants: list[tuple[str, int]], start: float) -> None:
    made, draw, chosen = route(*variants), start, []
    for _ in range(CALLS):
        draw = next_draw(draw)
        chosen.append(choose_variant(made, b"", draw).model)
    total, found = sum(weight for _, weight in variants), shares(chosen)
    for model, weight in variants:
        assert abs(found.get(model, 0.0) - weight / total) < 0.001
    few = shares(chosen[:100])
    assert all(abs(few.get(model, 0.0) - weight / total) <= 0.05 for model, weight in variants)


@pytest.mark.parametrize("variants", SPLITS)
def test_keys_are_split_by_weight_and_stay(variants: list[tuple[str, int]]) -> None:
    made = route(*variants, sticky={"by": "User"})
    keys = [f"user-{n}".encode() for n in range(CALLS)]
    chosen = [choose_variant(made, key, 0.0).model for key in keys]
    assert chosen == [choose_variant(made, key, 0.9).model for key in keys]
    total, found = sum(weight for _, weight in variants), shares(chosen)
    assert all(abs(found.get(model, 0.0) - weight / total) < 0.015 for model, weight in variants)


def test_a_weight_that_is_changed_moves_only_the_keys_it_must() -> None:
    keys = [f"user-{n}".encode() for n in range(CALLS)]
    before, after = route(("a", 50), ("b", 50)), route(("b", 50), ("a", 40))
    moved = [
        (old.model, new.model)
        for key in keys
        if (old := choose_variant(before, key, 0.0)).model != (new := choose_variant(after, key, 0.0)).model
    ]
    assert set(moved) == {("a", "b")}
    assert 0.03 < len(moved) / CALLS < 0.08  # 50 % to 44.4 %


def test_two_routes_do_not_put_the_same_users_together() -> None:
    one, two = route(("a", 1), ("b", 1)), route_from(fakes.route("other", ("a", 1), ("b", 1)))
    keys = [f"user-{n}".encode() for n in range(1000)]
    same = sum(choose_variant(one, key, 0.0).model == choose_variant(two, key, 0.0).model for key in keys)
    assert 400 < same < 600


USER, HEADER = {"by": "User"}, {"by": "Header", "header": "X-Tenant"}
HEADERS = {b"x-dormouse-session": b"s1", b"x-tenant": b"t1"}


@pytest.mark.parametrize(
    ("sticky", "body", "key"),
    [
        (None, {"user": "u"}, b""),
        ({"by": "None"}, {"user": "u"}, b""),
        (USER, {"user": "u"}, b"u"),
        (USER, {"safety_identifier": "s", "user": "u"}, b"s"),
        (USER, {"metadata": {"user_id": "m"}}, b"m"),
        (USER, {"user": None, "metadata": None}, b""),
        (USER, {"user": 7}, b""),
        (USER, {"metadata": {"other": 1}}, b""),
        (USER, {}, b""),
        ({"by": "Session"}, {"user": "u"}, b"s1"),
        ({"by": "Session"}, {"prompt_cache_key": "p"}, b"s1"),
        (HEADER, {"user": "u"}, b"t1"),
        ({"by": "Header", "header": "x-none"}, {"user": "u"}, b""),
    ],
)
def test_what_keeps_a_caller_on_one_variant(sticky: Any, body: dict[str, Any], key: bytes) -> None:
    made = route(("a", 1), **({"sticky": sticky} if sticky else {}))
    assert sticky_key(made, HEADERS.get, json.dumps(body).encode()) == key


def test_a_session_may_be_named_in_the_body() -> None:
    made = route(("a", 1), sticky={"by": "Session"})
    assert sticky_key(made, dict[bytes, bytes]().get, b'{"prompt_cache_key":"p","user":"u"}') == b"p"


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"user":"' + b"u", b"[" * 5000])
def test_a_body_without_a_user_sticks_to_nothing(body: bytes) -> None:
    assert sticky_key(route(("a", 1), sticky=USER), HEADERS.get, body) == b""


def test_who_steps_in_and_under_what_name() -> None:
    made = route_from(
        fakes.route("r", fallback=["b", "c", "a"])
        | {"spec": {"variants": [{"model": "a"}, {"model": "b", "name": "new"}], "fallback": ["b", "c", "a"]}}
    )
    assert stand_ins(made, "a") == ("b", "c")
    assert stand_ins(made, "b") == ("c", "a")
    assert [label(made, model) for model in "abc"] == ["a", "new", "c"]


# ---------------------------------------------------------------------------------------------------- defaults

HI = {"role": "user", "content": "hi"}
OWN = {"role": "system", "content": "mine"}
BRIEF = {"role": "system", "content": "Be brief."}
CANNED = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
TWO = {"system": "Be brief.", "messages": CANNED}


@pytest.mark.parametrize(
    ("path", "defaults", "body", "changed"),
    [
        (CHAT, {}, {"messages": [HI], "x": None}, {}),
        (CHAT, {"temperature": 0.2}, {"messages": [HI]}, {"temperature": 0.2}),
        (CHAT, {"temperature": 0.2}, {"messages": [HI], "temperature": 0}, {}),
        (CHAT, {"temperature": 0.2}, {"messages": [HI], "temperature": None}, {"temperature": 0.2}),
        (CHAT, {"topP": 0.5, "topK": 7, "minP": 0.1}, {"messages": [HI]}, {"top_p": 0.5, "top_k": 7, "min_p": 0.1}),
        (CHAT, {"stop": ["x"], "seed": 3}, {"messages": [HI], "stop": []}, {"seed": 3}),
        (CHAT, {"repetitionPenalty": 1.1}, {"messages": [HI]}, {"repetition_penalty": 1.1}),
        (CHAT, {"maxTokens": 9}, {"messages": [HI]}, {"max_tokens": 9}),
        (CHAT, {"maxTokens": 9}, {"messages": [HI], "max_completion_tokens": 5}, {}),
        (CHAT, {"maxTokens": 9}, {"messages": [HI], "max_tokens": 5}, {}),
        (CHAT, {"system": "Be brief."}, {"messages": [HI]}, {"messages": [BRIEF, HI]}),
        (CHAT, {"system": "Be brief."}, {"messages": [OWN, HI]}, {}),
        (CHAT, {"system": "Be brief."}, {"messages": [{"role": "developer", "content": "d"}, HI]}, {}),
        (CHAT, TWO, {"messages": [HI]}, {"messages": [BRIEF, *CANNED, HI]}),
        (CHAT, TWO, {"messages": [OWN, HI]}, {"messages": [OWN, *CANNED, HI]}),
        (TOKENIZE, TWO | {"seed": 1}, {"messages": [HI]}, {"messages": [BRIEF, *CANNED, HI]}),
        (TOKENIZE, TWO, {"prompt": "x"}, {}),
        (
            COMPLETIONS,
            TWO | {"temperature": 1.5, "maxTokens": 9},
            {"prompt": "x"},
            {"temperature": 1.5, "max_tokens": 9},
        ),
        (EMBEDDINGS, TWO | {"temperature": 1.5, "maxTokens": 9}, {"input": "x"}, {}),
    ],
)
def test_defaults_fill_what_the_request_leaves_out(
    path: str, defaults: dict[str, Any], body: dict[str, Any], changed: dict[str, Any]
) -> None:
    sent = {"model": "route", **body}
    found = json.loads(merged(json.dumps(sent).encode(), path, "chosen", Defaults.model_validate(defaults)))
    kept = {name: value for name, value in body.items() if value is not None}
    assert found == {"model": "chosen", **kept, **changed}


@pytest.mark.parametrize("path", [CHAT, TOKENIZE])
def test_a_route_with_a_template_takes_no_conversation(path: str) -> None:
    defaults = Defaults(template="{{ .Prompt }}", temperature=0.5)
    with pytest.raises(Refusal, match=r"spec\.defaults\.template of its InferenceRoute.*/api/chat") as refused:
        merged(b'{"model":"a","messages":[]}', path, "chosen", defaults)
    assert (refused.value.status, refused.value.param) == (400, "model")
    assert json.loads(merged(b'{"prompt":"x"}', COMPLETIONS, "chosen", defaults))["temperature"] == 0.5
    assert json.loads(merged(b'{"prompt":"x"}', TOKENIZE, "chosen", defaults)) == {"prompt": "x", "model": "chosen"}


def test_what_the_client_wrote_stays_as_it_is_written() -> None:
    body = b'{"model":"a","model":"b", "messages":[ {"role":"user","content":"\\u00e9 \xc3\xa9"} ],"x":1.50,"y":1e400}'
    found = merged(body, CHAT, "chosen", Defaults(system="s"))
    assert found.count(b'"model"') == 1
    for part in (b'{"role":"user","content":"\\u00e9 \xc3\xa9"}', b'"x":1.50', b'"y":1e400', b'"model":"chosen"'):
        assert part in found
