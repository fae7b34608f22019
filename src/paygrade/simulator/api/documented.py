"""What Stripe documents and the simulator does not have: told as that, and never as unknown.

The names come from the official library's own types (`documented.json`, made by `tests/support/stripe_parameters.py`).
In it, `name(…)` has parts, `name[…]` is a list of such, `name{…}` maps the caller's own keys to such, and `name(*)`
stands for more than is listed.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from paygrade.simulator import errors

Tree = dict[str, Any]  # name → the names below it; ANY and EACH are names of ours

ANY, EACH = "*", "{}"


class Documented(msgspec.Struct, frozen=True):
    made_from: str
    requests: dict[str, str]  # `POST /v1/customers/{}` → the names of its parameters


@cache
def documented() -> Documented:
    return msgspec.json.decode((Path(__file__).parent / "documented.json").read_bytes(), type=Documented)


def refusal(method: str, path: str) -> errors.RefusedByStripe:
    """Refuse a URL: Stripe's, which the simulator lacks, or nobody's."""
    request = request_of(method, path)
    return errors.no_such_url(method, path) if request is None else errors.url_not_simulated(request)


def worded(refused: errors.RefusedByStripe, method: str, path: str) -> errors.RefusedByStripe:
    """Tell an unknown parameter that Stripe documents as one the simulator lacks; leave other refusals as they are."""
    name = str(refused.error.get("param"))
    if refused.error.get("code") != errors.UNKNOWN_PARAMETER:
        return refused
    request = request_of(method, path)
    if request is None or not is_in(parameters(request), name):
        return refused
    return errors.not_simulated(name, request=request)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    # A path of words only, such as `/v1/invoices/create_preview`, comes before one with an id in the same place.
    requests = sorted(documented().requests, key=lambda request: request.count("{}"))
    return [(request, re.compile(re.escape(request).replace(r"\{\}", "[^/]+"))) for request in requests]


def request_of(method: str, path: str) -> str | None:
    """Find the documented request of a method and a path, as `POST /v1/customers/{}`."""
    asked = f"{method} {path}"
    return next((request for request, pattern in _patterns() if pattern.fullmatch(asked)), None)


@cache
def parameters(request: str) -> Tree:
    words = re.findall(r"[^\s()\[\]{}]+|[()\[\]{}]", documented().requests[request])
    tree, _ = _read(words, 0)
    return tree


def _read(words: list[str], place: int) -> tuple[Tree, int]:
    tree: Tree = {}
    last = ""
    while place < len(words) and words[place] not in ")]}":
        word = words[place]
        if word in "([{":
            inner, place = _read(words, place + 1)
            tree[last] = inner if word == "(" else {EACH: inner}
        else:
            last, tree[word] = word, {}
        place += 1
    return tree, place


def is_in(tree: Tree, name: str) -> bool:
    """Tell whether a name such as `items[0][price]` is among the documented ones."""
    for part in re.findall(r"[^\[\]]+", name):
        if ANY in tree:
            return True
        tree = tree[EACH] if EACH in tree else tree.get(part, _NOWHERE)
        if tree is _NOWHERE:
            return False
    return True


_NOWHERE: Tree = {"": {}}
