"""Nodes: the places below an account, as its facts state them, and the limits that hold at one.

Laws: facts of nodes replay in any order, any number of times, to the same tree; a node stands where all its parents do;
nothing may be used at one that nobody stated, unless its parent is open.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from msgspec import Struct

from paygrade.billing.facts import Fact, Node, NodeLimit
from paygrade.values.errors import Refused

DEPTH_MAX = 8
PATH_LENGTH_MAX = 200
_KEY = "[A-Za-z0-9_.@:+~-]+"
_PATH = re.compile(f"{_KEY}(/{_KEY}){{0,{DEPTH_MAX - 1}}}")
SUBJECT = "node:"


class StatedNode(Struct, frozen=True):
    """The latest word on one node, and the fact that said so."""

    sequence: int
    number: int
    node: Node


def is_path(text: str) -> bool:
    """Whether this may name a node: up to 8 keys of letters, digits and `_.@:+~-`, with `/` between them."""
    return len(text) <= PATH_LENGTH_MAX and _PATH.fullmatch(text) is not None


def places(path: str) -> tuple[str, ...]:
    """The nodes on the way to one, from the root: `team-a`, `team-a/jane`."""
    keys = path.split("/")
    return tuple("/".join(keys[:depth]) for depth in range(1, len(keys) + 1))


def fold_nodes(facts: Iterable[Fact]) -> dict[str, StatedNode]:
    """The latest word on each node, of these facts in any order."""
    found: dict[str, StatedNode] = {}
    for fact in facts:
        if isinstance(fact.body, Node):
            known = found.get(fact.body.path)
            if known is None or (fact.sequence, fact.number) > (known.sequence, known.number):
                found[fact.body.path] = StatedNode(fact.sequence, fact.number, fact.body)
    return found


def on_the_way(
    account: str, path: str, nodes: Mapping[str, Node], at: datetime, *, ended: bool = False
) -> tuple[Node, ...]:
    """The nodes on the way to `path`, from the root; those that came by themselves have nothing stated of them.

    `nodes` are those stated. `ended`: those that stood once will do. Refused `unknown_node`.
    """
    found: list[Node] = []
    for place in places(path):
        node = nodes.get(place)
        if node is None or not (ended or node.stands(at)):
            if not found or not found[-1].open:
                raise unknown_node(account, place)
            node = Node(place, open=True)
        found.append(node)
    return tuple(found)


def limits_on(way: Iterable[Node]) -> Iterator[tuple[str, NodeLimit, int]]:
    """The limits that hold on this way, from the root: the node, what it is a limit of, and its units."""
    inherited: dict[tuple[str, tuple[tuple[str, str], ...]], NodeLimit] = {}
    for node in way:
        own = {_of(limit): limit for limit in node.limits}
        for limit in own.values():
            if limit.units is not None:
                yield node.path, limit, limit.units
        for key, limit in inherited.items():
            if limit.each is not None and (key not in own or own[key].units is None):
                yield node.path, limit, limit.each
        inherited = own


def _of(limit: NodeLimit) -> tuple[str, tuple[tuple[str, str], ...]]:
    return limit.feature, tuple(sorted(limit.where.items()))


def unknown_node(account: str, path: str) -> Refused:
    return Refused(
        "unknown_node",
        f"`{account}` has no node `{path}`, and nothing may be used there; state it with "
        f"`PUT /v1/accounts/{account}/nodes`, or let the node above it be `open`",
    )
