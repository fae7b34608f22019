"""What operators and the host application state of an account: overrides, blocks, members, subscriptions.

The body of each is the fact itself, without what the address already says.
"""

from typing import Any

from litestar import delete, put
from litestar.params import FromPath

from paygrade.billing.facts import Block, Member, Override, Pin, Subscription
from paygrade.decisions.decide import Decision
from paygrade.server.http.bodies import decode_object, invalid, read_body, read_key, read_object
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import statements
from paygrade.server.operations.accounts.accounts import AccountView
from paygrade.server.operations.catalog import versions
from paygrade.values.errors import Mistake

_BAD_BODY = ("malformed_json", "invalid_body", "invalid_key", "unknown_account")
VERSION_MAX = 2**53 - 1


@put(
    "/v1/accounts/{account:str}/overrides/{feature:str}",
    opt=describe(
        "Override a feature",
        "statements",
        sent=Sent(kind=Override, closed=frozenset({"feature"}), example=examples.OVERRIDE),
        problems=_BAD_BODY,
    ),
)
async def put_override(
    account: FromPath[str], feature: FromPath[str], request: HttpRequest, parts: InContext
) -> Decision:
    """An operator's word on one feature, above whatever is bought: exactly one of `value`, `limit`, `unlimited`,
    `add` and `spend_cap` (minor units that overage with a price may cost), a `reason` to be read by people, and an end
    where it has one. Answers with the decision it leads to."""
    key = read_key(account, pointer="", noun="account")
    given = {"feature": read_key(feature, pointer="", noun="feature")}
    override = read_body(Override, await request.body(), given=given)
    return await statements.put_override(parts.store, account=key, override=override, at=parts.clock.now())


@delete(
    "/v1/accounts/{account:str}/overrides/{feature:str}",
    status_code=200,
    opt=describe("Withdraw an override", "statements", problems=("invalid_key", "unknown_account", "unknown_override")),
)
async def delete_override(account: FromPath[str], feature: FromPath[str], parts: InContext) -> Decision:
    """What is bought counts again."""
    key = read_key(account, pointer="", noun="account")
    return await statements.delete_override(parts.store, account=key, feature=feature, at=parts.clock.now())


@put(
    "/v1/accounts/{account:str}/blocks/{block:str}",
    opt=describe(
        "Block an account",
        "statements",
        sent=Sent(kind=Block, closed=frozenset({"key", "lifted"}), example=examples.BLOCK),
        problems=(*_BAD_BODY, "already_expired"),
    ),
)
async def put_block(
    account: FromPath[str], block: FromPath[str], request: HttpRequest, parts: InContext
) -> AccountView:
    """Suspend all access of the account for a reason, until the block is lifted or ends by itself."""
    key = read_key(account, pointer="", noun="account")
    given = {"key": read_key(block, pointer="", noun="block")}
    stated = read_body(Block, await request.body() or b"{}", given=given, hidden={"lifted"})
    return await statements.put_block(parts.store, account=key, block=stated, at=parts.clock.now())


@delete(
    "/v1/accounts/{account:str}/blocks/{block:str}",
    status_code=200,
    opt=describe("Lift a block", "statements", problems=("invalid_key", "unknown_account", "unknown_block")),
)
async def delete_block(account: FromPath[str], block: FromPath[str], parts: InContext) -> AccountView:
    """This reason no longer suspends access; others may."""
    key = read_key(account, pointer="", noun="account")
    return await statements.delete_block(parts.store, account=key, key=block, at=parts.clock.now())


@put(
    "/v1/accounts/{account:str}/members/{member:str}",
    opt=describe(
        "State a member",
        "statements",
        sent=Sent(kind=Member, closed=frozenset({"key", "seated_at"}), example=examples.MEMBER),
        problems=(*_BAD_BODY, "no_seat_left"),
    ),
)
async def put_member(
    account: FromPath[str], member: FromPath[str], request: HttpRequest, parts: InContext
) -> AccountView:
    """A person in the account, with a role and perhaps a seat, if one is left. Whoever has one keeps its place."""
    key = read_key(account, pointer="", noun="account")
    given = {"key": read_key(member, pointer="", noun="member")}
    stated = read_body(Member, await request.body(), given=given, hidden={"seated_at"})
    if not stated.role:
        mistake = Mistake("/role", "is empty; to remove a member send DELETE")
        raise invalid("invalid_body", "the body", [mistake])
    return await statements.put_member(parts.store, account=key, member=stated, at=parts.clock.now())


