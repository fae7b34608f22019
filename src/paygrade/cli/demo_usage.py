"""Kestrel's usage: what its customers' documents cost, as usage events of the last thirty days.

Laws: the same seed, day and number of events give the same events; every event is reported by the API, none is put into
a table; those of the situations come first and add up to what `TOLD` says, however many the others are.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

import msgspec
from msgspec import Struct

from paygrade.cli.demo_past import Customer, Past, members_of
from paygrade.cli.demo_stage import Stage, Surprise

EVENTS = 200_000
BATCH = 5_000
SHOWN = timedelta(days=30)
DOCUMENTS = ("invoice", "contract", "receipt", "letter")


class Told(Struct, frozen=True):
    """What somebody has used by now: calls in so many events, and credits of the small model."""

    calls: int = 0
    of_events: int = 0
    credits: int = 0


TOLD = {
    "globex": Told(calls=9_640, of_events=700),
    "initech": Told(calls=112_400, of_events=2_400),
    "saffron": Told(calls=4_100, of_events=500, credits=968),
    "quarry": Told(calls=31_000, of_events=900),
}
"""Those whose usage is the situation. Quarry's is more than the plan allows that it moves to."""
LIMITS = {"free": 1_000, "starter_monthly": 10_000, "starter_yearly": 10_000, "enterprise": 400_000}
"""How much the others can use in a month; Pro, 100,000."""
QUIET = ("tundra", "pelican", "sandbox", "vireo")
"""Who uses nothing: paused, blocked, in another time, or new."""


class Event(Struct, frozen=True, omit_defaults=True):
    id: str
    account: str
    event: str
    time: datetime
    member: str
    properties: dict[str, int | str]


def events(past: Past, *, count: int, seed: int) -> Iterator[Event]:
    """So many events, those of `TOLD` first, the others' by account; never fewer than those."""
    chance = random.Random(seed)
    made = 0
    for customer in past.customers:
        if (told := TOLD.get(customer.key)) is not None:
            yield from (one := list(_told(customer, told, past.now, chance)))
            made += len(one)
    others = [each for each in past.customers if each.key not in (*TOLD, *QUIET)]
    weights = [LIMITS.get(each.bought, 100_000) ** 0.5 for each in others]
    left, weighed = max(0, count - made), sum(weights)
    for place, (customer, weight) in enumerate(zip(others, weights, strict=True)):
        share = left if place == len(others) - 1 else round(left * weight / weighed)
        left, weighed = left - share, weighed - weight
        yield from _usual(customer, share, past.now, chance)


def report(stage: Stage, found: Iterator[Event], tell: Callable[[int], None]) -> int:
    """Report the events, and `tell` how many were counted so far; gives how many. Surprise."""
    counted = 0
    encoder = msgspec.json.Encoder()
    while batch := list(islice(found, BATCH)):
        told = stage.call("POST", "/v1/events", content=encoder.encode(batch), params={"backfill": "true"})
        if told["rejected"] or told["duplicates"]:
            raise Surprise(f"events were not counted: {str(told)[:300]}")
        counted += told["accepted"]
        tell(counted)
    return counted


def first(found: Iterator[Event]) -> Iterator[Event]:
    """Those of the situations alone."""
    return islice(found, sum(told.of_events + (told.credits > 0) * told.of_events // 2 for told in TOLD.values()))


def _told(customer: Customer, told: Told, now: datetime, chance: random.Random) -> Iterator[Event]:
    people = members_of(customer)
    for number, (at, pages) in enumerate(
        zip(_times(customer.since, now, told.of_events, chance), _shares(told.calls, told.of_events, chance),
            strict=True)
    ):  # fmt: skip
        yield _call(customer.key, number, at, chance.choice(people), pages, chance)
    if told.credits:
        many = told.of_events // 2
        for number, (at, credits) in enumerate(
            zip(_times(customer.since, now, many, chance), _shares(told.credits, many, chance), strict=True)
        ):
            properties: dict[str, int | str] = {"tokens": credits * 1_000, "model": "small"}
            id = f"{customer.key}_chat_{number}"
            yield Event(id, customer.key, "completion", at, chance.choice(people), properties)


def _usual(customer: Customer, count: int, now: datetime, chance: random.Random) -> Iterator[Event]:
    """About 60 % of what the plan allows, in three calls to each completion."""
    people = members_of(customer)
    pages_most = max(1, round(2 * 0.6 * LIMITS.get(customer.bought, 100_000) / max(1, count)))
    tokens_most = max(1, pages_most // 4) * 1_500
    begins = max(customer.since, now - SHOWN)
    for number, at in enumerate(_times(begins, now, count, chance)):
        if number % 4:
            pages = chance.randint(1, pages_most)
            yield _call(customer.key, number, at, chance.choice(people), pages, chance)
            continue
        properties: dict[str, int | str] = {
            "tokens": chance.randint(200, 200 + tokens_most),
            "model": "large" if chance.random() < 0.2 else "small",
        }
        yield Event(f"{customer.key}_{number}", customer.key, "completion", at, chance.choice(people), properties)


def _call(account: str, number: int, at: datetime, member: str, pages: int, chance: random.Random) -> Event:
    properties: dict[str, int | str] = {"pages": pages, "document": chance.choice(DOCUMENTS)}
    return Event(f"{account}_{number}", account, "api_call", at, member, properties)


def _times(begins: datetime, now: datetime, count: int, chance: random.Random) -> Sequence[datetime]:
    """When: more of them the later it is."""
    span_s = (now - begins).total_seconds() - 1
    return sorted(begins + timedelta(seconds=int(span_s * max(chance.random(), chance.random()))) for _ in range(count))


def _shares(total: int, count: int, chance: random.Random) -> Sequence[int]:
    """So many positive numbers that add up to the total."""
    weights = [0.2 + chance.random() for _ in range(count)]
    spare, weighed = total - count, sum(weights)
    shares = [1 + int(spare * weight / weighed) for weight in weights]
    shares[-1] += total - sum(shares)
    return shares
