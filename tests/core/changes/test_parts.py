"""Plans and add-ons that are bought by several items: each of the quantity, flat, and by use."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Customer, Fact, Item, Subscription
from paygrade.catalog.model import Catalog, Quantities
from paygrade.catalog.parse import parse
from paygrade.changes.plan_change import asked_for, back
from paygrade.changes.quote import Quote, quote
from paygrade.changes.request import ChangeRequest, Resolved, resolve
from paygrade.decisions.take import snapshot
from paygrade.entitlements.derive import derive
from paygrade.entitlements.findings import findings
from paygrade.values.errors import Refused

AT = datetime(2026, 3, 10, tzinfo=UTC)


def price(stripe: str, interval: str = "month", **more: Any) -> dict[str, Any]:
    return {"amount": 1000, "currency": "usd", "interval": interval, "stripe": stripe, **more}


def catalog_of(**plans: dict[str, dict[str, Any]]) -> Catalog:
    seats = {"seats": {"limit": "quantity"}, "calls": {"limit": 100, "every": "month"}}
    sold = {
        key: {"stripe": f"prod_{key}", "prices": prices, "entitlements": {**seats}} for key, prices in plans.items()
    }
    archive = {"monthly": price("archive_m"), "stored": price("archive_use", part="usage")}
    return parse(
        {
            "version": 1,
            "features": {"seats": {"kind": "level"}, "calls": {"kind": "metered"}},
            "plans": {"free": {"default": True}, **sold},
            "add_ons": {"archive": {"prices": archive, "entitlements": {"calls": {"add": 50, "every": "month"}}}},
        }
    )


CATALOG = catalog_of(
    starter={
        "monthly": price("starter_m"),
        "yearly": price("starter_y", "year"),
        "calls": price("starter_use", part="usage"),
    },
    pro={
        "monthly": price("pro_m"),
        "yearly": price("pro_y", "year"),
        "platform": price("pro_flat", part="flat"),
        "calls": price("pro_use", part="usage"),
    },
    fixed={"monthly": price("fixed_m")},
    payg={"calls": price("payg_use", part="usage")},
)
PARTS = {
    "starter": ["starter_m", "starter_use"],
    "pro": ["pro_m", "pro_flat", "pro_use"],
    "fixed": ["fixed_m"],
    "payg": ["payg_use"],
}


def item(name: str, quantity: int = 1, product: str | None = None) -> Item:
    """An item of a price by its lookup key; one that says its product has a price of no list."""
    metered = name.endswith("_use")
    return Item(f"si_{name}", quantity, f"price_{name}", None if product else name, product, metered=metered)


def account_with(*items: Item) -> Account:
    bought = Subscription("sub_1", "active", items, AT)
    return replay("acme", [Fact(1, "stripe:cus_1", 1, AT, Customer("cus_1", AT, (bought,)))])


def resolved(*items: Item, catalog: Catalog = CATALOG, **wanted: Any) -> Resolved:
    return resolve(account_with(*items), catalog, ChangeRequest(**wanted), AT)


def quoted(*items: Item, **wanted: Any) -> Quote:
    account = account_with(*items)
    return quote(account, CATALOG, snapshot(account, CATALOG, AT), ChangeRequest(**wanted), AT)


def after(found: Resolved) -> list[tuple[str, str | None, int]]:
    return [(p.item.id, p.price.stripe if p.price else None, p.item.quantity) for p in found.after]


PRO = (item("pro_m", 3), item("pro_flat"), item("pro_use"))
STARTER = (item("starter_m", 2), item("starter_use"))


@pytest.mark.parametrize(
    ("items", "seats", "calls"),
    [
        (PRO, 3, 100),
        ((item("pro_use"), item("pro_m", 3)), 3, 100),
        ((item("pro_m", 3), item("other", 2, "prod_pro")), 5, 100),
        ((item("payg_use"),), 1, 100),
        ((item("pro_m", 0), item("pro_use")), 0, 100),
        ((*STARTER, item("archive_m", 2), item("archive_use")), 2, 200),
    ],
)
def test_only_what_is_paid_for_each_counts(items: tuple[Item, ...], seats: int, calls: int) -> None:
    entitled = derive(account_with(*items), CATALOG, AT).entitlements
    assert (entitled["seats"].limit, entitled["calls"].limit) == (seats, calls)


def test_one_seat_more_is_an_upgrade_of_the_item_that_counts() -> None:
    found = resolved(*PRO, quantities={"seats": 4})
    assert found.direction == "upgrade"
    assert after(found) == [("si_pro_m", "pro_m", 4), ("si_pro_flat", "pro_flat", 1), ("si_pro_use", "pro_use", 1)]


def test_a_switch_swaps_part_for_part_and_drops_what_has_no_counterpart() -> None:
    assert after(resolved(*PRO, plan="starter")) == [
        ("si_pro_m", "starter_m", 3), ("si_pro_use", "starter_use", 1)
    ]  # fmt: skip
    assert after(resolved(*PRO, plan="fixed")) == [("si_pro_m", "fixed_m", 3)]
    assert after(resolved(*STARTER, plan="pro")) == [
        ("si_starter_m", "pro_m", 2), ("si_starter_use", "pro_use", 1), ("new:pro:flat", "pro_flat", 1)
    ]  # fmt: skip
    assert after(resolved(*PRO, plan="payg")) == [("si_pro_use", "payg_use", 1)]
    assert after(resolved(item("payg_use"), plan="fixed")) == [("new:fixed", "fixed_m", 1)]


def test_a_price_of_no_list_goes_with_its_plan_and_its_seats_stay() -> None:
    found = resolved(item("special", 3, "prod_pro"), item("more", 2, "prod_pro"), item("pro_use"), plan="fixed")
    assert [(name, quantity) for _, name, quantity in after(found)] == [("fixed_m", 5)]


def test_of_two_items_that_count_the_larger_takes_the_difference() -> None:
    items = item("pro_m", 4), item("more", 2, "prod_pro")
    assert [p.item.quantity for p in resolved(*items, quantities={"seats": 9}).after] == [7, 2]
    assert [p.item.quantity for p in resolved(*items, quantities={"seats": 3}).after] == [1, 2]
    assert [p.item.quantity for p in resolved(*items, quantities={"seats": 1}).after] == [1]
    with pytest.raises(Refused) as refused:
        resolved(item("pro_m", 2), item("more", 2, "prod_pro"), quantities={"seats": 5})
    assert refused.value.code == "ambiguous_price"


def test_what_is_only_paid_by_use_has_no_quantity_to_change() -> None:
    with pytest.raises(Refused) as refused:
        resolved(item("payg_use"), quantities={"seats": 5})
    assert refused.value.code == "quantity_not_sold"


def test_an_add_on_comes_and_goes_with_all_its_parts() -> None:
    bought = resolved(*STARTER, add_ons={"archive": 3})
    assert after(bought)[2:] == [("new:archive", "archive_m", 3), ("new:archive:usage", "archive_use", 1)]
    held = *STARTER, item("archive_m", 3), item("archive_use")
    assert resolved(*held, add_ons={"archive": 4}).direction == "upgrade"
    dropped = resolved(*held, add_ons={"archive": 0})
    assert [name for _, name, quantity in after(dropped) if quantity] == ["starter_m", "starter_use"]
    items = quoted(*held, add_ons={"archive": 0}).items
    assert [change.how for change in items] == ["kept", "kept", "removed", "removed"]


def test_a_year_is_paid_for_the_parts_that_are_sold_by_the_year() -> None:
    assert after(resolved(*STARTER, interval="year")) == [
        ("si_starter_m", "starter_y", 2), ("si_starter_use", "starter_use", 1)
    ]  # fmt: skip


def test_a_price_that_becomes_known_makes_no_longer_interval() -> None:
    found = resolved(item("special", 3, "prod_pro"), interval="month", quantities={"seats": 2})
    assert found.direction == "downgrade"


@settings(deadline=None)
@given(
    start=st.sampled_from(["starter", "pro", "fixed"]),
    goal=st.none() | st.sampled_from(["starter", "pro", "fixed"]),
    quantity=st.integers(1, 9),
    seats=st.none() | st.integers(1, 9),
    archive=st.integers(0, 3),
    wanted=st.none() | st.integers(0, 3),
)
def test_a_change_leaves_each_plan_and_add_on_with_one_item_of_each_part_and_goes_back(
    start: str, goal: str | None, quantity: int, seats: int | None, archive: int, wanted: int | None
) -> None:
    items = [item(name, quantity if name.endswith("_m") else 1) for name in PARTS[start]]
    items += [item("archive_m", archive), item("archive_use")] if archive else []
    asked = ChangeRequest(
        plan=goal,
        quantities={} if seats is None else {"seats": seats},
        add_ons={} if wanted is None else {"archive": wanted},
    )
    account = account_with(*items)
    try:
        made = quote(account, CATALOG, snapshot(account, CATALOG, AT), asked, AT)
    except Refused as refused:
        if refused.code != "same_as_now":
            raise
        return
    names = [change.price_after for change in made.items if change.after and change.quantity_after]
    extra = ["archive_m", "archive_use"] if (archive if wanted is None else wanted) else []
    assert sorted(map(str, names)) == sorted([*PARTS[goal or start], *extra])
    bought = [
        item(str(change.price_after), change.quantity_after)
        for change in made.items
        if change.after and change.quantity_after
    ]
    there = account_with(*bought)
    entitled = derive(there, CATALOG, AT).entitlements
    assert entitled["seats"].limit == (seats or quantity)
    change = asked_for(made, id="chg_1", key="k", subject="stripe:cus_1", at=AT)
    again = quote(there, CATALOG, snapshot(there, CATALOG, AT), back(replace(change, state="applied")), AT)
    home = [(c.price_after, c.quantity_after) for c in again.items if c.after and c.quantity_after]
    assert sorted(home, key=str) == sorted(((i.lookup_key, i.quantity) for i in items), key=str)


def test_a_quantity_that_is_not_sold_is_refused_with_what_is() -> None:
    sold = replace(CATALOG.plans["pro"], quantities=Quantities(5, 20, 5))
    selling = replace(CATALOG, plans={**CATALOG.plans, "pro": sold})
    known = account_with(item("pro_m", 3))
    for wanted in (ChangeRequest(quantities={"seats": 7}), ChangeRequest(quantities={"pro": 25})):
        with pytest.raises(Refused) as refused:
            resolve(known, selling, wanted, AT)
        assert refused.value.code == "quantity_not_sold"
        assert "`pro` is sold from 5 to 20, in steps of 5, not" in refused.value.detail
    assert resolve(known, selling, ChangeRequest(quantities={"seats": 10}), AT).after
    # Who has another quantity keeps it, pays for it otherwise, and is looked at.
    yearly = resolve(known, selling, ChangeRequest(interval="year"), AT)
    assert [p.item.quantity for p in yearly.after if p.part == "quantity"] == [3]
    assert [(f.code, f.subject) for f in findings(known, selling, AT)] == [("quantity_out_of_range", "sub_1")]
    assert derive(known, selling, AT).entitlements["seats"].limit == 3
    assert findings(known, CATALOG, AT) == ()
