"""Delivery of state updates by webhook: what is sent, what became of it, and when it is tried again (ADR 23).

Laws: an update holds those of its account up for ORDER_TRIES tries or ORDER_TIME, whichever ends first; after that it
is a dead letter, which holds nobody up, and is tried until it has had TRIES_MAX tries; a pause is never longer than
Standard Webhooks has it, but for what the receiver asks for, which has a bound.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from paygrade.updates.log import Update

DeliveryState = Literal["waiting", "delivered", "dead_letter", "failed", "missed"]
"""`waiting` for its turn or its next try; `dead_letter`: tried again, but no longer in order; `failed`: given up;
`missed`: its endpoint was switched off."""
STATES: tuple[DeliveryState, ...] = get_args(DeliveryState)

PAUSES = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""Between one try and the next: https://github.com/standard-webhooks/standard-webhooks, "Retry schedule"."""
TRIES_MAX = len(PAUSES) + 1
JITTER = 0.1
ORDER_TRIES, ORDER_TIME = 5, timedelta(minutes=10)
ASKED_MAX = timedelta(hours=1)
"""A receiver that asks for more than that by Retry-After is asked again after that long."""
WARNED_AFTER, OFF_AFTER = timedelta(days=1), timedelta(days=5)
"""How long an endpoint may take nothing until people are warned, and until it is switched off."""

API_VERSION = "v1"
BODY_BYTES_MAX = 20_000
"""Standard Webhooks: "less than 20kb"."""
TEST_TYPE = "webhook.test"


class WebhookSecret(Struct, frozen=True):
    """What an endpoint's webhooks are signed with, until an instant; None: for good."""

    secret: str
    until: datetime | None = None

    def __repr__(self) -> str:
        return f"WebhookSecret(until={self.until})"


class WebhookEvent(Struct, frozen=True, kw_only=True):
    """What is sent. `timestamp` and `occurred_at` are when it happened; the header has when it was sent.

    `gap`: an earlier update of this account, or of those about none, has not reached this endpoint. `data_omitted`: the
    data is too long; read it with `GET /v1/updates`. Any: JSON, as the type's schema says.
    """

    type: str
    timestamp: datetime
    data: dict[str, Any]
    id: str
    account: str | None
    sequence: int
    state_version: int | None
    occurred_at: datetime
    api_version: str = API_VERSION
    gap: bool = False
    data_omitted: bool = False


def body_of(update: Update, *, gap: bool) -> bytes:
    """The body that tells of an update."""
    event = WebhookEvent(
        type=update.type,
        timestamp=update.occurred_at,
        data=update.data,
        id=update.id,
        account=update.account,
        sequence=update.sequence,
        state_version=update.state_version,
        occurred_at=update.occurred_at,
        gap=gap,
    )
    body = msgspec.json.encode(event)
    if len(body) < BODY_BYTES_MAX:
        return body
    return msgspec.json.encode(msgspec.structs.replace(event, data={}, data_omitted=True))


def test_body(at: datetime) -> bytes:
    """The body of a test."""
    return msgspec.json.encode(
        {"type": TEST_TYPE, "timestamp": at, "data": {"message": "a test from Paygrade"}, "api_version": API_VERSION}
    )


def live(secrets: Sequence[WebhookSecret], at: datetime) -> tuple[WebhookSecret, ...]:
    """Those that sign now, the newest first."""
    return tuple([each for each in secrets if each.until is None or each.until > at])


def after_failure(
    state: DeliveryState,
    *,
    tries: int,
    first_tried_at: datetime,
    asked: timedelta | None,
    spread: float,
    at: datetime,
) -> tuple[DeliveryState, datetime | None]:
    """What a delivery is once a try has failed, and when it is tried again; None: not by itself.

    `tries`: with this one. `asked`: the pause that the receiver asked for. `spread`: from -1 to 1, so that many do not
    come back together.
    """
    if tries >= TRIES_MAX:
        return "failed", None
    pause = PAUSES[tries - 1] * (1 + JITTER * spread)
    asked = None if asked is None else min(asked, ASKED_MAX)
    ends_at = first_tried_at + ORDER_TIME
    if state == "waiting" and tries < ORDER_TRIES and at < ends_at:
        # The last try in order comes when the time for it ends: who is back by then has missed nothing.
        return "waiting", at + asked if asked is not None else min(at + pause, ends_at)
    return "dead_letter", at + (pause if asked is None else max(pause, asked))
