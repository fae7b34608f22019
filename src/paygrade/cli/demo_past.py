"""Kestrel's past: who its customers are, and what happened to them in the ten weeks until now.

Laws: everything happens where it would, at the simulated Stripe or by Paygrade's own API, at its own instant, in order;
the same seed gives the same customers, whose dates are as far from now as ever.
"""

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from importlib import resources
from itertools import groupby

from msgspec import Struct

from paygrade.cli.demo_company import CAREFUL_CARD, FAILING_CARD
from paygrade.cli.demo_run import House
from paygrade.values.periods import add_months

PAST = timedelta(days=75)
HELD_S = 3600
EARLIER_PRO = ("monthly: { amount: 9900,", "monthly: { amount: 7900,"), ("limit: 100000", "limit: 80000")
"""What Pro cost and gave in the first version, which `origami` still has."""
ORDINARY = (
    "amber", "anchor", "aspen", "atlas", "beacon", "birch", "bluff", "canyon", "clover", "comet", "coral", "delta",
    "dune", "ember", "fern", "flint", "garnet", "glacier", "grove", "heron", "indigo", "ivory", "jasper", "kelp",
    "larch", "linden", "maple", "marble", "onyx", "opal",
)  # fmt: skip
"""The customers nothing is special about; with those of the situations they are fifty."""
BOUGHT = {"free": 11, "starter_monthly": 8, "starter_yearly": 3, "pro_monthly": 6, "pro_yearly": 2}
"""How many of them bought what; `free`: nothing."""


class Customer(Struct, frozen=True):
    """Who is there: the plan and the seats they begin with, and for how long they have been."""

    key: str
    bought: str
    seats: int
    since: datetime


class Past(Struct, frozen=True):
    """What came of it: who is there, and when now is."""

    customers: tuple[Customer, ...]
    now: datetime


class _Moment(Struct, frozen=True):
    """What happens at an instant, and what `then` once everybody has heard of that."""

    at: datetime
    do: Callable[[House], object]
    then: Callable[[House], None] | None = None


def kestrel(*, version: int = 2) -> bytes:
    """The catalog of Kestrel: the file of the package, or as it was when Pro still cost less."""
    text = (resources.files("paygrade.cli") / "sample" / "kestrel.yaml").read_text(encoding="utf-8")
    for now, before in EARLIER_PRO if version == 1 else ():
        assert text.count(now) == 1, f"`{now}` stands once in kestrel.yaml"
        text = text.replace(now, before)
    return text.encode()


def live(house: House, *, now: datetime, seed: int, tell: Callable[[datetime], None], runs: bool = True) -> Past:
    """Play the past until `now`, and let the clock run from there on, or stand. Surprise, Unavailable.

    The simulator's clock stands at `now - PAST`; `tell` is told where it is.
    """
    customers = customers_of(now, seed)
    # Webhooks wait until everything of an instant has happened, so that each customer is read once for it.
    house.stage.control("weather", burst_s=HELD_S)
    house.publish(kestrel(version=1))
    moments = sorted((*_moments(customers, now), *_situations(now)), key=lambda each: each.at)
    for at, together in groupby(moments, key=lambda each: each.at):
        tell(at)
        _happen(house, at, list(together))
    house.stage.control("clock", to=now.isoformat(), running=runs)
    house.stage.settle()
    house.stage.control("weather")
    return Past(customers, now)


def customers_of(now: datetime, seed: int) -> tuple[Customer, ...]:
    """Everybody there is: those of the situations first."""
    return (*_special(now), *_ordinary(now, seed))


def _happen(house: House, at: datetime, moments: list[_Moment]) -> None:
    house.stage.control("clock", to=at.isoformat())
    for moment in moments:
        moment.do(house)
    house.stage.settle()
    for moment in moments:
        if moment.then is not None:
            moment.then(house)


