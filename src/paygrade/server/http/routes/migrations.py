"""Migrations: move accounts from one version of a plan to another, watch it, pause it, roll it back."""

from datetime import datetime
from typing import Annotated, Literal, get_args

from litestar import get, post
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec import Meta, Struct

from paygrade.changes.version_migration import VersionMigration
from paygrade.server.http.bodies import invalid, read_body, read_flag
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Query, Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.catalog import migrations
from paygrade.values.errors import Mistake, Refused

PAGE_MAX = 500
PageSize = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)]
Status = Literal["waiting", "done", "skipped", "rolled_back"]
STATUSES: tuple[Status, ...] = get_args(Status)
_LIMIT = Query("limit", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100}, "At most so many.")
_OVER = ("unknown_migration", "migration_over")


class MigrationRequest(Struct, frozen=True, kw_only=True):
    """Whom to move where. Without `from_version` whoever has the plan, without `to_version` to the newest and whatever
    follows it. Without `accounts` everybody. `at` is when it takes effect; without it as each account is reached."""

    plan: str
    from_version: Annotated[int, Meta(ge=1)] | None = None
    to_version: Annotated[int, Meta(ge=1)] | None = None
    accounts: tuple[str, ...] | None = None
    at: datetime | None = None
    reason: str = ""


@post(
    "/v1/catalog/migrations",
    status_code=200,
    opt=describe(
        "Migrate accounts to another version",
        "catalog",
        sent=Sent(kind=MigrationRequest, example=examples.MIGRATION_REQUEST),
        query=(Query("dry_run", {"type": "boolean", "default": False}, "Say what it would do, and do nothing."),),
        problems=("malformed_json", "invalid_body", "invalid_query", "unknown_plan", "unknown_plan_version",
                  "unknown_account", "date_in_the_past", "migration_running"),
    ),
)  # fmt: skip
async def start_migration(
    request: HttpRequest, parts: InContext, dry_run: FromQuery[str | None] = None
) -> migrations.PlannedMigration:
    """Hold accounts to another version of a plan or add-on, all or those named, an account at a time. The answer says
    who gains and loses what, who uses more than the new limits, and how prices compare. Nothing is billed: what is paid
    at the provider changes only by a plan change."""
    wanted = read_body(MigrationRequest, await request.body())
    if wanted.accounts == ():
        raise invalid(
            "invalid_body", "the body", [Mistake("/accounts", "names nobody; leave it out to mean everybody")]
        )
    move = VersionMigration(
        plan=wanted.plan,
        from_version=wanted.from_version,
        to_version=wanted.to_version,
        at=wanted.at,
        reason=wanted.reason,
    )
    return await migrations.start_migration(
        parts.store,
        move=move,
        accounts=wanted.accounts,
        dry_run=read_flag(dry_run, name="dry_run"),
        at=parts.clock.now(),
        by="admin",
    )


@get("/v1/catalog/migrations", opt=describe("List migrations", "catalog", query=(_LIMIT,), problems=("invalid_query",)))
async def list_migrations(parts: InContext, limit: PageSize = 100) -> migrations.MigrationList:
    """The latest first, with how far each is."""
    return await migrations.list_migrations(parts.store, limit=limit)


@get(
    "/v1/catalog/migrations/{migration:str}",
    opt=describe("Read a migration", "catalog", problems=("unknown_migration",)),
)
async def get_migration(migration: FromPath[str], parts: InContext) -> migrations.Migration:
    """How far it is: how many accounts wait, are done, were skipped or rolled back."""
    return await migrations.get_migration(parts.store, id=_id(migration))


@get(
    "/v1/catalog/migrations/{migration:str}/accounts",
    opt=describe(
        "List a migration's accounts",
        "catalog",
        query=(
            Query("status", {"type": "string", "enum": list(STATUSES)}, "Only accounts that stand so."),
            Query("after", {"type": "string"}, "Accounts with a larger key than this."),
            _LIMIT,
        ),
        problems=("unknown_migration", "invalid_query"),
    ),
)
async def list_moved_accounts(
    migration: FromPath[str],
    parts: InContext,
    status: FromQuery[str | None] = None,
    after: FromQuery[str] = "",
    limit: PageSize = 100,
) -> migrations.MovedAccounts:
    """How each account stands, by key, and why those that were skipped were."""
    known = next((word for word in STATUSES if word == status), None)
    if known != status:
        mistake = Mistake("", f"`status` is one of {', '.join(STATUSES)}, not `{status}`")
        raise invalid("invalid_query", "the query", [mistake])
    return await migrations.moved_accounts(parts.store, id=_id(migration), status=known, after=after, limit=limit)


@post(
    "/v1/catalog/migrations/{migration:str}/pause",
    status_code=200,
    opt=describe("Pause a migration", "catalog", problems=_OVER),
)
async def pause_migration(migration: FromPath[str], parts: InContext) -> migrations.Migration:
    """No further account is moved until it is resumed; those that were moved stay so."""
    return await migrations.pause_migration(parts.store, id=_id(migration), paused=True)


@post(
    "/v1/catalog/migrations/{migration:str}/resume",
    status_code=200,
    opt=describe("Resume a migration", "catalog", problems=_OVER),
)
async def resume_migration(migration: FromPath[str], parts: InContext) -> migrations.Migration:
    """Go on with a migration, or its way back, that was paused."""
    return await migrations.pause_migration(parts.store, id=_id(migration), paused=False)


@post(
    "/v1/catalog/migrations/{migration:str}/roll-back",
    status_code=200,
    opt=describe("Roll a migration back", "catalog", problems=("unknown_migration", "migration_running")),
)
async def roll_back_migration(migration: FromPath[str], parts: InContext) -> migrations.Migration:
    """Restore what each account was held to before, an account at a time; whoever waits is not moved any more. An
    account of which something else was said since is left as it is."""
    return await migrations.roll_back_migration(parts.store, id=_id(migration))


def _id(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise Refused("unknown_migration", f"there is no migration `{text}`; `GET /v1/catalog/migrations` lists them")
    return int(text)
