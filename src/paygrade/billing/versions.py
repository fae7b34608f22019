"""Versions: which version of a plan or add-on counts for an account at an instant, and why.

Laws: what counts is pure in (account, catalog, at): an operator's pin decides, else the first keep of the catalog that
applies, else the newest version; when something was bought is the provider's word, so it matters neither when nor in
which order it was learned, but for a price swapped within a line, which only a reading tells; publishing changes
nothing for whom a pin or a keep holds.

| # | what speaks | holds to | until |
|---|---|---|---|
| 1 | a pin of the account (`version:pro`) | its version; from `until` on `then` | it is withdrawn, or ends |
| 2 | a keep of the catalog, for who bought before it was published | its version | its date, or for good |
| 3 | nothing | the newest version | the next one is published |

Bought means: by the subscription; the default plan, and a plan that stands in for another, by the account's creation.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account, Purchase, apply
from paygrade.billing.facts import Fact, Item, Pin
from paygrade.catalog.model import (
    AddOn,
    Allowance,
    Catalog,
    Part,
    Plan,
    Price,
    Setting,
    Switch,
    Term,
    earlier,
    find_bought,
    find_key,
    newest,
    versions_of,
)
from paygrade.catalog.offers import BooleanFeature, ConfigFeature


class Version(Struct, frozen=True, omit_defaults=True):
    """The version of a plan or add-on that counts. `newest` None: it is sold no more.

    `why` pinned: by an operator, who said so at `since`. kept: it was bought before `since`. `until`: when something
    else counts; None: no date changes it.
    """

    key: str
    version: int
    newest: int | None
    why: Literal["newest", "kept", "pinned"]
    since: datetime | None = None
    until: datetime | None = None
    reason: str = ""

    @property
    def ref(self) -> str:
        return f"{self.key}@{self.version}"


class Counted(Struct, frozen=True):
    """A plan or add-on in the version that counts."""

    bought: Plan | AddOn
    version: Version


def counted(account: Account, catalog: Catalog, subscription: str, item: Item, at: datetime) -> Counted | None:
    """What an item of this subscription buys at `at`; None: nothing that is sold or kept."""
    key = find_key(catalog, price=item.price, lookup_key=item.lookup_key, product=item.product, plan=item.plan)
    if key is None:
        return None
    since = bought_since(account, catalog, subscription, key) if key in catalog.keeps else None
    return version_at(account, catalog, key, since, at)


def price_of(bought: Plan | AddOn, item: Item, catalog: Catalog) -> Price | None:
    """The price an item is bought for: by its name at the provider, by its key in manual billing, or the only one.

    Who is held to another version than they bought goes on paying what they bought.
    """
    refs = {ref for ref in (item.price, item.lookup_key) if ref}
    found = [price for price in bought.prices.values() if price.stripe in refs]
    if refs and not found:
        versions = reversed(versions_of(catalog, bought.key).values())
        found = [price for sold in versions for price in sold.prices.values() if price.stripe in refs]
    if not found and item.plan is not None:
        found = [price for price in bought.prices.values() if price.key in refs]
        if not found and not refs and len(bought.prices) == 1:
            found = list(bought.prices.values())
    return found[0] if found else None


def part_of(item: Item, price: Price | None) -> Part:
    """Which part of what is bought an item pays for: as the provider says of metered prices, else as the catalog."""
    if item.metered:
        return "usage"
    return price.part if price is not None else "quantity"


def quantity_of(bought: Plan | AddOn, items: Iterable[Item], catalog: Catalog) -> int:
    """How many of a plan or add-on these items of one subscription buy together: those that are paid for each count;
    where there is none, it is bought once."""
    counted = [item.quantity for item in items if part_of(item, price_of(bought, item, catalog)) == "quantity"]
    return sum(counted) if counted else 1


def unbought(account: Account, catalog: Catalog, plan: str, at: datetime) -> Counted:
    """A plan on sale that counts without being bought: the default plan, or one that stands in for another."""
    found = version_at(account, catalog, plan, account.since, at)
    assert found is not None, "a policy names a plan that is sold"
    return found


def version_at(account: Account, catalog: Catalog, key: str, since: datetime | None, at: datetime) -> Counted | None:
    """The version of `key` that counts at `at` for who has it `since` then; None: longer than anybody remembers."""
    present = newest(catalog, key)
    top = present.version if present is not None else None
    held = _pinned(account, key, top, at) or _kept(catalog, key, top, since, at)
    if held is not None and held.version != top:
        before = earlier(catalog, held.ref)
        if before is not None:
            return Counted(_fitting(before, catalog), held)
        held = None
    if present is None:
        return None
    return Counted(present, held or Version(key, present.version, top, "newest"))


def bought_since(account: Account, catalog: Catalog, subscription: str, key: str) -> datetime | None:
    """Since when a subscription has bought this plan or add-on, at whichever price."""
    purchases = account.purchases.get(subscription, ())
    return min((_since(one, purchases) for one in purchases if _key(catalog, one) == key), default=None)


def is_known(account: Account, catalog: Catalog, item: Item) -> bool:
    """Whether the catalog, or an operator's pin, knows what this item buys."""
    refs = {"price": item.price, "lookup_key": item.lookup_key, "product": item.product, "plan": item.plan}
    return find_bought(catalog, **refs) is not None or find_key(catalog, **refs) in account.pins