def _special(now: datetime) -> Iterator[Customer]:
    """Whom each situation is about."""

    def ago(days: float) -> datetime:
        return now - timedelta(days=days)

    yield Customer("origami", "pro_monthly", 4, ago(74))
    yield Customer("acme", "pro_monthly", 7, ago(60))
    yield Customer("hooli", "pro_monthly", 3, add_months(ago(11), -1))
    yield Customer("northwind", "enterprise", 200, ago(34))
    yield Customer("fjord", "starter_monthly", 1, ago(28))
    yield Customer("cobalt", "starter_monthly", 1, ago(28))
    yield Customer("juniper", "starter_monthly", 1, ago(28))
    yield Customer("initech", "pro_monthly", 2, ago(24))
    yield Customer("globex", "starter_monthly", 1, ago(20))
    yield Customer("quarry", "pro_monthly", 12, ago(20))
    yield Customer("sandbox", "pro_monthly", 2, ago(20))
    yield Customer("saffron", "starter_monthly", 1, ago(16))
    yield Customer("harbor", "starter_monthly", 1, ago(16))
    yield Customer("basalt", "pro_monthly", 2, ago(16))
    yield Customer("cedar", "pro_monthly", 2, ago(13))
    yield Customer("lumen", "trial", 3, ago(13))
    yield Customer("tundra", "pro_monthly", 2, ago(13))
    yield Customer("pelican", "starter_monthly", 1, ago(9))
    yield Customer("meridian", "starter_monthly", 1, ago(9))
    yield Customer("vireo", "free", 1, ago(4))


def _ordinary(now: datetime, seed: int) -> Iterator[Customer]:
    chance = random.Random(seed)
    bought = [what for what, count in BOUGHT.items() for _ in range(count)]
    chance.shuffle(bought)
    for key, what in zip(ORDINARY, bought, strict=True):
        days = chance.choice((60, 60, 34, 34, 28, 20, 16))
        seats = chance.randint(2, 9) if what.startswith("pro") else 1
        yield Customer(key, what, seats, now - timedelta(days=days))


def _moments(customers: tuple[Customer, ...], now: datetime) -> Iterator[_Moment]:
    """Everybody arrives and buys, and says who works there."""
    for customer in customers:
        yield _Moment(customer.since, _arrival(customer, now), _staffing(customer))
    yield _Moment(now - timedelta(days=70), lambda house: house.publish(kestrel(), existing="keep"))


def _arrival(customer: Customer, now: datetime) -> Callable[[House], None]:
    def arrive(house: House) -> None:
        key, name, company = customer.key, customer.key.title(), house.company
        match customer.bought:
            case "enterprise":
                _sign(house, customer)
                return
            case "trial":
                company.welcome(key, name, card=None)
                ends: dict[str, object] = {"end_behavior": {"missing_payment_method": "cancel"}}
                company.subscribe(key, "pro_monthly", quantity=customer.seats, trial_days=14, trial_settings=ends)
            case "free":
                company.welcome(key, name)
            case _ if key == "sandbox":
                clock = company.test_clock(customer.since)
                company.welcome(key, name, clock=clock)
                company.subscribe(key, customer.bought, quantity=customer.seats)
                company.advance_test_clock(clock, now + timedelta(days=40))
            case price:
                company.welcome(key, name)
                company.subscribe(key, price, quantity=customer.seats)

    return arrive


def _sign(house: House, customer: Customer) -> None:
    """A contract on paper: nothing of it is at Stripe."""
    path = f"/v1/accounts/{customer.key}"
    house.stage.call("PUT", path, json={"name": customer.key.title(), "traits": {"contract": "2026-114"}})
    items = [{"id": "contract", "plan": "enterprise", "quantity": customer.seats}]
    said = {"version": 1, "status": "active", "items": items, "anchor_at": customer.since.isoformat(),
            "ends_at": add_months(customer.since, 12).isoformat()}  # fmt: skip
    house.stage.call("PUT", f"{path}/subscriptions/contract", json=said)


