"""Versions: who is on which of a plan or add-on, and an operator's word that holds an account to one."""

import asyncio
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from paygrade.billing.facts import Pin
from paygrade.billing.versions import Version, pin_subject
from paygrade.catalog.model import Catalog, versions_of
from paygrade.entitlements.sources import versions_had
from paygrade.server.operations.accounts.record import lock_account, record
from paygrade.server.operations.audit.note import note_change
from paygrade.values.errors import Refused
from paygrade.values.text import PAGE_MAX, one_of

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

REASON = frozenset({"reason"})


class AccountVersions(Struct, frozen=True):
    """The versions of all that an account has, and why they count."""

    account: str
    versions: tuple[Version, ...]


class VersionCount(Struct, frozen=True):
    """How many accounts are on a version of a plan or add-on, for one reason. `newest` None: it is sold no more."""

    key: str
    version: int
    newest: int | None
    why: Literal["newest", "kept", "pinned"]
    accounts: int


class VersionCounts(Struct, frozen=True):
    """How many accounts are on which version, by key."""

    versions: tuple[VersionCount, ...]


class VersionHolder(Struct, frozen=True):
    """An account, and the version it is on."""

    account: str
    version: Version


class VersionHolders(Struct, frozen=True):
    """Who is on which version of one plan or add-on. `versions` counts all of them, `accounts` is one page of those
    asked for; `next` None: there are no more."""

    versions: tuple[VersionCount, ...]
    accounts: tuple[VersionHolder, ...]
    next: str | None


async def put_pin(store: "Store", *, account: str, pin: Pin, at: datetime) -> AccountVersions:
    """Pin an account to a version.

    Keep the account on a `version` of a plan or add-on, or on the newest if you leave it out, whatever the catalog
    keeps. From `until` on, `then` counts: a version or `newest`; without it the catalog decides again.
    Refused `unknown_account`, `unknown_plan`, `unknown_plan_version`, `already_expired`.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        catalog = await tx.catalogs.in_force()
        refuse_unknown_version(catalog, pin.key, pin.version)
        refuse_unknown_version(catalog, pin.key, pin.then if isinstance(pin.then, int) else None)
        if pin.until is not None and pin.until <= at:
            raise Refused("already_expired", f"`until` {pin.until.isoformat()} is in the past; choose a later time")
        told = await record(tx, held, subject=pin_subject(pin.key), body=pin, at=at)
        if told is not held:
            before = held.pins.get(pin.key)
            note_change(tx, "pin.set", account, before, pin, hidden=REASON, target=("pin", pin.key), at=at)
        held = told
    return AccountVersions(account, versions_had(held, catalog, at))


async def delete_pin(store: "Store", *, account: str, key: str, at: datetime) -> AccountVersions:
    """Remove a pin.

    The catalog decides again: the version it keeps for earlier customers, otherwise the newest. Refused
    `unknown_account`, `unknown_pin`.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        if key not in held.pins:
            raise Refused("unknown_pin", f"`{account}` has no pin for `{key}`")
        note_change(tx, "pin.remove", account, held.pins[key], None, hidden=REASON, target=("pin", key), at=at)
        held = await record(tx, held, subject=pin_subject(key), body=Pin(key, withdrawn=True), at=at)
        return AccountVersions(account, versions_had(held, await tx.catalogs.in_force(), at))


async def version_counts(store: "Store", *, at: datetime) -> VersionCounts:
    """Count accounts by version.

    How many accounts are on each version of each plan and add-on, and whether it is the newest, kept or pinned.

    Looks at every account.
    """
    return VersionCounts((await _look(store, key=None, version=None, after="", limit=0, at=at))[0])


