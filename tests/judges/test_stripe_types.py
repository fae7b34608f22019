"""What the simulator answers is what the official library for Node says Stripe answers: its types are the judge.

Each answer becomes a literal of its type, and TypeScript says what is missing, of another type, null where it never
is, or not Stripe's. Its types tell a field that may be absent from one that may be null, which Python's do not.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from simulator.asking import Account

FOLDER = Path(__file__).parent / "stripe_clients"
TSC = FOLDER / "node_modules" / ".bin" / "tsc"
TYPES = {
    "account": "Account",
    "balance": "Balance",
    "balance_transaction": "BalanceTransaction",
    "billing.credit_grant": "Billing.CreditGrant",
    "billing.meter": "Billing.Meter",
    "billing_portal.configuration": "BillingPortal.Configuration",
    "billing_portal.session": "BillingPortal.Session",
    "charge": "Charge",
    "checkout.session": "Checkout.Session",
    "coupon": "Coupon",
    "credit_note": "CreditNote",
    "customer": "Customer",
    "customer_balance_transaction": "CustomerBalanceTransaction",
    "entitlements.feature": "Entitlements.Feature",
    "invoice": "Invoice",
    "invoice_payment": "InvoicePayment",
    "invoiceitem": "InvoiceItem",
    "line_item": "InvoiceLineItem",
    "payment_intent": "PaymentIntent",
    "payment_link": "PaymentLink",
    "payment_method": "PaymentMethod",
    "plan": "Plan",
    "price": "Price",
    "product": "Product",
    "promotion_code": "PromotionCode",
    "refund": "Refund",
    "setup_intent": "SetupIntent",
    "subscription": "Subscription",
    "subscription_item": "SubscriptionItem",
    "subscription_schedule": "SubscriptionSchedule",
    "tax_id": "TaxId",
    "tax_rate": "TaxRate",
    "test_helpers.test_clock": "TestHelpers.TestClock",
    "webhook_endpoint": "WebhookEndpoint",
}
# Sent by the API and no longer declared by the library.
LEGACY = {
    "charge": {"destination", "dispute", "order"},
    "list": {"total_count"},
    "subscription": {"plan", "quantity"},
}
# A metered item has no quantity at Stripe, and null here.
KNOWN = {(of, "quantity") for of in ("Subscription", "SubscriptionItem")}
PAGES = {"success_url": "https://shop.example/ok", "cancel_url": "https://shop.example/no"}


class Recording(Account):
    """An account that keeps what it answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[str, Any]] = []

    def ask(self, method: str, path: str, **params: Any) -> Any:
        response = super().ask(method, path, **params)
        if response.status == 200:
            answered = response.body["data"][:2] if response.body.get("object") == "list" else [response.body]
            self.answers += [(f"{method} {path}", json.loads(json.dumps(one))) for one in answered]
        return response