def pinned(account: Account, pin: Pin, at: datetime) -> Account:
    """The account as it would stand if an operator stated this."""
    number = account.version + 1
    return apply(account, Fact(number, pin_subject(pin.key), number, at, pin))


def pin_subject(key: str) -> str:
    return f"version:{key}"


def _pinned(account: Account, key: str, top: int | None, at: datetime) -> Version | None:
    statement = account.statements.get(pin_subject(key))
    if statement is None or not isinstance(statement.body, Pin) or statement.body.withdrawn:
        return None
    pin = statement.body
    over = pin.until is not None and at >= pin.until
    if over and pin.then is None:
        return None
    said = pin.then if over else pin.version
    version = said if isinstance(said, int) else top
    if version is None:
        return None
    return Version(key, version, top, "pinned", statement.as_of, None if over else pin.until, pin.reason)


def _kept(catalog: Catalog, key: str, top: int | None, since: datetime | None, at: datetime) -> Version | None:
    for keep in catalog.keeps.get(key, ()):
        if (since is None or since < keep.before_at) and (keep.until is None or at < keep.until):
            return Version(key, keep.version, top, "kept", keep.before_at, keep.until)
    return None


def _since(one: Purchase, purchases: Iterable[Purchase]) -> datetime:
    """Of the first thing a line bought its creation tells; what took its place was bought when it was first seen."""
    first = all(one.seen_at <= other.seen_at for other in purchases if other.item == one.item)
    return one.created_at if first and one.created_at is not None else one.seen_at


def _key(catalog: Catalog, one: Purchase) -> str | None:
    return find_key(catalog, price=one.price, lookup_key=one.lookup_key, product=one.product, plan=one.plan)


def _fitting(sold: Plan | AddOn, catalog: Catalog) -> Plan | AddOn:
    """Without what is said of features that have become something else since."""
    terms = {key: term for key, term in sold.terms.items() if _fits(term, catalog)}
    return sold if len(terms) == len(sold.terms) else replace(sold, terms=terms)


def _fits(term: Term, catalog: Catalog) -> bool:
    offer = catalog.features.get(term.feature) or catalog.credits.get(term.feature)
    match term:
        case Switch():
            return isinstance(offer, BooleanFeature)
        case Setting(value=value):
            return isinstance(offer, ConfigFeature) and type(value) is _TYPES[offer.type]
        case Allowance():
            return offer is not None and not isinstance(offer, BooleanFeature | ConfigFeature)


_TYPES = {"integer": int, "string": str, "boolean": bool}
