"""How one catalog follows another: what was sold before stays known, and who has it keeps it or follows.

Laws: nothing that was ever sold is forgotten, so every version can be held to; a keep is for who bought before the
catalog was published, so publishing changes no version of theirs, and nobody who buys later has a say in it; without a
word for them they follow at once.
"""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from paygrade.catalog.model import AddOn, Catalog, Grandfathered, Plan, newest


class Grandfathering(Struct, frozen=True, omit_defaults=True):
    """What becomes of those who have a plan or add-on that changes: they keep its version for good (`keep`), or until
    `follow_at`, or else they follow at once."""

    keep: bool = False
    follow_at: datetime | None = None


FOLLOW = Grandfathering()


def succeed(base: Catalog, wanted: Catalog, existing: Grandfathering, at: datetime) -> Catalog:
    """The catalog that was wanted, with what is kept and known of `base`, as it is published at `at`."""
    changed = superseded(base, wanted)
    plans = {sold.ref: sold for sold in changed if isinstance(sold, Plan)}
    add_ons = {sold.ref: sold for sold in changed if isinstance(sold, AddOn)}
    names = {**base.earlier_stripe, **base.stripe}
    keeps = base.keeps
    if existing.keep or existing.follow_at is not None:
        keeps = {**keeps}
        for sold in changed:
            keeps[sold.key] = (*keeps.get(sold.key, ()), Grandfathered(sold.version, at, existing.follow_at))
    present = {*(plan.ref for plan in wanted.plans.values()), *(add_on.ref for add_on in wanted.add_ons.values())}
    return replace(
        wanted,
        earlier_plans={ref: sold for ref, sold in {**base.earlier_plans, **plans}.items() if ref not in present},
        earlier_add_ons={ref: sold for ref, sold in {**base.earlier_add_ons, **add_ons}.items() if ref not in present},
        earlier_stripe={name: key for name, key in names.items() if name not in wanted.stripe},
        keeps=keeps,
    )


def superseded(base: Catalog, wanted: Catalog) -> tuple[Plan | AddOn, ...]:
    """The versions of `base` that are sold no more as they are."""
    sold: tuple[Plan | AddOn, ...] = (*base.plans.values(), *base.add_ons.values())
    return tuple(one for one in sold if (now := newest(wanted, one.key)) is None or now.version != one.version)
