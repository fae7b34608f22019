"""Requests about payment intents, those of invoices and those made by hand, and the customer who confirms them.

Laws. A payment intent is paid once: `succeeded` and `canceled` are final. That of an invoice is paid by way of the
invoice, and can't be changed or canceled here. (Stripe docs: payment intents: how they work.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import invoices
from paygrade.simulator.forms import Json
from paygrade.simulator.intents import shared
from paygrade.simulator.payments import payments
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.world import World

KIND = "payment_intent"
URL = "/v1/payment_intents"
CONFIRM_FIELDS = frozenset(
    {"expand", "mandate_data", "off_session", "payment_method", "return_url", "setup_future_usage", "use_stripe_sdk"}
)
SHARED = frozenset(
    {"amount", "currency", "customer", "description", "expand", "metadata", "payment_method", "receipt_email"}
) | {"setup_future_usage", "statement_descriptor", "statement_descriptor_suffix", "payment_method_types"}
CREATE_FIELDS = (
    SHARED
    | CONFIRM_FIELDS
    | {"automatic_payment_methods", "capture_method", "confirm", "confirmation_method", "error_on_requires_action"}
)
CANCELABLE = (*shared.CONFIRMABLE, "requires_capture")
REASONS = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")
TEXTS = ("description", "receipt_email", "statement_descriptor", "statement_descriptor_suffix")
# Stripe docs: currencies, minimum charge amounts.
AMOUNTS_MIN = {
    **dict.fromkeys(("aud", "brl", "cad", "chf", "eur", "inr", "jpy", "nzd", "sgd", "usd"), 50),
    "dkk": 250,
    "gbp": 30,
    "hkd": 400,
    "mxn": 1000,
    "nok": 300,
    "sek": 300,
}
AMOUNT_MAX = 99_999_999  # Stripe docs: create a payment intent: eight digits


def create(world: World, params: Json) -> Json:
    forms.check_known(params, CREATE_FIELDS)
    forms.read_required(params, "amount")
    amount, currency = _read_amount(params), forms.read_currency(params)
    _refuse_too_small(amount, currency)
    customer = shared.read_customer(world, params)
    method = shared.read_method(world, params, customer=customer)
    known: Json = {
        "customer": customer,
        "capture_method": forms.read_choice(params, "capture_method", ("automatic", "automatic_async", "manual"))
        or "automatic_async",
        "metadata": forms.merge_metadata({}, params),
        "setup_future_usage": forms.read_choice(params, "setup_future_usage", ("off_session", "on_session")),
        "payment_method_types": shared.read_types(params),
        **{name: forms.read_text(params, name) or None for name in TEXTS},
    }
    shared.check_confirmed_with(params, method)
    intent = make(world, amount=amount, currency=currency, **known)
    return _confirm(world, intent, params) if shared.begin(intent, params, method) else intent


def make(world: World, *, amount: int, currency: str, customer: str | None, **known: object) -> Json:
    intent = invoice_shapes.payment_intent(
        id=world.new_id("pi"),
        at=world.at,
        amount=amount,
        currency=currency,
        secret=world.new_id("s", length=16)[2:],
        customer=customer,
        **known,
    )
    world.put(intent, *filter(None, [customer]))
    world.emit("payment_intent.created", intent)
    return intent


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, SHARED)
    intent = world.get(KIND, id)
    if intent["status"] not in shared.CONFIRMABLE:
        raise shared.unexpected(intent, "updated")
    if invoice_of(world, intent) is not None and set(params) - {"metadata", "expand", "payment_method"}:
        raise errors.invalid("intent", "The amount and currency of an invoice's PaymentIntent can't be changed.")
    customer = shared.read_customer(world, params, had=intent["customer"])
    usage = forms.read_choice(params, "setup_future_usage", ("off_session", "on_session"))
    return shared.change(
        world,
        intent,
        params,
        customer=customer,
        method=shared.read_method(world, params, customer=customer),
        amount=_read_amount(params) if "amount" in params else intent["amount"],
        currency=forms.read_currency(params) if "currency" in params else intent["currency"],
        setup_future_usage=usage or intent["setup_future_usage"],
        **{name: forms.read_text(params, name) or None for name in TEXTS if name in params},
    )


def confirm(world: World, id: str, params: Json) -> Json:
    """Pay, as the customer's browser does; a decline is a 402, and the intent can be confirmed again."""
    forms.check_known(params, CONFIRM_FIELDS | {"client_secret"})
    return _confirm(world, world.get(KIND, id), params)


def _confirm(world: World, intent: Json, params: Json) -> Json:
    named = shared.method_to_confirm(intent, params)
    return_url = forms.read_text(params, "return_url") or None
    failure = pay(world, intent, named, return_url=return_url)
    if failure is not None and failure["code"] != "authentication_required":
        told = intent["last_payment_error"]
        about = {name: told[name] for name in ("charge", "payment_method") if name in told}
        raise errors.declined(**failure, payment_intent=intent, **about)
    return intent


