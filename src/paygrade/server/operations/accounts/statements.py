"""What an operator states of an account: overrides, blocks, members, manual subscriptions."""

from datetime import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Block, Body, ManualSubscription, Member, Override, Subscription
from paygrade.catalog.model import AddOn, Allowance, Catalog, Plan
from paygrade.catalog.offers import BooleanFeature, ConfigFeature
from paygrade.decisions.decide import decide
from paygrade.decisions.message import DecisionView, shown
from paygrade.decisions.take import snapshot
from paygrade.entitlements.merge import override_fits
from paygrade.entitlements.model import Offer
from paygrade.entitlements.sources import offers
from paygrade.server.operations.accounts.accounts import AccountView, view
from paygrade.server.operations.accounts.members import note_members, state_members
from paygrade.server.operations.accounts.record import imagine, lock_account, record
from paygrade.server.operations.accounts.transition import follow_transition
from paygrade.server.operations.audit.note import note_change
from paygrade.values.errors import Refused
from paygrade.values.states import STATUSES
from paygrade.values.text import QUANTITY_MAX

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction

CODE_MAX = 64


async def put_override(
    store: "Store", *, account: str, override: Override, dry_run: bool = False, at: datetime
) -> DecisionView:
    """Override a feature.

    Set one feature of the account, whatever it bought: exactly one of `value`, `limit`, `unlimited`, `add` and
    `spend_cap` (the minor units that priced overage may cost), with an optional `reason`, a `code` for it, a start, an
    end and a date to look at it again. Returns the resulting decision; with `dry_run`, nothing is set. Refused
    `unknown_account`, `unknown_feature`, `invalid_override`, `already_expired`, and `override_in_force` for a start to
    come while another override of the feature counts: it would end that one at once.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        catalog = await tx.catalogs.in_force()
        _refuse_misfit(override, catalog, at)
        _refuse_gap(override, held, at)
        subject = f"override:{override.feature}"
        if dry_run:
            return _decision(imagine(held, subject=subject, body=override, at=at), catalog, override.feature, at)
        told = await record(tx, held, subject=subject, body=override, at=at)
        _note(tx, "override.set", held, told, subject, at)
        return _decision(told, catalog, override.feature, at)


async def delete_override(
    store: "Store", *, account: str, feature: str, reason: str = "", dry_run: bool = False, at: datetime
) -> DecisionView:
    """Remove an override.

    What was bought counts again. `reason` says why, for the audit log. Returns the resulting decision; with
    `dry_run`, nothing is removed. Refused `unknown_account`, `unknown_override`.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        if feature not in held.overrides:
            raise Refused("unknown_override", f"`{account}` has no override of `{feature}`")
        catalog, subject, body = await tx.catalogs.in_force(), f"override:{feature}", Override(feature, reason)
        if dry_run:
            return _decision(imagine(held, subject=subject, body=body, at=at), catalog, feature, at)
        told = await record(tx, held, subject=subject, body=body, at=at)
        _note(tx, "override.remove", held, told, subject, at)
        return _decision(told, catalog, feature, at)


async def put_block(store: "Store", *, account: str, block: Block, at: datetime) -> AccountView:
    """Block an account.

    Suspend all access of the account for a reason, until the block is lifted or expires. Refused
    `unknown_account`, `already_expired`.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        _refuse_expired(block.expires_at, at)
        told = await record(tx, held, subject=f"block:{block.key}", body=block, at=at)
        _note(tx, "block.set", held, told, f"block:{block.key}", at)
        return view(told, at)


async def delete_block(store: "Store", *, account: str, key: str, reason: str = "", at: datetime) -> AccountView:
    """Lift a block.

    It no longer suspends access; others may. `reason` says why, for the audit log. Refused `unknown_account`,
    `unknown_block`.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        if key not in held.blocks:
            raise Refused("unknown_block", f"`{account}` has no block `{key}`")
        told = await record(tx, held, subject=f"block:{key}", body=Block(key=key, reason=reason, lifted=True), at=at)
        _note(tx, "block.lift", held, told, f"block:{key}", at)
        return view(told, at)


async def put_member(store: "Store", *, account: str, member: Member, at: datetime) -> AccountView:
    """Add or update a member.

    A person in the account, with a role and, if one is free, a seat. Members who already have a seat keep their rank.
    With `invited`, they are asked to become one and hold the seat as the catalog's `invitations` say.
    Refused `unknown_account`, `no_seat_left`, `already_member`.
    """
    async with store.transaction() as tx:
        return view(await state_members(tx, await lock_account(tx, account), (member,), at), at)


async def delete_member(store: "Store", *, account: str, member: str, at: datetime) -> AccountView:
    """Remove a member.

    Remove the person from the account; their seat is free. Refused `unknown_account`, `unknown_member`.
    """
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        if member not in held.members and member not in held.invitations(held.time(at)):
            raise Refused("unknown_member", f"`{account}` has no member `{member}`")
        gone = Member(key=member, role=None)
        note_members(tx, "member.remove", held, [gone], at)
        return view(await record(tx, held, subject=f"member:{member}", body=gone, at=at), at)