def members_of(customer: Customer) -> list[str]:
    """Who works there, the owner first; the larger ones have not given out all their seats."""
    held = customer.seats if customer.key in ("acme", "quarry") else min(max(1, customer.seats - 1), 6)
    people = ["owner", "admin", *(f"member{number}" for number in range(1, held))]
    return [f"{who}@{customer.key}.example" for who in people[:held]]


def _staffing(customer: Customer) -> Callable[[House], None]:
    people = members_of(customer)
    roles = {0: "owner", 1: "admin"}
    said = [{"member": who, "role": roles.get(place, "member"), "seat": True} for place, who in enumerate(people)]
    return lambda house: house.stage.call("PUT", f"/v1/accounts/{customer.key}/members", json=said)


def _situations(now: datetime) -> Iterator[_Moment]:
    """What happens to those of the situations once they are there."""

    def ago(days: float, do: Callable[[House], None]) -> _Moment:
        return _Moment(now - timedelta(days=days), do)

    def call(house: House, method: str, account: str, path: str, **said: object) -> None:
        house.stage.call(method, f"/v1/accounts/{account}/{path}", json=said)

    yield ago(75, lambda house: house.stage.control("settings", after_retries="past_due"))
    yield ago(60, lambda house: house.company.add("acme", "credit_pack_monthly"))
    yield ago(34, lambda house: house.company.use_card("hooli", FAILING_CARD))
    yield ago(24, lambda house: call(house, "POST", "acme", "grants", feature="ai_credits", units=2000,
                                     id="launch_2026", kind="promotion", reason="thanks for the launch quote",
                                     expires_at=(now + timedelta(days=18)).isoformat()))  # fmt: skip
    yield ago(16, lambda house: house.company.subscribe("juniper", "pro_monthly", quantity=2))
    yield ago(13, lambda house: call(house, "PUT", "harbor", "overrides/custom_models", value=True,
                                     reason="pilot, agreed with sales",
                                     expires_at=(now + timedelta(days=1.5)).isoformat()))  # fmt: skip
    yield ago(9, _sell_by_hand)
    yield ago(6, lambda house: call(house, "PUT", "pelican", "blocks/abuse", reason="stolen card, under review"))
    yield ago(4, lambda house: call(house, "POST", "tundra", "plan-changes", act="pause", reason="asked for by phone"))
    yield ago(3, lambda house: house.company.refund("cedar", 9900))
    yield ago(2, lambda house: house.stage.control("dispute", charge=house.company.latest_charge("basalt")))
    yield ago(2, lambda house: house.company.cancel_at_period_end("cobalt"))
    yield ago(1, lambda house: change(house, "quarry", "scheduled", plan="starter", quantities={"starter": 1}))
    yield ago(0.1, lambda house: _ask_the_bank(house))


def _sell_by_hand(house: House) -> None:
    """Somebody makes a price in the dashboard, which the catalog does not name, and moves a customer to it."""
    house.company.sell_by_hand("Starter for friends", "friends", amount=2900)
    house.company.change("fjord", "friends")


def _ask_the_bank(house: House) -> None:
    """An upgrade whose payment waits for 3-D Secure."""
    house.company.use_card("meridian", CAREFUL_CARD)
    house.stage.settle()
    change(house, "meridian", "pending", plan="pro", quantities={"pro": 2})


def change(house: House, account: str, becomes: str, **wanted: object) -> None:
    """Quote a change of plan, and make it; Surprise unless it comes to this state."""
    path = f"/v1/accounts/{account}/plan-changes"
    quote = house.stage.call("POST", f"{path}/quote", json=wanted)
    made = house.stage.call("POST", path, json={"quote_id": quote["id"]}, params={"wait_s": 0})
    house.stage.until(
        lambda: house.stage.call("GET", f"{path}/{made['id']}")["change"],
        lambda told: told["state"] == becomes,
        f"the plan change of {account} did not become {becomes}",
    )
