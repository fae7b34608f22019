"""Rows of accounts: their facts, and what is folded from them.

Laws: facts are only ever added, and an erasure alone rewrites what is personal of them (ADR 25); an account's facts are
numbered without gap in the order they were saved, and their `recorded_at` never decreases; `state` and the
subscriptions can be dropped and rebuilt from the facts.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import Body, Customer, Departed, Fact, ForeignBilling, ManualSubscription, Subscription
from paygrade.billing.past import Learned
from paygrade.postgres import columns
from paygrade.postgres.sizes import FEW, about
from paygrade.values.states import TERMINAL

_LINKS_LOCK = 4710_0003
"""First key of the advisory locks on what an account links; the second is the account's hash."""

_NAME_MAX = 100
"""So much of a name is in its index."""
ANY_FINDING = "any"
_FOUND = (
    """exists (select from json_object_keys(n.overview -> 'findings') k where split_part(k, ' ', 1) = %(finding)s)"""
)

_accounts = msgspec.json.Decoder(Account)
_bodies: msgspec.json.Decoder[Body] = msgspec.json.Decoder(Body)


class SavedAccount(Struct, frozen=True):
    """An account with the dates of its row."""

    account: Account
    created_at: datetime
    updated_at: datetime


class Accounts:
    """Accounts, facts, links and subscriptions within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def load(self, account: str) -> SavedAccount | None:
        cursor = await self._connection.execute(
            "select state::text, created_at, updated_at from accounts where account = %s", (account,)
        )
        row = await cursor.fetchone()
        return _saved(row) if row else None

    async def page(
        self,
        *,
        after: str,
        limit: int,
        search: str = "",
        plan: str | None = None,
        state: str | None = None,
        finding: str | None = None,
    ) -> tuple[SavedAccount, ...]:
        """Accounts with a key above `after`, by key. `search` finds the beginning of a key or name, or the id of a
        customer or subscription at the provider.

        `plan`, in any version, `state` and `finding` are as they were announced last; `finding` "any": any."""
        joined = _announced(plan, state, finding)
        found = f"and a.account in ({' union '.join(_keys_found(joined))})" if search else ""
        cursor = await self._connection.execute(
            f"""
            select a.state::text, a.created_at, a.updated_at from accounts a
            {joined}
            where a.account > %(after)s and a.known {found}
            order by a.account limit %(limit)s
            """,
            {
                "after": after,
                "limit": limit,
                "search": search,
                "beginning": search[:_NAME_MAX],
                "part": f"{columns.escaped(search)}%",
                "plan": plan,
                "state": state,
                "finding": finding,
            },
        )
        return tuple([_saved(row) async for row in cursor])

    async def keys(self, *, after: str, limit: int) -> tuple[str, ...]:
        """Keys of accounts above `after`, in their order, deleted ones too."""
        cursor = await self._connection.execute(
            "select account from accounts where account > %s order by account limit %s", (after, limit)
        )
        return tuple([key async for (key,) in cursor])

    async def lock(self, accounts: Iterable[str]) -> dict[str, Account]:
        """Hold these accounts until the end of the transaction; those that do not exist are left out."""
        cursor = await self._connection.execute(
            "select state::text from accounts where account = any(%s) order by account for update",
            (sorted(set(accounts)),),
        )
        found = [_accounts.decode(row[0]) async for row in cursor]
        return {account.key: account for account in found}

    async def find(self, accounts: Iterable[str]) -> dict[str, Account]:
        """These accounts as they are; those that do not exist are left out."""
        cursor = await self._connection.execute(
            "select state::text from accounts where account = any(%s)", (sorted(set(accounts)),)
        )
        found = [_accounts.decode(row[0]) async for row in cursor]
        return {account.key: account for account in found}

    async def create(self, account: str, at: datetime) -> None:
        """Make sure that there is a row to lock."""
        await self._connection.execute(
            """
            insert into accounts (account, state, created_at, updated_at)
            values (%s, %s, %s, %s) on conflict do nothing
            """,
            (account, msgspec.json.encode(Account(key=account)).decode(), at, at),
        )

    async def save(self, account: Account, fact: Fact, at: datetime) -> Account:
        """Add a fact to an account that this transaction has locked, and return the account with it."""
        folded = apply(account, fact)
        await self._connection.execute(
            """
            with old as (
                update accounts set version = %(number)s, state = %(state)s, name = %(name)s, known = %(known)s,
                       updated_at = greatest(updated_at, %(at)s)
                where account = %(account)s returning updated_at)
            insert into facts (account, number, subject, sequence, as_of, recorded_at, body, cause, happened_at,
                               joined_at)
            select %(account)s, %(number)s, %(subject)s, %(sequence)s, %(as_of)s, updated_at, %(body)s, %(cause)s,
                   %(happened_at)s, %(joined_at)s
            from old
            """,
            {
                **_folded(folded),
                "number": fact.number,
                "at": at,
                "subject": fact.subject,
                "sequence": fact.sequence,
                "as_of": fact.as_of,
                "body": msgspec.json.encode(fact.body).decode(),
                "cause": list(fact.cause),
                "happened_at": fact.happened_at,
                "joined_at": fact.joined_at,
            },
        )
        await self._project(folded, fact.subject, fact.body)
        return folded

    async def save_nodes(self, account: Account, facts: Sequence[Fact], at: datetime) -> Account:
        """Add facts of nodes to an account that this transaction has locked, all in one statement, and return the
        account with them: it only counts them."""
        folded = account
        for fact in facts:
            folded = apply(folded, fact)
        await self._connection.execute(
            """
            with old as (
                update accounts set version = %(number)s, state = %(state)s,
                       updated_at = greatest(updated_at, %(at)s)
                where account = %(account)s returning updated_at)
            insert into facts (account, number, subject, sequence, as_of, recorded_at, body, cause)
            select %(account)s, n, s, n, %(at)s, updated_at, b::json, '{}'
            from old, unnest(%(numbers)s::bigint[], %(subjects)s::text[], %(bodies)s::text[]) k (n, s, b)
            """,
            {
                **_folded(folded),
                "number": folded.version,
                "at": at,
                "numbers": columns.numbers([fact.number for fact in facts]),
                "subjects": columns.texts([fact.subject for fact in facts]),
                "bodies": columns.texts([msgspec.json.encode(fact.body).decode() for fact in facts]),
            },
        )
        return folded

    async def lock_kept(self, account: str) -> dict[str, Any] | None:
        """Hold the account until the end of the transaction, whatever is wrong with what is kept of it beside its
        facts; returns that as JSON, by name. None: there is no such account."""
        cursor = await self._connection.execute(
            """
            select version, name, known, coalesce((
                       select json_agg(json_build_array(id, subject, status, provider_status, revived, items)
                                       order by id)
                       from subscriptions s where s.account = a.account), '[]')::text, state::text
            from accounts a where account = %s for update
            """,
            (account,),
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        version, name, known, subscriptions, state = row
        its = {"version": version, "name": name, "known": known, "subscriptions": msgspec.json.decode(subscriptions)}
        return {**msgspec.json.decode(state), **its}

    async def restore(self, account: Account) -> None:
        """Put back what is folded from the facts."""
        await self._connection.execute(
            """
            update accounts set version = %(number)s, state = %(state)s, name = %(name)s, known = %(known)s
            where account = %(account)s
            """,
            {**_folded(account), "number": account.version},
        )
        await self._connection.execute("delete from subscriptions where account = %s", (account.key,))
        for subject, statement in sorted(account.statements.items(), key=lambda its: its[1].number):
            await self._project(account, subject, statement.body)

    async def facts(
        self,
        account: str,
        *,
        recorded_until: datetime | None = None,
        happened_until: datetime | None = None,
        numbers: Iterable[int] | None = None,
        below: bool = True,
        before: int | None = None,
        recorded_before: datetime | None = None,
        limit: int | None = None,
    ) -> tuple[Learned, ...]:
        """The account's facts, the newest first. `recorded_until` and `happened_until` are inclusive, `recorded_before`
        is not, and `before` is a number left out. `below` False: none about members and nodes."""
        cursor = await self._connection.execute(
            """
            select number, subject, sequence, as_of, recorded_at, body::text, cause, happened_at, joined_at from facts
            where account = %(account)s
              and (%(until)s::timestamptz is null or recorded_at <= %(until)s)
              and coalesce(happened_at, as_of) <= coalesce(%(happened)s::timestamptz, 'infinity')
              and (%(numbers)s::bigint[] is null or number = any(%(numbers)s))
              and (%(below)s or subject not like 'member:%%' and subject not like 'node:%%')
              and (%(before)s::bigint is null or number < %(before)s)
              and (%(recorded_before)s::timestamptz is null or recorded_at < %(recorded_before)s)
            order by number desc limit %(limit)s
            """,
            {
                "account": account,
                "until": recorded_until,
                "happened": happened_until,
                "numbers": None if numbers is None else sorted(numbers),
                "below": below,
                "before": before,
                "recorded_before": recorded_before,
                "limit": limit,
            },
        )
        return tuple([_fact(row) async for row in cursor])

    async def replaced(self, account: str, numbers: Iterable[int]) -> dict[int, Body]:
        """Of each of these facts that is not the first of its subject, by number: what the one before it said."""
        cursor = await self._connection.execute(
            """
            select f.number, p.body::text from facts f, lateral (
                select body from facts where account = f.account and subject = f.subject and number < f.number
                order by number desc limit 1) p
            where f.account = %s and f.number = any(%s)
            """,
            (account, sorted(numbers)),
        )
        return {number: _bodies.decode(body) async for number, body in cursor}

    async def hold_links(self, account: str) -> frozenset[str]:
        """Keep others from changing what this account links until the end of the transaction; returns the subjects."""
        await self._connection.execute("select pg_advisory_xact_lock(%s, hashtext(%s))", (_LINKS_LOCK, account))
        cursor = await self._connection.execute("select subject from links where account = %s", (account,))
        return frozenset([subject async for (subject,) in cursor])

    async def link(self, account: str, subjects: Iterable[str]) -> dict[str, str]:
        """Make these the subjects the account says are its own; returns those that another account has already."""
        wanted = sorted(set(subjects))
        await self._connection.execute("delete from links where account = %s and subject <> all(%s)", (account, wanted))
        await self._connection.execute(
            "insert into links (subject, account) select unnest(%s::text[]), %s on conflict do nothing",
            (wanted, account),
        )
        cursor = await self._connection.execute(
            "select subject, account from links where subject = any(%s) and account <> %s", (wanted, account)
        )
        return {subject: other async for subject, other in cursor}

    async def linking(self, subject: str) -> str | None:
        """The account that says this subject is its own."""
        cursor = await self._connection.execute("select account from links where subject = %s", (subject,))
        row = await cursor.fetchone()
        return row[0] if row else None

    async def linked(self, subjects: Iterable[str]) -> dict[str, str]:
        """Of each of these subjects that an account says is its own, which account."""
        cursor = await self._connection.execute(
            "select subject, account from links where subject = any(%s)", (sorted(set(subjects)),)
        )
        return {subject: account async for subject, account in cursor}

    async def misplaced_links(self, limit: int) -> tuple[tuple[str, str, str], ...]:
        """Subjects that one account links and the provider's metadata gives to another: subject, one, other."""
        cursor = await self._connection.execute(
            """
            select l.subject, l.account, s.account from links l join subjects s using (subject)
            where s.account <> l.account order by 1 limit %s
            """,
            (limit,),
        )
        return tuple([(subject, linking, other) async for subject, linking, other in cursor])

    async def live_subscriptions(self, subject: str) -> tuple[str, ...]:
        """The ids of this subject's subscriptions that were not ended when it was last read."""
        cursor = await self._connection.execute(
            "select distinct id from subscriptions where subject = %s and (status is null or status <> all(%s))",
            (subject, sorted(TERMINAL)),
        )
        return tuple([id async for (id,) in cursor])

    async def count_subscriptions(self, provider: str) -> int:
        """How many subscriptions of a provider are known, ended ones too."""
        cursor = await self._connection.execute(
            "select count(*) from subscriptions where subject like %s", (f"{provider}:%",)
        )
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def about_subscriptions(self, provider: str) -> int:
        """The same, but if there are many as last estimated, and of all providers."""
        found = await about(self._connection, "subscriptions")
        return found if found >= FEW else await self.count_subscriptions(provider)

    async def subject_of(self, subscription: str) -> str | None:
        """The subject that has this subscription, as last read."""
        cursor = await self._connection.execute(
            "select subject from subscriptions where id = %s limit 1", (subscription,)
        )
        row = await cursor.fetchone()
        return row[0] if row else None

    async def items_sold(self) -> tuple[dict[str, Any], ...]:
        """Each different thing that subscriptions not ended consist of: price, lookup_key, product and plan."""
        cursor = await self._connection.execute(
            """
            select distinct i ->> 'price', i ->> 'lookup_key', i ->> 'product', i ->> 'plan'
            from subscriptions s, json_array_elements(s.items) i where s.status is null or s.status <> all(%s)
            """,
            (sorted(TERMINAL),),
        )
        names = ("price", "lookup_key", "product", "plan")
        return tuple([dict(zip(names, row, strict=True)) async for row in cursor])

    async def in_doubt(self, unmapped: Iterable[dict[str, Any]], limit: int) -> tuple[Account, ...]:
        """Accounts whose subscriptions consist of one of these items, are revived or have an unknown status."""
        cursor = await self._connection.execute(
            """
            select state::text from accounts where account in (
                select s.account from subscriptions s where s.status is null or s.revived
                union
                select s.account from subscriptions s, json_array_elements(s.items) i,
                       json_to_recordset(%(items)s) as u(price text, lookup_key text, product text, plan text)
                where s.status <> all(%(ended)s)
                  and (i ->> 'price') is not distinct from u.price
                  and (i ->> 'lookup_key') is not distinct from u.lookup_key
                  and (i ->> 'product') is not distinct from u.product
                  and (i ->> 'plan') is not distinct from u.plan)
            order by account limit %(limit)s
            """,
            {"items": msgspec.json.encode(list(unmapped)).decode(), "ended": sorted(TERMINAL), "limit": limit},
        )
        return tuple([_accounts.decode(row[0]) async for row in cursor])

    async def _project(self, account: Account, subject: str, body: Body) -> None:
        match body:
            case Customer(subscriptions=subscriptions) as customer:
                doubtful = {*customer.named_otherwise, *([customer.id] if customer.is_ownerless else [])}
                await self._project_subscriptions(account, subject, subscriptions, doubtful)
            case ManualSubscription(subscription=subscription):
                await self._project_subscriptions(account, subject, (subscription,) if subscription else ())
            case ForeignBilling(subscriptions=subscriptions):
                await self._project_subscriptions(account, subject, subscriptions)
            case Departed():
                await self._project_subscriptions(account, subject, ())

    async def _project_subscriptions(
        self, account: Account, subject: str, subscriptions: tuple[Subscription, ...], doubtful: Collection[str] = ()
    ) -> None:
        # `revived` is whatever of one has to be looked at beside its status and its items.
        await self._connection.execute(
            "delete from subscriptions where account = %s and subject = %s", (account.key, subject)
        )
        rows = [
            (
                account.key,
                subscription.id,
                subject,
                subscription.status,
                subscription.provider_status,
                subscription.id in doubtful
                or (subscription.id in account.latched and subscription.status not in TERMINAL),
                msgspec.json.encode(
                    [*subscription.items, *(i for later in subscription.next for i in later.items)]
                ).decode(),
            )
            for subscription in map(account.named, subscriptions)
        ]
        if rows:
            async with self._connection.cursor() as cursor:
                await cursor.executemany(
                    """
                    insert into subscriptions (account, id, subject, status, provider_status, revived, items)
                    values (%s, %s, %s, %s, %s, %s, %s)
                    on conflict (account, id) do update set subject = excluded.subject, status = excluded.status,
                        provider_status = excluded.provider_status, revived = excluded.revived, items = excluded.items
                    """,
                    rows,
                )


