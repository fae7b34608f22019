"""Credits by grant: what was paid for them, and what has become of that.

Laws: units are used, reserved, voided, expired or available, and those add up; so does what was paid: for units used it
is earned, for units expired it is breakage, for units voided it is written off, and the rest is deferred. Each cent
follows its unit: what the first n units of a grant cost is rounded down, whichever they are.
"""

from datetime import datetime

from msgspec import Struct

from paygrade.usage.balances import Grant, GrantKind


class Price(Struct, frozen=True):
    """What a grant cost, in minor units."""

    amount: int
    currency: str


class CreditRow(Struct, frozen=True):
    """A grant as it stands. `price` and what follows from it are None where nothing is known to have been paid; minor
    units. `earned`: for units used; `breakage`: for units that expired unused; `voided_price`: for units taken back;
    `deferred`: for units that can still be used."""

    pool: str
    grant: str
    kind: GrantKind
    from_at: datetime
    until: datetime | None
    units: int
    used: int
    reserved: int
    voided: int
    expired: int
    available: int
    currency: str | None
    price: int | None
    earned: int | None
    breakage: int | None
    voided_price: int | None
    deferred: int | None


def credit_row(pool: str, grant: Grant, price: Price | None, at: datetime) -> CreditRow:
    """What has become of a grant by `at`."""
    assert grant.units is not None, "only a window has as many units as anyone likes"
    over = grant.until is not None and at >= grant.until
    expired, available = (grant.left, 0) if over else (0, grant.left)
    money: tuple[int | None, ...] = (None,) * 5
    if price is not None:
        used, voided = min(grant.used, grant.units), grant.voided
        earned = _part(price.amount, used, grant.units)
        broken = _part(price.amount, used + expired, grant.units) - earned
        taken = _part(price.amount, min(used + expired + voided, grant.units), grant.units) - earned - broken
        money = price.amount, earned, broken, taken, price.amount - earned - broken - taken
    return CreditRow(
        pool, grant.id, grant.kind, grant.from_at, grant.until, grant.units, grant.used, grant.reserved, grant.voided,
        expired, available, None if price is None else price.currency, *money,
    )  # fmt: skip


def _part(amount: int, units: int, of: int) -> int:
    return amount * units // of if of > 0 else 0
