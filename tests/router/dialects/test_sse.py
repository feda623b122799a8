"""Events out of an engine's bytes, wherever they are cut and however their lines end."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.dialects import sse

STREAM = b'data: {"a":1}\n\ndata:{"b":2}\r\n\r\n: comment\n\nevent: x\ndata: one\ndata: two\n\n'
STREAM += b"data: \xc3\xa9\n\ndata: [DONE]\n\n"
DATA = [b'{"a":1}', b'{"b":2}', b"one\ntwo", b"\xc3\xa9", sse.DONE]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_the_data_does_not_depend_on_where_the_network_cuts(cuts: list[int]) -> None:
    events, edges = sse.Events(), [0, *sorted(cuts), len(STREAM)]
    assert [data for a, b in pairwise(edges) for data in events.feed(STREAM[a:b])] == DATA


@pytest.mark.parametrize(
    ("piece", "data"),
    [
        (b"data: x\n\n", [b"x"]),
        (b"data: x\n", []),
        (b"data: x\n\r", []),
        (b"data: x\n\n\n", [b"x"]),
        (b"data: x\n\ndata: y\n\n", [b"x", b"y"]),
        (b"\n\n", []),
        (b"", []),
    ],
)
def test_a_piece_of_its_own(piece: bytes, data: list[bytes]) -> None:
    assert list(sse.Events().feed(piece)) == data


def test_an_event_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT", 10)
    with pytest.raises(sse.EventTooLongError, match="longer than 10 bytes"):
        sse.Events().feed(b"data: 0123456789")
