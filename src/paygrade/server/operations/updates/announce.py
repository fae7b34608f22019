"""What changes of an account is announced: with the fact that tells of it, or when a date has brought it about.

Laws: what is announced is what differs from what was announced last, so nothing is announced twice and nothing is left
out, whoever looks and however late; it is written with what it tells of, or with the note that it was told; what a date
brings about has happened on that date.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import structlog

from paygrade.billing.accounts import Account
from paygrade.catalog.model import Catalog
from paygrade.server.operations.updates.finding_notices import tell_findings
from paygrade.updates.log import News
from paygrade.updates.overview import NOTHING, Announced, Overview, differences, follow_dates, next_date, overview
from paygrade.updates.types import AccountUpdate

if TYPE_CHECKING:
    from paygrade.postgres.announced import ClaimedAnnouncement
    from paygrade.postgres.store import Store, Transaction

log = structlog.get_logger("paygrade.updates")

ALONG_MAX = 50
"""How many accounts are looked at beside the one that is claimed."""


async def announce_fact(tx: "Transaction", before: Account, after: Account, subject: str, at: datetime) -> None:
    """Announce what has become of `before`, which `tx` has locked, by a fact about `subject` that it saves."""
    saved = await tx.announcements.load(after.key)
    catalog = await tx.catalogs.in_force()
    dated, known = _until_now(before, catalog, saved, at)
    then = _time(after, saved, at)
    now = overview(after, catalog, then)
    told = list(differences(after.key, known, now, then, occurred_at=at))
    if not told:
        told.append(News(after.key, "account.updated", AccountUpdate(subject), at))
    await _announce(tx, [*dated, *told], at)
    await tx.announcements.note([_announced(after, catalog, now, then)])


async def announce_dates(
    store: "Store", claimed: "ClaimedAnnouncement", *, at: datetime
) -> Literal["announced", "nothing", "overtaken"]:
    """Announce what dates have brought about of a claimed account, and what else no fact has told; and the same of
    others whose date has come by now, which costs little beside it."""
    try:
        return await _announce_dates(store, claimed, along=ALONG_MAX, at=at)
    except Exception:  # one of the others may be broken, or somebody is at its row: it has its own turn
        log.warning("dates_announced_alone", account=claimed.account, exc_info=True)
        return await _announce_dates(store, claimed, along=0, at=at)


async def _announce_dates(
    store: "Store", claimed: "ClaimedAnnouncement", *, along: int, at: datetime
) -> Literal["announced", "nothing", "overtaken"]:
    async with store.transaction() as tx:
        others = await tx.announcements.due(limit=along, at=at) if along else ()
        # Accounts are locked before what is announced of them, everywhere.
        accounts = await tx.accounts.lock([claimed.account, *others])
        due = await tx.announcements.lock_due(claimed, others, at=at)
        held = any(saved.account == claimed.account for saved in due)
        # Read once the rows are locked: whoever publishes another has them looked at again.
        catalog, told, noted = await tx.catalogs.in_force(), list[News](), list[Announced]()
        for saved in due:
            if saved.account in accounts:
                news, now = _by_date(accounts[saved.account], catalog, saved, at)
                told += news
                noted.append(now)
        await _announce(tx, told, at)
        await tx.announcements.note(noted)
    if not held or claimed.account not in accounts:
        return "overtaken"
    return "announced" if any(news.account == claimed.account for news in told) else "nothing"


def _by_date(account: Account, catalog: Catalog, saved: Announced, at: datetime) -> tuple[list[News], Announced]:
    """What dates have brought about of an account, and what is announced of it with that."""
    dated, known = _until_now(account, catalog, saved, at)
    then = _time(account, saved, at)
    now = overview(account, catalog, then)
    told = [*dated, *differences(account.key, known, now, then, occurred_at=at)]
    return told, _announced(account, catalog, now, then)


def _until_now(
    account: Account, catalog: Catalog, saved: Announced | None, at: datetime
) -> tuple[list[News], Overview]:
    """What dates have brought about since the account was announced last, and what is known of it with that."""
    if saved is None:
        return [], NOTHING
    then, known, since = _time(account, saved, at), saved.overview, saved.announced_at
    if known is None:
        # It was there before anything was announced.
        return [], overview(account, catalog, then)
    if account.clock_at is not None or since is None:
        return [], known
    told: list[News] = []
    if known.catalog != catalog.version:
        published = overview(account, catalog, since)
        told, known = list(differences(account.key, known, published, since, occurred_at=at)), published
    dated, known = follow_dates(account, catalog, known, since, then)
    return [*told, *dated], known


def _time(account: Account, saved: Announced | None, at: datetime) -> datetime:
    """What time it is for the account: never before that until which its dates were announced, as the clocks of two
    servers differ. One that lives by a test clock has the time that shows."""
    since = saved.announced_at if saved is not None else None
    return account.time(at) if account.clock_at is not None or since is None else max(since, at)


async def _announce(tx: "Transaction", told: Sequence[News], at: datetime) -> None:
    await tx.announce(told, at)
    await tell_findings(tx, told)


def _announced(account: Account, catalog: Catalog, now: Overview, then: datetime) -> Announced:
    announced_at = then if account.clock_at is None else None
    return Announced(account.key, now, announced_at, next_date(account, catalog, then))
