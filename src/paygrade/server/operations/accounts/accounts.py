"""Accounts: who they are, and which provider's customers they have."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Block, Member, Override, Profile, Subscription
from paygrade.catalog.model import Catalog
from paygrade.entitlements.findings import Finding, findings
from paygrade.server.operations.accounts.record import load_account, lock_account, record
from paygrade.server.operations.audit.note import note_change
from paygrade.values.errors import Refused
from paygrade.values.states import State

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

PERSONAL = frozenset({"name", "links", "traits"})
"""The fields of a profile that say who an account is."""


class AccountView(Struct, frozen=True):
    """An account as it stands. `customers` are its customers at providers, by whichever way they were linked;
    `findings` what of it needs a person's attention, where one account is asked for."""

    account: str
    name: str
    version: int
    links: dict[str, tuple[str, ...]]
    traits: dict[str, str | int | bool]
    time_zone: str | None
    customers: tuple[str, ...]
    subscriptions: tuple[Subscription, ...]
    overrides: tuple[Override, ...]
    blocks: tuple[Block, ...]
    members: tuple[Member, ...]
    since: datetime | None
    findings: tuple[Finding, ...] = ()


class AccountList(Struct, frozen=True):
    """A page of accounts by key. `next` is the `after` of the next page; None: this is the last one."""

    accounts: tuple[AccountView, ...]
    next: str | None


async def put_account(
    store: "Store",
    *,
    account: str,
    name: str,
    links: Mapping[str, tuple[str, ...]],
    traits: Mapping[str, str | int | bool],
    time_zone: str | None = None,
    is_expected: Callable[[AccountView | None], bool] | None = None,
    at: datetime,
) -> AccountView:
    """Create or update an account.

    Create the account, or replace what was stated of it. `links` name its customers at the provider. Customers that are
    added or removed are read again. `time_zone` says where its days begin, for windows that follow it. Refused
    `link_taken` when another account links one of them, `precondition_failed` when the account is not as the caller
    expects it to be (None: there is none).
    """
    clean = {provider: tuple(sorted(set(ids))) for provider, ids in sorted(links.items()) if ids}
    async with store.transaction() as tx:
        before = await tx.accounts.hold_links(account)
        wanted = frozenset(f"{provider}:{id}" for provider, ids in clean.items() for id in ids)
        # Subjects are locked before accounts, everywhere.
        if before ^ wanted:
            await tx.subjects.mark(before ^ wanted)
            await tx.tell("paygrade_subject")
        taken = await tx.accounts.link(account, wanted)
        if taken:
            raise _link_taken(taken)
        await tx.accounts.create(account, at)
        held = (await tx.accounts.lock([account]))[account]
        if is_expected is not None:
            known = None if held.version == 0 else whole_view(held, await tx.catalogs.in_force(), at)
            if not is_expected(known):
                raise Refused("precondition_failed", f"`{account}` has changed since you read it; read it again")
        stated = held.profile
        profile = Profile(
            created_at=stated.created_at if stated else at,
            name=name,
            links=clean,
            traits=dict(sorted(traits.items())),
            # Of who had a zone it is stated that there is none any more; of others nothing.
            time_zone=time_zone or ("" if held.zones else None),
        )
        told = await record(tx, held, subject="profile", body=profile, at=at)
        if told is not held:
            note_change(tx, "account.put", account, stated, profile, hidden=PERSONAL, at=at)
        return view(told, at)


async def get_account(store: "Store", *, account: str, at: datetime) -> AccountView:
    """Retrieve an account.

    Everything that is known of the account. Refused `unknown_account`.
    """
    async with store.transaction() as tx:
        found, catalog = (await load_account(tx, account)).account, await tx.catalogs.in_force()
    return whole_view(found, catalog, at)


async def list_accounts(
    store: "Store",
    *,
    after: str = "",
    limit: int = 50,
    search: str = "",
    plan: str | None = None,
    state: State | None = None,
    finding: str | None = None,
    at: datetime,
) -> AccountList:
    """List accounts.

    Accounts by key, a page at a time. `after` continues after a key; `search` finds the beginning of a key or name,
    whatever its case, or the id of a customer or subscription at the provider. `plan`, `state` and `finding` leave out
    all others; an account counts as its state updates say.
    """
    async with store.reading() as tx:
        page = await tx.accounts.page(
            after=after, limit=limit + 1, search=search, plan=plan, state=state, finding=finding
        )
    shown = tuple(view(saved.account, at) for saved in page[:limit])
    return AccountList(accounts=shown, next=shown[-1].account if len(page) > limit else None)


async def delete_account(store: "Store", *, account: str, at: datetime) -> None:
    """Delete an account.

    Delete the account; its facts stay. An account with a live subscription can't be deleted. Refused
    `unknown_account`, `account_has_live_subscription`.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        live = held.live(held.time(at))
        if live:
            listed = ", ".join(f"`{one.id}`" for one in live)
            raise Refused(
                "account_has_live_subscription",
                f"`{account}` still has {listed}; cancel it first, or move its customer to another account",
            )
        stated = held.profile or Profile(created_at=held.since or at)
        gone = Profile(created_at=stated.created_at, name=stated.name, links=stated.links, deleted=True)
        await record(tx, held, subject="profile", body=gone, at=at)
        note_change(tx, "account.delete", account, held.profile, gone, hidden=PERSONAL, at=at)


def whole_view(account: Account, catalog: Catalog, at: datetime) -> AccountView:
    """The account as it is shown by itself."""
    return replace(view(account, at), findings=findings(account, catalog, account.time(at)))


def view(account: Account, at: datetime) -> AccountView:
    """The account as it stands at `at`: what has ended by then is in its timeline, and no longer here."""
    profile, then = account.profile, account.time(at)
    return AccountView(
        account=account.key,
        name=account.name,
        version=account.version,
        links=profile.links if profile else {},
        traits=profile.traits if profile else {},
        time_zone=(profile.time_zone or None) if profile else None,
        customers=tuple(customer.id for customer in account.customers),
        subscriptions=account.subscriptions,
        overrides=tuple(override for override in account.overrides.values() if not override.over(then)),
        blocks=tuple(block for block in account.blocks.values() if block.stands(then)),
        members=tuple(account.members.values()),
        since=account.since,
    )


def _link_taken(taken: Mapping[str, str]) -> Refused:
    listed = ", ".join(f"`{subject}` is linked by `{other}`" for subject, other in taken.items())
    return Refused("link_taken", f"{listed}; remove that link first")
