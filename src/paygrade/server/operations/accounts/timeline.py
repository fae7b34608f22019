"""What became known of an account, as a person reads it: facts, and units that were granted, taken back or stated.

Law: a fact that takes the place of another says what changed, from what to what; one that changes nothing a person
reads says how things stand.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.billing.facts import (
    Block,
    Body,
    Contract,
    Customer,
    Departed,
    DowngradeGrace,
    ForeignBilling,
    Item,
    ManualSubscription,
    Member,
    Node,
    NodeLimit,
    Override,
    Pin,
    Profile,
    Subscription,
)
from paygrade.billing.past import Learned
from paygrade.server.operations.accounts.record import load_account
from paygrade.usage.entries import Entry, EntryKind
from paygrade.values.errors import Refused
from paygrade.values.periods import parse_instant
from paygrade.values.text import on_wire

if TYPE_CHECKING:
    from paygrade.postgres.store import Store


class TimelineEntry(Struct, frozen=True):
    """A fact as a person reads it. `cause` holds the ids of the billing events that led to it; `happened_at` is when
    the first of them happened, where they say."""

    number: int
    subject: str
    as_of: datetime
    recorded_at: datetime
    summary: str
    cause: tuple[str, ...]
    body: Body
    happened_at: datetime | None = None


class UnitsEntry(Struct, frozen=True):
    """Units that were granted (`grant`), taken back (`void`) or stated by hand (`set`). `id` is the grant's, or the
    statement's; `units` how many, and of a statement how many are used after it."""

    id: str
    kind: EntryKind
    feature: str
    units: int
    recorded_at: datetime
    summary: str


class Timeline(Struct, frozen=True):
    """A page of an account's timeline: its facts and units, each the newest first. `next` is the `before` of the next
    page; None: this is the last one."""

    account: str
    facts: tuple[TimelineEntry, ...]
    units: tuple[UnitsEntry, ...]
    next: str | None


async def timeline(
    store: "Store",
    *,
    account: str,
    limit: int = 100,
    before: str | None = None,
    as_of: datetime | None = None,
    believed: bool = False,
) -> Timeline:
    """Retrieve an account's timeline.

    What happened to the account, newest first: each fact with what it changed and its cause, and the units that were
    granted, taken back or set. `limit` counts both together. With `as_of`, what had happened by then, or with
    `believed` what was recorded by then. Refused `unknown_account`, `invalid_query`.
    """
    at, number, id = _place(before)
    recorded_until, happened_until = (as_of, None) if believed else (None, as_of)
    async with store.reading() as tx:
        await load_account(tx, account, deleted=True)
        # Of one instant, facts stand above units: below an entry there are no more of them.
        facts = await tx.accounts.facts(
            account,
            recorded_until=recorded_until,
            happened_until=happened_until,
            before=number,
            recorded_before=at if id else None,
            limit=limit + 1,
        )
        stated = await tx.ledger.statements(
            account,
            until=(at, id) if at else None,
            recorded_until=recorded_until,
            happened_until=happened_until,
            limit=limit + 1,
        )
        found = [((fact.recorded_at, 1, fact.fact.number, ""), fact) for fact in facts]
        units = [((entry.recorded_at, 0, 0, entry.id), entry) for entry in stated]
        page = sorted([key for key, _ in (*found, *units)], reverse=True)
        kept = set(page[:limit])
        shown = [fact for key, fact in found if key in kept]
        replaced = await tx.accounts.replaced(account, [fact.fact.number for fact in shown])
        its = [entry for key, entry in units if key in kept]
        reasons = await tx.ledger.grant_reasons(account, [(one.feature, _id(one)) for one in its])
    return Timeline(
        account,
        tuple(entry(fact, replaced.get(fact.fact.number)) for fact in shown),
        tuple(_units(one, reasons.get((one.feature, _id(one)), "")) for one in its),
        _cursor(page[limit - 1]) if len(page) > limit else None,
    )


_Key = tuple[datetime, int, int, str]


def _cursor(last: _Key) -> str:
    recorded_at, is_fact, number, id = last
    return f"{recorded_at.isoformat()} {f'fact {number}' if is_fact else f'units {id}'}"


def _place(before: str | None) -> tuple[datetime | None, int | None, str | None]:
    """The instant, and the number of the fact or the id of the entry, that a page begins below."""
    if before is None:
        return None, None, None
    text, _, rest = before.partition(" ")
    kind, _, name = rest.partition(" ")
    try:
        at = parse_instant(text)
        if kind == "fact" and name.isascii() and name.isdigit() and len(name) < 19:
            return at, int(name), None
        if kind == "units" and name:
            return at, None, name
    except ValueError:
        pass
    raise Refused("invalid_query", "`before` must be the `next` of a page of this timeline")


def _id(entry: Entry) -> str:
    """A grant's own id, of whose entries it is a part."""
    return entry.id if entry.kind == "set" else entry.id.split("\t")[1]


