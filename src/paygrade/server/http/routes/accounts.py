"""Accounts: what the host application says of them, and what has happened to them."""

from functools import partial
from typing import Annotated, get_args, get_type_hints

from litestar import delete, get, post, put
from litestar.params import FromPath
from msgspec import Meta, Struct
from msgspec.json import encode

from paygrade.entitlements.findings import Finding
from paygrade.server.http.bodies import invalid, read_body, read_flag, read_instant
from paygrade.server.http.conditional import names, tag_of
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import Before, Believed, PageSize, choice, instant, read_choice, text
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import accounts
from paygrade.server.operations.accounts.rebuild import Rebuilt, rebuild
from paygrade.server.operations.accounts.timeline import Timeline
from paygrade.server.operations.accounts.timeline import timeline as read_timeline
from paygrade.server.operations.accounts.versions import VersionPage
from paygrade.server.operations.accounts.versions import versions as read_versions
from paygrade.values import text as texts
from paygrade.values.errors import Mistake, Refused
from paygrade.values.periods import zones
from paygrade.values.states import State

LINKS_MAX = 100
"""Customers of one account, all of which are read whenever one of them changes."""
STATES: tuple[State, ...] = get_args(State)
FINDINGS = ("any", *get_args(get_type_hints(Finding)["code"]))


class AccountStatement(Struct, frozen=True):
    """What the host application says of an account, whole: what is left out is no longer so."""

    name: str = ""
    links: dict[str, Annotated[tuple[str, ...], Meta(max_length=LINKS_MAX)]] = {}
    traits: dict[str, str | int | bool] = {}
    time_zone: Annotated[str, Meta(max_length=64)] | None = None


@get("/v1/accounts", opt=describe("accounts", accounts.list_accounts, scope="accounts:read"))
async def list_accounts(
    context: InContext,
    after: Annotated[str, text("Accounts after this key; the `next` of the page before.")] = "",
    limit: PageSize = 100,
    search: Annotated[
        str, text("The beginning of the key or name, or a customer's or subscription's id at the provider.")
    ] = "",
    plan: Annotated[str | None, text("Only accounts on this plan, in whichever version.")] = None,
    in_state: Annotated[str | None, choice("state", STATES, "Only accounts in this state.")] = None,
    finding: Annotated[str | None, choice("finding", FINDINGS, "Only accounts with this finding; `any`: any.")] = None,
) -> accounts.AccountList:
    return await accounts.list_accounts(
        context.store,
        after=after,
        limit=limit,
        search=search,
        plan=_plan(plan),
        state=read_choice(in_state, STATES, name="state"),
        finding=read_choice(finding, FINDINGS, name="finding"),
        at=context.clock.now(),
    )


@put(
    "/v1/accounts/{account:str}",
    opt=describe(
        "accounts",
        accounts.put_account,
        sent=Sent(examples.ACCOUNT_STATEMENT, AccountStatement),
        problems=("unknown_provider",),
        headers={"If-Match": "The `ETag` of the account as you read it: 412 if it has changed since."},
        scope="accounts:write",
    ),
)
async def put_account(account: FromPath[str], request: HttpRequest, context: InContext) -> accounts.AccountView:
    said = read_body(AccountStatement, await request.body())
    _refuse_odd_links(said.links, context)
    _refuse_odd_zone(said.time_zone)
    expected = request.headers.getall("if-match", [])
    return await accounts.put_account(
        context.store,
        account=account,
        name=said.name,
        links=said.links,
        traits=said.traits,
        time_zone=said.time_zone,
        is_expected=partial(_is_expected, expected) if expected else None,
        at=context.clock.now(),
    )


@get("/v1/accounts/{account:str}", opt=describe("accounts", accounts.get_account, scope="accounts:read"))
async def get_account(account: FromPath[str], context: InContext) -> accounts.AccountView:
    return await accounts.get_account(context.store, account=account, at=context.clock.now())


@delete("/v1/accounts/{account:str}", opt=describe("accounts", accounts.delete_account, scope="accounts:write"))
async def delete_account(account: FromPath[str], context: InContext) -> None:
    await accounts.delete_account(context.store, account=account, at=context.clock.now())


@post(
    "/v1/accounts/{account:str}/rebuild",
    status_code=200,
    opt=describe("accounts", rebuild, example=examples.REBUILT, scope="accounts:write"),
)
async def rebuild_account(account: FromPath[str], context: InContext) -> Rebuilt:
    return await rebuild(context.store, account=account, at=context.clock.now())


@get("/v1/accounts/{account:str}/timeline", opt=describe("accounts", read_timeline, scope="accounts:read"))
async def timeline(
    account: FromPath[str],
    context: InContext,
    before: Annotated[str | None, text("The `next` of the page before.")] = None,
    limit: PageSize = 100,
    as_of: Annotated[str | None, instant("What had happened by then; everything if absent.")] = None,
    believed: Believed = None,
) -> Timeline:
    return await read_timeline(
        context.store,
        account=account,
        before=before,
        limit=limit,
        as_of=read_instant(as_of, name="as_of"),
        believed=read_flag(believed, name="believed"),
    )


@get("/v1/accounts/{account:str}/versions", opt=describe("accounts", read_versions, scope="decisions:read"))
async def versions(
    account: FromPath[str], context: InContext, before: Before = None, limit: PageSize = 100, believed: Believed = None
) -> VersionPage:
    return await read_versions(
        context.store,
        account=account,
        before=before,
        limit=limit,
        believed=read_flag(believed, name="believed"),
        now=context.clock.now(),
    )


def _plan(named: str | None) -> str | None:
    """The plan that is asked for; Refused `invalid_query` where a version is."""
    if named is not None and "@" in named:
        why = "`plan` takes no version; `GET /v1/catalog/plans/{plan}/accounts?version=` does"
        raise invalid("invalid_query", "the query", [Mistake("", why)])
    return named


def _is_expected(expected: list[str], known: accounts.AccountView | None) -> bool:
    return known is not None and names(expected, tag_of(encode(known)), weakly=False)


def _refuse_odd_zone(zone: str | None) -> None:
    if zone is not None and zone not in zones():
        why = f"{texts.describe(zone)} is not an IANA time zone; write for example `Europe/Berlin`, or leave it out"
        raise invalid("invalid_body", "the body", (Mistake("/time_zone", why),))


def _refuse_odd_links(links: dict[str, tuple[str, ...]], context: Context) -> None:
    foreign = tuple(
        Mistake(f"/links/{provider}", f"unknown provider `{provider}`; known: {context.provider}")
        for provider, ids in sorted(links.items())
        if ids and provider != context.provider
    )
    if foreign:
        raise Refused("unknown_provider", foreign[0].message, foreign)
    odd = tuple(
        Mistake(f"/links/{provider}/{place}", f"{texts.describe(id)} is not the id of a customer at the provider")
        for provider, ids in links.items()
        for place, id in enumerate(ids)
        if not context.customer_id.fullmatch(id)
    )
    if odd:
        raise invalid("invalid_key", "a link", odd)
