"""Termination messages: whole below the kubelet's 4096 bytes, whatever the failure's words."""

import pytest

from dormouse_api.conditions import FAILURES, PERMANENT, PULL_FAILURES, Reason, is_failure
from dormouse_api.results import MAX_MESSAGE, Failure, InspectResult, Outcome


@pytest.mark.parametrize("text", ["short", "x" * 2000, "ü" * 2000, '"' * 2000, "\n" * 2000, "😀" * 2000])
def test_a_failure_of_any_words_fits_and_reads_back(text: str) -> None:
    message = Outcome(failure=Failure(reason=Reason.NETWORK, message=text)).text()
    assert len(message.encode()) <= MAX_MESSAGE
    back = Outcome.model_validate_json(message).failure
    assert back is not None
    assert back.reason is Reason.NETWORK
    assert text.startswith(back.message.removesuffix("..."))


def test_a_result_travels_without_nulls() -> None:
    outcome = Outcome(inspect=InspectResult(commit="c0ffee", files=3, bytes=12))
    assert "null" not in outcome.text()
    assert Outcome.model_validate_json(outcome.text()) == outcome


def test_every_permanent_reason_is_a_failure() -> None:
    assert PERMANENT <= PULL_FAILURES <= FAILURES


@pytest.mark.parametrize(
    ("reason", "failed"),
    [
        ("Gated", True),
        ("EngineFailed", True),
        ("Pulling", False),
        ("Waking", False),
        ("Interrupted", False),
        ("New", False),
    ],
)
def test_only_the_closed_list_ends_a_held_call(reason: str, failed: bool) -> None:
    assert is_failure(reason) is failed