async def put_subscription(
    store: "Store", *, account: str, subscription: Subscription, version: int, at: datetime
) -> AccountView:
    """Create or update a manual subscription.

    A subscription of manual billing as a whole, with a `version` that grows with each change. An older version is
    accepted and changes nothing. Refused `unknown_account`, `invalid_subscription`, or
    `subscription_version_conflict` for a known version with another body.
    """
    refuse_unclear(subscription)
    async with store.transaction() as tx:
        held = await lock_account(tx, account)
        subject = f"subscription:{subscription.id}"
        body = ManualSubscription(subscription=subscription)
        stated = held.statements.get(subject)
        if stated is not None and version == stated.sequence and body != stated.body:
            raise Refused(
                "subscription_version_conflict",
                f"version {version} of `{subscription.id}` was sent with other content before; send a larger version",
            )
        if stated is None or version > stated.sequence:
            told = await record(tx, held, subject=subject, body=body, sequence=version, ordered=True, at=at)
            _note(tx, "subscription.set", held, told, subject, at)
            held = await follow_transition(tx, held, told, at=at)
        return view(held, at)


def refuse_unclear(subscription: Subscription) -> None:
    """Refused `invalid_subscription`, where a subscription that somebody states doesn't say how it stands."""
    if subscription.status is None:
        raise Refused("invalid_subscription", f"`status` must be one of {', '.join(f'`{s}`' for s in STATUSES)}")
    begin = [phase.from_at for phase in subscription.next]
    if begin != sorted(set(begin)) or any(not phase.items for phase in subscription.next):
        raise Refused("invalid_subscription", "the phases of `next` need items and different times, the earliest first")


def _note(tx: "Transaction", action: str, before: Account, after: Account, subject: str, at: datetime) -> None:
    """Note a statement on a subject, unless it said nothing new."""
    if after is before:
        return
    was, now = (each.statements.get(subject) for each in (before, after))
    kind, _, id = subject.partition(":")
    hidden = frozenset({"reason"})
    bodies = [_stated_of(statement.body) if statement is not None else None for statement in (was, now)]
    note_change(tx, action, before.key, *bodies, hidden=hidden, target=(kind, id), at=at)


def _stated_of(body: Body) -> object:
    return body.subscription if isinstance(body, ManualSubscription) else body


def _decision(account: Account, catalog: Catalog, feature: str, at: datetime) -> DecisionView:
    return shown(decide(snapshot(account, catalog, at), feature, 1, at), counted=False)


def _has_priced_overage(feature: str, catalog: Catalog) -> bool:
    """Whether anything that is sold lets this feature go over its limit for money."""
    sold: tuple[Plan | AddOn, ...] = (*catalog.plans.values(), *catalog.add_ons.values())
    terms = (bought.terms.get(feature) for bought in sold)
    return any(isinstance(term, Allowance) and term.overage_price is not None for term in terms)


def _refuse_misfit(override: Override, catalog: Catalog, at: datetime) -> None:
    known = offers(catalog)
    offer = known.get(override.feature)
    if offer is None:
        near = get_close_matches(override.feature, known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else "see `GET /v1/catalog`"
        raise Refused("unknown_feature", f"the catalog has no feature `{override.feature}`; {hint}")
    numbers = (("limit", override.limit, 0), ("add", override.add, 1), ("spend_cap", override.spend_cap, 0))
    said = [override.value is not None, override.unlimited, *(number is not None for _, number, _ in numbers)]
    if sum(said) != 1:
        raise Refused("invalid_override", "send exactly one of `value`, `limit`, `unlimited`, `add` and `spend_cap`")
    for name, units, least in numbers:
        if units is not None and not least <= units <= QUANTITY_MAX:
            raise Refused("invalid_override", f"`{name}` must be a whole number from {least} to {QUANTITY_MAX}")
    if not override_fits(override, offer):
        raise Refused("invalid_override", f"`{override.feature}` {_fitting(offer)}")
    if override.spend_cap is not None and not _has_priced_overage(override.feature, catalog):
        detail = f"overage of `{override.feature}` has no price; send `limit`, or price its `overage` in the catalog"
        raise Refused("invalid_override", detail)
    _refuse_expired(override.expires_at, at)
    for name, date in (("expires_at", override.expires_at), ("review_at", override.review_at)):
        if date is not None and override.starts_at is not None and date <= override.starts_at:
            raise Refused("invalid_override", f"`{name}` must come after `starts_at`")
    if len(override.code) > CODE_MAX:
        raise Refused("invalid_override", f"`code` has at most {CODE_MAX} characters")


def _refuse_gap(override: Override, held: Account, at: datetime) -> None:
    """An account has one override of a feature: whoever plans the next one would end this one without saying so."""
    now, standing = held.time(at), held.overrides.get(override.feature)
    if override.starts_at is not None and now < override.starts_at and standing is not None and standing.stands(now):
        detail = f"`{held.key}` has an override of `{override.feature}` that would end at once"
        raise Refused("override_in_force", f"{detail}; send no `starts_at`, or remove that one first")


def _fitting(offer: Offer) -> str:
    match offer:
        case BooleanFeature():
            return "is on or off; send `value` with `true` or `false`"
        case ConfigFeature(type=kind):
            return f"has a value; send `value` with a JSON {kind}"
        case _:
            return "has units; send `limit`, `add`, `unlimited`, or `value` with `false` to deny it"


def _refuse_expired(expires_at: datetime | None, at: datetime) -> None:
    if expires_at is not None and expires_at <= at:
        raise Refused(
            "already_expired",
            f"`expires_at` {expires_at.isoformat()} is in the past; choose a later time, or leave it out",
        )
