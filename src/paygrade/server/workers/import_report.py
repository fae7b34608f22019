"""The report of a dry run: what importing the provider's customers would do, before anything is written.

Laws: what would be written is told by the same rules that write it; nothing is written; what is gathered of one
customer is kept encoded, as there may be hundreds of thousands.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import Body, Customer, Departed, Fact
from paygrade.catalog.model import Catalog
from paygrade.decisions.diff import Effect, effects, today
from paygrade.entitlements.sources import bought_by, offers
from paygrade.providers.port import ListedCustomer
from paygrade.values.states import TERMINAL

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction

LISTED_MAX = 100
SAMPLE_MAX = 5
_BATCH = 500

_customers = msgspec.json.Decoder(Customer)


class UnmappedPrice(Struct, frozen=True):
    """A price sold that no plan or add-on of the catalog names; how many live subscriptions have it, and some."""

    price: str | None
    lookup_key: str | None
    product: str | None
    subscriptions: int
    sample: tuple[str, ...]


class Duplicate(Struct, frozen=True):
    """Several customers that name one account, or have one e-mail address."""

    by: Literal["account", "email"]
    name: str
    customers: tuple[str, ...]


class Matched(Struct, frozen=True):
    """By what customers find their account: their metadata, a link stated here, where they are already, or, failing
    that, as an account of their own id."""

    metadata: int = 0
    link: int = 0
    known: int = 0
    customer_id: int = 0


class ImportReport(Struct, frozen=True):
    """What is at the provider, and what importing it would change. Lists hold at most 100 entries."""

    customers: int
    subscriptions: dict[str, int]
    """How many in each state."""
    accounts: int
    new_accounts: int
    matched: Matched
    unmapped_prices: tuple[UnmappedPrice, ...]
    duplicates: tuple[Duplicate, ...]
    not_understood: tuple[str, ...]
    gaining: int
    losing: int
    effects: tuple[Effect, ...]


class Gathered:
    """Every customer that was listed, put together from the pages it stood on."""

    def __init__(self) -> None:
        self.parts: dict[str, list[bytes]] = {}
        self.emails: dict[str, list[str]] = {}
        self.not_understood: list[str] = []

    def add(self, listed: ListedCustomer) -> None:
        if listed.customer is None:
            self.not_understood.append(listed.subject)
            return
        parts = self.parts.setdefault(listed.subject, [])
        if parts and not listed.customer.subscriptions:
            return
        if not parts and listed.email:
            self.emails.setdefault(listed.email.strip().lower(), []).append(listed.subject)
        parts.append(msgspec.json.encode(listed.customer))

    def customer(self, subject: str) -> Customer:
        found = [_customers.decode(part) for part in self.parts[subject]]
        bought = {each.id: each for part in found for each in part.subscriptions}
        named = next((part for part in found if part.account is not None), found[0])
        subscriptions = tuple(bought[id] for id in sorted(bought))
        return replace(found[0], account=named.account, account_of=named.account_of, subscriptions=subscriptions)


async def report_of(store: "Store", gathered: Gathered, at: datetime) -> ImportReport:
    """Compare what was gathered with what is stored. Reads in batches; the database is not held between them."""
    async with store.transaction() as tx:
        counting = _Counting(await tx.catalogs.in_force())
    for batch in _batches(list(gathered.parts)):
        async with store.transaction() as tx:
            await counting.place(tx, {subject: gathered.customer(subject) for subject in batch})
        await asyncio.sleep(0)
    for batch in _batches(list(counting.subjects)):
        async with store.transaction() as tx:
            await counting.derive(tx, batch, gathered, at)
        await asyncio.sleep(0)
    return counting.report(gathered)


class _Counting:
    """What the report consists of, while it grows."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._states: Counter[str] = Counter()
        self._matched: Counter[str] = Counter()
        self._unmapped: dict[tuple[str | None, str | None, str | None], list[str]] = {}
        self._how: Counter[str] = Counter()
        self._effects: list[Effect] = []
        self._new = 0
        self.subjects: dict[str, list[str]] = {}
        """The customers each account has or gets."""
        self.leaving: dict[str, dict[str, str]] = {}
        """The customers each account loses, and to whom."""

    async def place(self, tx: "Transaction", customers: dict[str, Customer]) -> None:
        """Find each customer's account by the rules that a reading follows, and look at what it buys."""
        links = await tx.accounts.linked(customers)
        stored = await tx.subjects.stored(customers)
        for subject, customer in customers.items():
            known = stored[subject].account if subject in stored else None
            if customer.account or (customer.deleted and known):
                how = "metadata" if customer.account else "known"
                account = customer.account or known or customer.id
            else:
                account = links.get(subject, customer.id)
                how = "link" if subject in links else "known" if known == account else "customer_id"
            self._matched[how] += 1
            self.subjects.setdefault(account, []).append(subject)
            if known is not None and known != account:
                self.leaving.setdefault(known, {})[subject] = account
                self.subjects.setdefault(known, [])
            self._look(customer)

    def _look(self, customer: Customer) -> None:
        for subscription in customer.subscriptions:
            self._states[subscription.status or subscription.provider_status] += 1
            if subscription.status in TERMINAL:
                continue
            for item in subscription.items:
                if bought_by(self._catalog, item) is None:
                    self._unmapped.setdefault((item.price, item.lookup_key, item.product), []).append(subscription.id)

    async def derive(self, tx: "Transaction", accounts: Sequence[str], gathered: Gathered, at: datetime) -> None:
        """What these accounts would gain or lose."""
        found = await tx.accounts.find(accounts)
        for key in accounts:
            before = found.get(key, Account(key=key))
            self._new += not before.exists
            after = before
            bodies: list[tuple[str, Body]] = [(each, gathered.customer(each)) for each in self.subjects[key]]
            bodies += [(each, Departed(account)) for each, account in self.leaving.get(key, {}).items()]
            for subject, body in bodies:
                after = _stated(after, subject, body, at)
            changed = effects(
                today(before, self._catalog, at), today(after, self._catalog, at), offers(self._catalog), at
            )
            for how in {effect.how for effect in changed}:
                self._how[how] += 1
            self._effects.extend(changed[: LISTED_MAX - len(self._effects)])

    def report(self, gathered: Gathered) -> ImportReport:
        duplicates = [Duplicate("account", key, tuple(have)) for key, have in self.subjects.items() if len(have) > 1]
        duplicates += [Duplicate("email", key, tuple(have)) for key, have in gathered.emails.items() if len(have) > 1]
        unmapped = sorted(self._unmapped.items(), key=lambda found: -len(found[1]))
        return ImportReport(
            customers=len(gathered.parts),
            subscriptions=dict(sorted(self._states.items())),
            accounts=len(self.subjects),
            new_accounts=self._new,
            matched=Matched(**self._matched),
            unmapped_prices=tuple(
                UnmappedPrice(*names, len(ids), tuple(ids[:SAMPLE_MAX])) for names, ids in unmapped[:LISTED_MAX]
            ),
            duplicates=tuple(duplicates[:LISTED_MAX]),
            not_understood=tuple(gathered.not_understood[:LISTED_MAX]),
            gaining=self._how["gains"],
            losing=self._how["loses"],
            effects=tuple(self._effects),
        )


def _stated(account: Account, subject: str, body: Body, at: datetime) -> Account:
    """The account as it would be with this said of the subject."""
    stated = account.statements.get(subject)
    sequence = stated.sequence + 1 if stated else 1
    return apply(account, Fact(account.version + 1, subject, sequence, at, body))


def _batches(keys: list[str]) -> list[list[str]]:
    return [keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH)]
