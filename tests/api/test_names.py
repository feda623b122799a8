"""Names derived from their input: stable, distinct, and short enough for the API server."""

import pytest

from dormouse_api import names

LONGEST = "m" * names.MAX_MODEL_NAME


@pytest.mark.parametrize("name", [names.runtime_name(LONGEST), names.weights_name(LONGEST)])
def test_a_child_of_the_longest_model_name_is_a_dns_label(name: str) -> None:
    assert len(name) <= 63


@pytest.mark.parametrize("stage", [names.COMPONENT_INSPECT, names.COMPONENT_PULL, names.COMPONENT_QUANTIZE])
def test_a_job_of_the_longest_model_name_leaves_room_for_its_pods(stage: str) -> None:
    assert len(names.job_name(LONGEST, stage, "input")) <= 63


def test_the_same_input_gives_the_same_job() -> None:
    assert names.job_name("m", "pull", "hf://a/b", "abc") == names.job_name("m", "pull", "hf://a/b", "abc")


def test_another_input_gives_another_job() -> None:
    jobs = {names.job_name("m", "pull", *parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""))}
    assert len(jobs) == 4
