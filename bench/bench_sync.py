"""From a change at the provider to a different decision over HTTP, on real parts: simulator, server, PostgreSQL.

Each round sets the quantity of a subscription with the official `stripe` library, then asks for the decision until it
has the new limit. The clock starts when the library's call returns. Budget: 250 ms p99, without and with
`OTHERS` other subjects changing each second.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import httpx2
import stripe

ROUNDS = 200
WARM_UP = 10
OTHERS = 50
API, SIMULATOR, KEY = "http://127.0.0.1:14710", "http://127.0.0.1:14711", "sk_bench"
CATALOG = """
version: 1
features: { seats: { kind: level } }
plans: { team: { prices: { monthly: { amount: 900, currency: usd, interval: month, stripe: team } },
                 entitlements: { seats: { limit: quantity } } } }
"""


def main() -> None:
    with _house():
        client = stripe.StripeClient("sk_test_simulator", base_addresses={"api": SIMULATOR})
        product = client.v1.products.create({"name": "Team"})
        client.v1.prices.create(
            {
                "product": product.id,
                "currency": "usd",
                "unit_amount": 900,
                "lookup_key": "team",
                "recurring": {"interval": "month"},
            }
        )
        price = client.v1.prices.list({"lookup_keys": ["team"]}).data[0].id
        subject = _subscribe(client, price, "acme")
        _row("alone", [_round(client, subject, number) for number in range(2, ROUNDS + WARM_UP)][WARM_UP:])
        others = [_subscribe(client, price, f"other_{number}") for number in range(OTHERS)]
        with _changing(others):
            figures = [_round(client, subject, number) for number in range(1000, 1000 + ROUNDS + WARM_UP)]
        _row(f"while {OTHERS} others change each second", figures[WARM_UP:])


def _row(name: str, figures: list[float]) -> None:
    cuts = quantiles(figures, n=100)
    print(f"  {name:42} {median(figures):7.1f} ms median {cuts[98]:8.1f} ms p99 {max(figures):8.1f} ms max")


def _subscribe(client: stripe.StripeClient, price: str, account: str) -> tuple[str, str]:
    customer = client.v1.customers.create(
        {
            "metadata": {"paygrade_account": account},
            "payment_method": "pm_card_visa",
            "invoice_settings": {"default_payment_method": "pm_card_visa"},
        }
    )
    subscription = client.v1.subscriptions.create({"customer": customer.id, "items": [{"price": price, "quantity": 1}]})
    return account, subscription["items"]["data"][0]["id"]


def _round(client: stripe.StripeClient, subject: tuple[str, str], quantity: int) -> float:
    account, item = subject
    client.v1.subscription_items.update(item, {"quantity": quantity, "proration_behavior": "none"})
    begun = time.perf_counter()
    while True:
        answer = _http().post(f"{API}/v1/check", json={"account": account, "feature": "seats"})
        if answer.json().get("limit") == quantity:
            return (time.perf_counter() - begun) * 1000
        if time.perf_counter() - begun > 30:
            raise SystemExit(f"the change never became visible: {answer.text}")
        time.sleep(0.001)


@contextmanager
def _changing(others: list[tuple[str, str]]) -> Iterator[None]:
    done = threading.Event()

    def change() -> None:
        client = stripe.StripeClient("sk_test_simulator", base_addresses={"api": SIMULATOR})
        due = time.monotonic()
        for number in itertools.count(2):
            _, item = others[number % len(others)]
            client.v1.subscription_items.update(item, {"quantity": number, "proration_behavior": "none"})
            due += 1 / OTHERS
            if done.wait(max(0.0, due - time.monotonic())):
                return

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


_clients: list[httpx2.Client] = []


def _http() -> httpx2.Client:
    if not _clients:
        _clients.append(httpx2.Client(headers={"Authorization": f"Bearer {KEY}"}, trust_env=False))
    return _clients[0]


@contextmanager
def _house() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="paygrade-bench-") as folder:
        Path(folder).chmod(0o755)
        catalog = Path(folder) / "paygrade.yaml"
        catalog.write_text(CATALOG)
        paygrade = [str(Path(sys.executable).parent / "paygrade")]
        environment = {
            **os.environ,
            "PAYGRADE_DATA_DIR": f"{folder}/data",
            "PAYGRADE_ADMIN_KEY": KEY,
            "PAYGRADE_CATALOG": str(catalog),
            "PAYGRADE_PORT": API.rpartition(":")[2],
            "PAYGRADE_STRIPE_API_KEY": "sk_test_simulator",
            "PAYGRADE_STRIPE_API_BASE": SIMULATOR,
            "PAYGRADE_STRIPE_WEBHOOK_SECRET": "whsec_simulator",
            "PAYGRADE_CLOCK_URL": SIMULATOR,
        }
        webhook = ["--port", SIMULATOR.rpartition(":")[2], "--webhook", f"{API}/webhooks/stripe"]
        with (Path(folder) / "log").open("w") as log:
            parts = [
                subprocess.Popen([*paygrade, *command], env=environment, stdout=log, stderr=log)
                for command in (["simulator", "serve", *webhook], ["serve"])
            ]
            try:
                _wait_until_ready()
                yield
            finally:
                for part in reversed(parts):
                    part.terminate()
                    part.wait(timeout=20)


def _wait_until_ready() -> None:
    with httpx2.Client(trust_env=False, verify=False) as http:
        for _ in range(600):
            try:
                if http.get(f"{API}/readyz").is_success:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.05)
    raise SystemExit("the server did not become ready")
