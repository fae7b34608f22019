"""What the server asks of whoever bills: the protocols of a provider, each as small as who asks it needs.

Laws, which every provider owes:
1. Calls block, and may come from any thread, several at once; whoever asks has a thread for it.
2. What is returned was read after the call began, all of it: who asks has taken a fence before.
3. An answer is understood whole or not at all: one that is not raises Unavailable, as does one that does not come.
4. What is asked for carries an id of ours, so asking again does nothing twice. Refused: it had no effect, and no other
   try will do. Unavailable: it is in doubt, and asking again is right.
5. Whatever takes several steps is advanced by looking and taking the one that comes next, so a step that nobody heard
   of is found by the next look.
6. Subjects are named `name:id`, where `name` is the provider's and `id` its own.
7. A billing event is believed for its references alone; its signature is checked before anything is read of it.

A provider that is only read needs `Provider`, `Lister`, `EventSource` and `Invoicing`; the others are for what it is
told to do. docs/providers.md says how one is added and which tests it passes.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Literal, Protocol

from paygrade.billing.facts import Customer, Returned
from paygrade.billing.invoices import Invoice
from paygrade.billing.listed_invoices import InvoicePage
from paygrade.catalog.provider_catalog import ProviderCatalog, ProviderPrice
from paygrade.changes.checkout import CheckoutOrder, CheckoutPage
from paygrade.changes.cost import CostPreview
from paygrade.changes.order import ChangeOrder, Progress
from paygrade.changes.quote import Quote
from paygrade.usage.provider_reports import MeterEvent
from paygrade.usage.top_ups import Bill, Order, PackOrder


class Named(Protocol):
    """Anything of a provider. `name`: how the provider is called in subjects, links and what is kept of it."""

    @property
    def name(self) -> str: ...


class Redirected(Protocol):
    """The answer that a subject belongs to another one, and to `others`."""

    @property
    def subject(self) -> str: ...
    @property
    def others(self) -> tuple[str, ...]: ...


class Provider(Protocol):
    """Who is asked for subjects, one at a time.

    `known_live`: subscriptions we hold as not ended, which are asked for by id before they count as gone. None: there
    is no such thing, and never was. `returned`: what went back of the payments of its periods is told as well;
    `credited`: which of the items that were removed in them were credited for the time left."""

    def fetch(
        self, subject: str, known_live: Sequence[str] = (), *, returned: bool = False, credited: bool = False
    ) -> Customer | Redirected | None: ...


class Invoicing(Named, Protocol):
    """Who says what a customer was billed and paid: all invoices that were ever finalized, each with what went back."""

    def invoices(self, subject: str) -> Sequence[Invoice]: ...


class ListedCustomer(Protocol):
    """What a page says of a customer. `customer` None: it was not understood. `whole` False: only a reading tells
    whether it is as stored."""

    @property
    def subject(self) -> str: ...
    @property
    def subscriptions(self) -> tuple[str, ...]: ...
    @property
    def customer(self) -> Customer | None: ...
    @property
    def whole(self) -> bool: ...
    @property
    def email(self) -> str | None: ...


class ListedPage(Protocol):
    """A page of the provider's subscriptions or customers; `after` None: it is the last."""

    @property
    def customers(self) -> Sequence[ListedCustomer]: ...
    @property
    def after(self) -> str | None: ...


class Lister(Named, Protocol):
    """Who lists everybody, page by page. None: the place to go on from is gone there.

    Every subscription is on some page, and every customer created at `since` or later; None: every customer.
    `arrears`: about since when subscriptions are unpaid is told as well."""

    def list_page(self, after: str | None, *, since: datetime | None, arrears: bool = False) -> ListedPage | None: ...


class EventRef(Protocol):
    """A billing event reduced to its references; nothing else of it is believed. `subject` None: it concerns none."""

    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def subject(self) -> str | None: ...
    @property
    def object_id(self) -> str | None: ...


class PolledEvent(EventRef, Protocol):
    """A billing event as the provider lists it."""

    @property
    def body(self) -> bytes: ...


class EventSource(Named, Protocol):
    """Who lists billing events: those created at `since` or later, in any order."""

    def iter_events_since(self, since: datetime) -> Iterator[PolledEvent]: ...


class Shop(Named, Protocol):
    """Who says what is sold."""

    def read_catalog(
        self, names: Sequence[str], ask: Callable[[ProviderPrice], bool], *, meters: bool
    ) -> ProviderCatalog:
        """Everything that is sold, and what has one of these names. `ask`: of which prices it has to be known whether
        somebody pays them. `meters`: with those, too."""
        ...


class Metering(Named, Protocol):
    """Who is told of usage. An event of an identifier that was told before counts once."""

    def report_usage(self, event: MeterEvent) -> None: ...

    def reported_usage(self, *, customer: str, meter: str, from_at: datetime, until: datetime) -> int:
        """The provider's own sum of what it was told within `[from_at, until)`, which are whole minutes."""
        ...


class Charging(Protocol):
    """Who charges for top-ups, a step at a time."""

    def advance(self, order: Order) -> Bill: ...

    def returned(self, order: Order) -> Returned:
        """What went back of the money of an order that was paid. Refused and Unavailable."""
        ...


class Changing(Protocol):
    """Who changes subscriptions, a step at a time."""

    def advance_change(self, order: ChangeOrder) -> Progress: ...


class Previewer(Protocol):
    """Who says beforehand what a change will cost."""

    def preview(self, quote: Quote) -> CostPreview | None:
        """What would be billed; None: it cannot say. Refused `provider_refused_change`."""
        ...


PortalFlow = Literal["payment_method_update", "subscription_cancel", "subscription_update"]
"""What a customer comes to a billing portal for; without one they see all that it offers."""


class Selling(Named, Protocol):
    """Who has pages of its own, where customers pay.

    A page names the account on all that is bought there, and on the customer. It sells for a day at most, once. What
    its visitor says when they come back from it means nothing: whoever wants to know asks for the page.
    """

    def open_checkout(self, order: CheckoutOrder) -> CheckoutPage:
        """The page of an order, made if it is not there yet. Refused `provider_refused_page`."""
        ...

    def open_top_up(self, order: PackOrder) -> CheckoutPage:
        """The page of a top-up, made if it is not there yet. Refused `provider_refused_page`."""
        ...

    def find_checkout(self, session: str) -> CheckoutPage:
        """How a page stands. Unavailable, too, where there is none of that id."""
        ...

    def close_checkout(self, session: str) -> CheckoutPage:
        """Let nothing be bought there any more; the answer says whether something was."""
        ...

    def open_portal(
        self, *, customer: str, return_url: str, flow: PortalFlow | None = None, subscription: str | None = None
    ) -> str:
        """The address of a portal where a customer sees to their payments; the flows of subscriptions name one.
        Refused `provider_refused_page`."""
        ...

    def list_invoices(self, *, customer: str, after: str | None, limit: int, at: datetime) -> InvoicePage:
        """A customer's invoices, the newest first, without drafts; `after` None, or none any more: from the first.
        Somebody waits for it, so it comes in a few seconds, or Unavailable does. `at` tells which are overdue."""
        ...


class Source(Provider, Invoicing, Lister, EventSource, Protocol):
    """Everything that is asked of a provider."""


class Commands(Metering, Charging, Changing, Protocol):
    """Everything that a provider is told to do."""
