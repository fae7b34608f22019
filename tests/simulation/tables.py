"""The store's tables as dicts: what PostgreSQL does for the statements of `postgres/`, without PostgreSQL.

Laws: a transaction sees what is committed and what it wrote itself; what it wrote is there for others at once or
never; it blocks for nothing, because whoever calls it has taken the locks that PostgreSQL would have taken.
That this is a faithful model is itself tested: the same seeds end alike on PostgreSQL (`test_simulation.py`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import Body, Customer, Departed, Fact, ManualSubscription
from paygrade.catalog.model import Catalog
from paygrade.postgres.accounts import SavedAccount
from paygrade.postgres.catalogs import SavedCatalog
from paygrade.postgres.claims import Candidate
from paygrade.postgres.plan_changes import ClaimedChange
from paygrade.postgres.subjects import Claim, ClaimedEvent, KnownSubject, MarkedSubject
from paygrade.updates.overview import Announced
from paygrade.values.states import TERMINAL

from .change_tables import CHANGES, ChangeTables
from .claim_tables import ClaimTables, Kind
from .loop import START
from .repair_tables import POLLS, SWEEPS, RepairTables

MICROSECOND = timedelta(microseconds=1)


class SubjectRow(Struct, frozen=True):
    subject: str
    account: str | None = None
    dirty: int = 0
    synced: int = 0
    fence: int = 0
    swept: bool = False
    rereads: int = 0
    attempts: int = 0
    failing: bool = False
    marked_at: datetime | None = None
    leased_until: datetime | None = None
    retry_at: datetime | None = None
    read_at: datetime | None = None
    due_at: datetime | None = None


class InboxRow(Struct, frozen=True):
    subject: str
    event_id: str
    type: str
    object_id: str | None
    received_at: datetime
    handled: bool
    polled: bool
    created_at: datetime | None = None


class AccountRow(Struct, frozen=True):
    account: Account
    created_at: datetime
    updated_at: datetime


class Dump(Struct, frozen=True):
    """Everything the store holds that has a meaning, in an order that does not depend on how it came to be."""

    accounts: dict[str, Account]
    facts: tuple[tuple[str, Fact], ...]
    subjects: dict[str, SubjectRow]
    inbox: dict[tuple[str, str], bool]
    """Whether each event was handled, by subject and event id."""
    drift: tuple[tuple[str, str, str], ...] = ()
    """What is open: subject, subscription, field."""
    sweeping: bool = False
    """Whether a sweep is unfinished."""
    changes: tuple[ClaimedChange, ...] = ()
    to_settle: tuple[datetime, ...] = ()
    """When dates change next what accounts buy."""


def in_order(changes: Iterable[ClaimedChange]) -> tuple[ClaimedChange, ...]:
    """Plan changes in an order that does not rest on their ids, which are drawn anew in each run."""
    return tuple(sorted(changes, key=lambda change: (change.asked_at, change.account, change.key)))


TABLES = (
    *("subjects", "inbox", "accounts", "facts", "links", "subscriptions"),
    *("drift", "sweeps", "touched", "sightings", "polls"),
    *("plan_changes", "settled", "quotes", "announced"),
)


SUBJECTS = Kind(
    key=lambda row: (row.subject,),
    waiting=(
        (lambda row, _: row.dirty > row.synced, lambda row: (row.swept, row.marked_at or START)),
        (
            lambda row, values: row.dirty == row.synced and row.due_at is not None and row.due_at <= values["at"],
            lambda row: (row.due_at, row.subject),
        ),
    ),
)


class Tables:
    """One database in memory, with its catalog published."""

    def __init__(self, catalog: Catalog, now: Callable[[], datetime]) -> None:
        self.catalog = catalog
        self.now = now
        self.committed: dict[str, dict[Any, Any]] = {name: {} for name in TABLES}

    def begin(self) -> "TablesTransaction":
        return TablesTransaction(self)

    def dump(self) -> Dump:
        rows = self.committed
        return Dump(
            accounts={key: row.account for key, row in sorted(rows["accounts"].items())},
            facts=tuple((account, fact) for (account, _), fact in sorted(rows["facts"].items(), key=lambda i: i[0])),
            subjects=dict(sorted(rows["subjects"].items())),
            inbox={key: row.handled for key, row in sorted(rows["inbox"].items())},
            drift=tuple(sorted(rows["drift"])),
            sweeping=any(row.saved.finished_at is None for row in rows["sweeps"].values()),
            changes=in_order(row.saved for row in rows["plan_changes"].values()),
            to_settle=tuple(sorted(at for _, _, at in rows["settled"].values() if at is not None)),
        )


class TablesTransaction(RepairTables, ChangeTables, ClaimTables):
    """One transaction: the methods are named after the noun and the method of `postgres/` that they stand for."""

    _kinds = {"subjects": SUBJECTS, "plan_changes": CHANGES, "sweeps": SWEEPS, "polls": POLLS}

    def __init__(self, tables: Tables) -> None:
        self._tables, self._now = tables, tables.now
        self._written: defaultdict[str, dict[Any, Any]] = defaultdict(dict)

    def perform(self, noun: str, method: str, *args: Any, **named: Any) -> Any:
        if noun in ("tell", "announce"):
            return None  # who hears is the network's business, and what is announced is looked at elsewhere
        own = getattr(self, f"_{noun}_{method}", None)
        return own(*args, **named) if own else getattr(self, f"_claims_{method}")(noun, *args, **named)

    def commit(self) -> None:
        for name, written in self._written.items():
            rows = self._tables.committed[name]
            for key, row in written.items():
                if row is None:
                    rows.pop(key, None)
                else:
                    rows[key] = row

    def abort(self) -> None:
        """Nothing was written yet."""

    def _get(self, table: str, key: Any) -> Any:
        written = self._written.get(table)
        if written is not None and key in written:
            return written[key]
        return self._tables.committed[table].get(key)

    def _rows(self, table: str) -> list[Any]:
        """All rows; what is written while they are read may be missing."""
        committed, written = self._tables.committed[table], self._written.get(table)
        if not written:
            return list(committed.values())
        here = [row for key, row in committed.items() if key not in written]
        return here + [row for row in written.values() if row is not None]

    def _change(self, subject: str, **changed: Any) -> None:
        row = self._get("subjects", subject)
        self._written["subjects"][subject] = replace(row, **changed)

    # Subjects

    def _subjects_mark(
        self, subjects: Iterable[str], *, swept: bool = False, patient: Iterable[str] = (), patience_s: float = 0
    ) -> dict[str, MarkedSubject]:
        paused, marked = set(patient), {}
        for index, subject in enumerate(sorted(set(subjects))):
            at = self._tables.now() + index * MICROSECOND
            row = self._get("subjects", subject)
            patient_until = at + timedelta(seconds=patience_s) if subject in paused else None
            if row is None:
                self._written["subjects"][subject] = SubjectRow(
                    subject, dirty=1, marked_at=at, swept=swept, retry_at=patient_until
                )
                marked[subject] = MarkedSubject(1, 0, None)
                continue
            marked[subject] = MarkedSubject(row.dirty + 1, row.fence, row.read_at)
            waiting = row.dirty > row.synced
            self._change(
                subject,
                dirty=row.dirty + 1,
                marked_at=row.marked_at if waiting and row.swept <= swept else at,
                swept=swept and (row.swept or not waiting),
                retry_at=row.retry_at if row.failing else None if waiting else patient_until,
            )
        return marked

    def _subjects_stored(self, subjects: Iterable[str]) -> dict[str, KnownSubject]:
        found, now = {}, self._tables.now()
        for subject in sorted(set(subjects)):
            row = self._get("subjects", subject)
            if row is not None:
                account = self._get("accounts", row.account).account if row.account is not None else None
                stated = account.statements.get(subject) if account is not None else None
                claimed = row.leased_until is not None and row.leased_until > now
                said, waiting = stated.body if stated else None, row.dirty > row.synced
                error = "it did not answer" if row.failing else None
                found[subject] = KnownSubject(
                    row.account, said, row.read_at, claimed, waiting, row.dirty, row.fence, row.synced, error
                )
        return found

    def _subjects_take(self, candidate: Candidate, *, lease_s: float, at: datetime) -> Claim | None:
        taken = self._claims_take("subjects", candidate, lease_s=lease_s, at=at)
        if taken is None:
            return None
        return replace(self._claim(taken), events=self._unhandled(taken.subject))

    def _subjects_lock(self, claim: Claim) -> Claim | None:
        row = self._get("subjects", claim.subject)
        return self._claim(row) if row is not None and row.fence == claim.fence else None

    def _claim(self, row: SubjectRow) -> Claim:
        drifted = any(found == row.subject for found, _, _ in self._rows("drift"))
        swept = row.swept and row.dirty > row.synced
        return Claim(row.subject, row.fence, row.dirty, row.rereads, row.attempts, row.account, swept, drifted)

    def _subjects_settle(
        self,
        claim: Claim,
        *,
        account: str | None,
        read_at: datetime | None = None,
        due_at: datetime | None = None,
        reread_s: float | None = None,
    ) -> None:
        row = self._get("subjects", claim.subject)
        if row is None or row.fence != claim.fence:
            return
        now = self._tables.now()
        read = [instant for instant in (row.read_at, read_at) if instant is not None]
        doubted = reread_s is not None
        self._change(
            claim.subject,
            account=account,
            synced=row.synced if doubted else max(row.synced, claim.dirty),
            rereads=row.rereads + 1 if doubted else 0,
            attempts=0,
            failing=False,
            leased_until=None,
            retry_at=None if reread_s is None else now + timedelta(seconds=reread_s),
            marked_at=row.marked_at if doubted else now if row.dirty > claim.dirty else None,
            read_at=max(read, default=None),
            due_at=due_at,
        )

    def _subjects_fail(self, claim: Claim, *, error: str, retry_s: float) -> bool:
        row = self._get("subjects", claim.subject)
        if row is None or row.fence != claim.fence or row.leased_until is None:
            return False
        retry_at = self._tables.now() + timedelta(seconds=retry_s)
        self._change(claim.subject, attempts=row.attempts + 1, failing=True, leased_until=None, retry_at=retry_at)
        return True

    # The inbox

    def _inbox_add(
        self,
        *,
        subject: str,
        event_id: str,
        type: str,
        object_id: str | None,
        created_at: datetime | None,
        body: bytes,
        handled: bool,
        polled: bool,
        at: datetime,
        traceparent: str | None = None,
    ) -> bool:
        if self._get("inbox", (subject, event_id)) is not None:
            return False
        self._written["inbox"][subject, event_id] = InboxRow(
            subject, event_id, type, object_id, at, handled, polled, created_at
        )
        return True

    def _unhandled(self, subject: str) -> tuple[ClaimedEvent, ...]:
        rows = [row for row in self._rows("inbox") if row.subject == subject and not row.handled]
        rows.sort(key=lambda row: (row.received_at, row.event_id))
        return tuple(
            ClaimedEvent(row.event_id, row.type, row.object_id, row.polled, created_at=row.created_at) for row in rows
        )

    def _inbox_handle(self, subject: str, event_ids: list[str], at: datetime) -> None:
        for id in event_ids:
            row = self._get("inbox", (subject, id))
            if row is not None:
                self._written["inbox"][subject, id] = replace(row, handled=True)

    def _inbox_hand_on(self, subject: str, event_ids: list[str], *, to: str) -> None:
        for id in event_ids:
            row = self._get("inbox", (subject, id))
            if row is not None and self._get("inbox", (to, id)) is None:
                self._written["inbox"][to, id] = replace(row, subject=to, handled=False)

    # Accounts

    def _accounts_load(self, account: str) -> SavedAccount | None:
        row = self._get("accounts", account)
        return SavedAccount(row.account, row.created_at, row.updated_at) if row else None

    def _accounts_lock(self, accounts: Iterable[str]) -> dict[str, Account]:
        rows = [self._get("accounts", account) for account in sorted(set(accounts))]
        return {row.account.key: row.account for row in rows if row is not None}

    def _accounts_find(self, accounts: Iterable[str]) -> dict[str, Account]:
        return self._accounts_lock(accounts)

    def _accounts_create(self, account: str, at: datetime) -> None:
        if self._get("accounts", account) is None:
            self._written["accounts"][account] = AccountRow(Account(account), at, at)

    def _accounts_save(self, account: Account, fact: Fact, at: datetime) -> Account:
        folded = apply(account, fact)
        self._restore_row(folded, at)
        self._written["facts"][account.key, fact.number] = fact
        self._project(account.key, fact.subject, fact.body)
        return folded

    def _accounts_restore(self, account: Account) -> None:
        self._restore_row(account, None)

    def _restore_row(self, account: Account, at: datetime | None) -> None:
        row = self._get("accounts", account.key)
        updated_at = row.updated_at if at is None else max(row.updated_at, at)
        self._written["accounts"][account.key] = AccountRow(account, row.created_at, updated_at)

    def _accounts_hold_links(self, account: str) -> frozenset[str]:
        return frozenset(subject for subject, owner in self._links() if owner == account)

    def _accounts_link(self, account: str, subjects: Iterable[str]) -> dict[str, str]:
        wanted = sorted(set(subjects))
        for subject, owner in self._links():
            if owner == account and subject not in wanted:
                self._written["links"][subject] = None
        for subject in wanted:
            if self._get("links", subject) is None:
                self._written["links"][subject] = (subject, account)
        return {subject: owner for subject, owner in self._links() if subject in wanted and owner != account}

    def _accounts_linking(self, subject: str) -> str | None:
        row = self._get("links", subject)
        return row[1] if row else None

    def _accounts_live_subscriptions(self, subject: str) -> tuple[str, ...]:
        rows = [row for row in self._rows("subscriptions") if row[1] == subject and row[2] not in TERMINAL]
        return tuple(sorted({id for id, _, _ in rows}))

    def _links(self) -> list[tuple[str, str]]:
        return self._rows("links")

    def _project(self, account: str, subject: str, body: Body) -> None:
        match body:
            case Customer(subscriptions=subscriptions):
                stated = subscriptions
            case ManualSubscription(subscription=subscription):
                stated = (subscription,) if subscription else ()
            case Departed():
                stated = ()
            case _:
                return
        mine = {**self._tables.committed["subscriptions"], **self._written["subscriptions"]}
        for (owner, id), row in mine.items():
            if owner == account and row is not None and row[1] == subject:
                self._written["subscriptions"][owner, id] = None
        for subscription in stated:
            self._written["subscriptions"][account, subscription.id] = (subscription.id, subject, subscription.status)

    def _announcements_load(self, account: str) -> Announced | None:
        found: Announced | None = self._get("announced", account)
        return found

    def _announcements_note(self, rows: Sequence[Announced]) -> None:
        self._written["announced"].update({row.account: row for row in rows})

    # The catalog

    def _catalogs_in_force(self) -> Catalog:
        return self._catalogs_load().catalog

    def _catalogs_load(self) -> SavedCatalog:
        return SavedCatalog(self._tables.catalog, {}, "", START, "simulation")
