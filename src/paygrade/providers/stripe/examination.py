"""What the key may do at Stripe, and where Stripe sends its events: for a person who sets it up.

Law: nothing is changed by looking. Whether something may be changed is asked of an object that cannot exist.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct

from paygrade.providers.stripe.connection import Gone, NotTaken, StripeConnection
from paygrade.providers.stripe.events import TYPES
from paygrade.values.errors import Unavailable

NOBODY = "paygrade_doctor"
"""Part of an id that Stripe gives to nothing."""
READ = (
    ("Customers", "/v1/customers"),
    ("Subscriptions", "/v1/subscriptions"),
    ("Invoices", "/v1/invoices"),
    ("Prices", "/v1/prices"),
    ("Products", "/v1/products"),
    ("Events", "/v1/events"),
)
READ_FOR_REPORTS = (("Billing meters", "/v1/billing/meters"),)
READ_FOR_TOP_UPS = (("Charges and Refunds", "/v1/charges"), ("Disputes", "/v1/disputes"))
READ_FOR_RETURNED = (*READ_FOR_TOP_UPS, ("Credit notes", "/v1/credit_notes"))
WRITE = (("Subscriptions", f"/v1/subscriptions/sub_{NOBODY}"), ("Invoices", f"/v1/invoices/in_{NOBODY}"))
WRITE_PAGES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Customers", f"/v1/customers/cus_{NOBODY}", {}),
    ("Checkout Sessions", f"/v1/checkout/sessions/cs_{NOBODY}/expire", {}),
    # A portal is made and never changed, so it is asked for of a customer who does not exist.
    ("Customer portal", "/v1/billing_portal/sessions", {"customer": f"cus_{NOBODY}"}),
)
"""As Stripe's dashboard names the permissions of a restricted key."""
WRITE_TO_SELL = (("Products", f"/v1/products/prod_{NOBODY}"), ("Prices", f"/v1/prices/price_{NOBODY}"))
WRITE_METERS = (("Billing meters", f"/v1/billing/meters/mtr_{NOBODY}"),)


class Lack(Struct, frozen=True):
    """A permission that the key lacks: `read` or `write` on what."""

    verb: str
    what: str


class Endpoint(Struct, frozen=True):
    """A webhook endpoint of the account; `missing`: types of events that it is not sent."""

    url: str
    is_enabled: bool
    missing: tuple[str, ...]


def lacking(connection: StripeConnection, *, reports: bool, top_ups: bool, returned: bool = False) -> tuple[Lack, ...]:
    """What the key may not do of what is needed, to read and to change plans. Unavailable if Stripe can't be asked."""
    payments = READ_FOR_RETURNED if returned else READ_FOR_TOP_UPS if top_ups else ()
    read = [*READ, *(READ_FOR_REPORTS if reports else ()), *payments]
    unread = [Lack("read", what) for what, path in read if not _may(partial(connection.get, path, limit=1))]
    ask = partial(connection.post, idempotency_key=None)
    return (*unread, *(Lack("write", what) for what, path in WRITE if not _may(partial(ask, path))))


def lacking_for_money(connection: StripeConnection) -> tuple[Lack, ...]:
    """What the key may not read, beside invoices, of what customers paid and got back. Unavailable if Stripe can't be
    asked."""
    asked = ((what, partial(connection.get, path, limit=1)) for what, path in READ_FOR_RETURNED)
    return tuple(Lack("read", what) for what, ask in asked if not _may(ask))


def lacking_for_pages(connection: StripeConnection) -> tuple[Lack, ...]:
    """What the key may not do of what checkouts and billing portals need. Unavailable if Stripe can't be asked."""
    ask = partial(connection.post, idempotency_key=None)
    return tuple(Lack("write", what) for what, path, sent in WRITE_PAGES if not _may(partial(ask, path, **sent)))


def lacking_to_sell(connection: StripeConnection, *, reports: bool) -> tuple[Lack, ...]:
    """What the key may not do of what making products and prices needs. Unavailable if Stripe can't be asked."""
    ask = partial(connection.post, idempotency_key=None)
    wanted = (*WRITE_TO_SELL, *(WRITE_METERS if reports else ()))
    return tuple(Lack("write", what) for what, path in wanted if not _may(partial(ask, path)))


def endpoints(connection: StripeConnection, path: str) -> tuple[Endpoint, ...] | None:
    """The webhook endpoints whose address ends with `path`; None: the key may not look, or there is no such list."""
    listed: dict[str, Any] = {}
    if not _may(lambda: listed.update(connection.get("/v1/webhook_endpoints", limit=100))) or not listed:
        return None
    ours = [each for each in listed.get("data", ()) if str(each.get("url", "")).rstrip("/").endswith(path)]
    return tuple(_endpoint(each) for each in ours)


def _may(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except (Gone, NotTaken):
        pass  # it was looked for, so the key may
    except Unavailable as error:
        if error.code != "provider_refused_key":
            raise
        return False
    return True


def _endpoint(listed: dict[str, Any]) -> Endpoint:
    sent = {str(type) for type in listed.get("enabled_events", ())}
    missing = () if "*" in sent else tuple(type for type in TYPES if type not in sent)
    return Endpoint(str(listed["url"]), listed.get("status") == "enabled", missing)
