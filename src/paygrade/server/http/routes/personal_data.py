"""Privacy: all that is stored of an account, and having erased what of it is personal."""

from typing import Annotated

from litestar import get, post
from litestar.params import FromPath
from msgspec import Struct

from paygrade.server.http.bodies import invalid, read_body
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import PageSize, text
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import personal_data
from paygrade.values.errors import Mistake


class Erasure(Struct, frozen=True):
    """What is asked for. `confirm`: the account's key again; `reason`: why, for the audit log."""

    confirm: str
    reason: str = ""


@get(
    "/v1/accounts/{account:str}/export",
    opt=describe("accounts", personal_data.export_account, example=examples.EXPORT_PAGE, scope="accounts:export"),
)
async def export_account(
    account: FromPath[str],
    context: InContext,
    after: Annotated[str | None, text("The `next` of the page before.")] = None,
    limit: PageSize = 100,
) -> personal_data.ExportPage:
    at = context.clock.now()
    return await personal_data.export_account(context.store, account=account, after=after, limit=limit, at=at)


@post(
    "/v1/accounts/{account:str}/erase",
    status_code=200,
    opt=describe(
        "accounts",
        personal_data.erase_account,
        sent=Sent(examples.ERASURE, Erasure),
        example=examples.ERASED,
        scope="accounts:erase",
    ),
)
async def erase_account(account: FromPath[str], request: HttpRequest, context: InContext) -> personal_data.Erased:
    asked = read_body(Erasure, await request.body())
    if asked.confirm != account:
        mistake = Mistake("/confirm", f"must be the account's key, `{account}`: an erasure can't be undone")
        raise invalid("invalid_body", "the body", [mistake])
    return await personal_data.erase_account(
        context.store,
        account=account,
        reason=asked.reason,
        properties=context.personal_properties,
        at=context.clock.now(),
    )
