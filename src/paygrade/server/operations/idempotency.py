"""Idempotency keys: a request under a key is done once, and answered alike when it is sent again.

Theory of operation. A request claims its key before it does anything, as all else is claimed (`claims.py` of the
store), and its answer is saved under that claim. Where all that a request does is done in one transaction, the answer
is saved in it, too (`Store.whole`): no crash leaves one without the other. A request that was cut off leaves a claim
behind that ends with its process, and whoever sends it again does it.

Laws: of two requests under one key at most one takes effect; what was answered is answered again, for `KEPT`; a key
stands for one request; what was refused has changed nothing, and lets its key go.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.idempotency import KeyedRequest
    from paygrade.postgres.store import Store

KEPT = timedelta(hours=24)
LEASE_S = 90.0
"""Longer than any request takes that claims a key; less, where its process ends."""


async def begin(store: "Store", *, actor: str, key: str, request: str, at: datetime) -> "KeyedRequest":
    """Claim a key for a request; or what was answered to it, where that is known.

    Refused `idempotency_key_reused` where the key stands for another request, and `idempotency_key_in_use` while its
    own is under way.
    """
    async with store.transaction() as tx:
        await tx.keyed_requests.forget_old(actor, key, until=at - KEPT)
        begun = await tx.keyed_requests.begin(actor=actor, key=key, request=request, lease_s=LEASE_S, at=at)
        known = begun or await tx.keyed_requests.load(actor, key)
    if begun is not None:
        return begun
    if known is not None and known.request != request:
        detail = f"`{key}` was sent with another request in the last 24 hours; use a new key for a new request"
        raise Refused("idempotency_key_reused", detail)
    if known is not None and known.status is not None:
        return known
    return await _take_over(store, actor, key)


async def keep(
    store: "Store", claimed: "KeyedRequest", *, status: int, headers: dict[str, str], body: bytes | None
) -> None:
    """Keep what was answered. Refused `idempotency_key_in_use` where another request has taken the key over: then what
    this one did must not be saved."""
    async with store.transaction() as tx:
        held = await tx.keyed_requests.lock(claimed)
        if held is None:
            raise _in_use(claimed.key)
        await tx.keyed_requests.save(replace(held, status=status, headers=headers, body=body))


async def let_go(store: "Store", claimed: "KeyedRequest") -> None:
    """Let the key go of a request that has changed nothing, or that may be done again."""
    async with store.transaction() as tx:
        await tx.keyed_requests.forget(claimed)


async def purge_idempotency_keys(store: "Store", *, at: datetime) -> int:
    """Forget what was asked more than a day ago; returns how many."""
    async with store.transaction() as tx:
        return await tx.keyed_requests.purge(until=at - KEPT)


async def _take_over(store: "Store", actor: str, key: str) -> "KeyedRequest":
    """Claim the key of a request that was cut off."""
    async with store.transaction() as tx:
        found = await tx.keyed_requests.candidates(limit=1, actor=actor, key=key)
        taken = await tx.keyed_requests.take(found[0], lease_s=LEASE_S, actor=actor, key=key) if found else None
    if taken is None:
        raise _in_use(key)
    return taken


def _in_use(key: str) -> Refused:
    return Refused("idempotency_key_in_use", f"the first request with `{key}` is under way; send this one again later")
