"""Meters: how usage events become units of features.

Laws: `measure` is pure in (catalog, event), so an event reads the same whenever it is read; what a window comes to is a
fold of its measures: splitting a batch anywhere changes nothing, and for max, last and unique neither does the order;
whole numbers only: what is not whole is refused, never rounded; units that take back (negative ones) exist where
units add up, and nowhere else.

| aggregate | reads of an event | a window's units are |
|---|---|---|
| count | `quantity`, else 1 | the sum |
| sum | the property named by `value`, else `quantity` | the sum |
| max | the same | the greatest, 0 before the first |
| last | the same | that of the latest event, by (time, id) |
| unique | the property named by `value`, as text | how many different ones |

An event names a feature, or an event that any number of features count. Of a feature it names it may say the
`quantity` itself, 1 if it says nothing; a credit is a sum whose `value` is that quantity, and so is a level that says
nothing else. A level has one window for good, so the latest or greatest value told of it stands.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from difflib import get_close_matches

import msgspec
from msgspec import Struct

from paygrade.catalog.model import Catalog
from paygrade.catalog.offers import Aggregate, Credit, LevelFeature, MeteredFeature
from paygrade.usage.events import Refusal, UsageEvent
from paygrade.values.text import QUANTITY_MAX, as_text


class Measured(Struct, frozen=True, gc=False):
    """What one feature's meter reads of one event. `value`: what a `unique` meter saw; `units` is 1 then."""

    feature: str
    aggregate: Aggregate
    units: int
    value: str | None = None


class Meter(Struct, frozen=True):
    """How one feature is counted. `one` is what it reads of an event that just happened."""

    feature: str
    aggregate: Aggregate
    value: str | None
    one: Measured


class Meters(Struct, frozen=True):
    """The meters of a catalog, by the feature and by the event that a usage event names."""

    features: Mapping[str, tuple[Meter, ...]]
    events: Mapping[str, tuple[Meter, ...]]


def meters_of(catalog: Catalog) -> Meters:
    counted = [offer for offer in catalog.features.values() if isinstance(offer, MeteredFeature | LevelFeature)]
    features = {offer.key: (_meter(offer),) for offer in (*counted, *catalog.credits.values())}
    events: dict[str, tuple[Meter, ...]] = {}
    for key, feature in catalog.features.items():
        if isinstance(feature, MeteredFeature | LevelFeature) and feature.event is not None:
            events[feature.event] = (*events.get(feature.event, ()), *features[key])
    return Meters(features, events)


def measure(meters: Meters, event: UsageEvent) -> tuple[Measured, ...] | Refusal:
    """What every meter the event concerns reads of it; a refusal if one of them cannot."""
    named = event.feature is not None
    if named is (event.event is not None):
        return Refusal("invalid_event", "send either `feature` or `event`")
    found = meters.features.get(event.feature or "") if named else meters.events.get(event.event or "")
    if found is None:
        return Refusal(
            "unknown_feature" if named else "unknown_event",
            f"there is no {'feature' if named else 'event'} `{event.name[:64]}`",
        )
    measures = []
    for meter in found:
        if meter.aggregate == "count" or (meter.aggregate == "sum" and named and meter.value is None):
            measured = meter.one if event.quantity is None else _reading(meter, event.quantity)
        else:
            read = _read(meter, event, named=named)
            if isinstance(read, Refusal):
                return read
            measured = read
        measures.append(measured)
    return tuple(measures)


def suggestion(meters: Meters, event: UsageEvent) -> str:
    """What to write instead of a name nothing counts. Compares with every name: not for thousands of events."""
    known = meters.features if event.feature is not None else meters.events
    near = get_close_matches(event.name[:64], known, n=1)
    if near:
        return f"did you mean `{near[0]}`?"
    if event.feature is None and event.name in meters.features:
        return f"`{event.name}` is a feature; write `feature` instead of `event`"
    return "the catalog says which features are metered, and by which events"


def digest(event: UsageEvent) -> int:
    """64 bits that tell apart what events with one id say. The order of properties does not matter."""
    return int.from_bytes(hashlib.blake2b(_encode(event), digest_size=8).digest(), "big", signed=True)


class EventEntry(Struct, gc=False):
    """A usage event on its way into the ledger. Its texts are printable; `draws` and `properties` are JSON."""

    account: str
    id: str
    name: str
    quantity: int
    time: datetime
    digest: int
    draws: str = "[]"
    member: str | None = None
    properties: str | None = None
    amends: str | None = None


