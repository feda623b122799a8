"""Calls add up, and a line says all of a call but what was said in it."""

import msgspec

from dormouse_router.accounting.entries import Ended, Key, Total, Totals, add, day_of, line, merge
from dormouse_router.caller import Caller, Role

ALICE = Caller("key:team-a/ci", "alice", Role.USER, kind="key", key_id="team-a/ci")
NOON = 1_795_348_800.0


def call(**fields: object) -> Ended:
    whole = Ended(
        at=10.0,
        caller=ALICE,
        model="team/qwen",
        route=None,
        dialect="openai",
        path="/v1/chat/completions",
        stream=False,
        request_id="req_1",
        status=200,
        seconds=2.0,
        first_token=None,
        held=0.5,
        prompt_tokens=7,
        completion_tokens=2,
        cached_tokens=4,
    )
    return whole._replace(**fields)  # type: ignore[arg-type]


def test_calls_add_up_by_day_owner_caller_and_model() -> None:
    totals: Totals = {}
    for ended in (call(), call(status=502, prompt_tokens=0, completion_tokens=0), call(status=499)):
        add(totals, ended, "2026-11-22")
    add(totals, call(), "2026-11-23")
    add(totals, call(model="team/other"), "2026-11-22")
    add(totals, call(caller=None), "2026-11-22")
    alices = Key("2026-11-22", "alice", "key:team-a/ci", "team/qwen")
    assert totals[alices] == Total(3, 1, 14, 4, 6.0, 1.5, 12)
    assert [key[:3] for key in totals if key.model == "team/qwen"] == [
        ("2026-11-22", "alice", "key:team-a/ci"),
        ("2026-11-23", "alice", "key:team-a/ci"),
        ("2026-11-22", "", ""),
    ]
    assert len(totals) == 4


def test_totals_of_two_seconds_are_one() -> None:
    first: Totals = {}
    second: Totals = {}
    add(first, call(), "d")
    add(second, call(), "d")
    add(second, call(model="team/other"), "d")
    merge(first, second)
    assert [total.requests for total in first.values()] == [2, 1]
    assert [total.requests for total in second.values()] == [1, 1], "what is merged stays what it was"


def test_a_day_is_one_in_utc() -> None:
    assert day_of(NOON) == "2026-11-22"
    assert (day_of(NOON + 43_199), day_of(NOON + 43_200)) == ("2026-11-22", "2026-11-23")


def test_a_line_says_who_what_and_how_long() -> None:
    said = msgspec.to_builtins(line(call(stream=True, first_token=0.25, route="team/ab"), NOON))
    assert said["time"] == "2026-11-22T12:00:00.000+00:00"
    assert (said["caller"], said["owner"], said["key"]) == ("key:team-a/ci", "alice", "team-a/ci")
    assert (said["model"], said["route"], said["status"]) == ("team/qwen", "team/ab", 200)
    assert (said["seconds"], said["first_token_seconds"], said["held_seconds"]) == (2.0, 0.25, 0.5)
    assert (said["prompt_tokens"], said["completion_tokens"], said["request_id"]) == (7, 2, "req_1")
    assert line(call(caller=None), NOON).caller is None
