"""The customer's balance: below zero is credit, above zero is owed, and every move of it has a transaction.

Law. The balance is the sum of its transactions' amounts. (Stripe docs: customer balance.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.world import World

KIND = "customer_balance_transaction"
FIELDS = frozenset({"amount", "currency", "description", "expand", "metadata"})


def move(
    world: World,
    customer: Json,
    amount: int,
    *,
    type: str,
    invoice: str | None = None,
    credit_note: str | None = None,
    currency: str | None = None,
) -> Json:
    """Move a customer's balance; the caller tells of the changed customer."""
    customer["balance"] += amount
    transaction: Json = {
        "id": world.new_id("cbtxn"),
        "object": KIND,
        "amount": amount,
        "checkout_session": None,
        "created": world.at,
        "credit_note": credit_note,
        "currency": currency or customer["currency"] or "usd",
        "customer": customer["id"],
        "customer_account": None,
        "description": None,
        "ending_balance": customer["balance"],
        "invoice": invoice,
        "livemode": False,
        "metadata": {},
        "type": type,
    }
    return world.put(transaction, customer["id"])


def create(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    customer = world.live_customer(id, param="id")
    forms.read_required(params, "amount")
    amount, currency = forms.read_int(params, "amount") or 0, forms.read_currency(params)
    if customer["currency"] not in (None, currency):
        raise errors.invalid("currency", f"The customer's currency is `{customer['currency']}`; use it.")
    with world.changing(customer):
        customer["currency"] = currency
        transaction = move(world, customer, amount, type="adjustment")
    transaction["description"] = forms.read_text(params, "description") or None
    transaction["metadata"] = forms.merge_metadata({}, params)
    return transaction


def update(world: World, customer: str, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"description", "expand", "metadata"}))
    transaction = retrieve(world, customer, id, {})
    if "description" in params:
        transaction["description"] = forms.read_text(params, "description") or None
    transaction["metadata"] = forms.merge_metadata(transaction["metadata"], params)
    return transaction


def retrieve(world: World, customer: str, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    world.live_customer(customer, param="id")
    transaction = world.get(KIND, id)
    if transaction["customer"] != customer:
        raise errors.missing(kind=KIND, id=id)
    return transaction
