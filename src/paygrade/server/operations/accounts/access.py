"""May they, and why: the questions about access."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.past import account_at
from paygrade.billing.standing import Standing, standings
from paygrade.billing.versions import Version
from paygrade.catalog.model import NO_CATALOG, Catalog
from paygrade.decisions.decide import Decision, decide, decide_unsure
from paygrade.decisions.expiry import holds_until
from paygrade.decisions.message import DecisionView, shown
from paygrade.decisions.snapshots import Snapshot, balance_of, entitlements_at
from paygrade.decisions.take import snapshot
from paygrade.entitlements.derive import derive, trace
from paygrade.entitlements.findings import Finding, findings
from paygrade.entitlements.model import Entitlement, Offer
from paygrade.entitlements.sources import Candidate, offers, versions_had
from paygrade.server.operations.accounts.record import unknown_account
from paygrade.server.operations.accounts.timeline import TimelineEntry, entry
from paygrade.server.state.balances import with_balances, with_balances_then
from paygrade.server.state.nodes import decide_at_node
from paygrade.usage.balances import in_window
from paygrade.usage.ledger import asleep
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.server.state.snapshots import Snapshots


class Decisions(Struct, frozen=True):
    """A decision on one more unit of every feature, and until when each stays as it is if nothing but time happens."""

    account: str
    version: str
    as_of: datetime
    decisions: dict[str, DecisionView]
    until: dict[str, datetime]


class Explanation(Struct, frozen=True):
    """A decision and how it came about.

    `candidates` are the sources looked at, the deciding ones first; `facts` what was known of the account, the
    newest first; `known_at` is when: what was believed then follows from what was known then, all else from what is
    known now. `versions` are those of what the account has, and why they count. `asleep`: how many units that were
    bought can't be spent until a plan is paid for.
    """

    decision: DecisionView
    known_at: datetime
    catalog_version: int
    candidates: tuple[Candidate, ...]
    facts: tuple[TimelineEntry, ...]
    findings: tuple[Finding, ...]
    versions: tuple[Version, ...]
    asleep: int = 0


class EntitlementsView(Struct, frozen=True):
    """What an account may use in `[as_of, until)`, before counting. `until` None: no date changes it."""

    account: str
    version: str
    as_of: datetime
    until: datetime | None
    catalog_version: int
    subscriptions: tuple[Standing, ...]
    entitlements: dict[str, Entitlement]
    findings: tuple[Finding, ...]
    versions: tuple[Version, ...]


async def check(
    store: "Store",
    snapshots: "Snapshots",
    *,
    account: str,
    feature: str,
    quantity: int = 1,
    member: str | None = None,
    properties: Mapping[str, object] | None = None,
    node: str | None = None,
    at: datetime,
    now: datetime | None = None,
    believed: bool = False,
) -> DecisionView:
    """Check access.

    Check whether the account can use `quantity` more units of the feature, now or `at` another instant. The answer is
    200 whether access is allowed or denied, and has the reason. Refused `unknown_node`.

    For an `at` that is not `now` the answer is the one `explain` gives.
    """
    if now is not None and now != at:
        async with store.transaction() as tx:
            _, _, held = await known_at(tx, account, at=at, now=now, believed=believed)
            decision = decide(held, feature, quantity, at, member=member, properties=properties)
            decision, _ = await decide_at_node(
                tx, decision, held, node, properties=properties, at=at, now=now, believed=believed
            )
        return shown(decision, counted=True)
    if node is not None:
        return await _check_at_node(
            store, snapshots, account=account, feature=feature, quantity=quantity, member=member,
            properties=properties, node=node, at=at,
        )  # fmt: skip
    asked = {feature: quantity}
    return (await check_many(store, snapshots, account=account, asked=asked, member=member, properties=properties,
                             at=at))[feature]  # fmt: skip


async def _check_at_node(
    store: "Store",
    snapshots: "Snapshots",
    *,
    account: str,
    feature: str,
    quantity: int,
    member: str | None,
    properties: Mapping[str, object] | None,
    node: str,
    at: datetime,
) -> DecisionView:
    """The same now at a node, whose counts are read; with the database away, as the feature's failure mode says."""
    try:
        held = await snapshots.load(store, account, at)
        decision = decide(held, feature, quantity, at, member=member, properties=properties)
        async with store.reading() as tx:
            decision, _ = await decide_at_node(tx, decision, held, node, properties=properties, at=at, now=at)
    except Unavailable:
        last = last_decision(snapshots, account=account, feature=feature, quantity=quantity, member=member,
                             properties=properties, node=node, at=at)  # fmt: skip
        if last is None:
            raise
        decision = last
    return shown(decision, counted=False)


