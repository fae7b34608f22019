"""Small objects of our own in the shapes of several Stripe API versions, and ways to break them."""

import copy
from typing import Any

from hypothesis import strategies as st

JAN, FEB, MAR = 1767225600, 1769904000, 1772323200  # the first of the month, 2026, 00:00 UTC


def endive(**changes: Any) -> dict[str, Any]:
    """A subscription as 2026-10-28.endive has it: price and period on the item, everything else nullable."""
    return {
        "id": "sub_1",
        "object": "subscription",
        "billing_cycle_anchor": JAN,
        "billing_mode": {"type": "flexible", "flexible": {"proration_discounts": "included"}},
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "collection_method": "charge_automatically",
        "created": JAN,
        "customer": "cus_1",
        "default_payment_method": None,
        "default_source": None,
        "discounts": [],
        "ended_at": None,
        "items": {"object": "list", "data": [line()], "has_more": False},
        "latest_invoice": "in_1",
        "metadata": {},
        "pause_collection": None,
        "pending_update": None,
        "quantity": 1,
        "start_date": JAN,
        "status": "active",
        "status_details": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
        **changes,
    }


def line(**changes: Any) -> dict[str, Any]:
    price = {"id": "price_pro", "lookup_key": "pro_monthly", "product": "prod_pro", "unit_amount": 9900}
    return {
        "id": "si_1",
        "current_period_start": JAN,
        "current_period_end": FEB,
        "price": price,
        "quantity": 1,
        **changes,
    }


def schedule(*phases: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A schedule of 2026-10-28.endive that is in its first phase, which lasts from January to February."""
    current = {"start_date": JAN, "end_date": FEB}
    present = {**current, "items": [{"price": "price_pro", "quantity": 1}], "trial_end": None}
    return {
        "id": "sub_sched_1",
        "object": "subscription_schedule",
        "current_phase": current,
        "customer": "cus_1",
        "end_behavior": "release",
        "phases": [present, *phases],
        "status": "active",
        "subscription": "sub_1",
        **changes,
    }


def phase(*items: dict[str, Any], start: Any = FEB, end: int = MAR, **changes: Any) -> dict[str, Any]:
    return {"start_date": start, "end_date": end, "items": list(items), "trial_end": None, **changes}


def acacia(**changes: Any) -> dict[str, Any]:
    """As 2025-02-24.acacia had it: one period for the whole subscription, plans beside prices."""
    item = {
        "id": "si_1",
        "plan": {"id": "price_pro", "amount": 9900, "product": "prod_pro"},
        "price": {"id": "price_pro", "lookup_key": "pro_monthly", "product": "prod_pro", "unit_amount": 9900},
        "quantity": 1,
    }
    return {
        "id": "sub_1",
        "billing_cycle_anchor": JAN,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "collection_method": "charge_automatically",
        "created": JAN,
        "current_period_start": JAN,
        "current_period_end": FEB,
        "customer": "cus_1",
        "discount": None,
        "discounts": [],
        "ended_at": None,
        "items": {"object": "list", "data": [item], "has_more": False},
        "latest_invoice": "in_1",
        "start_date": JAN,
        "status": "active",
        "trial_end": None,
        **changes,
    }


def early(**changes: Any) -> dict[str, Any]:
    """As the first months of 2020 and before had it: plans only, `billing` and `start`, no items to speak of."""
    return {
        "id": "sub_1",
        "billing": "charge_automatically",
        "cancel_at_period_end": False,
        "current_period_start": JAN,
        "current_period_end": FEB,
        "customer": "cus_1",
        "discount": None,
        "plan": {"id": "price_pro", "amount": 9900, "product": "prod_pro"},
        "quantity": 1,
        "start": JAN,
        "status": "active",
        "trial_end": None,
        **changes,
    }


def buyer(**changes: Any) -> dict[str, Any]:
    return {
        "id": "cus_1",
        "object": "customer",
        "created": JAN,
        "default_source": None,
        "invoice_settings": {"default_payment_method": None},
        "metadata": {},
        "name": "Acme",
        **changes,
    }


def invoice(**changes: Any) -> dict[str, Any]:
    return {
        "id": "in_1",
        "object": "invoice",
        "created": FEB,
        "customer": "cus_1",
        "due_date": None,
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}},
        "status": "open",
        "status_transitions": {"finalized_at": FEB + 3600},
        **changes,
    }


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [path, *(found for key, inner in value.items() for found in _paths(inner, (*path, key)))]
    if isinstance(value, list):
        return [path, *(found for index, inner in enumerate(value) for found in _paths(inner, (*path, index)))]
    return [path]


@st.composite
def mutated(draw: st.DrawFn, wholes: list[dict[str, Any]]) -> Any:  # any JSON at all may come out
    """A well-formed document with one to three places removed or replaced by any JSON at all."""
    document: dict[str, Any] = {"": copy.deepcopy(draw(st.sampled_from(wholes)))}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(document)[1:]))
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        if isinstance(place, dict) and len(path) > 1 and draw(st.booleans()):
            del place[path[-1]]
        else:
            place[path[-1]] = draw(_JSON)
    return document[""]