async def version_counts_among(store: "Store", *, first: int, at: datetime) -> tuple[VersionCounts, bool]:
    """The same of the `first` accounts by key, which takes no longer the more accounts there are; and whether these are
    all."""
    counts: Counter[tuple[str, int, int | None, Literal["newest", "kept", "pinned"]]] = Counter()
    last, left = "", first
    async with store.reading() as tx:
        catalog = await tx.catalogs.in_force()
        while left > 0 and (page := await tx.accounts.page(after=last, limit=min(PAGE_MAX, left))):
            last, left = page[-1].account.key, left - len(page)
            for one in page:
                counts.update(
                    (had.key, had.version, had.newest, had.why) for had in versions_had(one.account, catalog, at)
                )
            await asyncio.sleep(0)  # others in this process want to go on meanwhile
        whole = not await tx.accounts.page(after=last, limit=1)
    found = tuple(VersionCount(*counts_of, accounts=counts[counts_of]) for counts_of in sorted(counts, key=repr))
    return VersionCounts(found), whole


async def first_holders(
    store: "Store", *, key: str, version: int | None, after: str, limit: int, first: int, at: datetime
) -> tuple[tuple[VersionHolder, ...], str | None]:
    """Who is on a version of a plan or add-on, of the `first` accounts behind `after`; and the `after` to go on with,
    None where there are no more accounts. Refused as `version_holders`."""
    found: list[VersionHolder] = []
    last, left, more = after, first, True
    async with store.reading() as tx:
        catalog = await tx.catalogs.in_force()
        refuse_unknown_version(catalog, key, version)
        while left > 0 and len(found) < limit and more:
            page = await tx.accounts.page(after=last, limit=min(PAGE_MAX, left))
            more, left = bool(page), left - len(page)
            for one in page:
                last = one.account.key
                had = versions_had(one.account, catalog, at)
                found += [
                    VersionHolder(last, each) for each in had if each.key == key and version in (None, each.version)
                ]
                if len(found) >= limit:
                    break
            await asyncio.sleep(0)  # others in this process want to go on meanwhile
        more = more and bool(await tx.accounts.page(after=last, limit=1))
    return tuple(found), last if more else None


async def version_holders(
    store: "Store", *, key: str, version: int | None, after: str, limit: int, at: datetime
) -> VersionHolders:
    """List accounts by version.

    How many accounts are on each version of a plan or add-on, and a page of them by key. Refused `unknown_plan`,
    `unknown_plan_version`. With `version` only those on this one. Looks at every account.
    """
    async with store.reading() as tx:
        refuse_unknown_version(await tx.catalogs.in_force(), key, version)
    counts, found = await _look(store, key=key, version=version, after=after, limit=limit, at=at)
    page = found[:limit]
    return VersionHolders(counts, tuple(page), page[-1].account if len(found) > limit else None)


async def _look(
    store: "Store", *, key: str | None, version: int | None, after: str, limit: int, at: datetime
) -> tuple[tuple[VersionCount, ...], list[VersionHolder]]:
    """Counts over all accounts, and the first holders with a key above `after`, one more than asked for."""
    counts: Counter[tuple[str, int, int | None, Literal["newest", "kept", "pinned"]]] = Counter()
    found: list[VersionHolder] = []
    last = ""
    async with store.reading() as tx:
        catalog = await tx.catalogs.in_force()
        while page := await tx.accounts.page(after=last, limit=PAGE_MAX):
            last = page[-1].account.key
            for one in page:
                for had in versions_had(one.account, catalog, at):
                    if key not in (None, had.key):
                        continue
                    counts[had.key, had.version, had.newest, had.why] += 1
                    if one.account.key > after and version in (None, had.version) and len(found) <= limit:
                        found.append(VersionHolder(one.account.key, had))
            await asyncio.sleep(0)  # others in this process want to go on meanwhile
    return tuple(VersionCount(*counts_of, accounts=counts[counts_of]) for counts_of in sorted(counts, key=repr)), found


def refuse_unknown_version(catalog: Catalog, key: str, version: int | None) -> None:
    """Refused `unknown_plan` or `unknown_plan_version` for what was never sold; None is the newest."""
    known = versions_of(catalog, key)
    if not known:
        sold = (*catalog.plans, *catalog.add_ons)
        names = f"; the catalog has {one_of(sold)}" if sold else ""
        raise Refused("unknown_plan", f"there is no plan or add-on `{key}`{names}")
    if version is not None and version not in known:
        listed = one_of([f"{key}@{number}" for number in known])
        raise Refused("unknown_plan_version", f"`{key}@{version}` does not exist; there is {listed}")