async def check_many(
    store: "Store",
    snapshots: "Snapshots",
    *,
    account: str,
    asked: Mapping[str, int],
    member: str | None = None,
    properties: Mapping[str, object] | None = None,
    at: datetime,
) -> dict[str, DecisionView]:
    """Decide on so many more units of each of these features, now, all by one snapshot; with the database away, by what
    was last known. Unavailable `database_unavailable` where nothing is."""
    try:
        found, lost = await snapshots.load_soon(store, account, at), None
    except Unavailable as error:
        found, lost = None, error
    decided = {}
    for feature, quantity in asked.items():
        if found is not None:
            decision: Decision | None = decide(found, feature, quantity, at, member=member, properties=properties)
        else:
            decision = last_decision(
                snapshots, account=account, feature=feature, quantity=quantity, member=member, properties=properties,
                at=at,
            )  # fmt: skip
        if decision is None:
            raise lost or Unavailable("database_unavailable", "the database does not answer in time")
        decided[feature] = shown(decision, counted=False)
    return decided


async def offered(store: "Store", snapshots: "Snapshots") -> dict[str, Offer]:
    """What the catalog in force has to offer, or with the database away the one last known: features and credits."""
    try:
        return offers(await snapshots.catalog(store))
    except Unavailable:
        last = snapshots.last_catalog()
        if last.version == NO_CATALOG.version:
            raise
        return offers(last)


def last_decision(
    snapshots: "Snapshots",
    *,
    account: str,
    feature: str,
    quantity: int,
    member: str | None,
    properties: Mapping[str, object] | None,
    node: str | None = None,
    at: datetime,
) -> Decision | None:
    """The answer while the database is away, by what was last known; None: nothing is known of the account. What a node
    has left is not known."""
    found = snapshots.last_known(account)
    if found is None:
        return None
    offer = snapshots.last_catalog().features.get(feature)
    on_error = offer.on_error if offer is not None else "deny"
    decision = decide_unsure(found, feature, quantity, at, on_error=on_error, member=member, properties=properties)
    if node is not None and on_error == "deny" and decision.allowed:
        return replace(decision, allowed=False, reason="stale", value=None)
    return decision


async def decisions(
    store: "Store",
    snapshots: "Snapshots",
    *,
    account: str,
    member: str | None = None,
    at: datetime,
    now: datetime | None = None,
    believed: bool = False,
) -> Decisions:
    """List all decisions.

    The decision for one unit of every feature in the catalog, the version of the snapshot they rest on, and until when
    each stays as it is if nothing but time happens: ask again then, or when the stream tells of the account. Refused
    `unknown_account`.
    """
    if elsewhen := now is not None and now != at:
        async with store.transaction() as tx:
            _, catalog, found = await known_at(tx, account, at=at, now=now, believed=believed)
    else:
        found, catalog = await snapshots.load(store, account, at), await snapshots.catalog(store)
    if not found.known:
        raise unknown_account(account)
    keys = offers(catalog)
    decided = {key: shown(decide(found, key, 1, at, member=member), counted=elsewhen) for key in keys}
    until = {key: holds_until(found, key, at, member=member) for key in keys}
    return Decisions(account=account, version=found.version, as_of=found.as_of, decisions=decided, until=until)


