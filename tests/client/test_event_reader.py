"""Server-sent events: the same however their bytes arrive."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygrade.client import events
from paygrade.client.events import Event, EventReader

STREAM = (
    b"retry: 1000\nid: e-1\nevent: hello\ndata: {}\n\n"
    b": a comment\n\nevent: news\r\ndata: one\r\ndata: two\r\n\r\nevent: nothing\n\ndata:3\n\n"
    b"id: e-2\ndata: 4\n\ndata: cut"
)
TOLD = [
    Event("hello", b"{}", "e-1"),
    Event("news", b"one\ntwo", "e-1"),
    Event("message", b"3", "e-1"),
    Event("message", b"4", "e-2"),
]


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_how_bytes_are_cut_changes_nothing(cuts: list[int]) -> None:
    reader, places = EventReader(), [0, *sorted(cuts), len(STREAM)]
    told = [event for begin, end in pairwise(places) for event in reader.read(STREAM[begin:end])]
    assert told == TOLD


@given(garbage=st.binary(max_size=200))
def test_garbage_never_raises(garbage: bytes) -> None:
    EventReader().read(garbage)


def test_a_line_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BUFFER_MAX", 100)
    with pytest.raises(ValueError, match="longer than 100 bytes"):
        EventReader().read(b"data: " + b"x" * 101)
