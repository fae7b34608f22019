"""Real processes killed while plans are changed: each key has one change, each change one charge, and access says so.

`make test` does it once; `make chaos RUNS=5 SEED=7` does it longer, with more accounts. Several clients ask for the
same changes under the same keys, whoever answers. A killed process leaves the lease of a change behind that nobody
gives back; to wait for its end would take a minute and a half each time, so all leases are ended now and then: those of
the living, too, who then ask the provider for what somebody else is asking for.
"""

import itertools
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx2
import psycopg
import stripe
from msgspec import Struct

from chaos.stack import ADMIN_KEY, House, house
from paygrade.providers.stripe.phases import MARK
from paygrade.simulator.http.app import DEFAULT_KEY
from support.cluster import eventually

RUNS = int(os.environ.get("RUNS", "0"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 2**31)
SERVERS = 3 if RUNS else 2
ACCOUNTS = 8 if RUNS else 2
CHANGES = 10 * RUNS or 3
"""Changes of each account, one after the other."""
CLIENTS = 2
"""How many ask for each, at the same time and knowing nothing of each other."""
WEATHER = {"delay_ms": [0, 100], "timeout": 0.1, "hang_ms": [200, 600], "error": 0.05}
FAMILY = (("small", 1000), ("large", 3000), ("huge", 9000))
CATALOG = f"""
version: 1
features:
  level: {{ kind: config, type: integer }}
plans:
  free: {{ default: true, entitlements: {{ level: 0 }} }}
{
    "".join(
        f'''  {key}:
    prices: {{ monthly: {{ amount: {amount}, currency: usd, interval: month, stripe: {key} }} }}
    entitlements: {{ level: {amount} }}
'''
        for key, amount in FAMILY
    )
}
policies:
  plan_change: [ {{ from: "*", to: "*", when: now, proration: charge_now }} ]
"""


class Asked(Struct, frozen=True):
    """What one client was told of the change it asked for. `plan`: what it asked to go to."""

    account: str
    key: str
    plan: str
    change: str


def test_each_change_is_made_and_paid_once_whoever_is_killed_while_making_it() -> None:
    with house(servers=SERVERS, seed=SEED, catalog=CATALOG) as opened:
        provider = stripe.StripeClient(DEFAULT_KEY, base_addresses={"api": opened.simulator_url})
        prices = sell(provider)
        bought = {
            f"acme-{number}": subscribe(provider, f"acme-{number}", prices["small"]) for number in range(ACCOUNTS)
        }
        eventually("every account to be known", lambda: [one for one in bought if level(opened, one) != 1000])
        opened.control("weather", WEATHER)
        with ThreadPoolExecutor(ACCOUNTS) as pool:
            asking = [pool.submit(change_again_and_again, opened.server_urls, account) for account in bought]
            eventually("every change to be made", lambda: killing(opened, asking))
        asked = [one for each in asking for one in each.result()]
        opened.control("weather", {})
        opened.wait_until_ready()
        eventually("every change to be resolved", lambda: unresolved(opened))
        wrong = [*wrong_rows(opened, asked), *wrong_charges(opened, provider, bought), *wrong_access(opened, asked)]
        assert not wrong, f"SEED={SEED}\n" + "\n".join(wrong)
        assert len({one.change for one in asked}) == ACCOUNTS * CHANGES


def change_again_and_again(servers: list[str], account: str) -> list[Asked]:
    """Go from plan to plan, each time when the change before is applied."""
    told: list[Asked] = []
    with ThreadPoolExecutor(CLIENTS) as clients:
        plans = itertools.islice(itertools.cycle(("large", "huge", "small")), CHANGES)
        for number, plan in enumerate(plans):
            asked = change(servers, account, f"{account}:{number}", plan, clients)
            eventually(f"{asked[0].key} to be applied", partial(is_open, servers, asked[0]))
            told += asked
    return told


def change(servers: list[str], account: str, key: str, plan: str, clients: ThreadPoolExecutor) -> list[Asked]:
    """Quote a change and have it asked for by several at once; what each was told."""
    while True:
        made = answer(servers, f"{account}/plan-changes/quote", {"plan": plan})
        assert made.is_success, made.text
        ask = partial(answer, servers, f"{account}/plan-changes", {"quote_id": made.json()["id"]}, key)
        answers = [each.result() for each in [clients.submit(ask) for _ in range(CLIENTS)]]
        if any(each.is_success for each in answers):
            answers.append(ask())
            assert answers[-1].is_success, answers[-1].text
            return [Asked(account, key, plan, each.json()["id"]) for each in answers if each.is_success]
        # Something was read of the account meanwhile: it has to be quoted again.
        assert {each.json()["code"] for each in answers} <= {"account_changed", "change_under_way"}, answers[0].text


def answer(servers: list[str], path: str, body: dict[str, Any], key: str | None = None) -> httpx2.Response:
    """What is answered in the end, by whichever server is there."""
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", **({"Idempotency-Key": key} if key else {})}
    last: list[httpx2.Response] = []
    numbers = itertools.count(random.randrange(len(servers)))

    def asked() -> bool:
        url = f"{servers[next(numbers) % len(servers)]}/v1/accounts/{path}"
        try:
            with httpx2.Client(trust_env=False, timeout=20, headers=headers, verify=False) as http:
                last[:] = [http.post(url, json=body, params={"wait_s": 0} if key else {})]
        except httpx2.HTTPError:
            return True
        return last[0].status_code >= 500

    eventually("an answer", asked)
    return last[0]


def is_open(servers: list[str], asked: Asked) -> bool:
    """Whether a change is not applied yet, or nobody says."""
    url = f"{random.choice(servers)}/v1/accounts/{asked.account}/plan-changes/{asked.change}"
    try:
        with httpx2.Client(
            trust_env=False, timeout=10, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, verify=False
        ) as http:
            told = http.get(url)
    except httpx2.HTTPError:
        return True
    return not told.is_success or told.json()["change"]["state"] != "applied"


def killing(house: House, asking: list[Any]) -> int:
    """Kill one of them or all, end the leases, and start them again; how many accounts are still being changed."""
    time.sleep(house.rng.uniform(0.1, 2.5))
    for number in house.rng.sample(range(SERVERS), k=house.rng.choice((1, 1, 1, SERVERS))):
        house.kill_server(number)
    if house.rng.random() < 0.1:
        house.restart_postgres(away_s=0)
    with psycopg.connect(house.database_url, autocommit=True) as connection:
        connection.execute("update plan_changes set leased_until = null, retry_at = null where state = 'asked'")
    house.start_dead_servers()
    house.wait_until_ready()
    return sum(not each.done() for each in asking)


def unresolved(house: House) -> list[Any]:
    with psycopg.connect(house.database_url) as connection:
        return connection.execute(
            "select account, key, state from plan_changes where state in ('asked', 'pending', 'scheduled')"
        ).fetchall()


def wrong_rows(house: House, asked: list[Asked]) -> Iterator[str]:
    """Keys that have not the one change which everybody was told of, applied."""
    with psycopg.connect(house.database_url) as connection:
        rows = connection.execute(
            "select account, key, id, state from plan_changes where source = 'request'"
        ).fetchall()
        steps = connection.execute(
            "select account, change, count(*) from plan_change_steps where step in ('applied', 'failed', 'canceled') "
            "group by account, change having count(*) <> 1"
        ).fetchall()
    yield from (f"{row} was resolved more than once" for row in steps)
    yield from (f"{row} is not applied" for row in rows if row[3] != "applied")
    if {(account, key, id) for account, key, id, _ in rows} != {(one.account, one.key, one.change) for one in asked}:
        yield f"there are {sorted(rows)}, asked for were {asked}"


def wrong_charges(house: House, provider: stripe.StripeClient, bought: dict[str, str]) -> Iterator[str]:
    """Changes that have not exactly one update and one paid invoice at the provider."""
    with psycopg.connect(house.database_url) as connection:
        rows = connection.execute("select account, id from plan_changes where source = 'request'").fetchall()
    events: Any = provider.v1.events.list({"limit": 100, "type": "customer.subscription.updated"}).auto_paging_iter()
    named: list[str] = []
    before: dict[str, str | None] = {}
    for event in reversed(list(events)):
        thing = event.to_dict()["data"]["object"]
        name = thing["metadata"].get(MARK)
        if name and before.get(thing["id"]) != name:
            named.append(name)
        before[thing["id"]] = name
    for account, id in rows:
        if named.count(id) != 1:
            yield f"{id} of {account} was made {named.count(id)} times"
    for account, subscription in bought.items():
        listed: Any = provider.v1.invoices.list({"subscription": subscription, "limit": 100}).auto_paging_iter()
        reasons = [(invoice.billing_reason, invoice.status) for invoice in listed]
        of_changes = reasons.count(("subscription_update", "paid"))
        if of_changes != CHANGES or len(reasons) != CHANGES + 1:
            yield f"{account} has the invoices {reasons} for {CHANGES} changes"


def wrong_access(house: House, asked: list[Asked]) -> Iterator[str]:
    """Accounts that may do something else than the plan they went to last says."""
    last = {one.account: one.plan for one in asked}
    for account, plan in last.items():
        if level(house, account) != dict(FAMILY)[plan]:
            yield f"{account} has {level(house, account)}, but went to {plan}"


def level(house: House, account: str) -> int | None:
    value: int | None = house.ask("POST", "/v1/check", json={"account": account, "feature": "level"})["value"]
    return value


def sell(provider: stripe.StripeClient) -> dict[str, str]:
    recurring: Any = {"interval": "month"}
    return {
        key: provider.v1.prices.create(
            {"currency": "usd", "unit_amount": amount, "lookup_key": key, "recurring": recurring,
             "product_data": {"name": key}}
        ).id
        for key, amount in FAMILY
    }  # fmt: skip


def subscribe(provider: stripe.StripeClient, account: str, price: str) -> str:
    """A customer with a good card and a subscription; gives that."""
    customer = provider.v1.customers.create({"metadata": {"paygrade_account": account}})
    card = provider.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    provider.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": card.id}})
    return provider.v1.subscriptions.create({"customer": customer.id, "items": [{"price": price}]}).id