def pay(world: World, intent: Json, named: str, *, return_url: str | None = None) -> Json | None:
    """Charge a payment method; give the failure, or None when it is paid, set aside, or the bank is still at it."""
    invoice = invoice_of(world, intent)
    if invoice is not None:
        customer = world.live_customer(invoice["customer"])
        method = payments.attach(world, named, customer=customer, param="payment_method")
        failure = invoices.collect(world, invoice, payment_method=method["id"], automatic=False)
        if failure is not None and failure["code"] == "authentication_required" and return_url:
            intent["next_action"] = payments.next_action(world, intent, return_url=return_url)
        return failure
    method, _ = payments.known_or_new(world, named, param="payment_method")
    if method["customer"] not in (None, intent["customer"]):
        raise errors.invalid("payment_method", "The payment method belongs to another customer.")
    failure = payments.attempt(world, intent, method["id"], return_url=return_url)
    if failure is None:
        _keep_method(world, intent)
    return failure


def authenticate(world: World, intent: Json, *, succeeds: bool) -> None:
    """Play the customer who confirms with their bank, or fails to."""
    if intent["status"] != "requires_action":
        raise errors.invalid("payment_intent", f"The payment does not wait: it is {intent['status']}.")
    if invoice_of(world, intent) is not None:
        invoices.authenticate(world, intent, succeeds=succeeds)
    elif succeeds:
        if payments.confirmed(world, intent):
            _keep_method(world, intent)
    else:
        intent["payment_method"] = None  # nothing was charged
        payments.fail(world, intent, invoices.NOT_AUTHENTICATED)


def settle_due(world: World, intent: Json) -> None:
    """Let the bank answer a debit, unless it is no longer under way."""
    if intent["status"] != "processing":
        return
    failure = payments.settle_debit(world, intent)
    invoice = invoice_of(world, intent)
    if invoice is not None and invoice["status"] in ("open", "uncollectible"):
        invoices.debit_due(world, invoice, failure)


def cancel(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"cancellation_reason", "expand"}))
    intent = world.get(KIND, id)
    reason = forms.read_choice(params, "cancellation_reason", REASONS)
    if intent["status"] not in CANCELABLE:
        raise shared.unexpected(intent, "canceled")
    if invoice_of(world, intent) is not None:
        message = "You cannot cancel the PaymentIntent of an invoice; void the invoice instead."
        raise errors.invalid("intent", message, code="payment_intent_unexpected_state")
    intent.update(
        status="canceled", canceled_at=world.at, cancellation_reason=reason, next_action=None, amount_capturable=0
    )
    world.emit("payment_intent.canceled", intent)
    return intent


def capture(world: World, id: str, params: Json) -> Json:
    """Take what was set aside, or a part of it: the rest is given back."""
    forms.check_known(params, frozenset({"amount_to_capture", "expand", "metadata"}))
    intent = world.get(KIND, id)
    if intent["status"] != "requires_capture":
        raise shared.unexpected(intent, "captured")
    amount = forms.read_int(params, "amount_to_capture")
    amount = intent["amount_capturable"] if amount is None else amount
    if not 1 <= amount <= intent["amount_capturable"]:
        message = f"The amount to capture must be between 1 and {intent['amount_capturable']}."
        raise errors.invalid("amount_to_capture", message, code="amount_too_large")
    payments.capture(world, intent, amount=amount)
    return intent


def invoice_of(world: World, intent: Json) -> Json | None:
    for payment in world.owned("invoice_payment", intent["id"]):
        return world.objects[payment["invoice"]]
    return None


def _keep_method(world: World, intent: Json) -> None:
    """Attach the payment method to the customer, where it shall be used again (`setup_future_usage`)."""
    if intent["customer"] is None or not intent["setup_future_usage"]:
        return
    customer = world.live_customer(intent["customer"])
    payments.attach(world, intent["payment_method"], customer=customer, param="payment_method")


def _read_amount(params: Json) -> int:
    amount = forms.read_int(params, "amount") or 0
    if amount < 1:
        raise errors.invalid("amount", "This value must be greater than or equal to 1.")
    if amount > AMOUNT_MAX:
        raise errors.invalid("amount", f"Amount must be no more than {AMOUNT_MAX}.", code="amount_too_large")
    return amount


def _refuse_too_small(amount: int, currency: str) -> None:
    least = AMOUNTS_MIN.get(currency, 1)
    if amount < least:
        shown = f"${least / 100:.2f}" if currency == "usd" else str(least)
        message = f"Amount must be at least {shown} {currency}"
        raise errors.invalid("amount", message, code="amount_too_small")
