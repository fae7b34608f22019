"""The catalog: publish a version, read the current one, list them all."""

from typing import Annotated, Any

from litestar import get, put
from litestar.params import FromPath, FromQuery, QueryParameter

from paygrade.catalog.grandfathering import Grandfathering
from paygrade.server.http.bodies import invalid, read_flag, read_instant
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Query, Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.catalog import publish as catalogs
from paygrade.server.operations.catalog import versions
from paygrade.server.process.yaml import read_json, read_yaml
from paygrade.values.errors import Mistake, Refused

YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})  # the first: RFC 9512
JSON_TYPES = frozenset({"application/json", ""})
PAGE_MAX = 500
PageSize = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)]


@put(
    "/v1/catalog",
    opt=describe(
        "Publish the catalog",
        "catalog",
        sent=Sent(example=examples.CATALOG, media_types=("application/json", "application/yaml")),
        query=(
            Query("dry_run", {"type": "boolean", "default": False}, "Say what would change, and publish nothing."),
            Query("plan", {"type": "string"}, "The id of the plan that was read; refused if the world changed since."),
            Query(
                "existing",
                {"type": "string", "enum": ["follow", "keep"], "default": "follow"},
                "What becomes of those who have a plan or add-on that changes: they follow, or keep their version.",
            ),
            Query("at", {"type": "string", "format": "date-time"}, "With `follow`: when they do. At once without it."),
        ),
        problems=(
            "invalid_query",
            "unsupported_media_type",
            "catalog_invalid",
            "catalog_plan_outdated",
            "date_in_the_past",
        ),
    ),
)
async def put_catalog(
    request: HttpRequest,
    parts: InContext,
    dry_run: FromQuery[str | None] = None,
    plan: FromQuery[str | None] = None,
    existing: FromQuery[str | None] = None,
    at: FromQuery[str | None] = None,
) -> catalogs.CatalogPlan:
    """Read the document, compare it with the version in force and publish it as a new one. A document that says
    nothing new changes nothing. `existing` says what becomes of those who have what changes. Every mistake in a
    document is named at once, with its line where it is YAML."""
    document, lines = _read(request.headers.get("content-type", ""), await request.body())
    return await catalogs.publish_catalog(
        parts.store,
        document=document,
        lines=lines,
        dry_run=read_flag(dry_run, name="dry_run"),
        plan_id=plan,
        existing=_existing(existing, at),
        at=parts.clock.now(),
        by="admin",
    )


@get("/v1/catalog", opt=describe("Read the catalog", "catalog", problems=("no_catalog",)))
async def get_catalog(parts: InContext) -> catalogs.PublishedCatalog:
    """The version in force, as the document that was published."""
    return await catalogs.current_catalog(parts.store)


@get("/v1/catalog/versions", opt=describe("List the catalog's versions", "catalog"))
async def list_catalog_versions(parts: InContext) -> tuple[catalogs.CatalogVersion, ...]:
    """Every published version with its date, the newest first."""
    return await catalogs.catalog_versions(parts.store)


@get(
    "/v1/catalog/versions/{version:str}",
    opt=describe("Read a version of the catalog", "catalog", problems=("unknown_catalog_version",)),
)
async def get_catalog_version(version: FromPath[str], parts: InContext) -> catalogs.PublishedCatalog:
    """One published version, as the document that was published. It never changes."""
    if not version.isdecimal() or len(version) > 9:
        raise Refused("unknown_catalog_version", f"there is no catalog `{version}`; see `GET /v1/catalog/versions`")
    return await catalogs.catalog_version(parts.store, version=int(version))


@get("/v1/catalog/plans", opt=describe("Count who is on which version", "catalog"))
async def count_versions(parts: InContext) -> versions.VersionCounts:
    """How many accounts are on which version of each plan and add-on, and whether it is the newest, kept or pinned."""
    return await versions.version_counts(parts.store, at=parts.clock.now())


@get(
    "/v1/catalog/plans/{plan:str}/accounts",
    opt=describe(
        "List who is on which version",
        "catalog",
        query=(
            Query("version", {"type": "integer", "minimum": 1}, "Only accounts on this version."),
            Query("after", {"type": "string"}, "Accounts with a larger key than this."),
            Query("limit", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100}, "At most so many."),
        ),
        problems=("invalid_query", "unknown_plan", "unknown_plan_version"),
    ),
)
async def list_version_holders(
    plan: FromPath[str],
    parts: InContext,
    version: Annotated[int | None, QueryParameter(ge=1)] = None,
    after: FromQuery[str] = "",
    limit: PageSize = 100,
) -> versions.VersionHolders:
    """How many accounts are on which version of a plan or add-on, and a page of them by key."""
    return await versions.version_holders(
        parts.store, key=plan, version=version, after=after, limit=limit, at=parts.clock.now()
    )


def _existing(text: str | None, at: str | None) -> Grandfathering:
    follow_at = read_instant(at, name="at")
    if text not in (None, "follow", "keep"):
        raise invalid("invalid_query", "the query", [Mistake("", f"`existing` is `follow` or `keep`, not `{text}`")])
    if text == "keep" and follow_at is not None:
        mistake = Mistake("", "`at` is when those who have it follow; with `existing=keep` they never do")
        raise invalid("invalid_query", "the query", [mistake])
    return Grandfathering(text == "keep", follow_at)


def _read(content_type: str, raw: bytes) -> tuple[Any, dict[str, int]]:
    # Any: what is no mapping at all is for the parser to refuse, in its own words.
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in YAML_TYPES | JSON_TYPES:
        detail = f"`{media_type}` is not read here; send `application/yaml` or `application/json`"
        raise Refused("unsupported_media_type", detail)
    return read_yaml(raw) if media_type in YAML_TYPES else read_json(raw)
