"""Rows of invoices: whose wait to be read, and the facts that readings became.

Laws: a customer's invoices wait while their dirty mark is above their synced mark; facts are only ever added, one for
each reading that said something new of an invoice.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from paygrade.billing.invoices import STATED, Invoice, InvoiceFact, stated_of
from paygrade.postgres.claims import GIVEN_BACK, Claims, given_back

_invoices = msgspec.json.Decoder(Invoice)


BILLED = f"""
    select account from (
        (select account from subjects s
         where account > %(after)s and exists (select from invoice_facts f where f.subject = s.subject)
         group by account order by account limit %(limit)s)
        union
        (select substr(subject, {len(STATED) + 1}) from invoice_facts
         where subject like '{STATED}%%' and subject > '{STATED}' || %(after)s::text
         group by subject order by subject limit %(limit)s)
    ) billed
    order by account limit %(limit)s
"""
"""Each of the two kinds looks no further than its own page: both together would read all that were ever billed."""


class InvoiceReading(Struct, frozen=True):
    """The right to save one reading of a customer's invoices. `dirty`: the mark that it will answer for."""

    subject: str
    fence: int
    dirty: int
    attempts: int = 0
    error: str | None = None


class Invoices(Claims[InvoiceReading]):
    """Whose invoices wait, and what is known of them, within one transaction."""

    TABLE = "invoice_readings"
    KEY = ("subject",)
    WAITING = (("dirty > synced", "read_at nulls first, subject"),)
    ROW = InvoiceReading
    COLUMNS = InvoiceReading.__struct_fields__

    async def mark(self, subjects: Iterable[str]) -> None:
        """Say that the invoices of these customers must be read again."""
        await self._connection.execute(
            """
            insert into invoice_readings (subject, dirty) select subject, 1 from unnest(%s::text[]) as subject
            order by subject on conflict (subject) do update set dirty = invoice_readings.dirty + 1
            """,
            (sorted(set(subjects)),),
        )

    async def read_longest_ago(self, *, provider: str, before: datetime, limit: int) -> tuple[str, ...]:
        """Customers whose invoices were read before then and do not wait, those read longest ago."""
        cursor = await self._connection.execute(
            """
            select subject from invoice_readings where subject like %s and read_at < %s and dirty = synced
            order by read_at, subject limit %s
            """,
            (f"{provider}:%", before, limit),
        )
        return tuple([subject async for (subject,) in cursor])

    async def add(self, facts: Sequence[InvoiceFact], at: datetime) -> None:
        """Save facts under a claim that this transaction has locked."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                """
                insert into invoice_facts (subject, invoice, sequence, as_of, recorded_at, body)
                values (%s, %s, %s, %s, %s, %s)
                """,
                [
                    (
                        one.subject,
                        one.invoice.id,
                        one.sequence,
                        one.as_of,
                        at,
                        msgspec.json.encode(one.invoice).decode(),
                    )
                    for one in facts
                ],
            )

    async def state(self, subject: str, invoice: Invoice, at: datetime) -> None:
        """Save what is stated of an invoice, after all that was; its account is locked."""
        cursor = await self._connection.execute(
            "select coalesce(max(sequence), 0) + 1 from invoice_facts where subject = %s and invoice = %s",
            (subject, invoice.id),
        )
        row = await cursor.fetchone()
        assert row is not None
        await self.add([InvoiceFact(subject, row[0], at, invoice)], at)

    async def merge(self, facts: Sequence[InvoiceFact], at: datetime) -> None:
        """Save facts of versions that come in any order, any number of times; their account is locked."""
        known = set[tuple[str, int]]()
        if facts:
            cursor = await self._connection.execute(
                "select invoice, sequence from invoice_facts where subject = %s and invoice = any(%s)",
                (facts[0].subject, [one.invoice.id for one in facts]),
            )
            known = {(invoice, sequence) async for invoice, sequence in cursor}
        await self.add([one for one in facts if (one.invoice.id, one.sequence) not in known], at)

    async def settle(self, claimed: InvoiceReading, *, read_at: datetime) -> None:
        """Give a claim back that this transaction has locked, answered."""
        await self._connection.execute(
            f"""
            update invoice_readings set synced = greatest(synced, %(dirty)s), attempts = 0, error = null, {GIVEN_BACK},
                   read_at = greatest(read_at, %(read_at)s)
            where subject = %(subject)s and fence = %(fence)s
            """,
            {**self._key(claimed), "dirty": claimed.dirty, "read_at": read_at, **given_back()},
        )

    async def of_subject(self, subject: str) -> dict[str, Invoice]:
        """The invoices of one customer as they were stated last, by id."""
        cursor = await self._connection.execute(f"{_LATEST} where subject = %s {_LAST_FIRST}", (subject,))
        return {invoice: _invoices.decode(body) async for _, invoice, body in cursor}

    async def accounts(self, *, after: str, limit: int) -> tuple[str, ...]:
        """Accounts that were ever billed, by a provider or as is stated, with a key above `after`, by key."""
        cursor = await self._connection.execute(BILLED, {"after": after, "limit": limit})
        return tuple([account async for (account,) in cursor])

    async def of_accounts(self, accounts: Sequence[str]) -> dict[str, tuple[Invoice, ...]]:
        """The invoices of these accounts' customers as they were stated last, by account."""
        cursor = await self._connection.execute(
            "select subject, account from subjects where account = any(%s)", (list(accounts),)
        )
        owners = {subject: account async for subject, account in cursor}
        owners |= {stated_of(account): account for account in accounts}
        found: dict[str, list[Invoice]] = {account: [] for account in accounts}
        cursor = await self._connection.execute(f"{_LATEST} where subject = any(%s) {_LAST_FIRST}", (sorted(owners),))
        async for subject, _, body in cursor:
            found[owners[subject]].append(_invoices.decode(body))
        return {account: tuple(invoices) for account, invoices in found.items()}

    async def unread(self) -> tuple[int, int]:
        """How many customers' invoices wait to be read, and how many of those could not be read last time."""
        cursor = await self._connection.execute(
            "select count(*), count(error) from invoice_readings where dirty > synced"
        )
        row = await cursor.fetchone()
        assert row is not None
        return row[0], row[1]


_LATEST = "select distinct on (subject, invoice) subject, invoice, body::text from invoice_facts"
_LAST_FIRST = "order by subject, invoice, sequence desc"
