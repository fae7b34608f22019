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
_BAD_BODY = ("malformed_json", "invalid_body", "invalid_key", "unknown_account")


class MemberStatement(Struct, frozen=True):
    """A person in the account, with a role and perhaps a seat."""

    member: str
    role: str
    seat: bool = False


class SeatHolders(Struct, frozen=True):
    """Who has a seat: these members and nobody else."""

    members: tuple[str, ...]


@get(
    "/v1/accounts/{account:str}/members",
    opt=describe("List members", "statements", example=examples.MEMBERS, problems=("invalid_key", "unknown_account")),
)
async def list_members(account: FromPath[str], parts: InContext) -> seats.MembersView:
    """Who is a member, with which role, who has a seat since when and may use it, and who was last active when."""
    key = read_key(account, pointer="", noun="account")
    return await seats.list_members(parts.store, account=key, at=parts.clock.now())


@put(
    "/v1/accounts/{account:str}/members",
    opt=describe(
        "State many members",
        "statements",
        sent=Sent(kind=MemberStatement, many=MEMBERS_MAX, example=examples.MEMBER_STATEMENTS),
        example=examples.MEMBERS,
        problems=(*_BAD_BODY, "no_seat_left"),
    ),
)
async def put_members(account: FromPath[str], request: HttpRequest, parts: InContext) -> seats.MembersView:
    """State many members at once, all of them or none: each as a whole, and whoever is not among them stays as they
    are. Refused where somebody would get a seat that is not there."""
    key = read_key(account, pointer="", noun="account")
    said = read_many(MemberStatement, await request.body(), at_most=MEMBERS_MAX)
    _refuse_odd(said)
    members = [Member(read_key(one.member, pointer="", noun="member"), one.role, one.seat) for one in said]
    return await seats.put_members(parts.store, account=key, members=members, at=parts.clock.now())


@put(
    "/v1/accounts/{account:str}/seats",
    opt=describe(
        "Choose who has a seat",
        "statements",
        sent=Sent(kind=SeatHolders, example={"members": ["ann", "bo"]}),
        example=examples.MEMBERS,
        problems=(*_BAD_BODY, "unknown_member", "no_seat_left"),
    ),
)
async def choose_seats(account: FromPath[str], request: HttpRequest, parts: InContext) -> seats.MembersView:
    """Who of the members has a seat, whole: those left out have none. Whoever has one keeps its place, whoever is new
    comes behind them."""
    key = read_key(account, pointer="", noun="account")
    said = read_body(SeatHolders, await request.body())
    return await seats.choose_seats(parts.store, account=key, members=said.members, at=parts.clock.now())


def _refuse_odd(said: list[MemberStatement]) -> None:
    mistakes, seen = [], set[str]()
    for place, one in enumerate(said):
        if not one.role:
            mistakes.append(Mistake(f"/{place}/role", "is empty; to remove a member send DELETE"))
        if one.member in seen:
            mistakes.append(Mistake(f"/{place}/member", f"`{one.member}` is here twice; state each member once"))
        seen.add(one.member)
    if mistakes:
        raise invalid("invalid_body", "the body", mistakes)
