"""Credit notes: an invoice that was finalized becomes less, before or after it was paid.

Laws. Before payment a credit note lowers what is left to pay, and an invoice with nothing left is paid. After
payment its amount goes back as a refund, to the customer's balance, or outside of Stripe: the three add up to
it. No subscription changes its status, but by an invoice that became paid. (Stripe docs: credit notes.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import invoices
from paygrade.simulator.forms import Json
from paygrade.simulator.payments import balances, payments, refunds
from paygrade.simulator.shapes import reversals as reversal_shapes
from paygrade.simulator.world import World

URL = "/v1/credit_notes"
PAGE_FIELDS = frozenset({"limit", "starting_after", "ending_before"})
REASONS = ("duplicate", "fraudulent", "order_change", "product_unsatisfactory")
FIELDS = frozenset(
    [
        "amount",
        "credit_amount",
        "expand",
        "invoice",
        "lines",
        "memo",
        "metadata",
        "out_of_band_amount",
        "reason",
        "refund_amount",
    ]
)
WAYS_BACK = ("refund_amount", "credit_amount", "out_of_band_amount")
LINE_FIELDS = frozenset({"type", "amount", "description", "invoice_line_item", "quantity", "unit_amount"})


def create(world: World, params: Json) -> Json:
    note, invoice, back = _prepare(world, params)
    if note["type"] == "post_payment":
        _give_back(world, note, invoice, back)
    world.put(note, invoice["id"], invoice["customer"])
    world.emit("credit_note.created", note)
    if note["type"] == "pre_payment":
        _lower(world, note, invoice)
    return note


def preview(world: World, params: Json) -> Json:
    """Say what a credit note would be, and make none."""
    note, _, _ = _prepare(world, params)
    return note


def preview_lines(world: World, params: Json) -> Json:
    """The lines of a preview, all on one page."""
    wanted = {name: value for name, value in params.items() if name not in PAGE_FIELDS}
    lines = preview(world, wanted)["lines"]
    return {"object": "list", "data": lines["data"], "has_more": False, "url": f"{URL}/preview/lines"}


def _prepare(world: World, params: Json) -> tuple[Json, Json, dict[str, int]]:
    """The credit note that is asked for, its invoice, and the ways by which its amount goes back."""
    forms.check_known(params, FIELDS)
    invoice = world.get("invoice", forms.read_required(params, "invoice"), param="invoice")
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        message = f"Credit notes need an invoice that is open, paid or uncollectible; this one is {invoice['status']}."
        raise errors.invalid("invoice", message)
    lines = _read_lines(world, invoice, params)
    amount = sum(line["amount"] for line in lines)
    paid = invoice["status"] == "paid"
    left = invoice["amount_remaining"]
    if paid:
        left = invoice["total"] - invoice["pre_payment_credit_notes_amount"]
        left -= invoice["post_payment_credit_notes_amount"]
    if not 0 < amount <= left:
        message = f"The credit note's amount ({amount}) must be at least 1 and at most what is left ({left})."
        raise errors.invalid("amount", message)
    back = {
        name: forms.read_int(params, name) or 0 for name in ("refund_amount", "credit_amount", "out_of_band_amount")
    }
    if sum(back.values()) != (amount if paid else 0):
        message = (
            "For a paid invoice, `refund_amount`, `credit_amount` and `out_of_band_amount` must add up to the credit "
            "note's amount; for others they must be absent."
        )
        raise errors.invalid("amount", message)
    note = reversal_shapes.credit_note(
        id=world.new_id("cn"),
        at=world.at,
        invoice=invoice,
        lines=lines,
        number=f"{invoice['number']}-CN-{len(world.owned('credit_note', invoice['id'])) + 1:02}",
        reason=forms.read_choice(params, "reason", REASONS),
        memo=forms.read_text(params, "memo") or None,
        metadata=forms.merge_metadata({}, params),
        out_of_band_amount=back["out_of_band_amount"] or None,
        type="post_payment" if paid else "pre_payment",
    )
    return note, invoice, back


def void(world: World, id: str, params: Json) -> Json:
    """Take a credit note back, which only works while its invoice is open."""
    forms.check_known(params, frozenset({"expand"}))
    note = world.get("credit_note", id)
    invoice = world.objects[note["invoice"]]
    if note["status"] == "void" or invoice["status"] != "open":
        raise errors.invalid("id", "Only issued credit notes of open invoices can be voided.")
    note.update(status="void", voided_at=world.at)
    with world.changing(invoice):
        _add(world, invoice, note["amount"])
    world.emit("credit_note.voided", note)
    return note


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"memo", "metadata", "expand"}))
    note = world.get("credit_note", id)
    with world.changing(note):
        note["metadata"] = forms.merge_metadata(note["metadata"], params)
        note["memo"] = forms.read_text(params, "memo") or note["memo"]
    return note


def _lower(world: World, note: Json, invoice: Json) -> None:
    note["pre_payment_amount"] = note["amount"]
    with world.changing(invoice):
        _add(world, invoice, -note["amount"])
    if invoice["amount_remaining"] == 0:
        payments.cancel(world, invoice)
        invoices.set_paid(world, invoice, attempted=invoice["attempted"])


def _add(world: World, invoice: Json, amount: int) -> None:
    invoice["pre_payment_credit_notes_amount"] -= amount
    invoice["amount_due"] += amount
    invoice["amount_remaining"] += amount
    for payment, intent in filter(None, [payments.payment_of(world, invoice)]):
        payment["amount_requested"] = intent["amount"] = invoice["amount_remaining"]


def _give_back(world: World, note: Json, invoice: Json, back: dict[str, int]) -> None:
    if back["refund_amount"]:
        found = payments.payment_of(world, invoice)
        charge = found and world.find("charge", found[1]["latest_charge"])
        if not charge:
            raise errors.invalid("refund_amount", "No charge paid this invoice, so there is nothing to refund.")
        made = refunds.refund(world, charge, amount=back["refund_amount"], reason=None)
        back_to: Json = {"payment_record_refund": None, "refund": made["id"], "type": "refund"}
        note["refunds"].append({"amount_refunded": made["amount"], **back_to})
    if back["credit_amount"]:
        customer = world.objects[invoice["customer"]]
        with world.changing(customer):
            amount = -back["credit_amount"]
            moved = balances.move(world, customer, amount, type="credit_note", credit_note=note["id"])
            note["customer_balance_transaction"] = moved["id"]
    note["post_payment_amount"] = note["amount"]
    with world.changing(invoice):
        invoice["post_payment_credit_notes_amount"] += note["amount"]


def _read_lines(world: World, invoice: Json, params: Json) -> list[Json]:
    wanted = forms.read_objects(params, "lines")
    if not wanted:
        amount = forms.read_int(params, "amount")
        if amount is None:
            raise errors.missing_parameter("amount")
        return [reversal_shapes.credit_note_line(id=world.new_id("cnli"), amount=amount, quantity=1)]
    return [_read_line(world, invoice, line, param=f"lines[{n}]") for n, line in enumerate(wanted)]


def _read_line(world: World, invoice: Json, wanted: Json, *, param: str) -> Json:
    forms.check_known(wanted, LINE_FIELDS, within=param)
    id, quantity = world.new_id("cnli"), forms.read_int(wanted, "quantity")
    if forms.read_choice(wanted, "type", ("custom_line_item", "invoice_line_item")) == "custom_line_item":
        unit, count = forms.read_int(wanted, "unit_amount") or 0, quantity or 1
        description = forms.read_text(wanted, "description")
        return reversal_shapes.credit_note_line(
            id=id, amount=unit * count, quantity=count, unit_amount=unit, description=description
        )
    name = forms.read_required(wanted, "invoice_line_item")
    line = next((line for line in invoice["lines"]["data"] if line["id"] == name), None)
    if line is None:
        raise errors.missing(kind="line_item", id=name, param=f"{param}[invoice_line_item]")
    amount = forms.read_int(wanted, "amount")
    if amount is None:
        amount = line["amount"] * (quantity or line["quantity"]) // line["quantity"]
    return reversal_shapes.credit_note_line(
        id=id,
        amount=amount,
        quantity=quantity,
        type="invoice_line_item",
        invoice_line_item=name,
        description=line["description"],
    )