class Read(Struct, frozen=True, omit_defaults=True):
    """What has to be known of an event to amend it later, where it is more than its draws.

    `reads` is what the meters that do not add up read, by feature: how, and the units or a `unique` meter's value.
    `own`: from which of the entry's draws to which it says what it adds up itself. `generation` counts the amendments
    before it; the last one of a chain is what counts.
    """

    reads: dict[str, tuple[Aggregate, int | str]] = {}
    own: tuple[int, int] | None = None
    generation: int = 0


class Said(Struct, frozen=True):
    """A measure in a window, as it counts today."""

    id: str
    time: datetime
    units: int
    value: str | None = None


class Total(Struct, frozen=True):
    """What a window comes to so far. `latest`: whose units a `last` meter has."""

    used: int = 0
    latest: tuple[datetime, str] | None = None


def take(total: Total, measured: Measured, *, id: str, time: datetime, seen: bool = False) -> Total:
    """One more measure in this window. `seen`: of a `unique` meter, another event said the same value."""
    match measured.aggregate:
        case "count" | "sum":
            return Total(total.used + measured.units)
        case "max":
            return Total(max(total.used, measured.units))
        case "last":
            later = total.latest is None or (time, id) > total.latest
            return Total(measured.units, (time, id)) if later else total
        case "unique":
            return total if seen else Total(total.used + 1)


def fold(aggregate: Aggregate, said: Iterable[Said]) -> Total:
    """What a window comes to, from nothing."""
    total, values = Total(), set[str | None]()
    for each in said:
        measured = Measured("", aggregate, each.units, each.value)
        total = take(total, measured, id=each.id, time=each.time, seen=each.value in values)
        values.add(each.value)
    return total


_encode = msgspec.json.Encoder(order="deterministic").encode


def _meter(offer: MeteredFeature | LevelFeature | Credit) -> Meter:
    if isinstance(offer, MeteredFeature | LevelFeature):
        return Meter(offer.key, offer.aggregate, offer.value, Measured(offer.key, offer.aggregate, 1))
    return Meter(offer.key, "sum", None, Measured(offer.key, "sum", 1))


def _reading(meter: Meter, units: int, value: str | None = None) -> Measured:
    return Measured(meter.feature, meter.aggregate, units, value)


def _read(meter: Meter, event: UsageEvent, *, named: bool) -> Measured | Refusal:
    """Read the property the catalog names, or the quantity where it is not there."""
    name = meter.value or ""
    value = event.properties.get(name)
    if meter.aggregate == "unique":
        text = _text(value)
        if text is None:
            return _invalid(meter, name, value, "a string or a number")
        return _reading(meter, 1, text)
    if named and event.quantity is not None:
        units: int | None = event.quantity
    elif value is None:
        units = event.quantity if event.quantity is not None or not (named and meter.aggregate == "sum") else 1
    else:
        units = _whole(value)
    if units is None:
        return _invalid(meter, name, value, f"a whole number up to {QUANTITY_MAX}")
    if units < 0 and meter.aggregate != "sum":
        return Refusal("invalid_value", f"`{meter.feature}` takes the {_WORDS[meter.aggregate]}; it must be at least 0")
    return _reading(meter, units)


_WORDS = {"max": "greatest value", "last": "latest value"}
_TEXT_LENGTH_MAX = 200


def _invalid(meter: Meter, name: str, value: object, wanted: str) -> Refusal:
    if value is None and not name:
        return Refusal("invalid_value", f"`{meter.feature}` reads the `quantity`, which is missing: {wanted}")
    if value is None:
        return Refusal("invalid_value", f"`{meter.feature}` reads the property `{name}`, which is missing: {wanted}")
    shown = msgspec.json.encode(value).decode()
    shown = shown if len(shown) <= 64 else f"{shown[:64]}…"
    return Refusal("invalid_value", f"`{meter.feature}` reads the property `{name}`: `{shown}` is not {wanted}")


def _whole(value: object) -> int | None:
    """A whole number within bounds. Decimal strings and floats are numbers too where they are whole."""
    match value:
        case bool():
            return None
        case int():
            number = value
        case float():
            if not value.is_integer():
                return None
            number = int(value)
        case str():
            whole, _, fraction = value.partition(".")
            digits = whole.removeprefix("-")
            if not (digits.isascii() and digits.isdigit() and len(digits) <= 16) or fraction.strip("0"):
                return None
            number = int(whole)
        case _:
            return None
    return number if -QUANTITY_MAX <= number <= QUANTITY_MAX else None


def _text(value: object) -> str | None:
    """What tells a value from others; a long one is known by its hash."""
    text = as_text(value)
    if text is None:
        return None
    if len(text) <= _TEXT_LENGTH_MAX:
        return text or None
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
