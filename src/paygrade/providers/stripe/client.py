"""Reads subjects whole from Stripe, through the official library.

Laws: what is returned was read entirely after the call began (callers take their fence before it); every page of
every list is read; a subscription that is live for us is asked for by id before it counts as gone; what Stripe
answers is either understood whole or the call is Unavailable: nothing is half-read. Every request carries the one
API version this release was written for, whatever the account's default is.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing import facts
from paygrade.billing.invoices import Invoice
from paygrade.providers.stripe import translate
from paygrade.providers.stripe.connection import Gone, StripeConnection, not_understood
from paygrade.providers.stripe.events import TEST_TYPES, TYPES, ListedEvent, listed_event
from paygrade.providers.stripe.fields import Json, Payload
from paygrade.providers.stripe.invoices import invoices_of
from paygrade.providers.stripe.pages import Page, created_before, entries_of, page_of, page_of_customers
from paygrade.providers.stripe.planned_prices import PlannedPrices
from paygrade.providers.stripe.returned import with_credited, with_returned
from paygrade.values.errors import Refused, Unavailable

PAGE_SIZE = 100
"""The most Stripe puts on one page."""
_EXPANDED = ["customer", "latest_invoice", "schedule"]
"""What of a subscription is needed beyond itself. The prices of a schedule's phases lie deeper than Stripe expands in
a list (https://docs.stripe.com/expand: four levels)."""
_ACCOUNT = "acct_"
"""How the id of an account begins that stands for a customer."""
_CUSTOMERS = "customers:"
"""Where a sweep goes on after the last subscription, and the customer it goes on after."""


_OWNED = (
    ("sub_sched_", "subscription_schedules"),
    ("sub_", "subscriptions"),
    ("in_", "invoices"),
    *((prefix, "charges") for prefix in ("ch_", "py_")),
    *((prefix, "disputes") for prefix in ("du_", "dp_")),
    *((prefix, "refunds") for prefix in ("re_", "pyr_")),
    ("cs_", "checkout/sessions"),
)
"""How ids begin of what belongs to a customer, and where it is found."""
_OF_A_CHARGE = frozenset({"disputes", "refunds"})


class Redirect(Struct, frozen=True):
    """The subject asked for belongs to this one, and to `others`: ask for them instead."""

    subject: str
    others: tuple[str, ...] = ()


class StripeProvider:
    """One Stripe account, read through one API key. Safe to share between threads; every call blocks."""

    name = "stripe"

    def __init__(
        self,
        *,
        api_key: str,
        api_base: str | None = None,
        max_requests_per_second: float | None = None,
        timeout_s: float = 20,
    ) -> None:
        self.connection = StripeConnection(
            api_key=api_key,
            api_base=api_base,
            max_requests_per_second=max_requests_per_second,
            timeout_s=timeout_s,
        )
        self._planned = PlannedPrices(self._find)
        self._is_test = "_test_" in api_key  # https://docs.stripe.com/keys#obtain-api-keys

    def fetch(
        self, subject: str, known_live: Sequence[str] = (), *, returned: bool = False, credited: bool = False
    ) -> facts.Customer | Redirect | None:
        """Read `stripe:cus_…` whole; what else subjects are named after (`_OWNED`) gives the Redirect to its customer,
        `stripe:clock_…` to all who live by this test clock.

        `known_live` are the subscription ids we hold as not ended. One request for most customers, two for those
        without subscriptions; in arrears one more, and one for each subscription that is; one for each price
        that a schedule brings, or an unpaid change took away, and nobody has asked for yet. With `returned` two more
        for a customer who has paid, and one for each disputed charge and credited invoice of the running periods; with
        `credited` two more for one with a live subscription.
        A customer that Stripe deleted is a Customer with `deleted` set, a subscription that belongs to nobody one with
        its own id. None means that Stripe never heard of the customer, or that an invoice has none. Raises Unavailable.
        """
        id = subject.removeprefix("stripe:")
        if id.startswith("clock_"):
            return self._living_by(id)
        for prefix, place in _OWNED:
            if id.startswith(prefix):
                owner = self._owner_of(place, id)
                return self._ownerless(id) if owner is None and place == "subscriptions" else owner
        subscriptions = self._subscriptions_of(id, known_live)
        payload = _expanded_customer(subscriptions)
        if payload is None and id.startswith(_ACCOUNT):
            payload = {"id": id} if subscriptions else None
        elif payload is None:
            payload = self._find(f"/v1/customers/{_quoted(id)}")
        if payload is None and not subscriptions:
            # Of a customer that was deleted Stripe still says so (docs.stripe.com/api/customers/delete). Knowing
            # nothing of it at all means that the answer is older than the customer, or that we ask the wrong Stripe
            # account: believing it would close accounts.
            if not known_live:
                return None
            raise Unavailable(
                "provider_refused_key",
                f"Stripe has neither `{id}` nor its live subscriptions; check that `PAYGRADE_STRIPE_API_KEY` is a "
                "key of the Stripe account they were read from",
            )
        owing = [entry for entry in subscriptions if entry.get("status") in ("past_due", "unpaid")]
        invoices = list(self._pages("/v1/invoices", **belonging_to(id), status="open")) if owing else []
        for entry in owing:
            # Later than the last that was paid is what these arrears are about; the newest stands first.
            paid, _ = self._page("/v1/invoices", None, subscription=entry.get("id"), status="paid", limit=1)
            invoices += paid
        try:
            subscriptions = self._planned.filled_in(subscriptions)
            invoices = self._planned.with_prices(invoices, owing)
            payload = payload or {"id": id, "deleted": True}
            read = translate.customer(payload, subscriptions, invoices, self._clock_of(payload))
            read = with_credited(read, self._pages, belonging_to(id)) if credited else read
            return with_returned(read, self._pages, belonging_to(id)) if returned else read
        except Refused as mistake:
            raise not_understood(mistake.detail) from mistake

    def invoices(self, subject: str) -> tuple[Invoice, ...]:
        """Everything that a customer was billed and paid (`invoices_of` says what it costs). Raises Unavailable."""
        id = subject.removeprefix("stripe:")
        try:
            # A subscription that belongs to nobody stands for a customer of its own.
            owner = {"subscription": id} if id.startswith("sub_") else belonging_to(id)
            return invoices_of(self._pages, owner)
        except Refused as mistake:
            raise not_understood(mistake.detail) from mistake

    def list_page(self, after: str | None, *, since: datetime | None, arrears: bool = False) -> Page | None:
        """One page of every subscription there is and then of customers, in Stripe's order; None when `after` is
        unknown there. One request, and one for each price that a schedule brings and this sweep has not met yet.

        Stripe lists the newest first, so what is created meanwhile is on no later page. Customers end with the page on
        which one was created before `since`; None: with the last. `arrears`: tell since when subscriptions are unpaid,
        as far as their latest invoice says; it makes a page twice as long.
        """
        try:
            if after is not None and after.startswith(_CUSTOMERS):
                return self._page_of_customers(after.removeprefix(_CUSTOMERS) or None, since)
            if after is None:
                self._planned.forget()
            return self._page_of_subscriptions(after, _EXPANDED if arrears else ["customer", "schedule"])
        except Refused as mistake:
            raise not_understood(mistake.detail) from mistake

    def _page_of_subscriptions(self, after: str | None, expanded: Sequence[str]) -> Page | None:
        expand = [f"data.{field}" for field in expanded]
        try:
            entries, follows = self._page("/v1/subscriptions", after, status="all", expand=expand)
        except Gone as gone:
            if after is None:
                raise not_understood(f"there is no list of subscriptions: {gone}") from gone
            return None
        return page_of(self._planned.filled_in(entries), after=follows or _CUSTOMERS)

    def _page_of_customers(self, after: str | None, since: datetime | None) -> Page:
        try:
            entries, follows = self._page("/v1/customers", after)
        except Gone as gone:
            if after is None:
                raise not_understood(f"there is no list of customers: {gone}") from gone
            # Deleted since the page before, whose last one it was.
            return self._page_of_customers(None, since)
        page = page_of_customers(entries, after=f"{_CUSTOMERS}{follows}" if follows else None)
        known = since is not None and bool(entries) and created_before(entries[-1], since)
        return replace(page, after=None) if known else page

    def iter_events_since(self, since: datetime) -> Iterator[ListedEvent]:
        """Events that concern access, created at `since` or later, newest first. Stripe keeps them for 30 days."""
        listed = (self._events(since, types) for types in (TYPES, TEST_TYPES)[: 1 + self._is_test])
        yield from heapq.merge(*listed, key=lambda event: event.created_at, reverse=True)

    def _events(self, since: datetime, types: Sequence[str]) -> Iterator[ListedEvent]:
        for event in self._pages("/v1/events", created={"gte": int(since.timestamp())}, types=types):
            try:
                yield listed_event(event)
            except Refused as mistake:
                raise not_understood(mistake.detail) from mistake

    def _owner_of(self, place: str, id: str) -> Redirect | None:
        through = {"expand": ["charge"]} if place in _OF_A_CHARGE else {}
        payload = self._find(f"/v1/{place}/{_quoted(id)}", **through)
        if payload is not None and through:
            payload = payload.get("charge")
        owner = _owner(payload) if isinstance(payload, Mapping) else None
        return Redirect(f"stripe:{owner}") if owner else None

    def _clock_of(self, payload: Json) -> Json | None:
        """The test clock by which a customer lives. Only what is made for tests has one."""
        clock = Payload(payload, "customer").id_of("test_clock")
        return self._find(f"/v1/test_helpers/test_clocks/{_quoted(clock)}") if clock is not None else None

    def _living_by(self, clock: str) -> Redirect | None:
        """Who lives by this test clock; None: nobody."""
        found = [f"stripe:{entry.get('id')}" for entry in self._pages("/v1/customers", test_clock=clock)]
        return Redirect(found[0], tuple(found[1:])) if found else None

    def _ownerless(self, id: str) -> facts.Customer | None:
        """A subscription that belongs to nobody stands for a customer of its own; None: there is no such thing."""
        entry = self._find(f"/v1/subscriptions/{_quoted(id)}", expand=_EXPANDED)
        if entry is None or _owner(entry) is not None:
            return None
        try:
            return translate.customer({"id": id}, self._planned.filled_in([self._with_all_items(entry)]))
        except Refused as mistake:
            raise not_understood(mistake.detail) from mistake

    def _subscriptions_of(self, customer_id: str, known_live: Sequence[str]) -> list[Json]:
        expand = [f"data.{field}" for field in _EXPANDED]
        listed = self._pages("/v1/subscriptions", **belonging_to(customer_id), status="all", expand=expand)
        found = {str(entry.get("id")): entry for entry in listed}
        for id in known_live:
            if id not in found:
                entry = self._find(f"/v1/subscriptions/{_quoted(id)}", expand=_EXPANDED)
                if entry is not None and _owner(entry) in (customer_id, None):
                    found[id] = entry
        return [self._with_all_items(entry) for entry in found.values()]

    def _with_all_items(self, entry: Json) -> Json:
        items = entry.get("items")
        if not isinstance(items, Mapping) or items.get("has_more") is not True:
            return entry
        whole = list(self._pages("/v1/subscription_items", subscription=entry.get("id")))
        if not whole:
            raise not_understood("a subscription lost its items while it was read")
        return {**entry, "items": {**items, "data": whole, "has_more": False}}

    def _page(self, path: str, after: str | None, **params: Any) -> tuple[list[Json], str | None]:
        """The objects of one page, and where the next one begins."""
        start = {"starting_after": after} if after else {}
        return entries_of(path, self._get(path, **{"limit": PAGE_SIZE, **params}, **start), after)

    def _find(self, path: str, **params: Any) -> Json | None:
        """The object at `path`, or None where Stripe says there is none."""
        try:
            return self._get(path, **params)
        except Gone:
            return None

    def _pages(self, path: str, **params: Any) -> Iterator[Json]:
        """Every object of a list, page after page; none where what they would belong to is gone."""
        after: str | None = None
        while True:
            try:
                entries, follows = self._page(path, after, **params)
            except Gone as gone:
                if after:
                    raise not_understood(f"`{path}` changed while it was read: {gone}") from gone
                return
            yield from entries
            if follows is None:
                return
            after = follows

    def _get(self, path: str, **params: Any) -> Json:
        return self.connection.get(path, **params)


def belonging_to(owner: str) -> dict[str, str]:
    """The parameter that names a customer, or an account that stands for one."""
    return {"customer_account" if owner.startswith(_ACCOUNT) else "customer": owner}


def _expanded_customer(subscriptions: Sequence[Json]) -> Json | None:
    customers = (entry.get("customer") for entry in subscriptions)
    return next((customer for customer in customers if isinstance(customer, dict)), None)


def _owner(payload: Json) -> str | None:
    try:
        return translate.owner_of(Payload(payload, "object"))
    except Refused as mistake:
        raise not_understood(mistake.detail) from mistake


def _quoted(id: str) -> str:
    return quote(id, safe="")
