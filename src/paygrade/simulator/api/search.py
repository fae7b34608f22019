"""Search: objects by the documented query language, newest first.

Laws. A query is clauses joined by `AND` or by `OR`, not by both. `field:"value"` is equal, `field~"part"` contains,
`field<n`, `field>n`, `field<=n` and `field>=n` compare numbers, `-` before a clause negates it, and `field:null` is
what has no such field. Texts are compared without their case. Only the documented fields of a kind can be searched.
(Stripe docs: search query language.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from paygrade.simulator import errors, forms
from paygrade.simulator.api.reading import Test
from paygrade.simulator.forms import Json
from paygrade.simulator.world import World

FIELDS = frozenset({"expand", "limit", "page", "query"})
CLAUSE = re.compile(
    r"""\s*(?P<not>-)?(?P<field>[a-z_.]+)(\[(?P<key>"[^"]*"|'[^']*')\])?\s*(?P<sign>:|~|<=|>=|<|>)\s*"""
    r"""(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s]+)\s*"""
)
JOINT = re.compile(r"(AND|OR)\b")
CLAUSES_MAX = 10
PART_MIN = 3  # Stripe docs: substrings of three characters or more
NUMBERS = frozenset({"created", "total", "amount"})

Look = Callable[[World, Json], Any]


def _of(*path: str) -> Look:
    def look(_world: World, thing: Json) -> Any:
        found: Any = thing
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found

    return look


def _subscription(_world: World, invoice: Json) -> Any:
    return invoice["parent"] and invoice["parent"]["subscription_details"]["subscription"]


def _plainly(*names: str) -> dict[str, Look]:
    return {name: _of(*name.split(".")) for name in names}


SEARCHABLE: dict[str, dict[str, Look]] = {
    "charge": _plainly("amount", "created", "currency", "customer", "disputed", "refunded", "status"),
    "customer": _plainly("created", "email", "name", "phone"),
    "invoice": {
        **_plainly("created", "currency", "customer", "number", "receipt_number", "status", "total"),
        "subscription": _subscription,
    },
    "payment_intent": _plainly("amount", "created", "currency", "customer", "status"),
    "price": _plainly("active", "currency", "lookup_key", "product", "type"),
    "product": _plainly("active", "description", "name", "shippable", "url"),
    "subscription": _plainly("canceled_at", "created", "status"),
}


def searching(kind: str, path: str) -> Callable[[World, Json], Json]:
    def search(world: World, params: Json) -> Json:
        forms.check_known(params, FIELDS)
        test = parse(world, kind, forms.read_required(params, "query"))
        limit = forms.read_int(params, "limit")
        if limit is not None and not 1 <= limit <= 100:
            raise errors.invalid("limit", "This value must be between 1 and 100.")
        start = _read_page(params)
        found = [thing for thing in _newest(world, kind) if test(thing)]
        shown = found[start : start + (limit or 10)]
        end = start + len(shown)
        return {
            "object": "search_result",
            "data": shown,
            "has_more": end < len(found),
            "next_page": f"page_{end}" if end < len(found) else None,
            "total_count": len(found),
            "url": path,
        }

    return search


def parse(world: World, kind: str, query: str) -> Test:
    """Read a query into a test of one object."""
    tests: list[Test] = []
    joints: set[str] = set()
    place = 0
    while place < len(query):
        clause = CLAUSE.match(query, place)
        if clause is None:
            raise errors.invalid(
                "query", f"We were unable to parse your search query at `{query[place : place + 40]}`."
            )
        tests.append(_clause(world, kind, clause))
        place = clause.end()
        if joint := JOINT.match(query, place):
            joints.add(joint[0])
            place = joint.end()
        elif place < len(query):
            joints.add("AND")  # Stripe docs: without a word between them, clauses are joined by AND
    if len(joints) > 1:
        raise errors.invalid("query", "You can't combine AND and OR in one query.")
    if not 1 <= len(tests) <= CLAUSES_MAX:
        raise errors.invalid("query", f"A query has from 1 to {CLAUSES_MAX} clauses.")
    join = any if joints == {"OR"} else all
    return lambda thing: join(test(thing) for test in tests)


def _clause(world: World, kind: str, clause: re.Match[str]) -> Test:
    field, sign, negated = clause["field"], clause["sign"], clause["not"] is not None
    if clause["key"] is not None and field == "metadata":
        look = _of("metadata", clause["key"][1:-1])
    else:
        known = SEARCHABLE[kind].get(field)
        if known is None:
            fields = ", ".join(sorted({*SEARCHABLE[kind], 'metadata["key"]'}))
            raise errors.invalid("query", f"Field `{field}` is an unsupported search field for {kind}s: use {fields}.")
        look = known
    value = clause["value"]
    text = re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] in "\"'" else value
    if sign == "~" and len(text) < PART_MIN:
        raise errors.invalid("query", f"A part to look for has {PART_MIN} characters or more: `{text}`.")
    number = forms.read_int({"query": text}, "query") if sign in "<=>=" else None
    null = value == "null"

    def test(thing: Json) -> bool:
        found = look(world, thing)
        if null:
            holds = found is None or found == ""
        elif number is not None:
            holds = isinstance(found, int) and _compare(found, sign, number)
        else:
            shown = str(found).casefold() if found is not None else None
            holds = shown is not None and (shown == text.casefold() if sign == ":" else text.casefold() in shown)
        return holds != negated

    return test


def _compare(found: int, sign: str, number: int) -> bool:
    return {"<": found < number, ">": found > number, "<=": found <= number, ">=": found >= number}[sign]


def _read_page(params: Json) -> int:
    page = forms.read_text(params, "page") or "page_0"
    if not re.fullmatch(r"page_[0-9]{1,9}", page):
        raise errors.invalid("page", "`page` is the `next_page` of the page before.")
    return int(page.removeprefix("page_"))


def _newest(world: World, kind: str) -> Iterator[Json]:
    for id in reversed(world.shelves.get(kind, [])):
        thing = world.objects.get(id)
        if thing is not None and not thing.get("deleted"):
            yield thing
