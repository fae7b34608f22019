"""Nodes of an account: the teams, people and agents below it, each with limits of its own."""

from datetime import datetime
from typing import Annotated

from litestar import get, put
from litestar.params import FromPath
from msgspec import Struct

from paygrade.billing.facts import Limits, Node
from paygrade.server.http.bodies import invalid, read_many, read_node
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import PageSize, text
from paygrade.server.operations.accounts import nodes
from paygrade.values.errors import Mistake

NODES_MAX = 1_000
_STATEMENTS = [
    {"node": "research", "limits": [{"feature": "tokens", "units": 50000, "each": 5000}], "reason": "budget 2026"},
    {"node": "research/jane", "open": True},
]

_NODES: dict[str, object] = {
    "account": "acme",
    "nodes": [
        {
            "node": "research/jane",
            "limits": [
                {
                    "feature": "tokens",
                    "units": 5000,
                    "each": None,
                    "where": {},
                    "inherited": True,
                    "used": 1200,
                    "reserved": 0,
                    "remaining": 3800,
                    "resets_at": "2026-12-01T00:00:00Z",
                }
            ],
            "open": True,
            "reason": "",
            "expires_at": None,
        }
    ],
    "next": None,
}


class NodeStatement(Struct, frozen=True):
    """A place below the account, named by the way to it, and what may be used there. `open`: children that nobody
    stated may use what their parents have left, too. `removed`: it is no place any more."""

    node: str
    limits: Limits = ()
    open: bool = False
    reason: str = ""
    expires_at: datetime | None = None
    removed: bool = False


@get(
    "/v1/accounts/{account:str}/nodes",
    opt=describe("statements", nodes.list_nodes, example=_NODES, scope="accounts:read"),
)
async def list_nodes(
    account: FromPath[str],
    context: InContext,
    below: Annotated[str | None, text("Only nodes below this one.")] = None,
    after: Annotated[str | None, text("The `next` of the page before.")] = None,
    limit: PageSize = 100,
) -> nodes.NodesView:
    below = None if below is None else read_node(below, pointer="", name="below")
    at = context.clock.now()
    return await nodes.list_nodes(context.store, account=account, below=below, after=after, limit=limit, at=at)


@put(
    "/v1/accounts/{account:str}/nodes",
    opt=describe(
        "statements",
        nodes.put_nodes,
        sent=Sent(_STATEMENTS, NodeStatement, many=NODES_MAX),
        example=_NODES,
        problems=("invalid_key",),
        scope="overrides:write",
    ),
)
async def put_nodes(account: FromPath[str], request: HttpRequest, context: InContext) -> nodes.NodesView:
    said = read_many(NodeStatement, await request.body(), at_most=NODES_MAX)
    _refuse_odd(said)
    stated = [
        Node(
            read_node(one.node, pointer=f"/{place}/node"), one.limits, one.open, one.reason, one.expires_at, one.removed
        )
        for place, one in enumerate(said)
    ]
    return await nodes.put_nodes(context.store, account=account, nodes=stated, at=context.clock.now())


def _refuse_odd(said: list[NodeStatement]) -> None:
    mistakes, seen = [], set[str]()
    for place, one in enumerate(said):
        if one.node in seen:
            mistakes.append(Mistake(f"/{place}/node", f"`{one.node}` is listed twice; list each node once"))
        seen.add(one.node)
        of = [(limit.feature, sorted(limit.where.items())) for limit in one.limits]
        for at, limit in enumerate(one.limits):
            if limit.units is None and limit.each is None:
                mistakes.append(Mistake(f"/{place}/limits/{at}", "needs `units`, `each` or both"))
            if of[at] in of[:at]:
                mistakes.append(Mistake(f"/{place}/limits/{at}", f"limits `{limit.feature}` twice; say it once"))
    if mistakes:
        raise invalid("invalid_body", "the body", mistakes[:100])