def _keys_found(joined: str) -> list[str]:
    """The keys of accounts that are searched for, each way with an index of its own. Each goes no further than a page:
    what comes after it comes on the next."""
    begins = "{text} ~>=~ lower(%(beginning)s) and {text} ~<~ (lower(%(beginning)s) || chr(1114111))"
    ways = (
        begins.format(text="lower(a.account)") + " and lower(a.account) like lower(%(part)s)",
        begins.format(text=f"lower(left(a.name, {_NAME_MAX}))") + " and lower(a.name) like lower(%(part)s)",
        "a.account = any(array(select s.account from subjects s"
        " where s.account is not null and split_part(s.subject, ':', 2) = %(search)s))",
        "a.account = any(array(select s.account from subscriptions s where s.id = %(search)s))",
    )
    return [
        f"(select a.account from accounts a {joined} where a.account > %(after)s and a.known and {way} "
        "order by a.account limit %(limit)s)"
        for way in ways
    ]


def _announced(plan: str | None, state: str | None, finding: str | None) -> str:
    """What joins accounts with what was announced of them, if something of that is asked for: each has an index."""
    asked = [
        *(["split_part(n.overview ->> 'plan', '@', 1) = %(plan)s"] if plan is not None else ()),
        *(["n.overview ->> 'state' = %(state)s"] if state is not None else ()),
        *(["n.overview -> 'findings' is not null"] if finding is not None else ()),
        *([_FOUND] if finding not in (None, ANY_FINDING) else ()),
    ]
    return f"join announced n on n.account = a.account and {' and '.join(asked)}" if asked else ""


def _folded(account: Account) -> dict[str, Any]:
    return {
        "account": account.key,
        "state": msgspec.json.encode(account).decode(),
        # PostgreSQL's text has no NUL; the name as stated is in `state`.
        "name": account.name.replace("\0", ""),
        "known": account.exists,
    }


def _saved(row: TupleRow) -> SavedAccount:
    state, *dates = row
    return SavedAccount(_accounts.decode(state), *dates)


def _fact(row: TupleRow) -> Learned:
    number, subject, sequence, as_of, recorded_at, body, cause, *known = row
    fact = Fact(number, subject, sequence, as_of, _bodies.decode(body), tuple(cause), *known)
    return Learned(fact, recorded_at)
