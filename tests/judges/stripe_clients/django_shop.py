"""dj-stripe, unmodified, beside a running simulator: it takes every webhook of a shop's life, then syncs every model.

Run with the Python of a virtual environment that has dj-stripe: `django_shop.py <url> <key> <folder>`. Tells what
failed and what is in its tables as JSON.
"""

from __future__ import annotations

import io
import json
import sys
import threading
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

URL, KEY, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])

import django  # noqa: E402
from django.conf import settings  # noqa: E402

settings.configure(
    DEBUG=False,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="judge",
    ROOT_URLCONF="__main__",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "djstripe"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(FOLDER / "djstripe.sqlite")}},
    MIGRATION_MODULES=dict.fromkeys(("auth", "contenttypes", "djstripe")),  # the tables as they are now
    USE_TZ=True,
    STRIPE_TEST_SECRET_KEY=KEY,
    STRIPE_LIVE_MODE=False,
    STRIPE_API_HOST=URL,
    DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
)
django.setup()

import stripe  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import include, path  # noqa: E402
from djstripe import models  # noqa: E402

urlpatterns = [path("stripe/", include("djstripe.urls", namespace="djstripe"))]
failed: list[dict[str, str]] = []


def control(what: str, **wanted: object) -> dict[str, object]:
    request = urllib.request.Request(f"{URL}/_simulator/{what}", data=json.dumps(wanted).encode())
    with urllib.request.urlopen(request, timeout=400) as answer:
        return dict(json.load(answer))


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def endpoint() -> None:
    """Serve dj-stripe's view, and have the simulator send everything there."""
    server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    id = str(uuid.uuid4())
    made = stripe.WebhookEndpoint.create(
        url=f"http://127.0.0.1:{server.server_port}/stripe/webhook/{id}/",
        enabled_events=["*"],
        metadata={"djstripe_uuid": id},
    )
    kept = models.WebhookEndpoint.sync_from_stripe_data(made)
    kept.secret, kept.djstripe_tolerance = made.secret, 10**9
    kept.save()


def life() -> None:
    """Sell, upgrade, fail to charge, refund, dispute, credit, cancel."""
    product = stripe.Product.create(name="Pro", default_price_data={"currency": "usd", "unit_amount": 900})
    feature = stripe.entitlements.Feature.create(name="API", lookup_key="api")
    stripe.Product.create_feature(product.id, entitlement_feature=feature.id)
    monthly = stripe.Price.create(
        product=product.id, currency="usd", unit_amount=2000, recurring={"interval": "month"}, lookup_key="pro"
    )
    tiers: Any = [{"up_to": 5, "unit_amount": 500}, {"up_to": "inf", "unit_amount_decimal": "300.5"}]
    seats = stripe.Price.create(
        product=product.id,
        currency="usd",
        billing_scheme="tiered",
        tiers_mode="graduated",
        tiers=tiers,
        recurring={"interval": "month"},
    )
    rate = stripe.TaxRate.create(display_name="VAT", percentage=20, inclusive=False)
    coupon = stripe.Coupon.create(percent_off=10, duration="forever")
    stripe.PromotionCode.create(promotion={"type": "coupon", "coupon": coupon.id}, code="TEN")
    customer = stripe.Customer.create(
        email="ada@example.org", name="Ada", address={"country": "DE"}, tax_id_data=[{"type": "eu_vat", "value": "DE1"}]
    )
    card = stripe.PaymentMethod.attach("pm_card_visa", customer=customer.id)
    stripe.Customer.modify(customer.id, invoice_settings={"default_payment_method": card.id})
    stripe.Customer.create_balance_transaction(customer.id, amount=-100, currency="usd")
    subscription = stripe.Subscription.create(
        customer=customer.id,
        items=[{"price": monthly.id, "quantity": 2}],
        default_tax_rates=[rate.id],
        discounts=[{"coupon": coupon.id}],
    )
    item = subscription["items"]["data"][0]["id"]
    stripe.Subscription.modify(
        subscription.id, items=[{"id": item, "price": seats.id}], proration_behavior="always_invoice"
    )
    control("clock", advance="32d")
    stripe.InvoiceItem.create(customer=customer.id, amount=700, currency="usd", description="Setup")
    invoice = stripe.Invoice.create(customer=customer.id, pending_invoice_items_behavior="include")
    stripe.Invoice.pay(invoice.id)
    payment: Any = stripe.InvoicePayment.list().data[-1]
    charge: Any = stripe.PaymentIntent.retrieve(payment.payment.payment_intent).latest_charge
    stripe.Refund.create(charge=charge, amount=100)
    stripe.Subscription.create(customer=customer.id, items=[{"price": seats.id, "quantity": 20}])
    control("dispute", charge=stripe.Charge.list(customer=customer.id).data[0].id)
    stripe.CreditNote.create(invoice=payment.invoice, amount=100, credit_amount=100)
    schedule = stripe.SubscriptionSchedule.create(from_subscription=subscription.id)
    stripe.SubscriptionSchedule.release(schedule.id)
    broke = stripe.Customer.create(email="bob@example.org")
    bad = stripe.PaymentMethod.attach("pm_card_chargeCustomerFail", customer=broke.id)
    stripe.Customer.modify(broke.id, invoice_settings={"default_payment_method": bad.id})
    stripe.Subscription.create(customer=broke.id, items=[{"price": monthly.id}], trial_period_days=5)
    control("clock", advance="40d")
    stripe.Subscription.cancel(subscription.id)
    stripe.Customer.delete(broke.id)


def main() -> None:
    stripe.api_key, stripe.max_network_retries = KEY, 0
    call_command("migrate", verbosity=0, run_syncdb=True)
    models.APIKey.objects.get_or_create_by_api_key(KEY)
    models.Account.sync_from_stripe_data(stripe.Account.retrieve())
    endpoint()
    life()
    deadline = time.monotonic() + 240
    while control("flush")["pending"] and time.monotonic() < deadline:
        time.sleep(0.2)
    for trigger in models.WebhookEventTrigger.objects.exclude(exception=""):
        body = json.loads(trigger.body)
        failed.append({"webhook": body["type"], "error": trigger.exception[:300]})
    taken = models.WebhookEventTrigger.objects.filter(processed=True).count()
    said, errors = io.StringIO(), io.StringIO()
    call_command("djstripe_sync_models", stdout=said, stderr=errors)
    failed.extend({"sync": line.strip()[:400]} for line in errors.getvalue().splitlines() if line.strip())
    counts = {}
    for name in ("Customer", "Subscription", "Invoice", "Price", "Product", "Charge", "Refund", "Dispute", "TaxRate"):
        counts[name] = getattr(models, name).objects.count()
    sold = sorted(models.Subscription.objects.values_list("stripe_data__status", flat=True))
    print(json.dumps({"failed": failed[:40], "webhooks": taken, "counts": counts, "subscriptions": sold}))


main()
