"""What one page of Stripe's list of all subscriptions, or of its list of customers, says of the customers on it.

Laws: a customer may stand on several pages, and a page says nothing of the subscriptions that are not on it; what a
page cannot tell, or what on it is not understood, is left to a reading of the customer.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from paygrade.billing import facts
from paygrade.providers.stripe import translate
from paygrade.providers.stripe.connection import not_understood
from paygrade.providers.stripe.fields import Json, Payload
from paygrade.values.errors import Refused

_IN_ARREARS = frozenset({"past_due", "unpaid"})


class ListedCustomer(Struct, frozen=True):
    """A customer with those of its subscriptions that are on the page.

    `customer` None: it was not understood. `whole` False: it has to be read to tell whether it is as stored.
    """

    subject: str
    subscriptions: tuple[str, ...]
    customer: facts.Customer | None
    whole: bool
    email: str | None = None


class Page(Struct, frozen=True):
    """The customers of one page; `after` is where the next begins, None on the last."""

    customers: tuple[ListedCustomer, ...]
    after: str | None


def page_of(entries: Sequence[Json], *, after: str | None) -> Page:
    """Sort a page's subscriptions by their customers, in the order in which they appear."""
    by_owner: dict[str, list[Json]] = {}
    for entry in entries:
        source = Payload(entry, "subscription")
        # What belongs to nobody stands for itself, so that it is not passed over.
        by_owner.setdefault(translate.owner_of(source) or source.required_text("id"), []).append(entry)
    return Page(tuple(_listed(owner, bought) for owner, bought in by_owner.items()), after)


def page_of_customers(entries: Sequence[Json], *, after: str | None) -> Page:
    """Customers as the list of customers has them, without a word on what they bought."""
    return Page(tuple(_listed_alone(entry) for entry in entries), after)


def entries_of(path: str, page: Json, after: str | None) -> tuple[list[Json], str | None]:
    """The objects of a page that began after `after`, and where the next page begins."""
    entries = page.get("data")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise not_understood(f"`{path}` answered without a list in `data`")
    if page.get("has_more") is not True:
        return entries, None
    last = entries[-1].get("id") if entries else None
    if not isinstance(last, str) or after == last:
        raise not_understood(f"`{path}` promised more and gave no way on")
    return entries, last


def created_before(entry: Json, instant: datetime) -> bool:
    """Whether an object of a list was created before then. Refused if it does not say."""
    source = Payload(entry, "object")
    created_at = source.instant("created")
    return created_at < instant if created_at is not None else source.refuse("created", "an instant")


def _listed_alone(payload: Json) -> ListedCustomer:
    source = Payload(payload, "customer")
    subject = f"stripe:{source.required_text('id')}"
    try:
        return ListedCustomer(subject, (), translate.customer(payload, ()), whole=True, email=source.text("email"))
    except Refused:
        return ListedCustomer(subject, (), None, whole=False)


def _listed(owner: str, bought: Sequence[Json]) -> ListedCustomer:
    ids = tuple(str(entry.get("id")) for entry in bought)
    expanded = (entry["customer"] for entry in bought if isinstance(entry.get("customer"), Mapping))
    alone = {"id": owner} if not any(entry.get("customer") for entry in bought) else None
    payload = next(expanded, alone)
    try:
        customer = translate.customer(payload, bought) if payload is not None else None
        email = Payload(payload, "customer").text("email") if payload is not None else None
    except Refused:
        # The reading stumbles over it as well, and then it shows as a subject that fails.
        return ListedCustomer(f"stripe:{owner}", ids, None, whole=False)
    whole = customer is not None and not any(_needs_more(entry) for entry in bought)
    return ListedCustomer(f"stripe:{owner}", ids, customer, whole=whole, email=email)


def _needs_more(entry: Json) -> bool:
    """Whether its open invoices decide, or not all of its items are here."""
    items = entry.get("items")
    return entry.get("status") in _IN_ARREARS or (isinstance(items, Mapping) and items.get("has_more") is True)
