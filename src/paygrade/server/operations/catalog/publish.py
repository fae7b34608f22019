"""Publishing the catalog: what would change, for whom, and the change itself."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.removed import asks_more
from paygrade.billing.versions import Version
from paygrade.catalog.diff import Change, compare
from paygrade.catalog.grandfathering import FOLLOW, Grandfathering, succeed, superseded
from paygrade.catalog.model import NO_CATALOG, Catalog
from paygrade.catalog.parse import parse
from paygrade.decisions.diff import Effect, effects, today
from paygrade.entitlements.ladders import PlanLadder, ladder_table
from paygrade.entitlements.sources import offers, versions_had
from paygrade.server.operations.audit.note import note
from paygrade.updates.log import News
from paygrade.updates.types import CatalogUpdate
from paygrade.values.errors import Location, Refused
from paygrade.values.text import PAGE_MAX, one_of

if TYPE_CHECKING:
    from paygrade.postgres.catalogs import SavedCatalog
    from paygrade.postgres.store import Store, Transaction


SAMPLE_MAX = 20


class CatalogImpact(Struct, frozen=True):
    """Whom a catalog changes something for: of `accounts` looked at, how many gain, lose or see another value."""

    accounts: int
    affected: int
    gaining: int
    losing: int
    changing: int
    sample: tuple[Effect, ...]


class Becoming(Struct, frozen=True):
    """What becomes of `accounts` who have `before`: they have `after` then (None: nothing of the kind), because it is
    kept, pinned or the newest; until `until` where a date is set."""

    before: str
    after: str | None
    why: Literal["newest", "kept", "pinned"] | None
    until: datetime | None
    accounts: int


class CatalogVersion(Struct, frozen=True):
    """Who published a version, and when. `digest` tells documents apart."""

    version: int
    digest: str
    published_at: datetime
    published_by: str


class CatalogVersions(Struct, frozen=True):
    """Versions, the newest first. `next` is the `before` of the next page; None: this is the last one."""

    versions: tuple[CatalogVersion, ...]
    next: int | None


class PublishedCatalog(Struct, frozen=True):
    """A published version, as the document it was and with the versions its plans and add-ons got."""

    version: int
    digest: str
    published_at: datetime
    published_by: str
    plans: tuple[str, ...]
    add_ons: tuple[str, ...]
    document: dict[str, Any]


class CatalogPlan(Struct, frozen=True):
    """What publishing a document does. `version` is the one it gets; the base's when it says nothing new.

    `impact` is at the instant those who follow later do so. `existing` is what becomes of those who have what changes,
    by version. `rereads`: how many customers are read again at the provider, since the document wants to know more of
    them.
    """

    plan_id: str
    base_version: int
    version: int
    changes: tuple[Change, ...]
    impact: CatalogImpact
    existing: tuple[Becoming, ...]
    published: bool
    rereads: int = 0


async def publish_catalog(
    store: "Store",
    *,
    document: dict[str, Any],
    lines: Mapping[str, Location],
    dry_run: bool,
    plan_id: str | None = None,
    existing: Grandfathering = FOLLOW,
    reason: str = "",
    at: datetime,
    by: str,
) -> CatalogPlan:
    """Publish the catalog.

    Read the document, compare it with the version in force and publish it as a new one. A document without changes
    publishes nothing. `existing` says whether existing customers follow or keep their version. All mistakes of a
    document are returned at once, with their lines if it is YAML. Refused `catalog_invalid`, `date_in_the_past`,
    `catalog_plan_outdated`. With `plan_id` it is published only if the same plan would be made now, with `dry_run` not
    at all. `reason` goes to the audit log. Looks at every account.
    """
    if existing.follow_at is not None and existing.follow_at <= at:
        raise Refused(
            "date_in_the_past", f"{existing.follow_at.isoformat()} is in the past; choose a later time, or leave it out"
        )
    async with store.transaction() as tx:
        if not dry_run:
            await tx.catalogs.hold()
        saved = await tx.catalogs.load()
        base = saved.catalog if saved else NO_CATALOG
        wanted = parse(document, lines=lines, version=base.version + 1, previous=saved.catalog if saved else None)
        published_at = at if saved is None else max(at, saved.published_at)
        wanted = succeed(base, wanted, existing, published_at)
        if saved is not None and _same(base, wanted):
            wanted = base
        impact, becoming = await _impact(tx, base, wanted, existing.follow_at or at)
        wants_more = asks_more(base.policies, wanted.policies) if saved is not None else False
        plan = CatalogPlan(
            plan_id=_plan_id(base, wanted, existing, (impact, becoming)),
            base_version=base.version,
            version=wanted.version,
            changes=compare(saved.catalog if saved else None, wanted),
            impact=impact,
            existing=becoming,
            published=False,
            rereads=await tx.rereads.customers() if wants_more else 0,
        )
        if plan_id is not None and plan_id != plan.plan_id:
            raise Refused(
                "catalog_plan_outdated",
                f"the plan `{plan_id}` is out of date: the document, the catalog or the accounts have changed since; "
                "run `paygrade catalog plan` again and review the result",
            )
        if dry_run or wanted is base:
            return plan
        digest = hashlib.sha256(msgspec.json.encode(document)).hexdigest()
        await tx.catalogs.save(wanted, document=document, digest=digest, by=by, at=at)
        if plan.rereads:
            await tx.rereads.start(wanted.version, customers=plan.rereads, at=at)
        await tx.tell("paygrade_catalog", str(wanted.version))
        await tx.announce([News(None, "catalog.published", CatalogUpdate(wanted.version, by), at)], at)
        await tx.announcements.hurry(at)
        changes = {"version": [base.version, wanted.version], "digest": digest, "existing": existing, "by": by}
        targets, personal = [("catalog", str(wanted.version))], {"reason": reason} if reason else {}
        note(tx, "catalog.publish", targets=targets, changes=changes, personal=personal, at=at)
        return replace(plan, published=True)


async def current_catalog(store: "Store") -> PublishedCatalog:
    """Retrieve the catalog.

    The version in force, as the document that was published. Refused `no_catalog` before the first is published.
    """
    async with store.transaction() as tx:
        saved = await tx.catalogs.load()
    if saved is None:
        raise Refused("no_catalog", "no catalog is published yet; run `paygrade catalog push`")
    return _published(saved)


async def catalog_version(store: "Store", *, version: int) -> PublishedCatalog:
    """Retrieve a version of the catalog.

    One published version, as the document that was published. It never changes. Refused `unknown_catalog_version`.
    """
    async with store.reading() as tx:
        saved = await tx.catalogs.load(version=version)
    if saved is None:
        raise Refused("unknown_catalog_version", f"there is no catalog `{version}`; see `GET /v1/catalog/versions`")
    return _published(saved)


async def sold(store: "Store", *, version: int | None = None) -> tuple[Catalog, PublishedCatalog | None]:
    """What is sold by a version, or the one in force, with the document it was. Without a `version` nothing is sold
    before the first is published, and the document is None. Refused `unknown_catalog_version`."""
    async with store.reading() as tx:
        saved = await tx.catalogs.load(version=version)
    if saved is not None:
        return saved.catalog, _published(saved)
    if version is not None:
        raise Refused("unknown_catalog_version", f"there is no catalog `{version}`; see `GET /v1/catalog/versions`")
    return NO_CATALOG, None


async def plan_ladder(store: "Store", *, plan: str) -> PlanLadder:
    """Retrieve a plan's access ladder.

    What each state of a subscription leaves of the plan in the version in force, step by step: the access classes that
    are open, for how long, and which plan counts instead. Refused `unknown_plan`, for a plan that is sold no more, too.
    """
    async with store.reading() as tx:
        catalog = await tx.catalogs.in_force()
    if plan not in catalog.plans:
        names = f"; the catalog has {one_of(tuple(catalog.plans))}" if catalog.plans else ""
        raise Refused("unknown_plan", f"there is no plan `{plan}` on sale{names}")
    return ladder_table(catalog, catalog.plans[plan])


async def catalog_versions(store: "Store", *, before: int | None = None, limit: int = PAGE_MAX) -> CatalogVersions:
    """List the catalog's versions.

    Published versions with their dates, newest first.
    """
    async with store.reading() as tx:
        found = await tx.catalogs.versions(before=before, limit=limit + 1)
    shown = tuple(CatalogVersion(*row) for row in found[:limit])
    return CatalogVersions(shown, shown[-1].version if len(found) > limit else None)


def _published(saved: "SavedCatalog") -> PublishedCatalog:
    return PublishedCatalog(
        version=saved.catalog.version,
        digest=saved.digest,
        published_at=saved.published_at,
        published_by=saved.published_by,
        plans=tuple(plan.ref for plan in saved.catalog.plans.values()),
        add_ons=tuple(add_on.ref for add_on in saved.catalog.add_ons.values()),
        document=saved.document,
    )


def _same(base: Catalog, wanted: Catalog) -> bool:
    # The order of plans is in their rank; that of add-ons decides which config value wins, and is in no field.
    return replace(wanted, version=base.version) == base and list(wanted.add_ons) == list(base.add_ons)


def _plan_id(base: Catalog, wanted: Catalog, existing: Grandfathering, impact: object) -> str:
    # When it is published is not known yet, so what it will keep is said without an instant.
    content = msgspec.json.encode((base.version, replace(wanted, keeps={}), existing, impact))
    return f"plan_{hashlib.sha256(content).hexdigest()[:20]}"


async def _impact(
    tx: "Transaction", base: Catalog, wanted: Catalog, at: datetime
) -> tuple[CatalogImpact, tuple[Becoming, ...]]:
    counts = dict.fromkeys(("accounts", "affected", "gains", "loses", "changes"), 0)
    becoming: Counter[Becoming] = Counter()
    changed = {sold.key for sold in superseded(base, wanted)}
    sample: list[Effect] = []
    after = ""
    while page := await tx.accounts.page(after=after, limit=PAGE_MAX):
        after = page[-1].account.key
        counts["accounts"] += len(page)
        if wanted is base:
            continue
        for saved in page:
            becoming.update(_becoming(saved.account, base, wanted, changed, at))
            found = _effects(saved.account, base, wanted, at)
            counts["affected"] += bool(found)
            for how in {effect.how for effect in found}:
                counts[how] += 1
            sample.extend(found[: SAMPLE_MAX - len(sample)])
        await asyncio.sleep(0)  # others in this process want to go on meanwhile
    impact = CatalogImpact(
        accounts=counts["accounts"],
        affected=counts["affected"],
        gaining=counts["gains"],
        losing=counts["loses"],
        changing=counts["changes"],
        sample=tuple(sample),
    )
    summed = (replace(one, accounts=count) for one, count in becoming.items())
    return impact, tuple(sorted(summed, key=lambda one: (one.before, one.after or "", one.why or "")))


def _becoming(
    account: Account, base: Catalog, wanted: Catalog, changed: Collection[str], at: datetime
) -> Iterator[Becoming]:
    """What the account has of what changes, and what it has of it then; counted one by one."""
    if not changed or not account.exists:
        return
    then = {version.key: version for version in versions_had(account, wanted, at)}
    for version in versions_had(account, base, at):
        if version.key in changed:
            later: Version | None = then.get(version.key)
            if later is None:
                yield Becoming(version.ref, None, None, None, 0)
            else:
                yield Becoming(version.ref, later.ref, later.why, later.until, 0)


def _effects(account: Account, base: Catalog, wanted: Catalog, at: datetime) -> list[Effect]:
    return effects(today(account, base, at), today(account, wanted, at), {**offers(base), **offers(wanted)}, at)
