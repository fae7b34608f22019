"""The whole of an account at an instant: what it has and why, feature by feature, and how it stands."""

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.billing.standing import Rung, Standing, rungs, standings
from paygrade.billing.versions import Version
from paygrade.catalog.offers import Credit
from paygrade.decisions.decide import decide
from paygrade.decisions.message import DecisionView, shown
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.entitlements.derive import trace
from paygrade.entitlements.model import Entitlement, Offer
from paygrade.entitlements.sources import Candidate, offers, versions_had
from paygrade.server.operations.accounts.access import known_at
from paygrade.server.operations.accounts.accounts import AccountView, whole_view
from paygrade.server.operations.accounts.record import unknown_account
from paygrade.server.operations.usage.grants import BalanceView, view_balance

if TYPE_CHECKING:
    from paygrade.postgres.store import Store


class FeatureAccess(Struct, frozen=True):
    """One feature or credit: the decision on one more unit for nobody in particular, and where it comes from, the
    deciding source first. `balance`: of what is counted."""

    offer: Offer
    decision: DecisionView
    its: Entitlement
    candidates: tuple[Candidate, ...]
    balance: BalanceView | None

    @property
    def is_credit(self) -> bool:
        return isinstance(self.offer, Credit)


class Stance(Struct, frozen=True):
    """How a subscription stands, and the ladder it is on."""

    standing: Standing
    ladder: tuple[Rung, ...]


class Portrait(Struct, frozen=True):
    """An account at `as_of`, as known then or by what is known now."""

    account: AccountView
    as_of: datetime
    version: str
    catalog_version: int
    features: dict[str, FeatureAccess]
    stances: tuple[Stance, ...]
    versions: tuple[Version, ...]


async def portrait(store: "Store", *, account: str, at: datetime, now: datetime, believed: bool = True) -> Portrait:
    """Everything that decides about an account, at an instant: of the past by what was known then, if `believed`, or by
    what is known now. Refused `unknown_account`."""
    async with store.transaction() as tx:
        known, catalog, held = await known_at(tx, account, at=at, now=now, believed=believed)
    if not known.exists:
        raise unknown_account(account)
    then = at if at > now else known.time(at)
    its = entitlements_at(held, at)
    return Portrait(
        account=whole_view(known, catalog, at),
        as_of=at,
        version=f"{catalog.version}.{known.version}",
        catalog_version=catalog.version,
        features={
            key: FeatureAccess(
                offer,
                shown(decide(held, key, 1, at), counted=True),
                its[key],
                trace(known, catalog, key, then),
                _balance(held, its[key], at),
            )
            for key, offer in offers(catalog).items()
            if key in its
        },
        stances=tuple(Stance(one, rungs(one, catalog)) for one in standings(known, catalog, then)),
        versions=versions_had(known, catalog, then),
    )


def _balance(held: Snapshot, its: Entitlement, at: datetime) -> BalanceView | None:
    return view_balance(held, its.feature, at) if its.kind not in ("boolean", "config") else None
