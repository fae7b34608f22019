"""What can be had: features of every kind, credits, and what is said of their units. It is all that deciding needs to
know of a catalog.
"""

from typing import Literal, get_args

from msgspec import Struct

from paygrade.values.periods import Recurrence

Access = Literal["read", "write", "export", "admin"]
"""What using a feature does; the access ladder of a subscription in arrears opens some of these and not others."""
OnError = Literal["allow", "deny"]
ConfigType = Literal["integer", "string", "boolean"]
CONFIG_TYPES: tuple[ConfigType, ...] = get_args(ConfigType)
Aggregate = Literal["count", "sum", "max", "last", "unique"]
Report = Literal["overage", "all"]
PRIORITY = 50
"""Where units stand in the burn order of a pool when nobody says: from 0, used first, to 100."""


class _Keyed(Struct, frozen=True):
    key: str


class _Feature(_Keyed, frozen=True, kw_only=True):
    """What is said of features of every kind. `roles` are those whose members may use it, where not all may; `seat` is
    the level of which a member needs a seat to use it."""

    access: Access = "write"
    roles: tuple[str, ...] = ()
    seat: str | None = None
    on_error: OnError = "deny"
    description: str = ""


class BooleanFeature(_Feature, frozen=True, tag="boolean", tag_field="kind"):
    """On or off."""


class ConfigFeature(_Feature, frozen=True, tag="config", tag_field="kind"):
    """A value the product reads, e.g. days of retention."""

    type: ConfigType
    unit: str = ""


class LevelFeature(_Feature, frozen=True, tag="level", tag_field="kind"):
    """Something held, not used up: seats, projects, gigabytes stored."""

    unit: str = ""

    @property
    def counts_seats(self) -> bool:
        """Whether members take it up."""
        return self.key == "seats" or self.unit == "seat"


class Rate(Struct, frozen=True):
    """`rate` credits for every `per` units, as an exact fraction."""

    rate: int
    per: int = 1


class Burn(Struct, frozen=True):
    """What a unit costs in a credit: `rate` credits for every `per` units, as an exact fraction.

    `property` set: usage events whose property of this name is one of `rates` cost that rate instead (the price of
    a model's tokens); all others cost `rate` and `per`.
    """

    credit: str
    rate: int
    per: int = 1
    property: str | None = None
    rates: dict[str, Rate] = {}


class MeteredFeature(_Feature, frozen=True, tag="metered", tag_field="kind"):
    """Something used up: counted from usage events named `event`, taking `value` from their properties.

    `stripe_meter`: the event name of the meter at Stripe that usage is reported to; `report` says which usage: what
    is over the limit, or all of it.
    """

    event: str
    aggregate: Aggregate = "count"
    value: str | None = None
    unit: str = ""
    burns: tuple[Burn, ...] = ()
    stripe_meter: str | None = None
    report: Report = "overage"


Feature = BooleanFeature | ConfigFeature | LevelFeature | MeteredFeature


class Credit(Struct, frozen=True, tag="credit", tag_field="kind"):
    """A currency that metered features burn. `price`: what it is worth, for budgets."""

    key: str
    unit: str = "credit"
    description: str = ""
    price: "OveragePrice | None" = None


class Budget(Struct, frozen=True):
    """So many minor units of a currency."""

    amount: int
    currency: str


class Cap(Struct, frozen=True, omit_defaults=True):
    """One more limit, in a window of its own: a `recurrence` or the last `rolling_s` seconds, one of them. `budget`:
    what was said in its place, in money; `units` are as many as that pays for."""

    units: int
    recurrence: Recurrence | None = None
    rolling_s: int | None = None
    budget: Budget | None = None


class OveragePrice(Struct, frozen=True):
    """What units cost: `amount` minor units for every `per`; of overage, for every `per` over the limit."""

    amount: int
    per: int
    currency: str


Carry = Literal["keep", "prorate", "reset", "convert"]
"""What counts as used in a window whose limit changes."""
