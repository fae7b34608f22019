"""Effects: who gains and who loses what, between two snapshots of one account."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from msgspec import Struct

from paygrade.accounts import Account
from paygrade.catalog import Catalog
from paygrade.decisions import Decision, decide
from paygrade.entitlements import Snapshot, derive


class Effect(Struct, frozen=True):
    """What something planned changes for one account and feature, at the instant it was planned."""

    account: str
    feature: str
    how: Literal["gains", "loses", "changes"]
    before: str
    after: str


def effects(before: Snapshot, after: Snapshot, features: Iterable[str], at: datetime) -> list[Effect]:
    """What differs for the account at `at`, by feature."""
    found = []
    for feature in features:
        old, new = decide(before, feature, 0, at), decide(after, feature, 0, at)
        how = _compare(old, new)
        if how is not None:
            found.append(Effect(after.account, feature, how, _amount(old), _amount(new)))
    return found


def today(account: Account, catalog: Catalog, at: datetime) -> Snapshot:
    """A snapshot that looks no further than the next change, as there may be many accounts to look at."""
    if not account.exists:
        return Snapshot(account.key, "", at, at, (), known=False)
    segment = derive(account, catalog, at)
    return Snapshot(account.key, "", at, segment.until, (segment,))


def _compare(before: Decision, after: Decision) -> Literal["gains", "loses", "changes"] | None:
    if before.allowed != after.allowed:
        return "gains" if after.allowed else "loses"
    if not after.allowed:
        return None
    if before.unlimited != after.unlimited:
        return "gains" if after.unlimited else "loses"
    if before.limit is not None and after.limit is not None and before.limit != after.limit:
        return "gains" if after.limit > before.limit else "loses"
    return "changes" if before.value != after.value else None


def _amount(decision: Decision) -> str:
    if not decision.allowed:
        return f"no ({decision.reason})"
    if decision.unlimited:
        return "unlimited"
    if decision.limit is not None:
        return str(decision.limit)
    return "yes" if decision.value in (True, None) else str(decision.value)