@delete(
    "/v1/accounts/{account:str}/members/{member:str}",
    status_code=200,
    opt=describe("Remove a member", "statements", problems=("invalid_key", "unknown_account", "unknown_member")),
)
async def delete_member(account: FromPath[str], member: FromPath[str], parts: InContext) -> AccountView:
    """No longer a person in the account."""
    key = read_key(account, pointer="", noun="account")
    return await statements.delete_member(parts.store, account=key, member=member, at=parts.clock.now())


@put(
    "/v1/accounts/{account:str}/subscriptions/{subscription:str}",
    opt=describe(
        "State a subscription",
        "statements",
        sent=Sent(
            kind=Subscription,
            closed=frozenset({"id"}),
            extra={"version": {"type": "integer", "minimum": 0, "maximum": VERSION_MAX}},
            example=examples.SUBSCRIPTION,
        ),
        problems=(*_BAD_BODY, "invalid_subscription", "subscription_version_conflict"),
    ),
)
async def put_subscription(
    account: FromPath[str], subscription: FromPath[str], request: HttpRequest, parts: InContext
) -> AccountView:
    """A subscription of manual or foreign billing, whole, with a `version` that grows with each change there. A
    version older than the one known is taken and changes nothing."""
    key = read_key(account, pointer="", noun="account")
    given = {"id": read_key(subscription, pointer="", noun="subscription")}
    body = decode_object(await request.body())
    version = _version(body)
    stated = read_object(Subscription, body, given=given)
    return await statements.put_subscription(
        parts.store, account=key, subscription=stated, version=version, at=parts.clock.now()
    )


@put(
    "/v1/accounts/{account:str}/versions/{plan:str}",
    opt=describe(
        "Hold an account to a version",
        "statements",
        sent=Sent(kind=Pin, closed=frozenset({"key", "withdrawn"}), example=examples.PIN),
        problems=(*_BAD_BODY, "unknown_plan", "unknown_plan_version", "already_expired"),
    ),
)
async def put_pin(
    account: FromPath[str], plan: FromPath[str], request: HttpRequest, parts: InContext
) -> versions.AccountVersions:
    """An operator's word on which version of a plan or add-on counts, above whatever the catalog keeps: `version`, or
    the newest without one. From `until` on `then` counts, a version or `newest`; without it the catalog decides
    again."""
    key = read_key(account, pointer="", noun="account")
    given = {"key": read_key(plan, pointer="", noun="plan")}
    pin = read_body(Pin, await request.body() or b"{}", given=given, hidden={"withdrawn"})
    if pin.then is not None and pin.until is None:
        raise invalid("invalid_body", "the body", [Mistake("/then", "needs `until`: since when it counts")])
    return await versions.put_pin(parts.store, account=key, pin=pin, at=parts.clock.now())


@delete(
    "/v1/accounts/{account:str}/versions/{plan:str}",
    status_code=200,
    opt=describe("Hold an account no longer", "statements", problems=("invalid_key", "unknown_account", "unknown_pin")),
)
async def delete_pin(account: FromPath[str], plan: FromPath[str], parts: InContext) -> versions.AccountVersions:
    """The catalog decides again: what it keeps for those who bought early, else the newest version."""
    key = read_key(account, pointer="", noun="account")
    return await versions.delete_pin(parts.store, account=key, key=plan, at=parts.clock.now())


def _version(body: dict[str, Any]) -> int:
    version = body.pop("version", None)
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version <= VERSION_MAX:
        mistake = Mistake("/version", "must be a whole number that grows with each change of the subscription")
        raise invalid("invalid_body", "the body", [mistake])
    return version
