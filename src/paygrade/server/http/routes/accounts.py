"""Accounts: what the host application says of them, and what has happened to them."""

from typing import Annotated

from litestar import delete, get, put
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec import Meta, Struct

from paygrade.server.http.bodies import read_body, read_key
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Query, Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import accounts

PAGE_MAX = 500
LINKS_MAX = 100
PageSize = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)]


class AccountStatement(Struct, frozen=True):
    """What the host application says of an account, whole: what is left out is no longer so."""

    name: str = ""
    links: dict[str, Annotated[tuple[str, ...], Meta(max_length=LINKS_MAX)]] = {}
    traits: dict[str, str | int | bool] = {}


@get(
    "/v1/accounts",
    opt=describe(
        "List accounts",
        "accounts",
        query=(
            Query("after", {"type": "string"}, "Accounts with a larger key than this; `next` of the page before."),
            Query("limit", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100}, "Page size."),
            Query("search", {"type": "string"}, "A part of the key or name, or a provider's customer id."),
        ),
        problems=("invalid_query",),
    ),
)
async def list_accounts(
    parts: InContext,
    after: FromQuery[str] = "",
    limit: PageSize = 100,
    search: FromQuery[str] = "",
) -> accounts.AccountList:
    """Accounts by key, a page at a time."""
    return await accounts.list_accounts(parts.store, after=after, limit=limit, search=search)


@put(
    "/v1/accounts/{account:str}",
    opt=describe(
        "State an account",
        "accounts",
        sent=Sent(kind=AccountStatement, example=examples.ACCOUNT_STATEMENT),
        problems=("malformed_json", "invalid_body", "invalid_key", "unknown_provider", "link_taken"),
    ),
)
async def put_account(account: FromPath[str], request: HttpRequest, parts: InContext) -> accounts.AccountView:
    """Create the account or state it anew. `links` say which customers of a provider it pays as."""
    said = read_body(AccountStatement, await request.body())
    return await accounts.put_account(
        parts.store,
        account=read_key(account, pointer="", noun="account"),
        name=said.name,
        links=said.links,
        traits=said.traits,
        at=parts.clock.now(),
    )


@get(
    "/v1/accounts/{account:str}",
    opt=describe("Read an account", "accounts", problems=("invalid_key", "unknown_account")),
)
async def get_account(account: FromPath[str], parts: InContext) -> accounts.AccountView:
    """All that is known of the account."""
    return await accounts.get_account(parts.store, account=read_key(account, pointer="", noun="account"))


@delete(
    "/v1/accounts/{account:str}",
    opt=describe(
        "Delete an account",
        "accounts",
        problems=("invalid_key", "unknown_account", "account_has_live_subscription"),
    ),
)
async def delete_account(account: FromPath[str], parts: InContext) -> None:
    """The account is no longer one; its facts stay. Refused while a subscription of it lives: who pays has access."""
    key = read_key(account, pointer="", noun="account")
    await accounts.delete_account(parts.store, account=key, at=parts.clock.now())


@get(
    "/v1/accounts/{account:str}/timeline",
    opt=describe(
        "Read an account's timeline",
        "accounts",
        query=(
            Query("before", {"type": "integer"}, "Only facts with a smaller number than this."),
            Query("limit", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 100}, "Page size."),
        ),
        problems=("invalid_key", "invalid_query", "unknown_account"),
    ),
)
async def timeline(
    account: FromPath[str],
    parts: InContext,
    before: FromQuery[int | None] = None,
    limit: PageSize = 100,
) -> accounts.Timeline:
    """What became known of the account, the newest first: each fact with its cause."""
    key = read_key(account, pointer="", noun="account")
    return await accounts.timeline(parts.store, account=key, before=before, limit=limit)
