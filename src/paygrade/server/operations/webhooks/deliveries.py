"""Deliveries of webhooks: what became of each, and sending some of them once more.

Law: a replay sends what the log of state updates has, with the same ids, so whoever has had it can tell.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from paygrade.server.operations.audit.note import note
from paygrade.server.operations.webhooks.endpoints import load
from paygrade.updates.delivery import DeliveryState
from paygrade.values.errors import Refused
from paygrade.values.text import QUANTITY_MAX

if TYPE_CHECKING:
    from paygrade.postgres.store import Store
    from paygrade.postgres.webhooks import SavedDelivery

REPLAYED_MAX = 10_000

Position = Annotated[int, Meta(ge=0, le=QUANTITY_MAX)]


class WebhookDelivery(Struct, frozen=True, kw_only=True):
    """A state update for an endpoint, and what came of the last try.

    `waiting` for its turn or its next try, `delivered`, `dead_letter` (tried again until it has had ten tries, but no
    longer in order), `failed` (given up) or `missed` (the endpoint was disabled). `next_try_at` None: it isn't tried by
    itself. `answer` is the beginning of what the receiver answered, for
    those who have `webhooks:answers`. `gap`: it said that an earlier one is missing.
    """

    id: str
    position: int
    type: str
    account: str | None
    state: DeliveryState
    tries: int
    tried_at: datetime | None
    next_try_at: datetime | None
    gap: bool
    status: int | None
    took_ms: int | None
    error: str | None
    answer: str | None


class WebhookDeliveries(Struct, frozen=True):
    """Deliveries, the latest first. `next`: show those before this position; None: there are no more."""

    deliveries: tuple[WebhookDelivery, ...]
    next: int | None


class ReplayRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What to send again: the update with this `id`; the updates after position `after` up to `until`; or the `gap`,
    all that was not delivered."""

    id: str | None = None
    after: Position | None = None
    until: Position | None = None
    gap: bool = False


class Replay(Struct, frozen=True):
    """How many deliveries will be sent again."""

    replayed: int


async def list_deliveries(
    store: "Store",
    endpoint: str,
    *,
    state: DeliveryState | None,
    account: str | None,
    before: int | None,
    limit: int,
) -> WebhookDeliveries:
    """List the deliveries of a webhook endpoint.

    The latest first, as long as their state updates are kept. Refused `unknown_endpoint`.
    """
    async with store.transaction() as tx:
        await load(tx, endpoint)
        page = await tx.webhook_deliveries.page(endpoint, state=state, account=account, before=before, limit=limit + 1)
    shown = tuple([_shown(each) for each in page[:limit]])
    return WebhookDeliveries(shown, shown[-1].position if len(page) > limit else None)


async def replay(store: "Store", endpoint: str, wanted: ReplayRequest) -> Replay:
    """Replay deliveries of a webhook endpoint.

    Send one state update again, a range of at most 10,000, or the gap: all that was not delivered, or happened while
    the endpoint was disabled. Each keeps its `webhook-id`. Refused `unknown_endpoint`, `endpoint_disabled`,
    `unknown_update`.
    """
    at = datetime.now(UTC)
    async with store.transaction() as tx:
        held = await load(tx, endpoint, lock=True)
        if held.state == "disabled":
            raise Refused("endpoint_disabled", f"the endpoint `{endpoint}` is disabled; enable it first")
        if wanted.id is not None:
            if not await tx.webhook_deliveries.replay_one(held, wanted.id, at=at):
                raise Refused("unknown_update", f"there is no update `{wanted.id}`, or it is no longer kept")
            count = 1
        elif wanted.gap:
            count = await tx.webhook_deliveries.replay_gap(endpoint, at=at)
            # What was missed and has no delivery yet is made one like any other.
            await tx.webhook_endpoints.change(endpoint, missed_until=0)
        else:
            # What is behind the endpoint's position is sent without being asked for.
            until = min(held.position if wanted.until is None else wanted.until, held.position)
            count = await tx.webhook_deliveries.replay(held, after=wanted.after or 0, upto=until, at=at)
        await tx.webhook_endpoints.wake(endpoint)
        targets = [("webhook_endpoint", endpoint)]
        note(tx, "webhook_endpoint.replay", targets=targets, changes={"replayed": count}, at=at)
    return Replay(count)


def _shown(saved: "SavedDelivery") -> WebhookDelivery:
    return WebhookDelivery(
        id=saved.update_id,
        position=saved.position,
        type=saved.type,
        account=saved.account or None,
        state=saved.state,
        tries=saved.tries,
        tried_at=saved.tried_at,
        next_try_at=saved.due_at,
        gap=saved.gap,
        status=saved.status,
        took_ms=saved.took_ms,
        error=saved.error,
        answer=saved.answer,
    )
