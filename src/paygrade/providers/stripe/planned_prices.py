"""The prices of what schedules bring, and of what unpaid changes took away: asked for by themselves, once each.

Laws: a price that an item of the same subscription has is not asked for; what is given is never changed; a price that
Stripe does not know stays an id, and a schedule that is not understood stays as it is, for whoever translates it.
A price may be given another lookup key, so a sweep begins with none known.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from paygrade.providers.stripe.fields import Json, Payload
from paygrade.providers.stripe.translate import later_phases
from paygrade.values.errors import Refused

PRICES_MAX = 10_000


class PlannedPrices:
    """Safe to share between threads; `find` gives the object at a path, None where there is none, and may block."""

    def __init__(self, find: Callable[[str], Json | None]) -> None:
        self._find = find
        self._known: dict[str, Json | None] = {}

    def forget(self) -> None:
        self._known = {}

    def filled_in(self, subscriptions: Sequence[Json]) -> list[Json]:
        """The subscriptions with the prices of what their schedules bring."""
        return [self._with_prices(entry) if isinstance(entry.get("schedule"), Mapping) else entry
                for entry in subscriptions]  # fmt: skip

    def with_prices(self, invoices: Sequence[Json], subscriptions: Sequence[Json]) -> list[Json]:
        """The invoices with the prices of their lines that no item of these subscriptions has."""
        held = {
            item.id_of("price") for entry in subscriptions for item in Payload(entry, "subscription").listed("items")
        }
        lines = [line for invoice in invoices for line in Payload(invoice, "invoice").listed("lines")]
        named = {line.child("pricing").child("price_details").text("price") for line in lines}
        prices = {id: price for id in sorted(id for id in named - held if id) if (price := self._price(id)) is not None}
        return [_filled(invoice, prices) for invoice in invoices] if prices else list(invoices)

    def _with_prices(self, entry: Json) -> Json:
        try:
            wanted = _wanted(Payload(entry, "subscription"))
        except Refused:
            return entry
        prices = {id: price for id in wanted if (price := self._price(id)) is not None}
        return {**entry, "schedule": _filled(entry["schedule"], prices)} if prices else entry

    def _price(self, id: str) -> Json | None:
        known = self._known
        if id not in known:
            if len(known) >= PRICES_MAX:
                known.clear()
            known[id] = self._find(f"/v1/prices/{quote(id, safe='')}")
        return known.get(id)


def _wanted(source: Payload) -> list[str]:
    """The prices to ask for: those of phases to come that are ids and that no item has."""
    held = {item.id_of("price") for item in source.listed("items")}
    lines = [line for phase in later_phases(source.expanded("schedule")) for line in phase.listed("items")]
    named = {line.text("price") for line in lines if line.expanded("price") is None}
    return sorted(id for id in named - held if id)


# Any: plain JSON.
def _filled(value: Any, prices: Mapping[str, Json]) -> Any:
    """The schedule with objects for these ids, wherever they stand under `price`."""
    match value:
        case dict():
            return {
                key: prices[inner] if key == "price" and isinstance(inner, str) and inner in prices
                else _filled(inner, prices)
                for key, inner in value.items()
            }  # fmt: skip
        case list():
            return [_filled(inner, prices) for inner in value]
        case _:
            return value
