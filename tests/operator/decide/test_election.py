"""Who may claim the Lease when: by what was seen, never by what it says of the time."""

from typing import Any

import pytest

from dormouse_operator.decide.election import Record, Sight, Terms, claim, read, released, see, void_in
from tests.operator.builders import NOW

Object = dict[str, Any]
TERMS = Terms(15)
HELD = Record("a_1", 15, "2027-01-15T08:00:00.000000Z", "2027-01-15T08:00:00.000000Z", 3)


def test_a_leader_stops_well_before_another_may_begin() -> None:
    assert (TERMS.deadline, TERMS.beat, TERMS.glance) == (10, 2, 1)
    quick = Terms(3)
    assert quick.lease - quick.deadline == 1
    assert quick.deadline / quick.beat == 5, "several renewals may fail"


@pytest.mark.parametrize(
    ("record", "since", "wait"),
    [
        (Record(), 100.0, 0.0),
        (Record("", 15), 100.0, 0.0),
        (Record("me", 15), 100.0, 0.0),
        (HELD, 100.0, 15.0),
        (HELD, 90.0, 5.0),
        (HELD, 85.0, 0.0),
        (HELD, 10.0, 0.0),
        (Record("a_1", 60), 90.0, 50.0),
        (Record("a_1", 2_000_000_000), 90.0, 290.0),
        (Record("a_1", 0), 100.0, 0.0),
        (Record("a_1", -5), 100.0, 0.0),
    ],
)
def test_when_a_record_is_void(record: Record, since: float, wait: float) -> None:
    assert void_in(Sight(record, since), "me", 100.0) == wait


def test_a_record_counts_from_when_it_was_seen_to_change() -> None:
    first = see(None, HELD, 50.0)
    assert first == Sight(HELD, 50.0), "how old it is, nobody here can know"
    assert see(first, HELD, 60.0) == first
    renewed = read(claim(HELD, "a_1", TERMS, NOW))
    assert see(first, renewed, 61.0) == Sight(renewed, 61.0)


@pytest.mark.parametrize("wall", [0.0, NOW, 4e9])
def test_no_clock_of_a_node_matters(wall: float) -> None:
    """The same judgement whatever the holder's clock says, as long as the record changes."""
    sight = see(see(None, HELD, 50.0), read(claim(HELD, "a_1", TERMS, wall)), 60.0)
    assert void_in(sight, "me", 60.0) == 15.0
    assert void_in(sight, "me", 75.0) == 0.0


def test_a_deleted_lease_binds_as_long_as_it_promised() -> None:
    held = see(None, HELD, 50.0)
    assert see(held, None, 60.0) == held
    assert void_in(see(held, None, 60.0), "me", 60.0) == 5.0
    assert void_in(see(None, None, 60.0), "me", 60.0) == 0.0, "nobody ever held it, as far as we know"


def test_what_a_holder_writes() -> None:
    taken = claim(HELD, "b_2", TERMS, NOW - 1)
    assert taken == {
        "holderIdentity": "b_2",
        "leaseDurationSeconds": 15,
        "acquireTime": "2027-01-15T07:59:59.000000Z",
        "renewTime": "2027-01-15T07:59:59.000000Z",
        "leaseTransitions": 4,
    }
    kept = claim(read(taken), "b_2", TERMS, NOW + 2)
    assert kept == taken | {"renewTime": "2027-01-15T08:00:02.000000Z"}
    gone = released(read(kept), NOW + 3)
    assert "holderIdentity" not in gone
    assert void_in(see(None, read(gone), 0.0), "me", 0.0) == 0.0
    assert read(gone).transitions == 4


@pytest.mark.parametrize("spec", [{}, {"holderIdentity": None}, {"holderIdentity": 5, "leaseDurationSeconds": "15"}])
def test_a_lease_that_says_nothing_is_free(spec: Object) -> None:
    assert read(spec) == Record()
