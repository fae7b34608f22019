"""Erasing what is personal of an account: the facts without it, and names in the place of its members' keys.

Laws: erased facts replay to an account that may do what it could before; a member has the same new key wherever the old
one stood, and new keys sort as the old ones did, so that nobody's rank changes.

The account's key, the ids of its customers and subscriptions at the provider, dates, roles and numbers stay: without
them nothing could be counted or billed, and they name nobody to whoever has only this database.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from paygrade.billing.facts import (
    Block,
    Body,
    Contract,
    Customer,
    Fact,
    ManualSubscription,
    Member,
    Node,
    Override,
    Pin,
    Profile,
)

_MEMBER = "member:"


def pseudonyms(members: Iterable[str], mark: str) -> dict[str, str]:
    """A key for each of these members that says nothing of who it is. `mark` tells this erasure from others: no new key
    may be one that is there already."""
    ordered = sorted(set(members))
    digits = len(str(len(ordered)))
    return {member: f"erased-{mark}-{number:0{digits}}" for number, member in enumerate(ordered, start=1)}


def erased_fact(fact: Fact, names: Mapping[str, str]) -> Fact:
    """The fact without what is personal. `names` has a pseudonym for every member."""
    subject = fact.subject
    if subject.startswith(_MEMBER):
        key = subject.removeprefix(_MEMBER)
        subject = f"{_MEMBER}{names.get(key, key)}"
    return replace(fact, subject=subject, body=_erased_body(fact.body, names))


def _erased_body(body: Body, names: Mapping[str, str]) -> Body:
    match body:
        case Customer():
            return replace(body, name="")
        case Profile():
            return replace(body, name="", traits={})
        case Override() | Block() | Node() | Pin():
            return replace(body, reason="")
        case ManualSubscription(contract=Contract() as contract):
            return replace(body, contract=replace(contract, reference="", notes="", reason=""))
        case Member():
            return replace(body, key=names.get(body.key, body.key))
        case _:
            return body


def erased_json(value: Any, names: Mapping[str, str], *, without: frozenset[str] = frozenset()) -> Any:
    """The same of JSON that was kept beside: members by their pseudonyms, no notes, and no properties named `without`.
    Any: JSON."""
    match value:
        case dict():
            if value.get("type") in ("override", "block", "node", "pin"):
                value = {**value, "reason": ""}
            return {name: _erased_field(name, its, names, without) for name, its in value.items()}
        case list():
            return [erased_json(each, names, without=without) for each in value]
        case str():
            return _renamed(value, names)
        case _:
            return value


def _erased_field(name: str, value: Any, names: Mapping[str, str], without: frozenset[str]) -> Any:
    if name == "note":
        return ""
    if name == "member" and isinstance(value, str):
        return names.get(value, value)
    if name == "members" and isinstance(value, list):
        return [names.get(each, each) if isinstance(each, str) else each for each in value]
    if name == "properties" and isinstance(value, dict):
        return {key: its for key, its in value.items() if key not in without}
    return erased_json(value, names, without=without)


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """The name of a slot that counts for a member (`2026-11-01T00:00:00Z member:ann`), or a sentence that has members
    between backticks."""
    head, sign, member = text.partition(f" {_MEMBER}")
    if sign and member in names:
        return f"{head}{sign}{names[member]}"
    if "`" in text:
        for each, name in names.items():
            text = text.replace(f"`{each}`", f"`{name}`")
    return text
