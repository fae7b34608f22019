"""Reading: pages of lists, their filters, and `expand`.

Laws. Lists run newest first. A page starts after (or ends before) the object its cursor names, and `has_more`
tells whether following it finds more, so paging through sees every object once, also while new ones are made.
`expand` replaces an id by its object, to four levels, and adds the few fields that only appear when asked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import sums
from paygrade.simulator.checkout import payment_links, sessions
from paygrade.simulator.forms import Json
from paygrade.simulator.payments import payments
from paygrade.simulator.world import World

LIST_FIELDS = frozenset({"limit", "starting_after", "ending_before", "expand"})
LEVELS_MAX = 4

Test = Callable[[Json], bool]


def page(
    world: World,
    shelf: str,
    params: Json,
    *,
    url: str,
    keep: Test = lambda _thing: True,
    look: Callable[[str], Json | None] | None = None,
) -> Json:
    """Give one page of a shelf (a kind, or a kind under an owner), of what `look` finds by id."""
    limit = forms.read_int(params, "limit")
    if limit is not None and not 1 <= limit <= 100:
        raise errors.invalid("limit", "This value must be between 1 and 100.")
    after, before = forms.read_text(params, "starting_after"), forms.read_text(params, "ending_before")
    if after and before:
        raise errors.invalid("ending_before", "Set either `starting_after` or `ending_before`.")
    found: list[Json] = []
    has_more = False
    for id in _walk(world, shelf, older_than=after, newer_than=before):
        thing = look(id) if look else world.objects.get(id)
        if thing is None or thing.get("deleted") or not keep(thing):
            continue
        if len(found) == (limit or 10):
            has_more = True
            break
        found.append(thing)
    if before:
        found.reverse()
    return {"object": "list", "data": found, "has_more": has_more, "url": url}


def _walk(world: World, shelf: str, *, older_than: str | None, newer_than: str | None) -> Iterator[str]:
    ids = world.shelves.get(shelf, [])
    if newer_than:
        steps = range(_place(world, shelf, newer_than, param="ending_before") + 1, len(ids))
    else:
        start = _place(world, shelf, older_than, param="starting_after") if older_than else len(ids)
        steps = range(start - 1, -1, -1)
    return (ids[step] for step in steps)


def _place(world: World, shelf: str, cursor: str, *, param: str) -> int:
    place = world.place(shelf, cursor)
    if place is None:
        raise errors.missing(kind=shelf.partition("/")[0], id=cursor, param=param)
    return place


def filters(params: Json, names: dict[str, Callable[[Json], Any]]) -> Test:
    """Make a test of the parameters: each named field must equal its value, `created` lie in its range."""
    wanted = {name: value for name, value in params.items() if name in names}
    created = params.get("created")

    def keep(thing: Json) -> bool:
        if created is not None and not forms.in_range(thing["created"], created):
            return False
        return all(_text(names[name](thing)) == value for name, value in wanted.items())

    return keep


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def expanded(world: World, thing: Json, params: Json) -> Json:
    """Give the object with everything `expand` asks for; the stored object stays as it is."""
    paths = [str(path).split(".") for path in forms.read_list(params, "expand")]
    for path in paths:
        if len(path) > LEVELS_MAX + (path[0] == "data"):
            message = f"You cannot expand more than {LEVELS_MAX} levels of a property: {'.'.join(path)}"
            raise errors.invalid("expand", message)
    return _expand(world, thing, paths) if paths else thing


def _expand(world: World, thing: Json, paths: list[list[str]]) -> Json:
    result = dict(thing)
    for head in dict.fromkeys(path[0] for path in paths):
        tails = [path[1:] for path in paths if path[0] == head and len(path) > 1]
        asked_itself = any(path == [head] for path in paths) or bool(tails)
        if extra := EXTRA_FIELDS.get((thing.get("object", ""), head)):
            if (value := extra(world, thing)) is not msgspec.UNSET:
                result[head] = _follow(world, value, tails)
        elif head in result and asked_itself:
            result[head] = _follow(world, result[head], tails, name=head)
        elif "object" in thing and not thing.get("deleted"):
            raise _cannot_expand(head)
    return result


def _follow(world: World, value: Any, tails: list[list[str]], *, name: str = "") -> Any:
    match value:
        case str():
            target = world.objects.get(value)
            if target is None:
                raise _cannot_expand(name)
            return _expand(world, target, tails) if tails else target
        case list():
            return [_follow(world, one, tails, name=name) for one in value]
        case dict():
            return _expand(world, value, tails) if tails else value
        case _:
            return value


def _cannot_expand(name: str) -> errors.RefusedByStripe:
    return errors.invalid(
        "expand", f"This property cannot be expanded ({name}). You may want to try expanding another one."
    )


def _list_of(data: list[Json], url: str) -> Json:
    return {"object": "list", "data": data, "has_more": False, "url": url}


def _payments(world: World, invoice: Json) -> Json:
    return _list_of(world.owned("invoice_payment", invoice["id"]), "/v1/invoices/payments")


def _confirmation_secret(world: World, invoice: Json) -> Json | None:
    payment = payments.payment_of(world, invoice)
    return payment and {"client_secret": payment[1]["client_secret"], "type": "payment_intent"}


def _subscriptions(world: World, customer: Json) -> Json:
    live = [s for s in world.owned("subscription", customer["id"]) if s["status"] != "canceled"]
    return _list_of(live, f"/v1/customers/{customer['id']}/subscriptions")


def _refunds(world: World, charge: Json) -> Json:
    made = world.owned("refund", charge["id"])
    return {**_list_of(made, f"/v1/charges/{charge['id']}/refunds"), "total_count": len(made)}


def _tax(_world: World, customer: Json) -> Json:
    address, located = customer["address"] or {}, sums.is_located(customer) or None
    return {
        "automatic_tax": "supported" if located else "unrecognized_location",
        "ip_address": None,
        "location": located and {"country": address["country"], "source": "billing_address", "state": address["state"]},
        "provider": "stripe",
    }


def _nothing(_world: World, _thing: Json) -> Any:
    """A field that only other kinds of the object have, such as the tiers of tiered prices."""
    return msgspec.UNSET


def _currencies(world: World, price: Json) -> Json:
    """Each currency of a price with what it costs in it, its own included."""
    return dict(world.price_options[price["id"]])


def _tiers(world: World, price: Json) -> Any:
    return world.price_options[price["id"]][price["currency"]].get("tiers", msgspec.UNSET)


def _none_of_a_customer(what: str) -> Callable[[World, Json], Json]:
    return lambda _world, customer: _list_of([], f"/v1/customers/{customer['id']}/{what}")


# Fields an object has only when they are asked for (Stripe docs: expand, includable properties).
EXTRA_FIELDS: dict[tuple[str, str], Callable[[World, Json], Any]] = {
    ("invoice", "payments"): _payments,
    ("invoice", "confirmation_secret"): _confirmation_secret,
    ("customer", "subscriptions"): _subscriptions,
    ("customer", "tax"): _tax,
    ("customer", "invoice_credit_balance"): lambda _world, _customer: {},
    ("customer", "sources"): _none_of_a_customer("sources"),
    ("customer", "tax_ids"): lambda world, customer: _list_of(
        world.owned("tax_id", customer["id"]), f"/v1/customers/{customer['id']}/tax_ids"
    ),
    ("customer", "cash_balance"): lambda _world, _customer: None,
    ("price", "currency_options"): _currencies,
    ("price", "tiers"): _tiers,
    ("plan", "tiers"): _tiers,
    ("coupon", "applies_to"): lambda _world, coupon: coupon.get("applies_to", msgspec.UNSET),
    ("coupon", "currency_options"): _nothing,
    ("charge", "refunds"): _refunds,
    (payment_links.KIND, "line_items"): lambda world, link: payment_links.line_items_of(world, link["id"]),
    ("checkout.session", "line_items"): lambda world, session: sessions.line_items_of(world, session["id"]),
}
