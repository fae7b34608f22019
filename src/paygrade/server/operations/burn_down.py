"""How the units of a credit went: what was left of each grant at some instants of the last days, and how long what is
left lasts at that pace.

Laws: each instant is what the time machine says of it; the pace is a guess and changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.catalog.offers import Credit
from paygrade.server.operations.accounts.access import known_at
from paygrade.server.operations.accounts.record import unknown_account
from paygrade.server.operations.usage.grants import BalanceView, view_balance
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

LOOKS_BACK, SAMPLES = timedelta(days=14), 8
"""Each sample folds the ledger of the account up to it."""
PACE_OF = timedelta(days=7)


class Sample(Struct, frozen=True):
    """The balance at an instant."""

    at: datetime
    balance: BalanceView


class BurnDown(Struct, frozen=True):
    """Samples, the earliest first, the last of them now. `a_day`: how many units were used a day lately; None: it
    is known for less than a day. `lasts_until`: when the last of what can be spent now is used or expired at that pace;
    None: not as far as one can tell."""

    account: str
    credit: str
    samples: tuple[Sample, ...]
    a_day: float | None
    lasts_until: datetime | None


async def burn_down(store: "Store", *, account: str, credit: str, now: datetime) -> BurnDown:
    """Refused `unknown_account`, `unknown_feature`."""
    async with store.reading() as tx:
        known, catalog, held = await known_at(tx, account, at=now, now=now, believed=False)
    if not known.exists:
        raise unknown_account(account)
    if not isinstance(catalog.credits.get(credit), Credit):
        raise Refused("unknown_feature", f"the catalog has no credit `{credit}`; look at the list of features")
    first = max(now - LOOKS_BACK, min(known.since or now, now))
    found = [Sample(now, view_balance(held, credit, now))]
    for number in range(1, SAMPLES if first < now else 1):
        at = now - number * (now - first) / (SAMPLES - 1)
        async with store.reading() as tx:
            then, catalog, held = await known_at(tx, account, at=at, now=now, believed=False)
        if then.exists and credit in catalog.credits:
            found.insert(0, Sample(at, view_balance(held, credit, at)))
    a_day = pace([each for each in found if each.at >= now - PACE_OF - LOOKS_BACK / SAMPLES / 2])
    return BurnDown(account, credit, tuple(found), a_day, lasts_until(found[-1], a_day or 0))


def pace(samples: Sequence[Sample]) -> float | None:
    """Units a day over these; None: they span less than a day. What is used of a window after its last sample is not
    seen."""
    if samples[-1].at - samples[0].at < timedelta(days=1):
        return None
    used = 0
    for before, after in pairwise(samples):
        known = {each.grant.id: each.share.consumed for each in before.balance.grants}
        used += sum(max(0, each.share.consumed - known.get(each.grant.id, 0)) for each in after.balance.grants)
    return used / ((samples[-1].at - samples[0].at) / timedelta(days=1))


def lasts_until(sample: Sample, a_day: float) -> datetime | None:
    """When grants that burn one after the other at this pace are used up or have expired."""
    at = sample.at
    if a_day <= 0:
        return None
    for each in sample.balance.grants:
        until, left = each.grant.until, each.share.available
        if left is None:
            return None
        if each.asleep or not left or (until is not None and until <= at):
            continue
        days = left / a_day
        if days > 3650:
            return None
        used_up = at + timedelta(days=days)
        at = used_up if until is None else min(used_up, until)
    return at
