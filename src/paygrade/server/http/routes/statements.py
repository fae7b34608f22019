"""What operators and the host application state of an account: overrides, blocks, members, subscriptions.

The body of each is the fact itself, without what the address already says.
"""

from typing import Annotated, Any

from litestar import delete, put
from litestar.params import FromPath

from paygrade.billing.facts import Block, Member, Override, Pin, Subscription
from paygrade.decisions.message import DecisionView
from paygrade.server.http.bodies import decode_object, invalid, read_body, read_flag, read_object
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import Reason, flag
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import statements
from paygrade.server.operations.accounts.accounts import AccountView
from paygrade.server.operations.catalog import versions
from paygrade.values.errors import Mistake
from paygrade.values.text import QUANTITY_MAX


@put(
    "/v1/accounts/{account:str}/overrides/{feature:str}",
    opt=describe(
        "statements",
        statements.put_override,
        sent=Sent(examples.OVERRIDE, Override, closed=frozenset({"feature"})),
        scope="overrides:write",
        second_person="overrides",
    ),
)
async def put_override(
    account: FromPath[str],
    feature: FromPath[str],
    request: HttpRequest,
    context: InContext,
    dry_run: Annotated[str | None, flag("Only say what it would lead to.")] = None,
) -> DecisionView:
    return await statements.put_override(
        context.store,
        account=account,
        override=read_body(Override, await request.body(), given={"feature": feature}),
        dry_run=read_flag(dry_run, name="dry_run"),
        at=context.clock.now(),
    )


@delete(
    "/v1/accounts/{account:str}/overrides/{feature:str}",
    status_code=200,
    opt=describe("statements", statements.delete_override, scope="overrides:write", second_person="overrides"),
)
async def delete_override(
    account: FromPath[str],
    feature: FromPath[str],
    context: InContext,
    reason: Reason = "",
    dry_run: Annotated[str | None, flag("Only say what it would lead to.")] = None,
) -> DecisionView:
    return await statements.delete_override(
        context.store,
        account=account,
        feature=feature,
        reason=reason,
        dry_run=read_flag(dry_run, name="dry_run"),
        at=context.clock.now(),
    )


@put(
    "/v1/accounts/{account:str}/blocks/{block:str}",
    opt=describe(
        "statements",
        statements.put_block,
        sent=Sent(examples.BLOCK, Block, closed=frozenset({"key", "lifted"})),
        scope="overrides:write",
    ),
)
async def put_block(
    account: FromPath[str], block: FromPath[str], request: HttpRequest, context: InContext
) -> AccountView:
    stated = read_body(Block, await request.body() or b"{}", given={"key": block}, hidden={"lifted"})
    return await statements.put_block(context.store, account=account, block=stated, at=context.clock.now())


@delete(
    "/v1/accounts/{account:str}/blocks/{block:str}",
    status_code=200,
    opt=describe("statements", statements.delete_block, scope="overrides:write"),
)
async def delete_block(
    account: FromPath[str], block: FromPath[str], context: InContext, reason: Reason = ""
) -> AccountView:
    at = context.clock.now()
    return await statements.delete_block(context.store, account=account, key=block, reason=reason, at=at)


@put(
    "/v1/accounts/{account:str}/members/{member:str}",
    opt=describe(
        "statements",
        statements.put_member,
        sent=Sent(examples.MEMBER, Member, closed=frozenset({"key", "seated_at", "expires_at"})),
        scope="members:write",
    ),
)
async def put_member(
    account: FromPath[str], member: FromPath[str], request: HttpRequest, context: InContext
) -> AccountView:
    stated = read_body(Member, await request.body(), given={"key": member}, hidden={"seated_at", "expires_at"})
    if not stated.role:
        mistake = Mistake("/role", "is empty; to remove a member, send DELETE")
        raise invalid("invalid_body", "the body", [mistake])
    return await statements.put_member(context.store, account=account, member=stated, at=context.clock.now())


@delete(
    "/v1/accounts/{account:str}/members/{member:str}",
    status_code=200,
    opt=describe("statements", statements.delete_member, scope="members:write"),
)
async def delete_member(account: FromPath[str], member: FromPath[str], context: InContext) -> AccountView:
    return await statements.delete_member(context.store, account=account, member=member, at=context.clock.now())


@put(
    "/v1/accounts/{account:str}/subscriptions/{subscription:str}",
    opt=describe(
        "statements",
        statements.put_subscription,
        sent=Sent(
            examples.SUBSCRIPTION,
            Subscription,
            closed=frozenset({"id"}),
            extra={"version": {"type": "integer", "minimum": 0, "maximum": QUANTITY_MAX}},
        ),
        scope="subscriptions:write",
        second_person="subscriptions",
    ),
)
async def put_subscription(
    account: FromPath[str], subscription: FromPath[str], request: HttpRequest, context: InContext
) -> AccountView:
    body = decode_object(await request.body())
    version = _version(body)
    stated = read_object(Subscription, body, given={"id": subscription})
    return await statements.put_subscription(
        context.store, account=account, subscription=stated, version=version, at=context.clock.now()
    )


@put(
    "/v1/accounts/{account:str}/versions/{plan:str}",
    opt=describe(
        "statements",
        versions.put_pin,
        sent=Sent(examples.PIN, Pin, closed=frozenset({"key", "withdrawn"})),
        scope="overrides:write",
    ),
)
async def put_pin(
    account: FromPath[str], plan: FromPath[str], request: HttpRequest, context: InContext
) -> versions.AccountVersions:
    pin = read_body(Pin, await request.body() or b"{}", given={"key": plan}, hidden={"withdrawn"})
    if pin.then is not None and pin.until is None:
        raise invalid("invalid_body", "the body", [Mistake("/then", "needs `until`, the instant from which it counts")])
    return await versions.put_pin(context.store, account=account, pin=pin, at=context.clock.now())


@delete(
    "/v1/accounts/{account:str}/versions/{plan:str}",
    status_code=200,
    opt=describe("statements", versions.delete_pin, scope="overrides:write"),
)
async def delete_pin(account: FromPath[str], plan: FromPath[str], context: InContext) -> versions.AccountVersions:
    return await versions.delete_pin(context.store, account=account, key=plan, at=context.clock.now())


def _version(body: dict[str, Any]) -> int:
    version = body.pop("version", None)
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version <= QUANTITY_MAX:
        mistake = Mistake("/version", "must be a whole number that grows with each change of the subscription")
        raise invalid("invalid_body", "the body", [mistake])
    return version
