"""Effects: who gains and who loses what, between two snapshots of one account."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.catalog.model import Catalog
from paygrade.decisions.decide import Decision, decide
from paygrade.decisions.snapshots import Snapshot
from paygrade.decisions.take import snapshot_of, with_segments
from paygrade.entitlements.derive import derive
from paygrade.entitlements.model import Entitlement


class Effect(Struct, frozen=True):
    """What something planned changes for one account and feature, at the instant it was planned.

    `after` also says which of the words about how units are used changed: overage, shares of members, caps and so on.
    """

    account: str
    feature: str
    how: Literal["gains", "loses", "changes"]
    before: str
    after: str


def effects(before: Snapshot, after: Snapshot, features: Iterable[str], at: datetime) -> list[Effect]:
    """What differs for the account at `at`, by feature."""
    found = []
    before, after = for_whoever_may(before), for_whoever_may(after)
    for feature in features:
        old, new = decide(before, feature, 0, at), decide(after, feature, 0, at)
        other = _other_use(_entitlement(before, feature), _entitlement(after, feature))
        how = _compare(old, new) or ("changes" if other else None)
        if how is not None:
            found.append(Effect(after.account, feature, how, _amount(old), _amount(new) + other))
    return found


def for_whoever_may(snapshot: Snapshot) -> Snapshot:
    """The same as a member sees it who has every role and a seat: what the account gains and loses is not about one."""
    if not any(terms.its.personal for span in snapshot.shape.spans for terms in span.terms.values()):
        return snapshot
    return with_segments(
        snapshot,
        [
            replace(
                segment,
                entitlements={
                    key: replace(its, personal=False) if its.personal else its
                    for key, its in segment.entitlements.items()
                },
            )
            for segment in snapshot.segments
        ],
    )


def today(account: Account, catalog: Catalog, at: datetime) -> Snapshot:
    """A snapshot that looks no further than the next change, as there may be many accounts to look at."""
    if not account.exists:
        return snapshot_of(account.key, "", at, at, (), known=False)
    segment = derive(account, catalog, at)
    return snapshot_of(account.key, "", at, segment.until, (segment,))


def _entitlement(snapshot: Snapshot, feature: str) -> Entitlement | None:
    terms = snapshot.shape.terms.get(feature)
    return terms.its if terms is not None else None


def _other_use(before: Entitlement | None, after: Entitlement | None) -> str:
    """What is new about how the units are used, beside how many there are; empty: nothing, or not to be compared."""
    if not (before and after and before.granted and after.granted):
        return ""
    old, new = _use(before), _use(after)
    differing = [name for name in new if new[name] != old[name]]
    return f" with other {', '.join(differing)}" if differing else ""


def _use(entitlement: Entitlement) -> dict[str, object]:
    over = None if entitlement.units_max is None else entitlement.units_max - (entitlement.limit or 0)
    return {
        "overage": (entitlement.soft, entitlement.overage_price, over),
        "shares of members": entitlement.per_member,
        "caps": entitlement.caps,
        "rollover": (entitlement.rollover, entitlement.rollover_share, entitlement.rollover_windows),
        "debt": entitlement.owes,
        "rolling window": entitlement.rolling_s,
        "rates": (entitlement.property, dict(entitlement.rates or {})),
        "roles": entitlement.roles,
        "need of a seat": entitlement.seat,
    }


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
