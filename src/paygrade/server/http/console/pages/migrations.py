"""Migrations: accounts moved to another version of a plan: previewed, followed, paused and rolled back."""

from typing import Annotated, Any

import msgspec
from litestar import Response
from litestar.params import FromPath
from litestar.response import Stream

from paygrade.server.http.console.progress import follow
from paygrade.server.http.console.rendering import link, page, see_other
from paygrade.server.http.console.screens import Form, action, read_form, screen
from paygrade.server.http.console.sending import Sending, make_key, send
from paygrade.server.http.console.wording import words
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.parameters import number, text
from paygrade.server.http.problems import KINDS
from paygrade.server.http.routes.migrations import read_id
from paygrade.server.operations.catalog import migrations, publish
from paygrade.values.errors import Refused

SHOWN = 50
_STEPS = ("pause", "resume", "roll-back")
_MOVING = ("running", "rolling_back")


@screen("/plans/migrations", scope="catalog:read")
async def show_migrations(
    request: HttpRequest,
    context: InContext,
    before: Annotated[int | None, number("Migrations with a smaller id.")] = None,
) -> Response[str]:
    found = await migrations.list_migrations(context.store, before=before, limit=SHOWN)
    return page(request, "migrations.html", migrations=found.migrations, next=found.next, before=before)


@screen("/plans/migrations/new", scope="catalog:migrate")
async def show_new_migration(
    request: HttpRequest,
    context: InContext,
    plan: Annotated[str, text("The plan to begin with.")] = "",
) -> Response[str]:
    return await _new(request, context, {"plan": plan})


@action("/plans/migrations/new", scope="catalog:migrate")
async def send_new_migration(request: HttpRequest, context: InContext) -> Response[Any]:
    """Preview it, or start it. Any: the page, or the way to the migration."""
    form = await read_form(request)
    said = {name: form[name] for name in ("plan", "from", "to", "accounts", "reason")}
    try:
        starts = form["do"] == "start"
        if starts and not said["reason"]:
            raise Refused("invalid_body", "say why in `Reason`; the next person reads it")
        query = {} if starts else {"dry_run": "true"}
        sending = Sending(
            "POST", ("catalog", "migrations"), _body(form), query=query, key=form["key"] if starts else ""
        )
        done = await send(request, sending)
    except Refused as error:
        return await _new(request, context, said, error=error)
    if starts:
        return see_other(link("plans", "migrations", str(done.answer["migration"]["id"])))
    return await _new(
        request, context, said, preview=msgspec.convert(done.answer["preview"], migrations.MigrationPreview)
    )


@screen("/plans/migrations/{migration:str}", scope="catalog:read")
async def show_migration(
    migration: FromPath[str],
    request: HttpRequest,
    context: InContext,
    after: Annotated[str, text("Accounts after this key.")] = "",
) -> Response[str]:
    return await _one(request, context, migration, after=after)


@screen("/plans/migrations/{migration:str}/tail", scope="catalog:read")
async def follow_migration(migration: FromPath[str], request: HttpRequest, context: InContext) -> Stream:
    """How many accounts are looked at, as it grows."""
    id = read_id(migration)

    async def look() -> tuple[int, bool]:
        found = await migrations.get_migration(context.store, id=id)
        return _total(found) - found.waiting, found.state not in _MOVING

    return await follow(request, context, look)


@action("/plans/migrations/{migration:str}", scope="catalog:migrate")
async def step_migration(migration: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
    """Pause it, go on, or take it back. Any: the page, or the way back to it."""
    form = await read_form(request)
    try:
        if form["do"] not in _STEPS:
            raise Refused("invalid_body", "choose what to do: pause, go on or roll back")
        await send(request, Sending("POST", ("catalog", "migrations", migration, form["do"]), key=form["key"]))
    except Refused as error:
        return await _one(request, context, migration, error=error)
    return see_other(link("plans", "migrations", migration))


async def _one(
    request: HttpRequest, context: InContext, migration: str, *, after: str = "", error: Refused | None = None
) -> Response[str]:
    id = read_id(migration)
    found = await migrations.get_migration(context.store, id=id)
    moved = await migrations.moved_accounts(context.store, id=id, status=None, after=after, limit=SHOWN)
    return page(
        request,
        "migration.html",
        status=KINDS[error.code].status if error is not None else 200,
        migration=found,
        total=_total(found),
        is_moving=found.state in _MOVING,
        moved=moved.accounts,
        next=moved.next,
        after=after,
        error=error,
        key=make_key(),
    )


def _total(found: migrations.Migration) -> int:
    return found.waiting + found.done + found.skipped + found.rolled_back


async def _new(
    request: HttpRequest,
    context: InContext,
    said: dict[str, str],
    *,
    preview: migrations.MigrationPreview | None = None,
    error: Refused | None = None,
) -> Response[str]:
    catalog, _ = await publish.sold(context.store)
    return page(
        request,
        "migration_new.html",
        status=KINDS[error.code].status if error is not None else 200,
        said={"plan": "", "from": "", "to": "", "accounts": "", "reason": ""} | said,
        sold=[(key, words(key)) for key in (*catalog.plans, *catalog.add_ons)],
        preview=preview,
        error=error,
        key=make_key(),
    )


def _body(form: Form) -> dict[str, Any]:
    """Any: JSON."""
    said: dict[str, Any] = {"plan": form["plan"], "reason": form["reason"]}
    for name, field in (("from_version", "from"), ("to_version", "to")):
        if form[field]:
            if not form[field].isdecimal() or len(form[field]) > 9:
                raise Refused("invalid_body", f"a version is a number such as `3`, not `{form[field]}`")
            said[name] = int(form[field])
    if form["accounts"]:
        said["accounts"] = form["accounts"].replace(",", " ").split()
    return said
