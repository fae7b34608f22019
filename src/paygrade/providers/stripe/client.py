"""Reads subjects whole from Stripe, through the official library.

Laws: what is returned was read entirely after the call began (callers take their fence before it); every page of
every list is read; a subscription that is live for us is asked for by id before it counts as gone; what Stripe
answers is either understood whole or the call is Unavailable: nothing is half-read. Every request carries the one
API version this release was written for, whatever the account's default is.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from paygrade import facts
from paygrade.errors import Refused, Unavailable
from paygrade.providers.stripe import translate
from paygrade.providers.stripe.events import TYPES, ListedEvent, listed_event
from paygrade.providers.stripe.listing import Page, created_before, page_of, page_of_customers
from paygrade.providers.stripe.pace import Pace
from paygrade.providers.stripe.payload import Payload
from paygrade.providers.stripe.translate import Json

if TYPE_CHECKING:
    import stripe

API_VERSION = "2026-10-28.endive"
PAGE_SIZE = 100
"""The most Stripe puts on one page."""
_EXPANDED = ["customer", "latest_invoice"]
"""What of a subscription is needed beyond itself."""
_CUSTOMERS = "customers:"
"""Where a sweep goes on after the last subscription, and the customer it goes on after."""
REQUESTS_PER_SECOND, REQUESTS_PER_SECOND_ELSEWHERE = 20, 10_000
"""Stripe allows 25 a second on one endpoint; a stand-in at an address of its own has no such limit."""


class Redirect(Struct, frozen=True):
    """The subject asked for belongs to this one: ask for it instead."""

    subject: str


class StripeProvider:
    """One Stripe account, read through one API key. Safe to share between threads; every call blocks."""

    def __init__(
        self,
        *,
        api_key: str,
        api_base: str | None = None,
        max_requests_per_second: float | None = None,
        timeout_s: float = 20,
    ) -> None:
        # Slow to load, which whoever runs without Stripe need not pay.
        import stripe

        from paygrade.providers.stripe.transport import Transport

        usual = REQUESTS_PER_SECOND_ELSEWHERE if api_base else REQUESTS_PER_SECOND
        self._pace = Pace(max_requests_per_second or usual)
        self._transport = Transport(timeout_s=timeout_s)
        self._stripe = stripe.StripeClient(
            api_key.strip(),
            stripe_version=API_VERSION,
            base_addresses={"api": api_base.rstrip("/")} if api_base else {},
            # One retry, for a kept connection that the other side has closed. Waiting longer is the caller's business.
            max_network_retries=1,
            http_client=self._transport,
        )

    def fetch(self, subject: str, known_live: Sequence[str] = ()) -> facts.Customer | Redirect | None:
        """Read `stripe:cus_…` whole; `stripe:sub_…` and `stripe:in_…` give the Redirect to their customer.

        `known_live` are the subscription ids we hold as not ended. One request for most customers, two for those
        without subscriptions or in arrears.
        A customer that Stripe deleted is a Customer with `deleted` set. None means that Stripe never heard of the
        customer, or that a subscription or invoice has none any more. Raises Unavailable.
        """
        id = subject.removeprefix("stripe:")
        if id.startswith("sub_"):
            return self._owner_of(f"/v1/subscriptions/{_quoted(id)}")
        if id.startswith("in_"):
            return self._owner_of(f"/v1/invoices/{_quoted(id)}")
        subscriptions = self._subscriptions_of(id, known_live)
        payload = _expanded_customer(subscriptions) or self._find(f"/v1/customers/{_quoted(id)}")
        if payload is None and not subscriptions:
            # Of a customer that was deleted Stripe still says so (docs.stripe.com/api/customers/delete). Knowing
            # nothing of it at all means that the answer is older than the customer, or that we ask the wrong Stripe
            # account: believing it would close accounts.
            if not known_live:
                return None
            raise Unavailable(
                "provider_refused_key",
                f"Stripe knows neither `{id}` nor its live subscriptions; check that `PAYGRADE_STRIPE_API_KEY` is a "
                "key of the Stripe account they were read from",
            )
        owing = any(entry.get("status") in ("past_due", "unpaid") for entry in subscriptions)
        open_invoices = list(self._pages("/v1/invoices", customer=id, status="open")) if owing else []
        try:
            return translate.customer(payload or {"id": id, "deleted": True}, subscriptions, open_invoices)
        except Refused as mistake:
            raise _not_understood(mistake.detail) from mistake

    def list_page(self, after: str | None, *, since: datetime | None, arrears: bool = False) -> Page | None:
        """One page of every subscription there is and then of customers, in Stripe's order; None when `after` is
        unknown there. One request.

        Stripe lists the newest first, so what is created meanwhile is on no later page. Customers end with the page on
        which one was created before `since`; None: with the last. `arrears`: tell since when subscriptions are unpaid,
        as far as their latest invoice says; it makes a page twice as long.
        """
        try:
            if after is not None and after.startswith(_CUSTOMERS):
                return self._page_of_customers(after.removeprefix(_CUSTOMERS) or None, since)
            return self._page_of_subscriptions(after, _EXPANDED if arrears else ["customer"])
        except Refused as mistake:
            raise _not_understood(mistake.detail) from mistake

    def _page_of_subscriptions(self, after: str | None, expanded: Sequence[str]) -> Page | None:
        expand = [f"data.{field}" for field in expanded]
        try:
            entries, follows = self._page("/v1/subscriptions", after, status="all", expand=expand)
        except _Gone as gone:
            if after is None:
                raise _not_understood(f"there is no list of subscriptions: {gone}") from gone
            return None
        return page_of(entries, after=follows or _CUSTOMERS)

    def _page_of_customers(self, after: str | None, since: datetime | None) -> Page:
        try:
            entries, follows = self._page("/v1/customers", after)
        except _Gone as gone:
            if after is None:
                raise _not_understood(f"there is no list of customers: {gone}") from gone
            # Deleted since the page before, whose last one it was.
            return self._page_of_customers(None, since)
        page = page_of_customers(entries, after=f"{_CUSTOMERS}{follows}" if follows else None)
        known = since is not None and bool(entries) and created_before(entries[-1], since)
        return replace(page, after=None) if known else page

    def iter_events_since(self, since: datetime) -> Iterator[ListedEvent]:
        """Events that concern access, created at `since` or later, newest first. Stripe keeps them for 30 days."""
        for event in self._pages("/v1/events", created={"gte": int(since.timestamp())}, types=TYPES):
            try:
                yield listed_event(event)
            except Refused as mistake:
                raise _not_understood(mistake.detail) from mistake

    def _owner_of(self, path: str) -> Redirect | None:
        payload = self._find(path)
        owner = _owner(payload) if payload is not None else None
        return Redirect(f"stripe:{owner}") if owner else None

    def _subscriptions_of(self, customer_id: str, known_live: Sequence[str]) -> list[Json]:
        expand = [f"data.{field}" for field in _EXPANDED]
        listed = self._pages("/v1/subscriptions", customer=customer_id, status="all", expand=expand)
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
            raise _not_understood("a subscription lost its items while it was read")
        return {**entry, "items": {**items, "data": whole, "has_more": False}}

    def _page(self, path: str, after: str | None, **params: Any) -> tuple[list[Json], str | None]:
        """The objects of one page, and where the next one begins."""
        start = {"starting_after": after} if after else {}
        return _entries(path, self._get(path, limit=PAGE_SIZE, **params, **start), after)

    def _find(self, path: str, **params: Any) -> Json | None:
        """The object at `path`, or None where Stripe says there is none."""
        try:
            return self._get(path, **params)
        except _Gone:
            return None

    def _pages(self, path: str, **params: Any) -> Iterator[Json]:
        """Every object of a list, page after page; none where what they would belong to is gone."""
        after: str | None = None
        while True:
            try:
                entries, follows = self._page(path, after, **params)
            except _Gone as gone:
                if after:
                    raise _not_understood(f"`{path}` changed while it was read: {gone}") from gone
                return
            yield from entries
            if follows is None:
                return
            after = follows

    def _get(self, path: str, **params: Any) -> Json:
        self._pace.wait()
        import stripe

        try:
            self._stripe.raw_request("get", path, **params)
            answer = self._transport.take()
        except stripe.StripeError as error:
            raise _explained(error) from error
        except ValueError as error:
            raise _not_understood(f"`{path}` did not answer with JSON") from error
        except (AttributeError, TypeError) as error:
            # The library stumbles over an error body it does not expect, such as a proxy's `{"error": "bad gateway"}`.
            raise _not_understood(f"`{path}` answered with an error in an unknown form") from error
        if not isinstance(answer, dict):
            raise _not_understood(f"`{path}` did not answer with an object")
        return answer


class _Gone(Exception):
    """Stripe has no such object."""


def _entries(path: str, page: Json, after: str | None) -> tuple[list[Json], str | None]:
    """The objects of a page that began after `after`, and where the next page begins."""
    entries = page.get("data")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _not_understood(f"`{path}` answered without a list in `data`")
    if page.get("has_more") is not True:
        return entries, None
    last = entries[-1].get("id") if entries else None
    if not isinstance(last, str) or after == last:
        raise _not_understood(f"`{path}` promised more and gave no way on")
    return entries, last


def _explained(error: "stripe.StripeError") -> Exception:
    """What the library raised, as what it means to the caller. Status decides; classes differ between versions."""
    import stripe

    message = error.user_message or "no message"
    if isinstance(error, stripe.APIConnectionError):
        return Unavailable("provider_unreachable", f"no answer from Stripe: {_first_line(message)}")
    status = error.http_status or 0
    if status in (401, 403):
        return Unavailable(
            "provider_refused_key",
            f"Stripe refused the key: {message}; check `PAYGRADE_STRIPE_API_KEY` and its read permissions "
            "on customers, subscriptions, invoices, prices and events",
        )
    if isinstance(error, stripe.RateLimitError) or status == 429:
        return Unavailable(
            "provider_rate_limited",
            "Stripe asks to go slower; this is tried again",
            retry_after_s=_retry_after_s(error),
        )
    if status >= 500:
        return Unavailable("provider_unreachable", f"Stripe answered {status}; this is tried again")
    if error.code == "resource_missing":
        # The object exists, but not for this key: taking it for deleted would close every account.
        if "similar object exists in" in message:
            return Unavailable(
                "provider_refused_key", f"{message} Set `PAYGRADE_STRIPE_API_KEY` to the key of that mode"
            )
        return _Gone(message)
    return _not_understood(f"Stripe answered {status}: {_first_line(message)}")


def _retry_after_s(error: "stripe.StripeError") -> int | None:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    value = str(headers.get("retry-after", ""))
    return int(value) if value.isascii() and value.isdigit() else None


def _not_understood(detail: str) -> Unavailable:
    return Unavailable("provider_answer_invalid", detail)


def _expanded_customer(subscriptions: Sequence[Json]) -> Json | None:
    customers = (entry.get("customer") for entry in subscriptions)
    return next((customer for customer in customers if isinstance(customer, dict)), None)


def _owner(payload: Json) -> str | None:
    try:
        return Payload(payload, "object").id_of("customer")
    except Refused as mistake:
        raise _not_understood(mistake.detail) from mistake


def _quoted(id: str) -> str:
    return quote(id, safe="")


def _first_line(message: str) -> str:
    return " ".join(message.split())[:300]
