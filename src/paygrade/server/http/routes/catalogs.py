"""The catalog: publish a version, read the current one, list them all."""

from typing import Annotated

from litestar import get, put
from litestar.params import FromPath, QueryParameter

from paygrade.catalog.grandfathering import Grandfathering
from paygrade.documents.catalog_file import Document
from paygrade.documents.yaml import read_json, read_yaml
from paygrade.entitlements.ladders import PlanLadder
from paygrade.server.http.bodies import invalid, read_flag, read_instant
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import After, PageSize, flag, instant, number, text
from paygrade.server.http.routes import examples
from paygrade.server.http.version import answered_before
from paygrade.server.operations.catalog import publish as catalogs
from paygrade.server.operations.catalog import versions
from paygrade.server.process.acting import acting
from paygrade.values.errors import Mistake, Refused
from paygrade.values.text import PAGE_MAX

YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})  # the first: RFC 9512
JSON_TYPES = frozenset({"application/json", ""})
EXISTING = text(
    "Whether existing customers of a changed plan or add-on follow, or keep their version.",
    enum=["follow", "keep"],
    default="follow",
)

REASON = QueryParameter(max_length=500, description="Why, for the audit log.")


@put(
    "/v1/catalog",
    opt=describe(
        "catalog",
        catalogs.publish_catalog,
        sent=Sent(examples.CATALOG, media_types=("application/json", "application/yaml")),
        problems=("unsupported_media_type",),
        scope="catalog:publish",
    ),
)
async def put_catalog(
    request: HttpRequest,
    context: InContext,
    dry_run: Annotated[str | None, flag("Say what would change, and publish nothing.")] = None,
    plan: Annotated[str | None, text("The id of the plan you reviewed; refused if anything has changed since.")] = None,
    existing: Annotated[str | None, EXISTING] = None,
    at: Annotated[str | None, instant("With `follow`: when they do. At once without it.")] = None,
    reason: Annotated[str, REASON] = "",
) -> catalogs.CatalogPlan:
    document, lines = read_document(request.headers.get("content-type", ""), await request.body())
    return await catalogs.publish_catalog(
        context.store,
        document=document,
        lines=lines,
        dry_run=read_flag(dry_run, name="dry_run"),
        plan_id=plan,
        existing=read_existing(existing, at),
        reason=reason,
        at=context.clock.now(),
        by=acting().actor.known_as,
    )


@get("/v1/catalog", opt=describe("catalog", catalogs.current_catalog, scope="catalog:read"))
async def get_catalog(context: InContext) -> catalogs.PublishedCatalog:
    return await catalogs.current_catalog(context.store)


@get(
    "/v1/catalog/versions",
    opt=describe("catalog", catalogs.catalog_versions, scope="catalog:read")
    | answered_before("2026-11-30", tuple[catalogs.CatalogVersion, ...], lambda said: said["versions"]),
)
async def list_catalog_versions(
    context: InContext,
    before: Annotated[int | None, number("Only versions before this; the `next` of the page before.")] = None,
    limit: PageSize = PAGE_MAX,
) -> catalogs.CatalogVersions:
    return await catalogs.catalog_versions(context.store, before=before, limit=limit)


@get("/v1/catalog/versions/{version:str}", opt=describe("catalog", catalogs.catalog_version, scope="catalog:read"))
async def get_catalog_version(version: FromPath[str], context: InContext) -> catalogs.PublishedCatalog:
    if not version.isdecimal() or len(version) > 9:
        raise Refused("unknown_catalog_version", f"there is no catalog `{version}`; see `GET /v1/catalog/versions`")
    return await catalogs.catalog_version(context.store, version=int(version))


@get("/v1/catalog/plans", opt=describe("catalog", versions.version_counts, scope="catalog:read"))
async def count_versions(context: InContext) -> versions.VersionCounts:
    return await versions.version_counts(context.store, at=context.clock.now())


@get("/v1/catalog/plans/{plan:str}/accounts", opt=describe("catalog", versions.version_holders, scope="accounts:read"))
async def list_version_holders(
    plan: FromPath[str],
    context: InContext,
    version: Annotated[int | None, number("Only accounts on this version.", least=1)] = None,
    after: After = "",
    limit: PageSize = 100,
) -> versions.VersionHolders:
    return await versions.version_holders(
        context.store, key=plan, version=version, after=after, limit=limit, at=context.clock.now()
    )


@get("/v1/catalog/plans/{plan:str}/ladder", opt=describe("catalog", catalogs.plan_ladder, scope="catalog:read"))
async def get_plan_ladder(plan: FromPath[str], context: InContext) -> PlanLadder:
    return await catalogs.plan_ladder(context.store, plan=plan)


def read_existing(text: str | None, at: str | None = None) -> Grandfathering:
    """What becomes of those who have what changes. Refused `invalid_query`."""
    follow_at = read_instant(at, name="at")
    if text not in (None, "follow", "keep"):
        mistake = Mistake("", f"`existing` must be `follow` or `keep`, not `{text}`")
        raise invalid("invalid_query", "the query", [mistake])
    if text == "keep" and follow_at is not None:
        mistake = Mistake("", "`at` needs `existing=follow`; kept versions never change")
        raise invalid("invalid_query", "the query", [mistake])
    return Grandfathering(text == "keep", follow_at)


def read_document(content_type: str, raw: bytes) -> Document:
    """A catalog as it was sent. Refused `unsupported_media_type`."""
    # Any: what is no mapping at all is for the parser to refuse, in its own words.
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in YAML_TYPES | JSON_TYPES:
        detail = f"`{media_type}` is not supported; send `application/yaml` or `application/json`"
        raise Refused("unsupported_media_type", detail)
    return read_yaml(raw) if media_type in YAML_TYPES else read_json(raw)
