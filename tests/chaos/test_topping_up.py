"""Real processes killed while they buy: for each top-up one paid invoice and one grant, and nothing beside.

`make test` does it once; `make chaos RUNS=5 SEED=7` does it longer, with more accounts. Each top-up takes four steps
at the provider, who answers some of them late or not at all; whoever is killed between two of them leaves a lease
behind that nobody gives back. To wait for its end would take a minute and a half each time, so the leases of all are
ended all the time: those of the living, too, so that others buy what somebody is buying.
"""

import itertools
import os
import random
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import psycopg
import stripe

from chaos.stack import ADMIN_KEY, House, house
from paygrade.providers.stripe.top_ups import MARK
from paygrade.simulator.http.app import DEFAULT_KEY
from support.cluster import eventually

RUNS = int(os.environ.get("RUNS", "0"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 2**31)
SERVERS = 3 if RUNS else 2
ACCOUNTS = 12 if RUNS else 4
AT_MOST = 5 * RUNS or 2
"""Top-ups of each account."""
AMOUNT, ADDED = 700, 50
WEATHER = {"timeout": 0.15, "hang_ms": [200, 600]}
CATALOG = f"""
version: 1
features:
  calls: {{ kind: metered, burns: {{ coins: {{ rate: 1 }} }} }}
credits:
  coins: {{}}
plans:
  team:
    prices: {{ monthly: {{ amount: 900, currency: usd, interval: month, stripe: team }} }}
    entitlements: {{ coins: {{ grant: 40, every: month }} }}
policies:
  top_up:
    coins: {{ below: 25, add: {ADDED}, at_most: {AT_MOST}, every: month, price: {{ amount: {AMOUNT}, currency: usd }} }}
"""


def test_each_top_up_is_paid_once_and_granted_once_whoever_is_killed_while_buying() -> None:
    with house(servers=SERVERS, seed=SEED, catalog=CATALOG) as opened:
        provider = stripe.StripeClient(DEFAULT_KEY, base_addresses={"api": opened.simulator_url})
        accounts = [f"acme-{number}" for number in range(ACCOUNTS)]
        for account in accounts:
            subscribe(provider, account)
        eventually(
            "every account to have its coins", lambda: [each for each in accounts if not has_coins(opened, each)]
        )
        opened.control("weather", WEATHER)
        stopping, killed = threading.Event(), Counter[str]()
        with ThreadPoolExecutor(ACCOUNTS + 1) as pool:
            using = [pool.submit(use, opened.server_urls, account, stopping) for account in accounts]
            ending = pool.submit(end_leases, opened.database_url, stopping)
            try:
                eventually("every top-up to be paid", lambda: killing(opened, killed))
            finally:
                stopping.set()
        ending.result()
        used = [each.result() for each in using]
        opened.control("weather", {})
        opened.wait_until_ready()
        wrong = [*wrong_rows(opened), *wrong_invoices(opened, provider)]
        assert not wrong, f"SEED={SEED}\n" + "\n".join(wrong)
        assert killed.keys() == {"server", "database"}
        assert sum(used) <= ACCOUNTS * (40 + AT_MOST * ADDED)


def killing(house: House, killed: Counter[str]) -> list[str]:
    """Kill one of those who buy and start another one; what has still to happen."""
    number = house.rng.randrange(SERVERS)
    house.kill_server(number)
    killed["server"] += 1
    if house.rng.random() < 0.2 or (killed["server"] == 2 and not killed["database"]):
        house.restart_postgres(away_s=0)
        killed["database"] += 1
    house.start_server(number)
    with psycopg.connect(house.database_url) as connection:
        row = connection.execute("select count(*) from top_ups where state = 'paid'").fetchone()
    house.start_dead_servers()
    # Whoever is killed again before it is up has bought nothing: that may happen, but not all the time.
    if house.rng.random() < 0.8:
        house.wait_until_ready()
    threading.Event().wait(house.rng.uniform(0.2, 2.5))
    left = ACCOUNTS * AT_MOST - (row[0] if row else 0)
    return [f"{left} top-ups to be paid"] * bool(left) + ["the database to be killed"] * (not killed["database"])


def end_leases(database_url: str, stopping: threading.Event) -> None:
    """Let everybody buy what is asked for, whoever has it in hand."""
    while not stopping.wait(0.1):
        try:
            with psycopg.connect(database_url) as connection:
                connection.execute("update top_ups set leased_until = null, retry_at = null where state = 'asked'")
        except psycopg.Error:
            # Away for now: it is killed as well.
            continue


def use(servers: list[str], account: str, stopping: threading.Event) -> int:
    """Use coins again and again, whoever answers; how many were used, as far as that was heard."""
    used, numbers = 0, itertools.count()
    with httpx2.Client(
        trust_env=False, timeout=10, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, verify=False
    ) as http:
        while not stopping.wait(0.05):
            body = {"account": account, "feature": "calls", "quantity": 10, "id": uuid.uuid4().hex}
            try:
                answer = http.post(f"{servers[next(numbers) % len(servers)]}/v1/consume", json=body)
            except httpx2.HTTPError:
                continue
            used += 10 if answer.is_success and answer.json()["consumed"] else 0
    return used


def wrong_rows(house: House) -> list[str]:
    """Top-ups that have not one grant and one entry, and grants that no top-up explains."""
    with psycopg.connect(house.database_url) as connection:
        bought = connection.execute("select account, id, state, invoice from top_ups").fetchall()
        granted = connection.execute("select account, id, units from grants where kind = 'top_up'").fetchall()
        entered = connection.execute("select account, id from ledger where kind = 'grant'").fetchall()
    wrong = [f"{account} {id} is {state}" for account, id, state, _ in bought if state != "paid"]
    paid = {(account, id): ADDED for account, id, state, _ in bought if state == "paid"}
    if {(account, id): units for account, id, units in granted} != paid:
        wrong.append(f"granted are {granted}, paid are {list(paid)}")
    if sorted(entered) != sorted((account, f"grant\t{id}") for account, id in paid):
        wrong.append(f"entered are {entered}, paid are {list(paid)}")
    return wrong


def wrong_invoices(house: House, provider: stripe.StripeClient) -> list[str]:
    """What the provider has beside one paid invoice for each top-up."""
    listed: Any = provider.v1.invoices.list({"limit": 100}).auto_paging_iter()
    manual = [invoice for invoice in listed if invoice.billing_reason == "manual"]
    with psycopg.connect(house.database_url) as connection:
        rows = connection.execute("select id || '.' || round, invoice from top_ups").fetchall()
    due = Counter((key, id, "paid", AMOUNT) for key, id in rows)
    found = Counter((i.metadata[MARK], i.id, i.status, i.amount_paid) for i in manual)
    charges: Any = provider.v1.charges.list({"limit": 100}).auto_paging_iter()
    charged = [charge for charge in charges if charge.amount == AMOUNT and charge.status == "succeeded"]
    wrong = [f"{one} is not at the provider" for one in due - found]
    wrong += [f"{one} is at the provider, and nobody bought it" for one in found - due]
    return wrong if len(charged) == len(rows) else [*wrong, f"{len(charged)} charges for {len(rows)} top-ups"]


def subscribe(provider: stripe.StripeClient, account: str) -> None:
    """A customer with a good card and a subscription."""
    found = provider.v1.prices.list({"lookup_keys": ["team"]}).data
    price = found[0] if found else provider.v1.prices.create(
        {"currency": "usd", "unit_amount": 900, "lookup_key": "team", "recurring": {"interval": "month"},
         "product_data": {"name": "Team"}}
    )  # fmt: skip
    customer = provider.v1.customers.create({"metadata": {"paygrade_account": account}})
    card = provider.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    provider.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": card.id}})
    provider.v1.subscriptions.create({"customer": customer.id, "items": [{"price": price.id}]})


def has_coins(house: House, account: str) -> bool:
    body = {"account": account, "feature": "coins"}
    return bool(house.ask("POST", "/v1/check", json=body)["allowed"])
