"""When a webhook is tried again, by the laws of `updates/delivery.py`."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from paygrade.updates.delivery import (
    ASKED_MAX,
    BODY_BYTES_MAX,
    JITTER,
    ORDER_TIME,
    ORDER_TRIES,
    PAUSES,
    TRIES_MAX,
    DeliveryState,
    WebhookSecret,
    after_failure,
    body_of,
    live,
)
from paygrade.updates.log import Update

T0 = datetime(2026, 11, 30, tzinfo=UTC)
SECONDS = st.integers(min_value=0, max_value=10**9)


def tried(*, asked: list[timedelta | None], spread: float, took: timedelta) -> list[tuple[DeliveryState, datetime]]:
    """How it stands after each try, and when that was, of a delivery that always fails."""
    state: DeliveryState = "waiting"
    at, found = T0, []
    for tries in range(1, TRIES_MAX + 1):
        state, due_at = after_failure(
            state, tries=tries, first_tried_at=T0, asked=asked[tries - 1], spread=spread, at=at + took
        )
        found.append((state, at))
        if due_at is None:
            break
        assert due_at > at
        at = due_at
    return found


def test_without_jitter_the_tries_are_those_of_the_standard_but_for_the_last_in_order() -> None:
    found = tried(asked=[None] * TRIES_MAX, spread=0, took=timedelta(0))
    after = [at - T0 for _, at in found]
    assert after[:4] == [timedelta(0), timedelta(seconds=5), timedelta(seconds=305), ORDER_TIME]
    assert [later - earlier for earlier, later in pairwise(after[3:])] == list(PAUSES[3:])
    assert [state for state, _ in found] == ["waiting"] * 3 + ["dead_letter"] * 6 + ["failed"]


@given(
    asked=st.lists(st.none() | SECONDS.map(lambda s: timedelta(seconds=max(s, 1))), min_size=10, max_size=10),
    spread=st.floats(min_value=-1, max_value=1),
    took=st.integers(min_value=0, max_value=15).map(lambda seconds: timedelta(seconds=seconds)),
)
def test_law_nobody_is_held_up_for_longer_and_pauses_have_a_bound(
    asked: list[timedelta | None], spread: float, took: timedelta
) -> None:
    found = tried(asked=asked, spread=spread, took=took)
    assert len(found) == TRIES_MAX
    in_order = [at for state, at in found if state == "waiting"]
    assert len(in_order) < ORDER_TRIES
    assert all(at + took < T0 + ORDER_TIME for at in in_order), "who waits any longer is past the time for it"
    states = [state for state, _ in found]
    assert states == sorted(states, key=["waiting", "dead_letter", "failed"].index)
    for tries, ((_, earlier), (_, later)) in enumerate(pairwise(found)):
        stated = asked[tries]
        most = PAUSES[tries] * (1 + JITTER)
        if stated is not None:
            most = max(most, min(stated, ASKED_MAX))
        assert later - earlier <= most + took + timedelta(milliseconds=1)


def test_a_secret_signs_until_its_end_and_shows_itself_nowhere() -> None:
    old, new = WebhookSecret("whsec_old", T0), WebhookSecret("whsec_new")
    assert live((new, old), T0 - timedelta(seconds=1)) == (new, old)
    assert live((new, old), T0) == (new,)
    assert "whsec" not in repr((new, old))


@given(length=st.integers(min_value=0, max_value=3 * BODY_BYTES_MAX))
def test_a_body_is_never_longer_than_the_standard_allows(length: int) -> None:
    update = Update("upd_1", "account.state_changed", "acme", 1, 1, 7, T0, {"text": "x" * length})
    body = body_of(update, gap=False)
    assert len(body) < BODY_BYTES_MAX
    told = msgspec.json.decode(body)
    assert told["data_omitted"] is (told["data"] == {})
    assert (told["account"], told["sequence"], told["state_version"]) == ("acme", 1, 7)
