"""Plans: the catalog as a pricing table, its versions and what differs between two, and who is on which."""

from typing import Annotated

from litestar import Response
from litestar.params import FromPath

from paygrade.catalog.diff import compare
from paygrade.server.http.console.price_table import price_table
from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.parameters import number, text
from paygrade.server.operations.catalog import publish, versions

COUNTED_MAX = 1000
"""Of so many accounts the console counts who has what: a page is as quick with a million."""
VERSIONS_SHOWN, HOLDERS_SHOWN = 50, 50

_Version = Annotated[int | None, number("A version of the catalog.", least=1)]


@screen("/plans", scope="catalog:read")
async def show_plans(
    request: HttpRequest,
    context: InContext,
    version: _Version = None,
    against: _Version = None,
    kind: Annotated[str, text("`add-ons`: those instead of plans.")] = "",
) -> Response[str]:
    """The table of one version, and with `against` what differs from that one."""
    catalog, published = await publish.sold(context.store, version=version)
    in_force = published if version is None else (await publish.sold(context.store))[1]
    other = (await publish.sold(context.store, version=against))[0] if against is not None else None
    counts, whole = await versions.version_counts_among(context.store, first=COUNTED_MAX, at=context.clock.now())
    return page(
        request,
        "plans.html",
        published=published,
        against=against,
        newest=in_force == published,
        in_force=in_force,
        table=price_table(catalog, other, add_ons=kind == "add-ons"),
        kind="add-ons" if kind == "add-ons" else "",
        add_ons=len(catalog.add_ons),
        held=_held(counts.versions),
        whole=whole,
        looked_at=COUNTED_MAX,
    )


@screen("/plans/versions", scope="catalog:read")
async def show_catalog_versions(
    request: HttpRequest,
    context: InContext,
    old: _Version = None,
    new: _Version = None,
    before: _Version = None,
) -> Response[str]:
    """All versions, and line by line what differs between two of them."""
    found = await publish.catalog_versions(context.store, before=before, limit=VERSIONS_SHOWN)
    changes = None
    if old is not None and new is not None:
        first, second = [(await publish.sold(context.store, version=each))[0] for each in (old, new)]
        changes = compare(first, second)
    return page(
        request,
        "plan_versions.html",
        versions=found.versions,
        next=found.next,
        before=before,
        old=old,
        new=new,
        changes=changes,
    )


@screen("/plans/{plan:str}/accounts", scope="accounts:read")
async def show_holders(
    plan: FromPath[str],
    request: HttpRequest,
    context: InContext,
    version: _Version = None,
    after: Annotated[str, text("Accounts after this key.")] = "",
) -> Response[str]:
    """Who is on which version of a plan or add-on, and what is left of a plan in arrears."""
    found, next = await versions.first_holders(
        context.store,
        key=plan,
        version=version,
        after=after,
        limit=HOLDERS_SHOWN,
        first=COUNTED_MAX,
        at=context.clock.now(),
    )
    sold = (await publish.sold(context.store))[0].plans.get(plan)
    return page(
        request, "plan_holders.html", plan=plan, version=version, after=after, accounts=found, next=next,
        looked_at=COUNTED_MAX, ladder=await publish.plan_ladder(context.store, plan=plan) if sold else None,
    )  # fmt: skip


def _held(counts: tuple[versions.VersionCount, ...]) -> dict[str, list[versions.VersionCount]]:
    """By plan or add-on, the newest version first."""
    found: dict[str, list[versions.VersionCount]] = {}
    for each in sorted(counts, key=lambda one: -one.version):
        found.setdefault(each.key, []).append(each)
    return found
