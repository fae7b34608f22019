"""Features, meters and credits: what each is, how it is counted, who gives it, what pays for it, who nears a limit."""

from collections.abc import Iterator
from itertools import groupby

from litestar import Response
from litestar.params import FromPath
from msgspec import Struct

from paygrade.catalog.model import AddOn, Allowance, Catalog, Plan
from paygrade.catalog.offers import Burn, ConfigFeature, Credit, Feature, LevelFeature, MeteredFeature, Rate
from paygrade.server.http.auth import scopes_of
from paygrade.server.http.console.price_table import Words, group_of, told_term, unit_price
from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.console.wording import number, words
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.operations.attention import LIMITS_LOOKED_AT_MAX, near_limits
from paygrade.server.operations.catalog import publish
from paygrade.usage.entries import Alert
from paygrade.values.errors import Refused

NEAR_SHOWN = 50


class Giver(Struct, frozen=True):
    """A plan or add-on that gives it. `priority`: where its units stand in the burn order; None: they have no place."""

    ref: str
    is_add_on: bool
    gives: Words
    priority: int | None


class Payment(Struct, frozen=True):
    """A credit that pays for a metered feature: what a unit costs, and what it costs by a property of usage events."""

    feature: str
    credit: str
    rate: str
    by: tuple[tuple[str, str], ...]


@screen("/features", scope="catalog:read")
async def show_features(request: HttpRequest, context: InContext) -> Response[str]:
    catalog, published = await publish.sold(context.store)
    near: list[Alert] = []
    if "accounts:read" in scopes_of(request):
        near = [*await near_limits(context.store, limit=LIMITS_LOOKED_AT_MAX)]
    counts = {pool: len(list(its)) for pool, its in groupby(sorted(each.pool for each in near))}
    rows = [(key, its, counted(its), len(givers(catalog, key))) for key, its in offered(catalog).items()]
    groups: dict[str, list[tuple[str, Feature | Credit, str, int]]] = {}
    for row in rows:
        groups.setdefault(group_of(row[1]), []).append(row)
    return page(request, "features.html", groups=groups, counts=counts, published=published)


@screen("/features/{feature:str}", scope="catalog:read")
async def show_feature(feature: FromPath[str], request: HttpRequest, context: InContext) -> Response[str]:
    catalog, published = await publish.sold(context.store)
    its = offered(catalog).get(feature)
    if its is None:
        raise Refused("unknown_feature", f"the catalog has no feature `{feature}`; look at the list of features")
    near: tuple[Alert, ...] = ()
    if "accounts:read" in scopes_of(request):
        near = await near_limits(context.store, feature=feature, limit=NEAR_SHOWN)
    return page(
        request,
        "feature.html",
        feature=feature,
        its=its,
        facts=[*facts(its)],
        givers=givers(catalog, feature),
        payments=payments(catalog, feature),
        near=near,
        published=published,
        looked_at=LIMITS_LOOKED_AT_MAX,
    )


def offered(catalog: Catalog) -> dict[str, Feature | Credit]:
    """Features and credits by key."""
    return {**catalog.features, **catalog.credits}


def givers(catalog: Catalog, feature: str) -> list[Giver]:
    """Plans and then add-ons whose terms speak of it; of a credit in the order its units burn."""
    its, found = offered(catalog)[feature], list[Giver]()
    every: list[Plan | AddOn] = [*catalog.plans.values(), *catalog.add_ons.values()]
    for sold in every:
        term = sold.terms.get(feature)
        if term is None:
            continue
        priority = term.priority if isinstance(term, Allowance) and isinstance(its, Credit | MeteredFeature) else None
        found.append(Giver(sold.ref, isinstance(sold, AddOn), told_term(term, its), priority))
    return sorted(found, key=lambda giver: giver.priority or 0) if isinstance(its, Credit) else found


def payments(catalog: Catalog, feature: str) -> list[Payment]:
    """For a metered feature the credits that pay for it, in their order; for a credit the features it pays for."""
    return [
        Payment(key, burn.credit, rate(burn), tuple((value, rate(each)) for value, each in burn.rates.items()))
        for key, its in catalog.features.items()
        if isinstance(its, MeteredFeature)
        for burn in its.burns
        if feature in (key, burn.credit)
    ]


def rate(its: Burn | Rate) -> str:
    """`2 for each`, `1 for 1,000`."""
    return f"{number(its.rate)} for {'each' if its.per == 1 else number(its.per)}"


def counted(its: Feature | Credit) -> str:
    """How usage events become what is counted, in a few words; empty: nothing is counted."""
    match its:
        case MeteredFeature() | LevelFeature():
            what = {"count": "how many", "sum": "the sum", "unique": "how many different", "max": "the greatest"}
            of = f" of {its.value}" if its.value is not None else ""
            event = f" {its.event}" if its.event is not None else ""
            return f"{what.get(its.aggregate, 'the latest')}{of}, events{event}" if event else ""
        case _:
            return ""


def facts(its: Feature | Credit) -> Iterator[tuple[str, str]]:
    """What the catalog says of it."""
    yield (
        "Kind",
        {"Has or has not": "Boolean", "Settings": "Config", "Held": "Level", "Credits": "Credit"}.get(
            group_of(its), "Metered"
        ),
    )
    if isinstance(its, ConfigFeature):
        yield "Type", its.type
    if not isinstance(its, Credit):
        yield "Using it", {"read": "reads", "write": "writes", "export": "exports"}.get(its.access, "administers")
        yield "If nobody answers", "allowed" if its.on_error == "allow" else "denied"
        if its.roles:
            yield "Roles", ", ".join(its.roles)
        if its.seat:
            yield "Needs a seat of", words(its.seat).lower()
    if unit := getattr(its, "unit", ""):
        yield "Unit", unit
    if how := counted(its):
        yield "Counts", how
    if isinstance(its, MeteredFeature) and its.stripe_meter:
        yield "Meter at Stripe", its.stripe_meter
        yield "Reported", "all usage" if its.report == "all" else "what is over the limit"
    if isinstance(its, MeteredFeature | Credit) and its.without_plan == "sleep":
        yield "Without a plan", "bought units sleep"
    if isinstance(its, Credit) and its.price is not None:
        yield "Worth", unit_price(its.price)