async def explain(
    store: "Store",
    *,
    account: str,
    feature: str,
    quantity: int = 1,
    member: str | None = None,
    node: str | None = None,
    at: datetime,
    now: datetime,
    believed: bool = False,
) -> Explanation:
    """Explain a decision.

    Why access is, or was at an earlier instant, allowed or denied: a sentence, the sources in the order they count, and
    the facts with the billing events behind them. Refused `unknown_node`.

    Decides again: for an `at` before `now` as was true then by what is known now, or with `believed` by what was known
    then.
    """
    async with store.transaction() as tx:
        known, catalog, held = await known_at(tx, account, at=at, now=now, believed=believed)
        decision = decide(held, feature, quantity, at, member=member)
        decision, stated = await decide_at_node(tx, decision, held, node, at=at, now=now, believed=believed)
        numbers = [*(statement.number for statement in known.statements.values()), *stated]
        facts = await tx.accounts.facts(account, numbers=numbers)
        replaced = await tx.accounts.replaced(account, numbers)
    topics, then = _topics(catalog, feature, member), _then(known, at, now)
    return Explanation(
        decision=shown(decision, counted=True),
        known_at=min(at, now) if believed else now,
        catalog_version=catalog.version,
        candidates=trace(known, catalog, feature, then),
        facts=tuple(
            entry(saved, replaced.get(saved.fact.number)) for saved in facts if _about(saved.fact.subject, topics)
        ),
        findings=findings(known, catalog, then),
        versions=versions_had(known, catalog, then) if known.exists else (),
        asleep=_asleep(held, feature, at),
    )


def _asleep(held: Snapshot, feature: str, at: datetime) -> int:
    """How many units that pay for this feature sleep."""
    its = entitlements_at(held, at)
    payer = its.get(its[feature].credit or feature) if feature in its else None
    if payer is None:
        return 0
    balance = in_window(balance_of(held, payer.feature), payer.from_at, at)
    return sum(grant.left for grant in asleep(payer, balance, at))


async def entitlements(
    store: "Store", *, account: str, as_of: datetime, now: datetime, believed: bool = False
) -> EntitlementsView:
    """List entitlements.

    What the account can use at an instant, with its sources: of a past one what was true then by what is known now, or
    with `believed` by what was known then. Refused `unknown_account`.
    """
    async with store.transaction() as tx:
        known, catalog = await _known(tx, account, at=as_of, now=now, believed=believed)
    if not known.exists:
        raise unknown_account(account)
    as_of = _then(known, as_of, now)
    segment = derive(known, catalog, as_of)
    return EntitlementsView(
        account=account,
        version=f"{catalog.version}.{known.version}",
        as_of=as_of,
        until=segment.until,
        catalog_version=catalog.version,
        subscriptions=standings(known, catalog, as_of),
        entitlements=segment.entitlements,
        findings=findings(known, catalog, as_of),
        versions=versions_had(known, catalog, as_of),
    )


async def known_at(
    tx: "Transaction", account: str, *, at: datetime, now: datetime, believed: bool
) -> tuple[Account, Catalog, Snapshot]:
    """The account, the catalog and what is had at `at`: of the past with the catalog of then, and with what is known
    now of the account and its use, or was known then."""
    known, catalog = await _known(tx, account, at=at, now=now, believed=believed)
    held = snapshot(known, catalog, at, own_time=at > now)
    if at < now:
        return known, catalog, await with_balances_then(tx, held, at, believed=believed)
    return known, catalog, (await with_balances(tx, held, at))[0]


async def _known(
    tx: "Transaction", account: str, *, at: datetime, now: datetime, believed: bool
) -> tuple[Account, Catalog]:
    """The account and the catalog as they were at `at`, or are today for an `at` that is still to come."""
    if at < now:
        facts = await tx.accounts.facts(account, recorded_until=at if believed else None)
        return account_at(account, facts, at, believed=believed), await tx.catalogs.in_force(at=at)
    saved = await tx.accounts.load(account)
    return saved.account if saved else Account(key=account), await tx.catalogs.in_force()


def _then(known: Account, at: datetime, now: datetime) -> datetime:
    """What time that is for the account: until now everybody's, and what is to come as it will be there."""
    return at if at > now else known.time(at)


def _topics(catalog: Catalog, feature: str, member: str | None) -> frozenset[str]:
    """The subjects that bear on one feature only, or one member."""
    offer = catalog.features.get(feature)
    burns = getattr(offer, "burns", ())
    keys = [feature, *(burn.credit for burn in burns), *((offer.seat,) if offer is not None and offer.seat else ())]
    return frozenset([*(f"override:{key}" for key in keys), f"member:{member}"])


def _about(subject: str, topics: frozenset[str]) -> bool:
    return not subject.startswith(("override:", "member:")) or subject in topics
