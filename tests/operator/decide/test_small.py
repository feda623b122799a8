"""Quantities, sizes, names and drift."""

from typing import Any

import pytest

from dormouse_operator.decide.drift import contained, stamped, unchanged
from dormouse_operator.decide.names import served_names
from dormouse_operator.decide.quantities import gibibytes, to_bytes, words
from dormouse_operator.decide.volume import claim_quantity, volume_bytes
from tests.operator.builders import claim, model


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1Gi", 2**30),
        ("1.5Gi", 3 * 2**29),
        ("500M", 500_000_000),
        ("10k", 10_000),
        ("7", 7),
        ("1500m", 2),
        ("2Ti", 2**41),
    ],
)
def test_quantities(text: str, count: int) -> None:
    assert to_bytes(text) == count


def test_what_is_no_quantity_is_refused_with_an_example() -> None:
    with pytest.raises(ValueError, match="10Gi"):
        to_bytes("ten")


@pytest.mark.parametrize(("count", "text"), [(1, "1Gi"), (2**30, "1Gi"), (2**30 + 1, "2Gi")])
def test_volumes_are_whole_gibibytes(count: int, text: str) -> None:
    assert gibibytes(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(12, "12 B"), (1234, "1.2 kB"), (15_200_000_000, "15.2 GB"), (2e12, "2.0 TB")]
)
def test_words(count: float, text: str) -> None:
    assert words(count) == text


def test_a_volume_holds_weights_copy_and_cache() -> None:
    assert volume_bytes(0) == 2**30
    assert volume_bytes(10**9) == 1_100_000_000 + 2**30
    assert volume_bytes(10**9, 3 * 10**8, 10**8) == 1_540_000_000 + 2**30


@pytest.mark.parametrize(
    ("asked", "present", "size"),
    [(None, None, "3Gi"), ("10Gi", None, "10Gi"), (None, "5Gi", "5Gi"), ("10Gi", "5Gi", "10Gi"), ("1Gi", "5Gi", "5Gi")],
)
def test_a_claim_never_shrinks(asked: str | None, present: str | None, size: str) -> None:
    there = claim(requested=present) if present else None
    assert claim_quantity(asked, 3 * 2**30, there) == size


def test_served_names_end_with_the_one_nobody_can_take() -> None:
    assert served_names(model(aliases=["a", "tiny", "b"])) == ["tiny", "a", "b", "ns/tiny"]


@pytest.mark.parametrize(
    ("want", "have", "same"),
    [
        ({"a": 1}, {"a": 1, "default": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}]}, True),
        ({"cpu": "1000m"}, {"cpu": "1"}, True),
        ({"memory": "1024Mi"}, {"memory": "1Gi"}, True),
        ({"cpu": "1000m"}, {"cpu": "2"}, False),
        ({"name": "x"}, {"name": "y"}, False),
        ({"a": {}}, {}, True),
        ({"a": {"b": 1}}, {}, False),
        ({"a": "1"}, {"a": None}, False),
    ],
)
def test_contained(want: dict[str, Any], have: dict[str, Any], same: bool) -> None:
    assert contained(want, have) is same


def test_a_field_we_stopped_wanting_is_a_change() -> None:
    before = stamped({"kind": "X", "metadata": {"name": "n"}, "spec": {"a": 1, "b": 2}})
    after = stamped({"kind": "X", "metadata": {"name": "n"}, "spec": {"a": 1}})
    assert unchanged(before, before)
    assert not unchanged(after, before)


def test_an_object_that_is_going_away_must_be_made_again() -> None:
    intent = stamped({"kind": "X", "metadata": {"name": "n"}})
    assert not unchanged(intent, None)
    assert not unchanged(intent, intent | {"metadata": intent["metadata"] | {"deletionTimestamp": "now"}})
