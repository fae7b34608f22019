"""Migrations: move accounts from one version of a plan to another, watch it, pause it, roll it back."""

from datetime import datetime
from typing import Annotated, get_args

from litestar import get, post
from litestar.params import FromPath
from msgspec import Meta, Struct

from paygrade.changes.version_migration import MoveStatus, VersionMigration
from paygrade.server.http.bodies import invalid, read_body, read_flag
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import After, PageSize, choice, flag, number, read_choice
from paygrade.server.http.routes import examples
from paygrade.server.operations.catalog import migrations
from paygrade.server.process.acting import acting
from paygrade.values.errors import Mistake, Refused

STATUSES: tuple[MoveStatus, ...] = get_args(MoveStatus)


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
        "catalog",
        migrations.start_migration,
        sent=Sent(examples.MIGRATION_REQUEST, MigrationRequest),
        scope="catalog:migrate",
    ),
)
async def start_migration(
    request: HttpRequest,
    context: InContext,
    dry_run: Annotated[str | None, flag("Say what it would do, and do nothing.")] = None,
) -> migrations.PlannedMigration:
    wanted = read_body(MigrationRequest, await request.body())
    if wanted.accounts == ():
        mistake = Mistake("/accounts", "is empty; leave it out to move all accounts")
        raise invalid("invalid_body", "the body", [mistake])
    return await migrations.start_migration(
        context.store,
        move=VersionMigration(
            plan=wanted.plan,
            from_version=wanted.from_version,
            to_version=wanted.to_version,
            at=wanted.at,
            reason=wanted.reason,
        ),
        accounts=wanted.accounts,
        dry_run=read_flag(dry_run, name="dry_run"),
        at=context.clock.now(),
        by=acting().actor.known_as,
    )


@get("/v1/catalog/migrations", opt=describe("catalog", migrations.list_migrations, scope="catalog:read"))
async def list_migrations(
    context: InContext,
    before: Annotated[int | None, number("Only migrations with a smaller id; the `next` of the page before.")] = None,
    limit: PageSize = 100,
) -> migrations.MigrationList:
    return await migrations.list_migrations(context.store, before=before, limit=limit)


@get("/v1/catalog/migrations/{migration:str}", opt=describe("catalog", migrations.get_migration, scope="catalog:read"))
async def get_migration(migration: FromPath[str], context: InContext) -> migrations.Migration:
    return await migrations.get_migration(context.store, id=read_id(migration))


@get(
    "/v1/catalog/migrations/{migration:str}/accounts",
    opt=describe("catalog", migrations.moved_accounts, scope="accounts:read"),
)
async def list_moved_accounts(
    migration: FromPath[str],
    context: InContext,
    status: Annotated[str | None, choice("status", STATUSES, "Only accounts in this status.")] = None,
    after: After = "",
    limit: PageSize = 100,
) -> migrations.MovedAccounts:
    known = read_choice(status, STATUSES, name="status")
    return await migrations.moved_accounts(context.store, id=read_id(migration), status=known, after=after, limit=limit)


@post(
    "/v1/catalog/migrations/{migration:str}/pause",
    status_code=200,
    opt=describe("catalog", migrations.pause_migration, scope="catalog:migrate"),
)
async def pause_migration(migration: FromPath[str], context: InContext) -> migrations.Migration:
    return await migrations.pause_migration(context.store, id=read_id(migration), at=context.clock.now())


@post(
    "/v1/catalog/migrations/{migration:str}/resume",
    status_code=200,
    opt=describe("catalog", migrations.resume_migration, scope="catalog:migrate"),
)
async def resume_migration(migration: FromPath[str], context: InContext) -> migrations.Migration:
    return await migrations.resume_migration(context.store, id=read_id(migration), at=context.clock.now())


@post(
    "/v1/catalog/migrations/{migration:str}/roll-back",
    status_code=200,
    opt=describe("catalog", migrations.roll_back_migration, scope="catalog:migrate"),
)
async def roll_back_migration(migration: FromPath[str], context: InContext) -> migrations.Migration:
    return await migrations.roll_back_migration(context.store, id=read_id(migration), at=context.clock.now())


def read_id(text: str) -> int:
    """The id of a migration, as it stands in an address. Refused `unknown_migration`."""
    if not text.isdecimal() or len(text) > 18:
        raise Refused("unknown_migration", f"there is no migration `{text}`; `GET /v1/catalog/migrations` lists them")
    return int(text)
