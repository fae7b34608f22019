"""Migrations: moving accounts from one version of a plan to another, seen beforehand, paused and rolled back.

Theory of operation. Who is to be moved is settled when a migration is started: one row for each account, saved with
it. Workers take one account at a time: its row, then the account; state its pin, or note why not; and save both
together. So a process may end anywhere, and any number of them may work on the same migration. Rolling back goes
through those that were moved, in the same way, and states what was said before, unless somebody has said something else
since.

Laws: an account is moved once and moved back once; what is taken back is exactly what the migration said.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import asdict, replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Pin
from paygrade.billing.versions import pin_subject, pinned
from paygrade.catalog.model import Catalog, PlanChangeRule
from paygrade.changes.impact import Violation, impact_of
from paygrade.changes.version_migration import (
    MovedAccount,
    MoveStatus,
    PriceDifference,
    VersionMigration,
    price_differences,
    stated_by,
    summed,
)
from paygrade.decisions.diff import Effect, effects, today
from paygrade.decisions.take import snapshot
from paygrade.entitlements.sources import offers
from paygrade.server.operations.accounts.record import record, unknown_account
from paygrade.server.operations.audit.note import note, note_change
from paygrade.server.operations.catalog.publish import SAMPLE_MAX
from paygrade.server.operations.catalog.versions import refuse_unknown_version
from paygrade.server.state.balances import with_balances
from paygrade.updates.log import News
from paygrade.updates.types import MigrationUpdate
from paygrade.values.errors import Refused
from paygrade.values.text import PAGE_MAX

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.postgres.version_migrations import SavedMigration, SavedMove

State = Literal["running", "paused", "finished", "rolling_back", "rolled_back"]


class Exceeded(Struct, frozen=True):
    """What an account uses or holds that the version it would have does not cover."""

    account: str
    violation: Violation


class MigrationPreview(Struct, frozen=True):
    """What a migration would do at the instant it takes effect. `skipped`: how many are left alone, by why.

    Of `accounts` moved some gain, lose or see another value; `prices` is what they pay and what the other version
    costs: nothing is billed by a migration, prices change only by a plan change.
    """

    accounts: int
    skipped: dict[str, int]
    affected: int
    gaining: int
    losing: int
    changing: int
    exceeded: int
    sample: tuple[Effect, ...]
    exceeded_sample: tuple[Exceeded, ...]
    prices: tuple[PriceDifference, ...]


class Migration(Struct, frozen=True):
    """A migration and how far it is; `waiting` to `rolled_back` count its accounts."""

    id: int
    plan: str
    from_version: int | None
    to_version: int | None
    at: datetime | None
    reason: str
    state: State
    started_at: datetime
    started_by: str
    finished_at: datetime | None
    waiting: int
    done: int
    skipped: int
    rolled_back: int


class PlannedMigration(Struct, frozen=True):
    """What a migration does, and the one that was started; None: it was only asked."""

    preview: MigrationPreview
    migration: Migration | None


class MigrationList(Struct, frozen=True):
    """Migrations, the latest first. `next` is the `before` of the next page; None: this is the last one."""

    migrations: tuple[Migration, ...]
    next: int | None


class MovedAccounts(Struct, frozen=True):
    """Accounts of a migration, by key. `next` None: there are no more."""

    accounts: tuple[MovedAccount, ...]
    next: str | None


async def start_migration(
    store: "Store", *, move: VersionMigration, accounts: tuple[str, ...] | None, dry_run: bool, at: datetime, by: str
) -> PlannedMigration:
    """Move accounts to another version.

    Pin accounts to another version of a plan or add-on: all that have it, or those you name, an account at a time. The
    answer says who gains and loses what, who uses more than the new limits, and how prices compare. A migration bills
    nothing: what customers pay changes only by a plan change. Refused `unknown_plan`, `unknown_plan_version`,
    `date_in_the_past`, `unknown_account`, `migration_running`. `accounts` None: everybody there is. With `dry_run`
    nothing is begun.
    """
    async with store.transaction() as tx:
        catalog = await tx.catalogs.in_force()
        refuse_unknown_version(catalog, move.plan, move.from_version)
        refuse_unknown_version(catalog, move.plan, move.to_version)
        if move.at is not None and move.at <= at:
            raise Refused(
                "date_in_the_past", f"{move.at.isoformat()} is in the past; choose a later time, or leave it out"
            )
        id = None if dry_run else await tx.plan_migrations.start(move, by=by, at=at)
        if id is None and not dry_run:
            raise Refused("migration_running", f"another migration of `{move.plan}` is running; "
                          "see `GET /v1/catalog/migrations`, and wait for it or roll it back")  # fmt: skip
        sums = _Sums(tx, catalog, move, at)
        async for page in _pages(tx, accounts):
            moving = [account.key for account in page if await sums.add(account)]
            if id is not None:
                # Who was named and is left alone shall know why; of everybody only those who are moved are listed.
                await tx.plan_migrations.add(id, moving if accounts is None else [account.key for account in page])
            await asyncio.sleep(0)  # others in this process want to go on meanwhile
        preview = sums.preview()
        if id is not None:
            said = {**asdict(move), "accounts": preview.accounts, "everybody": accounts is None}
            personal = {"reason": said.pop("reason")}
            note(tx, "migration.start", targets=_targets(id), changes=said, personal=personal, at=at)
            await _announce(tx, "started", id, move, "forward", at)
        return PlannedMigration(preview, None if id is None else await _view(tx, id))


async def list_migrations(store: "Store", *, before: int | None = None, limit: int) -> MigrationList:
    """List migrations.

    Newest first, with the progress of each.
    """
    async with store.reading() as tx:
        found = await tx.plan_migrations.page(before=before, limit=limit + 1)
        page = found[:limit]
        counts = await tx.plan_migrations.counts(each.id for each in page)
    shown = tuple(_shown(each, counts.get(each.id, {})) for each in page)
    return MigrationList(shown, page[-1].id if len(found) > limit else None)


async def get_migration(store: "Store", *, id: int) -> Migration:
    """Retrieve a migration.

    Its progress: how many accounts are waiting, done, skipped or rolled back. Refused `unknown_migration`.
    """
    async with store.transaction() as tx:
        return await _view(tx, id)


async def moved_accounts(
    store: "Store", *, id: int, status: MoveStatus | None, after: str, limit: int
) -> MovedAccounts:
    """List a migration's accounts.

    The status of each account, by key, and why it was skipped. Refused `unknown_migration`. With `status` only those
    in this status.
    """
    async with store.reading() as tx:
        await _view(tx, id)
        found = await tx.plan_migrations.accounts(id, status=status, after=after, limit=limit + 1)
    page = found[:limit]
    return MovedAccounts(page, page[-1].account if len(found) > limit else None)


async def pause_migration(store: "Store", *, id: int, at: datetime) -> Migration:
    """Pause a migration.

    Move no more accounts until the migration is resumed; moved ones stay moved. Refused `unknown_migration`,
    `migration_over`.
    """
    return await _pause(store, id, paused=True, at=at)


async def resume_migration(store: "Store", *, id: int, at: datetime) -> Migration:
    """Resume a migration.

    Continue a paused migration, or its roll-back. Refused `unknown_migration`, `migration_over`.
    """
    return await _pause(store, id, paused=False, at=at)


async def _pause(store: "Store", id: int, *, paused: bool, at: datetime) -> Migration:
    async with store.transaction() as tx:
        held = await _held(tx, id)
        if held.finished_at is not None:
            raise Refused("migration_over", f"migration {id} has ended; it can't be paused or resumed")
        await tx.plan_migrations.pause(id, paused=paused)
        if held.paused != paused:
            note(tx, "migration.pause" if paused else "migration.resume", targets=_targets(id), at=at)
        return await _view(tx, id)


async def roll_back_migration(store: "Store", *, id: int, at: datetime) -> Migration:
    """Roll a migration back.

    Restore each account's earlier pin, an account at a time; waiting accounts are no longer moved. A pin that was
    changed since is left as it is. Refused `unknown_migration`, or `migration_running` while another one of the plan is
    under way. Finished or not; once asked for it goes on, asked again too.
    """
    async with store.transaction() as tx:
        held = await _held(tx, id)
        if held.direction == "forward":
            others = await tx.plan_migrations.page(limit=PAGE_MAX)
            if any(o.id != id and o.move.plan == held.move.plan and o.finished_at is None for o in others):
                raise Refused("migration_running", f"another migration of `{held.move.plan}` is running; "
                              "wait for it, or roll it back first")  # fmt: skip
            await tx.plan_migrations.turn_back(id)
            await _announce(tx, "started", id, held.move, "back", at)
            note(tx, "migration.roll_back", targets=_targets(id), at=at)
        return await _view(tx, id)


async def migrate_account(store: "Store", claimed: "SavedMove", *, at: datetime) -> MoveStatus | Literal["overtaken"]:
    """Move a claimed account, or move it back; how it stands then. Nothing happens while its migration is paused."""
    async with store.transaction() as tx:
        held = await tx.plan_migrations.lock(claimed)
        migration = await tx.plan_migrations.load(claimed.migration)
        if held is None or migration is None:
            # Perhaps paused since: whoever goes on with it need not wait for our lease.
            await tx.plan_migrations.keep(claimed, lease_s=0)
            return "overtaken"
        account = (await tx.accounts.lock([held.account])).get(held.account) or Account(key=held.account)
        if migration.direction == "forward":
            noted = await _move(tx, migration, held, account, await tx.catalogs.in_force(), at)
        else:
            noted = await _move_back(tx, migration, held, account, at)
        await tx.plan_migrations.save(noted)
    return noted.status


async def finish_migrations(store: "Store", *, at: datetime) -> tuple["SavedMigration", ...]:
    """End the migrations of which every account is through; gives those."""
    async with store.transaction() as tx:
        unfinished = await tx.plan_migrations.unfinished()
        finished = tuple([each for each in unfinished if await tx.plan_migrations.finish(each, at=at)])
        for each in finished:
            await _announce(tx, "finished", each.id, each.move, each.direction, at)
    return finished


async def _announce(
    tx: "Transaction",
    what: Literal["started", "finished"],
    id: int,
    move: VersionMigration,
    direction: Literal["forward", "back"],
    at: datetime,
) -> None:
    data = MigrationUpdate(id, move.plan, move.from_version, move.to_version, direction)
    await tx.announce([News(None, f"migration.{what}", data, at)], at)


async def _move(
    tx: "Transaction", migration: "SavedMigration", taken: "SavedMove", account: Account, catalog: Catalog, at: datetime
) -> "SavedMove":
    pin = stated_by(migration.move, account, catalog, at)
    if not isinstance(pin, Pin):
        return replace(taken, status="skipped", reason=pin)
    statement = account.statements.get(pin_subject(pin.key))
    before = statement.body if statement is not None and isinstance(statement.body, Pin) else None
    moved = await record(tx, account, subject=pin_subject(pin.key), body=pin, cause=_cause(migration), at=at)
    if moved is not account:
        note_change(tx, "migration.move", account.key, account.pins.get(pin.key), pin, hidden=_REASON,
                    target=("migration", str(migration.id)), at=at)  # fmt: skip
    return replace(taken, status="done", before=before, fact=moved.version if moved is not account else None)


async def _move_back(
    tx: "Transaction", migration: "SavedMigration", taken: "SavedMove", account: Account, at: datetime
) -> "SavedMove":
    subject = pin_subject(migration.move.plan)
    statement = account.statements.get(subject)
    if taken.fact is None:
        return replace(taken, status="rolled_back")
    if statement is None or statement.number != taken.fact:
        return replace(taken, status="skipped", reason="changed_since")
    before = taken.before or Pin(migration.move.plan, withdrawn=True)
    await record(tx, account, subject=subject, body=before, cause=_cause(migration), at=at)
    note_change(tx, "migration.move_back", account.key, account.pins.get(before.key), before, hidden=_REASON,
                target=("migration", str(migration.id)), at=at)  # fmt: skip
    return replace(taken, status="rolled_back")


_REASON = frozenset({"reason"})


def _targets(id: int) -> list[tuple[str, str]]:
    return [("migration", str(id))]


def _cause(migration: "SavedMigration") -> tuple[str, ...]:
    return (f"migration {migration.id}",)


async def _pages(tx: "Transaction", accounts: tuple[str, ...] | None) -> AsyncIterator[list[Account]]:
    """The accounts that were named, or everybody."""
    if accounts is not None:
        found = await tx.accounts.find(accounts)
        for key in accounts:
            if key not in found or not found[key].exists:
                raise unknown_account(key)
        yield [found[key] for key in sorted(found)]
        return
    after = ""
    while page := await tx.accounts.page(after=after, limit=PAGE_MAX):
        after = page[-1].account.key
        yield [saved.account for saved in page]


class _Sums:
    """What a migration would do, summed over accounts."""

    def __init__(self, tx: "Transaction", catalog: Catalog, move: VersionMigration, at: datetime) -> None:
        self._tx, self._catalog, self._move, self._at = tx, catalog, move, at
        self._when = move.at or at
        self._skipped: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._sample: list[Effect] = []
        self._exceeded: list[Exceeded] = []
        self._prices: tuple[PriceDifference, ...] = ()

    async def add(self, account: Account) -> bool:
        """Look at one account; whether it would be moved."""
        pin = stated_by(self._move, account, self._catalog, self._at)
        if not isinstance(pin, Pin):
            self._skipped[pin] += 1
            return False
        moved = pinned(account, pin, self._at)
        views = today(account, self._catalog, self._when), today(moved, self._catalog, self._when)
        found = effects(*views, offers(self._catalog), self._when)
        hows = {effect.how for effect in found}
        self._counts.update(["accounts", *hows, *(["affected"] if found else [])])
        self._sample.extend(found[: SAMPLE_MAX - len(self._sample)])
        if "loses" in hows or "changes" in hows:
            # Who loses nothing cannot be over anything that they were not over before.
            await self._look_at_usage(account, moved)
        paid = price_differences(account, moved, self._move.plan, self._catalog, self._when)
        self._prices = summed((*self._prices, *paid))
        return True

    async def _look_at_usage(self, account: Account, moved: Account) -> None:
        held, _ = await with_balances(self._tx, snapshot(account, self._catalog, self._at), self._at)
        what = impact_of(account, moved, self._catalog, held, PlanChangeRule(), (), self._when, active_at={})
        self._counts["exceeded"] += bool(what.violations)
        room = SAMPLE_MAX - len(self._exceeded)
        self._exceeded.extend(Exceeded(account.key, violation) for violation in what.violations[:room])

    def preview(self) -> MigrationPreview:
        return MigrationPreview(
            accounts=self._counts["accounts"],
            skipped=dict(sorted(self._skipped.items())),
            affected=self._counts["affected"],
            gaining=self._counts["gains"],
            losing=self._counts["loses"],
            changing=self._counts["changes"],
            exceeded=self._counts["exceeded"],
            sample=tuple(self._sample),
            exceeded_sample=tuple(self._exceeded),
            prices=self._prices,
        )


async def _held(tx: "Transaction", id: int) -> "SavedMigration":
    found = await tx.plan_migrations.load(id, lock=True)
    if found is None:
        raise _unknown(id)
    return found


async def _view(tx: "Transaction", id: int) -> Migration:
    found = await tx.plan_migrations.load(id)
    if found is None:
        raise _unknown(id)
    return _shown(found, (await tx.plan_migrations.counts([id])).get(id, {}))


def _unknown(id: int) -> Refused:
    return Refused("unknown_migration", f"there is no migration `{id}`; `GET /v1/catalog/migrations` lists them")


def _shown(saved: "SavedMigration", counts: dict[str, int]) -> Migration:
    move = saved.move
    if saved.finished_at is not None:
        state: State = "finished" if saved.direction == "forward" else "rolled_back"
    elif saved.paused:
        state = "paused"
    else:
        state = "running" if saved.direction == "forward" else "rolling_back"
    return Migration(
        id=saved.id,
        plan=move.plan,
        from_version=move.from_version,
        to_version=move.to_version,
        at=move.at,
        reason=move.reason,
        state=state,
        started_at=saved.started_at,
        started_by=saved.started_by,
        finished_at=saved.finished_at,
        waiting=counts.get("waiting", 0),
        done=counts.get("done", 0),
        skipped=counts.get("skipped", 0),
        rolled_back=counts.get("rolled_back", 0),
    )
