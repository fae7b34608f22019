"""The catalog: publish a version, read the current one, list them all."""

from typing import Any

from litestar import get, put
from litestar.params import FromQuery

from paygrade.errors import Refused
from paygrade.server.bodies import read_flag
from paygrade.server.documents import read_json, read_yaml
from paygrade.server.openapi import Query, Sent, tell
from paygrade.server.operations import catalogs
from paygrade.server.parts import Here, HttpRequest
from paygrade.server.routes import examples

YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})  # the first: RFC 9512
JSON_TYPES = frozenset({"application/json", ""})


@put(
    "/v1/catalog",
    opt=tell(
        "Publish the catalog",
        "catalog",
        sent=Sent(example=examples.CATALOG, media_types=("application/json", "application/yaml")),
        query=(
            Query("dry_run", {"type": "boolean", "default": False}, "Say what would change, and publish nothing."),
            Query("plan", {"type": "string"}, "The id of the plan that was read; refused if the world changed since."),
        ),
        problems=("invalid_query", "unsupported_media_type", "catalog_invalid", "catalog_plan_outdated"),
    ),
)
async def put_catalog(
    request: HttpRequest, parts: Here, dry_run: FromQuery[str | None] = None, plan: FromQuery[str | None] = None
) -> catalogs.CatalogPlan:
    """Read the document, compare it with the version in force and publish it as a new one. A document that says
    nothing new changes nothing. Every mistake in a document is named at once, with its line where it is YAML."""
    document, lines = _read(request.headers.get("content-type", ""), await request.body())
    return await catalogs.publish_catalog(
        parts.store,
        document=document,
        lines=lines,
        dry_run=read_flag(dry_run, name="dry_run"),
        plan_id=plan,
        at=parts.clock.now(),
        by="admin",
    )


@get("/v1/catalog", opt=tell("Read the catalog", "catalog", problems=("no_catalog",)))
async def get_catalog(parts: Here) -> catalogs.PublishedCatalog:
    """The version in force, as the document that was published."""
    return await catalogs.current_catalog(parts.store)


@get("/v1/catalog/versions", opt=tell("List the catalog's versions", "catalog"))
async def list_catalog_versions(parts: Here) -> tuple[catalogs.CatalogVersion, ...]:
    """Every published version with its date, the newest first."""
    return await catalogs.catalog_versions(parts.store)


def _read(content_type: str, raw: bytes) -> tuple[Any, dict[str, int]]:
    # Any: what is no mapping at all is for the parser to refuse, in its own words.
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in YAML_TYPES | JSON_TYPES:
        detail = f"`{media_type}` is not read here; send `application/yaml` or `application/json`"
        raise Refused("unsupported_media_type", detail)
    return read_yaml(raw) if media_type in YAML_TYPES else read_json(raw)
