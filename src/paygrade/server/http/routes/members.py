"""Members of an account, many at once, and who of them has a seat."""

from litestar import get, put
from litestar.params import FromPath
from msgspec import Struct

from paygrade.billing.facts import Member
from paygrade.server.http.bodies import invalid, read_body, read_key, read_many
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import members as seats
from paygrade.values.errors import Mistake

MEMBERS_MAX = 5_000


class MemberStatement(Struct, frozen=True):
    """A person in the account, with a role and perhaps a seat; or one who is invited to become a member."""

    member: str
    role: str
    seat: bool = False
    invited: bool = False


class SeatHolders(Struct, frozen=True):
    """Who has a seat: these members and nobody else."""

    members: tuple[str, ...]


@get(
    "/v1/accounts/{account:str}/members",
    opt=describe("statements", seats.list_members, example=examples.MEMBERS, scope="accounts:read"),
)
async def list_members(account: FromPath[str], context: InContext) -> seats.MembersView:
    return await seats.list_members(context.store, account=account, at=context.clock.now())


@put(
    "/v1/accounts/{account:str}/members",
    opt=describe(
        "statements",
        seats.put_members,
        sent=Sent(examples.MEMBER_STATEMENTS, MemberStatement, many=MEMBERS_MAX),
        example=examples.MEMBERS,
        scope="members:write",
    ),
)
async def put_members(account: FromPath[str], request: HttpRequest, context: InContext) -> seats.MembersView:
    said = read_many(MemberStatement, await request.body(), at_most=MEMBERS_MAX)
    _refuse_odd(said)
    members = [
        Member(read_key(one.member, pointer="", noun="member"), one.role, one.seat, invited=one.invited) for one in said
    ]
    return await seats.put_members(context.store, account=account, members=members, at=context.clock.now())


@put(
    "/v1/accounts/{account:str}/seats",
    opt=describe(
        "statements",
        seats.choose_seats,
        sent=Sent({"members": ["ann", "bo"]}, SeatHolders),
        example=examples.MEMBERS,
        scope="members:write",
    ),
)
async def choose_seats(account: FromPath[str], request: HttpRequest, context: InContext) -> seats.MembersView:
    said = read_body(SeatHolders, await request.body())
    return await seats.choose_seats(context.store, account=account, members=said.members, at=context.clock.now())


def _refuse_odd(said: list[MemberStatement]) -> None:
    mistakes, seen = [], set[str]()
    for place, one in enumerate(said):
        if not one.role:
            mistakes.append(Mistake(f"/{place}/role", "is empty; to remove a member, send DELETE"))
        if one.member in seen:
            mistakes.append(Mistake(f"/{place}/member", f"`{one.member}` is listed twice; list each member once"))
        seen.add(one.member)
    if mistakes:
        raise invalid("invalid_body", "the body", mistakes)