def _units(entry: Entry, reason: str) -> UnitsEntry:
    id, feature = _id(entry), entry.feature
    match entry.kind:
        case "grant":
            summary = f"granted {entry.quantity} of `{feature}` as `{id}`{_because(reason)}"
        case "void" if entry.quantity < 0:
            summary = f"gave back {-entry.quantity} of `{feature}` to the grant `{id}`"
        case "void":
            summary = f"took back {entry.quantity} of `{feature}` from the grant `{id}`"
        case _:
            before = entry.quantity - sum(posting.used for posting in entry.draws)
            summary = f"stated usage of `{feature}`: {before} → {entry.quantity}"
    return UnitsEntry(id, entry.kind, feature, on_wire(entry.quantity), entry.recorded_at, summary)


def entry(saved: Learned, replaced: Body | None) -> TimelineEntry:
    """A fact as a person reads it; `replaced` is what was stated of its subject before."""
    fact = saved.fact
    return TimelineEntry(
        fact.number,
        fact.subject,
        fact.as_of,
        saved.recorded_at,
        summary(fact.body, replaced),
        fact.cause,
        fact.body,
        fact.happened_at,
    )


def summary(body: Body, replaced: Body | None = None) -> str:
    """One line for people: what changed, where something was stated before, else what is stated."""
    match body, replaced:
        case Customer(deleted=False) | ForeignBilling(), Customer(deleted=False) | ForeignBilling():
            known = {subscription.id: subscription for subscription in replaced.subscriptions}
            changed = [
                _subscription(subscription, known.get(subscription.id))
                for subscription in body.subscriptions
                if subscription != known.get(subscription.id)
            ]
            gone = known.keys() - {subscription.id for subscription in body.subscriptions}
            changed += [f"`{id}` is gone" for id in sorted(gone)]
            return f"{_whose(body)}: {'; '.join(changed)}" if changed else _stated(body)
        case ManualSubscription(subscription=Subscription() as its), ManualSubscription(
            subscription=Subscription() as before
        ):
            return _subscription(its, before) + _agreed(body.contract)
        case Override(withdrawn=True), Override(withdrawn=False):
            return f"override of `{body.feature}` withdrawn: was {_override(replaced)}{_because(body.reason)}"
        case Override(), Override(withdrawn=False):
            ends = _moved(replaced.expires_at, body.expires_at)
            gives = _arrow(_override(replaced), _override(body))
            return f"override of `{body.feature}`: {gives}{ends}{_because(body.reason)}"
        case Block(lifted=False), Block(lifted=False):
            return f"block `{body.key}`{_moved(replaced.expires_at, body.expires_at)}{_because(body.reason)}"
        case Member(role=str(), invited=False), Member(role=str(), invited=False):
            role = _arrow(f"`{replaced.role}`", f"`{body.role}`")
            return f"`{body.key}` is a member with role {role}, {_arrow(_seat(replaced), _seat(body))}"
        case DowngradeGrace(), DowngradeGrace():
            units = _arrow(_grace(replaced), _grace(body))
            return f"downgrade grace of `{body.feature}`: {units}{_moved(replaced.until, body.until)}"
        case Pin(withdrawn=False), Pin(withdrawn=False) if body.version != replaced.version:
            return f"{_pin(body)}; was {_version(body.key, replaced.version)}"
        case _:
            return _stated(body)


def _stated(body: Body) -> str:
    match body:
        case Customer(deleted=True):
            return f"customer `{body.id}` was deleted at the provider"
        case Customer() | ForeignBilling():
            bought = "; ".join(map(_subscription, body.subscriptions)) or "no subscriptions"
            return f"{_whose(body)}: {bought}"
        case Departed():
            return f"belongs to account `{body.account}` from here on"
        case Profile(deleted=True):
            return "account deleted"
        case Profile():
            linked = [id for ids in body.links.values() for id in ids]
            links = f", linked to {', '.join(f'`{id}`' for id in linked)}" if linked else ""
            zone = f", in `{body.time_zone}`" if body.time_zone else ""
            return f"account `{body.name}`{links}{zone}" if body.name else f"account stated{links}{zone}"
        case Override(withdrawn=True):
            return f"override of `{body.feature}` withdrawn{_because(body.reason)}"
        case Override():
            begins = f" from {body.starts_at:%Y-%m-%d %H:%M} UTC" if body.starts_at else ""
            lasts = f"{begins}{_until(body.expires_at)}"
            return f"override of `{body.feature}`: {_override(body)}{lasts}{_because(body.reason)}"
        case Block(lifted=True):
            return f"block `{body.key}` lifted"
        case Block():
            return f"block `{body.key}`{_until(body.expires_at)}{_because(body.reason)}"
        case Member(role=None):
            return f"`{body.key}` is no longer a member"
        case Member(invited=True):
            return f"`{body.key}` is invited with role `{body.role}`, {_seat(body)}{_until(body.expires_at)}"
        case Member():
            return f"`{body.key}` is a member with role `{body.role}`, {_seat(body)}"
        case Node(removed=True):
            return f"node `{body.path}` removed{_because(body.reason)}"
        case Node():
            return f"node `{body.path}`: {_limits(body)}{_until(body.expires_at)}{_because(body.reason)}"
        case DowngradeGrace():
            return f"downgrade grace of `{body.feature}`: {_grace(body)}{_until(body.until)}"
        case Pin():
            return _pin(body)
        case ManualSubscription(subscription=Subscription() as subscription):
            return _subscription(subscription) + _agreed(body.contract)
        case ManualSubscription():
            return "subscription withdrawn"


