"""`decide` per kind of feature, beside a bare lookup in a dict of dicts (the floor any answer in Python has).

Rows are medians over rounds; the rounds of all rows are interleaved so that a slow moment of the machine touches all
alike. Budget: 0.7 us.
"""

from collections.abc import Callable
from statistics import median
from time import perf_counter_ns

import msgspec

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Member
from paygrade.catalog.model import Catalog, Switch
from paygrade.catalog.offers import BooleanFeature
from paygrade.decisions.decide import decide
from paygrade.decisions.take import snapshot
from paygrade.usage.balances import Balance
from support.samples import CATALOG, T0, account_with, item, operator_fact, subscription

CALLS = 5_000
ROUNDS = 60
WARM_UP = 5


def main() -> None:
    rows = _rows()
    seen: dict[str, list[float]] = {name: [] for name in rows}
    for number in range(ROUNDS + WARM_UP):
        for name, call in rows.items():
            begun = perf_counter_ns()
            for _ in range(CALLS):
                call()
            if number >= WARM_UP:
                seen[name].append((perf_counter_ns() - begun) / CALLS / 1000)
    floor = median(seen["nothing (an empty call)"])
    for name, figures in seen.items():
        print(f"  {name:42} {median(figures) - floor:7.3f} us median   {min(figures) - floor:7.3f} us best")


def _rows() -> dict[str, Callable[[], object]]:
    held = snapshot(account_with(subscription(item("pro"), item("extra_calls"))), CATALOG, T0)
    counted = held.segments[0].entitlements["api_calls"]
    busy = msgspec.structs.replace(held, balances={"api_calls": Balance(500, 20, counted.from_at)})
    wide = snapshot(account_with(subscription()), _wide(1000), T0)
    team = snapshot(_team(50), _seated(), T0)
    table = {"acme": dict.fromkeys(CATALOG.features, True)}
    return {
        "nothing (an empty call)": lambda: None,
        "dict of dicts": lambda: table["acme"]["exports"],
        "boolean": lambda: decide(held, "exports", 1, T0),
        "config": lambda: decide(held, "retention", 1, T0),
        "metered, no usage yet": lambda: decide(held, "api_calls", 1, T0),
        "metered, with a balance": lambda: decide(busy, "api_calls", 1, T0),
        "paid in credits": lambda: decide(held, "tokens", 1, T0),
        "boolean, with a role and a seat of 50": lambda: decide(team, "editor", 1, T0, member="m49"),
        "unknown feature": lambda: decide(held, "teleport", 1, T0),
        "boolean, one of 1,000 features": lambda: decide(wide, "feature_999", 1, T0),
    }


def _seated() -> Catalog:
    editor = BooleanFeature("editor", roles=("owner",), seat="seats")
    return msgspec.structs.replace(CATALOG, features={**CATALOG.features, "editor": editor})


def _team(members: int) -> Account:
    facts = [operator_fact(f"member:m{n}", Member(f"m{n}", "owner", seat=True), 50 + n) for n in range(members)]
    return account_with(subscription(item("pro", members)), facts=tuple(facts))


def _wide(features: int) -> Catalog:
    keys = [f"feature_{number}" for number in range(features)]
    pro = msgspec.structs.replace(CATALOG.plans["pro"], terms={key: Switch(key, True) for key in keys})
    return msgspec.structs.replace(
        CATALOG, features={key: BooleanFeature(key) for key in keys}, credits={}, plans={"pro": pro}, add_ons={}
    )