def sell(shop: Recording) -> None:
    """A shop's first year, as far as it takes to see each object in its usual states."""
    product = shop.post("products", name="Pro", images=["https://shop.example/a.png"], metadata={"a": "b"})["id"]
    month, year = (
        shop.post("prices", product=product, unit_amount=amount, currency="usd", recurring={"interval": interval})["id"]
        for amount, interval in ((2000, "month"), (20000, "year"))
    )
    tiers = [{"up_to": 10, "unit_amount": 500}, {"up_to": "inf", "unit_amount": 400}]
    shop.post("prices", product=product, currency="usd", recurring={"interval": "month"}, billing_scheme="tiered",
              tiers_mode="graduated", tiers=tiers, expand=["tiers", "product", "currency_options"])  # fmt: skip
    once = shop.post("prices", product=product, unit_amount=500, currency="usd")["id"]
    meter = shop.post("billing/meters", display_name="Calls", event_name="calls",
                      default_aggregation={"formula": "sum"})["id"]  # fmt: skip
    usage = {"interval": "month", "usage_type": "metered", "meter": meter}
    metered = shop.post("prices", product=product, currency="usd", unit_amount=2, recurring=usage)["id"]
    shop.post("tax_rates", display_name="VAT", percentage=20, inclusive=False)
    address = {"line1": "1 Street", "city": "Berlin", "country": "DE"}
    customer = shop.customer(address=address, shipping={"name": "Ada", "address": address}, expand=["tax"])
    shop.post(f"customers/{customer}/tax_ids", type="eu_vat", value="DE123456789")
    shop.post(f"customers/{customer}/balance_transactions", amount=-500, currency="usd")
    card = shop.get("payment_methods", customer=customer)["data"][0]["id"]
    shop.post("setup_intents", customer=customer, confirm=True, payment_method=card)
    payment = shop.post("payment_intents", amount=1500, currency="usd", customer=customer, payment_method=card,
                        confirm=True, expand=["latest_charge.balance_transaction"])  # fmt: skip
    shop.post("payment_intents", amount=1500, currency="usd")
    shop.post("refunds", payment_intent=payment["id"], amount=500, expand=["charge"])
    coupon = shop.post("coupons", percent_off=25, duration="repeating", duration_in_months=3)["id"]
    shop.post("promotion_codes", promotion={"type": "coupon", "coupon": coupon}, expand=["promotion.coupon"])
    deep = ["latest_invoice.payments", "default_payment_method", "discounts", "customer", "items.data.price.product"]
    subscription = shop.post("subscriptions", customer=customer, items=[{"price": month, "quantity": 2}],
                             trial_period_days=14, discounts=[{"coupon": coupon}], expand=deep)  # fmt: skip
    name, item = subscription["id"], subscription["items"]["data"][0]["id"]
    shop.post("subscription_items", subscription=name, price=metered)
    shop.advance(days=20)
    changes = {"items": [{"id": item, "price": year}], "proration_behavior": "always_invoice"}
    shop.post("invoices/create_preview", subscription=name, subscription_details=changes)
    shop.post(f"subscriptions/{name}", items=[{"id": item, "quantity": 5}], proration_behavior="always_invoice",
              expand=["latest_invoice"])  # fmt: skip
    shop.post("invoiceitems", customer=customer, amount=1000, currency="usd", subscription=name)
    shop.post(f"subscriptions/{name}", cancel_at_period_end=True)
    shop.advance(days=40)
    paid = shop.get("invoices", customer=customer, status="paid")["data"]
    invoice = next(one for one in paid if one["amount_paid"] > 1000)
    for path in ("lines", "payments"):
        shop.get(f"invoices/{invoice['id']}", expand=[path])
    shop.get("invoice_payments", invoice=invoice["id"])
    shop.post("credit_notes", invoice=invoice["id"], amount=100, refund_amount=100)
    again = shop.post("subscriptions", customer=customer, items=[{"price": month}])
    shop.post("subscription_schedules", from_subscription=again["id"], expand=["subscription"])
    draft = shop.post("invoices", customer=customer, collection_method="send_invoice", days_until_due=9)["id"]
    shop.post(f"invoices/{draft}/add_lines", lines=[{"amount": 900, "description": "Set-up"}])
    shop.post(f"invoices/{draft}/send")
    shop.post("test_helpers/test_clocks", frozen_time=1790000000)
    features = {"invoice_history": {"enabled": True}, "subscription_cancel": {"enabled": True}}
    shop.post("billing_portal/configurations", features=features)
    flow = {"type": "subscription_cancel", "subscription_cancel": {"subscription": again["id"]}}
    shop.post("billing_portal/sessions", customer=customer, flow_data=flow)
    shop.post("checkout/sessions", mode="subscription", customer=customer, line_items=[{"price": month, "quantity": 1}],
              customer_update={"address": "auto"}, automatic_tax={"enabled": True}, **PAGES)  # fmt: skip
    shop.post("checkout/sessions", mode="payment", line_items=[{"price": once, "quantity": 2}],
              invoice_creation={"enabled": True}, custom_text={"submit": {"message": "Thanks"}}, **PAGES)  # fmt: skip
    shop.post("checkout/sessions", mode="payment", ui_mode="embedded_page", return_url="https://shop.example/ok",
              line_items=[{"price": once, "quantity": 1}])  # fmt: skip
    shop.post("payment_links", line_items=[{"price": once, "quantity": 1}])
    shop.post("webhook_endpoints", url="https://shop.example/hook", enabled_events=["*"])
    credit = {"type": "monetary", "monetary": {"currency": "usd", "value": 1000}}
    shop.post("billing/credit_grants", customer=customer, amount=credit,
              applicability_config={"scope": {"price_type": "metered"}})  # fmt: skip
    shop.post("entitlements/features", name="API", lookup_key="api")
    for path in ("account", "balance", "balance_transactions", "charges", "plans"):
        shop.get(path)


def without_legacy(value: Any) -> Any:
    match value:
        case list():
            return [without_legacy(one) for one in value]
        case dict():
            kind = value.get("object")
            gone = LEGACY.get(kind, set()) if isinstance(kind, str) else set()
            return {name: without_legacy(one) for name, one in value.items() if name not in gone}
        case _:
            return value


def complaints(told: str, lines: list[str]) -> set[tuple[str, str, str]]:
    """Which type complains of which field, and how."""
    found = set()
    for said in re.split(r"\n(?=\S+\.ts\()", told):
        place = re.match(r"\S+\.ts\((\d+),(\d+)\): error TS\d+: ([^\n]*)", said)
        # Numbers with decimals are texts on the wire, and of a class of the library's own once they are read.
        if place is None or "DecimalImpl" in said:
            continue
        line = lines[int(place[1]) - 1]
        field = re.match(r'"(\w+)"', line[int(place[2]) - 1 :])
        of = re.search(r"Stripe\.([\w.]+) =", line)
        assert of is not None, said
        found.add((of[1], field[1] if field else "", place[3][:300]))
    return found


@pytest.mark.skipif(not TSC.exists(), reason="`make judges` installs TypeScript and Stripe's library for Node first")
def test_every_answer_has_the_type_of_the_official_library() -> None:
    shop = Recording()
    sell(shop)
    assert {answer["object"] for _, answer in shop.answers} >= set(TYPES) - {"line_item"}
    lines = ["import Stripe from 'stripe';"]
    for n, (_, answer) in enumerate(shop.answers):
        if (of := TYPES.get(answer["object"])) and not answer.get("deleted"):
            lines.append(f"export const x{n}: Stripe.{of} = {json.dumps(without_legacy(answer))};")
    assert len(lines) > 50
    source = FOLDER / "node_modules" / ".answers.ts"  # beside the library, where its types are found
    source.write_text("\n".join(lines))
    options = ["--strict", "--exactOptionalPropertyTypes", "--noEmit", "--skipLibCheck", "--pretty", "false"]
    options += ["--module", "nodenext", "--target", "es2022"]
    told = subprocess.run(
        [str(TSC), *options, str(source)], capture_output=True, text=True, timeout=600, check=False
    ).stdout
    assert {one for one in complaints(told, lines) if one[:2] not in KNOWN} == set()