def _whose(body: Customer | ForeignBilling) -> str:
    return f"customer `{body.id}`" if isinstance(body, Customer) else f"billing `{body.source}`"


def _agreed(contract: Contract | None) -> str:
    """What a subscription costs that follows from a contract."""
    if contract is None:
        return ""
    every = contract.interval if contract.interval_count == 1 else f"{contract.interval_count} {contract.interval}s"
    ends = f" until {contract.ends_at:%Y-%m-%d}" if contract.ends_at is not None else ""
    renews = ", renews" if contract.renews else ""
    return f", {contract.amount} {contract.currency} every {every}{ends}{renews}{_because(contract.reason)}"


def _pin(pin: Pin) -> str:
    if pin.withdrawn:
        return f"`{pin.key}` held to no version"
    later = _until(pin.until)
    if pin.then is not None:
        later += f", then {_version(pin.key, pin.then)}"
    return f"held to {_version(pin.key, pin.version)}{later}{_because(pin.reason)}"


def _limits(node: Node) -> str:
    said = [
        f"{units} `{limit.feature}`{each}{_where(limit)}"
        for limit in node.limits
        for units, each in ((limit.units, ""), (limit.each, " each"))
        if units is not None
    ]
    return ", ".join([*(said or ["no limits"]), *(["open"] if node.open else [])])


def _where(limit: NodeLimit) -> str:
    return "".join(f" where {name} is `{value}`" for name, value in sorted(limit.where.items()))


def _version(key: str, version: int | str | None) -> str:
    return f"`{key}@{version}`" if isinstance(version, int) else f"the newest `{key}`"


def _subscription(subscription: Subscription, before: Subscription | None = None) -> str:
    status, dates, items = _parts(subscription)
    if before is not None:
        was, dated, had = _parts(before)
        status = _arrow(was, status)
        # Dates that are no longer so are part of what changed.
        dates |= {what: f"no longer {when}" for what, when in dated.items() if what not in dates and when}
        items = _arrow(had, items)
    told = "".join(f", {what} {when}" for what, when in dates.items())
    return f"`{subscription.id}` {status}{told} ({items})"


def _parts(subscription: Subscription) -> tuple[str, dict[str, str], str]:
    """How it stands, its dates that count, and what it consists of."""
    dates = {
        "begins": subscription.begins_at,
        "trial ends": subscription.trial_ends_at if subscription.status == "trialing" else None,
        "ends": subscription.ends_at if subscription.ended_at is None else None,
        "ended": subscription.ended_at,
        "unpaid since": subscription.unpaid_since,
        "payment tried again": subscription.next_attempt_at,
    }
    planned = "".join(f", then {', '.join(map(_item, phase.items))} from {phase.from_at:%Y-%m-%d %H:%M}"
                      for phase in subscription.next)  # fmt: skip
    return (
        subscription.status or f"unknown status `{subscription.provider_status}`",
        {what: f"{when:%Y-%m-%d %H:%M}" for what, when in dates.items() if when is not None} | _returned(subscription),
        ", ".join(map(_item, subscription.items)) + planned,
    )


def _returned(subscription: Subscription) -> dict[str, str]:
    """What went back of what was paid for its period."""
    its = subscription.returned
    if its is None:
        return {}
    kinds = {"refunded": its.refunded, "disputed": its.disputed, "lost": its.lost, "credited": its.credited}
    return {what: f"{amount} of {its.paid} paid" for what, amount in kinds.items() if amount}


def _item(item: Item) -> str:
    name = item.plan or item.lookup_key or item.price or item.product or item.id
    return f"{item.quantity} × `{name}`" if item.quantity != 1 else f"`{name}`"


def _override(override: Override) -> str:
    if override.unlimited:
        return "unlimited"
    if override.limit is not None:
        return f"limit {override.limit}"
    if override.add is not None:
        return f"{override.add} more"
    if override.spend_cap is not None:
        return f"spend cap {override.spend_cap}"
    value = override.value
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else f"`{value}`"


def _seat(member: Member) -> str:
    return "on a seat" if member.seat else "without a seat"


def _grace(grace: DowngradeGrace) -> str:
    return "as much as before" if grace.limit is None else f"up to {grace.limit}"


def _arrow(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"


def _moved(before: datetime | None, after: datetime | None) -> str:
    """When it ends, and when it did before."""
    if before == after or before is None:
        return _until(after)
    return f", until {before:%Y-%m-%d %H:%M} → {f'{after:%Y-%m-%d %H:%M} UTC' if after else 'no end'}"


def _until(at: datetime | None) -> str:
    return f" until {at:%Y-%m-%d %H:%M} UTC" if at else ""


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""
