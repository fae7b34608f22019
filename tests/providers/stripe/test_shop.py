"""What a Stripe account sells: read whole, made step by step, in any weather, by a process that may die."""

import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from paygrade.catalog.model import Catalog
from paygrade.catalog.model import Tier as PriceTier
from paygrade.catalog.parse import parse
from paygrade.catalog.provider_catalog import Charge, Tier
from paygrade.catalog.provider_check import differences
from paygrade.catalog.provider_pull import pull
from paygrade.catalog.provider_steps import Archive, Cannot, CreatePrice, MoveKey, Nothing, Step
from paygrade.cli.stocking import compare, look, plan_steps, push_steps
from paygrade.documents.yaml import read_yaml
from paygrade.documents.yaml_text import write_yaml
from paygrade.providers.stripe.client import StripeProvider
from paygrade.providers.stripe.shop import StripeShop
from paygrade.simulator.http.serve import Running, running
from paygrade.values.errors import Refused
from support.canned_stripe import failing, serve
from support.catalog_texts import read
from support.cli_runner import RUN, Shell
from support.official_stripe import official_client

CATALOG = """\
version: 1
features:
  calls: { kind: metered, event: call, stripe: { meter: calls_told, report: all } }
  tokens: { kind: metered, stripe: { meter: tokens_told } }
  seats: { kind: level, unit: seat }
plans:
  free: { default: true }
  pro:
    description: For teams.
    stripe: prod_pro
    prices:
      monthly: { amount: 2900, currency: usd, interval: month, stripe: pro_monthly }
      yearly: { amount: 29000, currency: usd, interval: year, stripe: pro_yearly }
      base: { part: flat, amount: 500, currency: usd, interval: month, interval_count: 3, stripe: pro_base }
      calls: { part: usage, amount: 0, currency: usd, interval: month, stripe: pro_calls }
    entitlements:
      seats: { limit: quantity }
      calls: { limit: 1000, every: month, overage: { price: { amount: 2, per: 1000, currency: usd } } }
  business:
    prices:
      monthly: { amount: 9900, currency: eur, interval: month, stripe: business_monthly }
      tokens:
        { part: usage, feature: tokens, amount: 3, per: 10, currency: eur, interval: month, stripe: business_tokens }
    entitlements: { tokens: { limit: 10, every: month, overage: soft } }
add_ons:
  support:
    prices: { weekly: { amount: 700, currency: usd, interval: week, stripe: support_weekly } }
"""
NAMES = ["pro_monthly", "pro_yearly", "pro_base", "pro_calls", "business_monthly", "business_tokens", "support_weekly"]


class Account:
    """A Stripe account of the simulator's, and who stocks it."""

    def __init__(self, served: Running) -> None:
        self.url, self.key = served.url, served.key
        provider = StripeProvider(api_key=served.key, api_base=served.url, timeout_s=2)
        self.shop = StripeShop(provider.connection)
        # Any: the library types every optional field as maybe missing.
        self.stripe: Any = official_client(served.key, served.url)

    def push(self, catalog: Catalog, *, archive_old: bool = False) -> tuple[list[Step], tuple[Step, ...]]:
        """What was done, and what is left."""
        taken: list[Step] = []
        planned = plan_steps(self.shop, catalog, archive_old=archive_old)
        left = push_steps(self.shop, catalog, planned, archive_old=archive_old, tell=taken.append, sleep=lambda _: None)
        return taken, left

    def pulled(self) -> Catalog:
        pulled = pull(self.shop.read_catalog((), lambda price: not price.active, meters=True, features=True))
        document, lines = read_yaml(write_yaml(pulled.document, pulled.comments))
        return parse(document, lines=lines)

    def prices(self) -> list[Any]:
        found: list[Any] = self.stripe.v1.prices.list({"limit": 100}).data
        return found

    def buys(self, price: str) -> None:
        customer = self.stripe.v1.customers.create({"name": "Ada"})
        params: Any = {"customer": customer.id, "items": [{"price": price}], "collection_method": "send_invoice",
                       "days_until_due": 7}  # fmt: skip
        self.stripe.v1.subscriptions.create(params)

    def control(self, path: str, **body: Any) -> None:
        httpx2.post(f"{self.url}/_simulator/{path}", json=body, verify=False).raise_for_status()


@pytest.fixture
def account() -> Iterator[Account]:
    with running(seed=3) as served:
        yield Account(served)


def test_what_was_pushed_is_there_in_stripes_words_and_again_there_is_nothing_to_do(account: Account) -> None:
    catalog = read(CATALOG)
    _, left = account.push(catalog)
    assert not [step for step in left if not isinstance(step, Nothing)]
    assert compare(account.shop, catalog) == ()
    assert account.push(catalog)[0] == []
    made = {price.lookup_key: price for price in account.stripe.v1.prices.list({"expand": ["data.tiers"]}).data}
    assert sorted(filter(None, made)) == sorted(NAMES)
    calls = made["pro_calls"]
    assert (calls.billing_scheme, calls.tiers_mode, calls.recurring.usage_type) == ("tiered", "graduated", "metered")
    assert [(tier.up_to, str(tier.unit_amount_decimal)) for tier in calls.tiers] == [(1000, "0"), (None, "0.002")]
    meter = account.stripe.v1.billing.meters.retrieve(calls.recurring.meter)
    assert (meter.event_name, meter.default_aggregation.formula) == ("calls_told", "sum")
    base = made["pro_base"]
    assert (base.product, base.recurring.interval_count) == ("prod_pro", 3)
    assert base.metadata.to_dict() == {"paygrade_price": "base", "paygrade_part": "flat"}
    product = account.stripe.v1.products.retrieve(made["support_weekly"].product)
    assert (product.name, product.metadata.to_dict()) == ("Support", {"paygrade_add_on": "support"})
    assert account.stripe.v1.products.retrieve("prod_pro").description == "For teams."
    again = account.pulled()
    calls = PriceTier(up_to=1000), PriceTier(amount=2, per=1000)
    wanted = {key: dict(plan.prices) for key, plan in catalog.plans.items() if plan.prices}
    wanted["pro"]["calls"] = replace(wanted["pro"]["calls"], feature="calls_told", tiers=calls)
    wanted["business"]["tokens"] = replace(wanted["business"]["tokens"], feature="tokens_told")
    assert {key: plan.prices for key, plan in again.plans.items()} == wanted
    assert again.add_ons["support"].prices == catalog.add_ons["support"].prices
    assert differences(again, look(account.shop, again)) == ()
    assert not account.push(again)[0]


def test_a_price_that_somebody_pays_is_made_anew_and_stays_until_it_is_archived(account: Account) -> None:
    account.push(read(CATALOG))
    first = next(price for price in account.prices() if price.lookup_key == "pro_monthly")
    account.buys(first.id)
    dearer = read(CATALOG.replace("2900,", "3900,"))
    (wrong,) = compare(account.shop, dearer)
    assert "costs 2900, not 3900" in wrong.message
    taken, _ = account.push(dearer)
    assert [type(step) for step in taken] == [CreatePrice]
    old, new = account.stripe.v1.prices.retrieve(first.id), account.prices()[0]
    assert (old.active, old.lookup_key, old.unit_amount) == (True, None, 2900)
    assert (new.lookup_key, new.unit_amount, new.product) == ("pro_monthly", 3900, "prod_pro")
    assert compare(account.shop, dearer) == ()
    # Within a day it costs what it did, and then once more what it did after that: nothing is made twice.
    assert [type(step) for step in account.push(read(CATALOG), archive_old=True)[0]] == [MoveKey, Archive]
    assert account.stripe.v1.prices.retrieve(first.id).lookup_key == "pro_monthly"
    assert [type(step) for step in account.push(dearer)[0]] == [CreatePrice]
    third = next(price for price in account.prices() if price.lookup_key == "pro_monthly")
    assert (third.active, third.unit_amount, third.id != new.id) == (True, 3900, True)


def test_what_was_made_by_hand_is_read_as_it_is_and_pulled(account: Account) -> None:
    v1 = account.stripe.v1
    product = v1.products.create({"name": "Scale up", "description": 'Say "hi"\n# all'})
    gone = v1.products.create({"name": "Legacy"})
    tiers = [{"up_to": 5, "unit_amount": 100, "flat_amount": 50}, {"up_to": "inf", "unit_amount": 80}]
    seats: Any = {"product": product.id, "currency": "usd", "recurring": {"interval": "month"},
                  "billing_scheme": "tiered", "tiers_mode": "volume", "tiers": tiers}  # fmt: skip
    v1.prices.create(seats)
    both: Any = {"product": product.id, "currency": "usd", "unit_amount": 900, "recurring": {"interval": "year"},
                 "lookup_key": "scale", "currency_options": {"eur": {"unit_amount": 800}}}  # fmt: skip
    v1.prices.create(both)
    old = v1.prices.create({"product": gone.id, "currency": "usd", "unit_amount": 1, "recurring": {"interval": "day"}})
    v1.prices.create({"product": product.id, "currency": "usd", "unit_amount": 5})
    account.buys(old.id)
    v1.prices.update(old.id, {"active": False})
    v1.products.update(gone.id, {"active": False})
    there = account.shop.read_catalog((), lambda price: not price.active, meters=True, features=True)
    assert there.whole
    tiered = next(price.charge for price in there.prices if price.charge.mode == "volume")
    assert tiered == Charge("usd", "month", tiers=(Tier(5, Fraction(100), Fraction(50)), Tier(None, Fraction(80))),
                            mode="volume")  # fmt: skip
    catalog = account.pulled()
    assert {key: price.stripe for key, price in catalog.plans["scale_up"].prices.items()} == {
        "yearly": "scale", "yearly_eur": "scale"
    }  # fmt: skip
    assert catalog.plans["legacy"].prices == {}
    assert compare(account.shop, catalog) == ()
    assert not account.push(catalog)[0]
    # Without the plan that says what it buys, the price that somebody pays is told.
    bare = read("version: 1\nfeatures: {}\nplans: {}\n")
    assert {each.object for each in compare(account.shop, bare)} >= {old.id}


def test_features_of_stripes_entitlements_become_features_of_the_plans_that_have_them() -> None:
    with serve() as canned:
        canned.lists = {
            "/v1/billing/meters": [],
            "/v1/products": [{"id": "prod_1", "name": "Pro", "active": True}],
            "/v1/prices": [{"id": "price_1", "product": "prod_1", "active": True, "currency": "usd", "unit_amount": 500,
                            "recurring": {"interval": "month", "usage_type": "licensed"}}],
            "/v1/entitlements/features": [
                {"id": "feat_1", "lookup_key": "single-sign-on", "name": "SSO", "active": True},
                {"id": "feat_2", "lookup_key": "old", "name": "Old", "active": False},
            ],
            "/v1/products/prod_1/features": [{"id": "pf_1", "entitlement_feature": {"lookup_key": "single-sign-on"}}],
        }  # fmt: skip
        shop = StripeShop(StripeProvider(api_key="rk_test_1", api_base=canned.url).connection)
        pulled = pull(shop.read_catalog((), lambda price: not price.active, meters=True, features=True))
        assert pulled.document["features"] == {"single_sign_on": {"kind": "boolean", "description": "SSO"}}
        assert pulled.document["plans"]["pro"]["entitlements"] == {"single_sign_on": True}
        # A key that may not read them reads the rest, and that is said.
        refusal = failing(403, "The provided key does not have the required permissions for this endpoint.")
        canned.instead = lambda path: refusal if "entitlements" in path else None
        pulled = pull(shop.read_catalog((), lambda price: not price.active, meters=True, features=True))
        assert pulled.document["features"] == {}
        assert any("give the key read on Entitlements" in line for line in pulled.comments[""])


def test_in_any_weather_everything_is_made_once(account: Account) -> None:
    account.control("weather", rate_limit=0.04, error=0.1, timeout=0.02, hang_ms=[1, 5])
    _, left = account.push(read(CATALOG))
    account.control("weather")
    assert not [step for step in left if not isinstance(step, Nothing)]
    assert Counter(price.lookup_key for price in account.prices()) == Counter(NAMES)
    assert len(account.stripe.v1.products.list().data) == 3
    assert len(account.stripe.v1.billing.meters.list().data) == 2
    assert compare(account.shop, read(CATALOG)) == ()


def test_what_comes_up_after_it_was_agreed_to_is_not_done(account: Account) -> None:
    catalog = read(CATALOG)
    planned = plan_steps(account.shop, catalog, archive_old=False)
    account.push(catalog)
    first = next(price for price in account.prices() if price.lookup_key == "support_weekly")
    account.stripe.v1.prices.update(first.id, {"lookup_key": ""})
    with pytest.raises(Refused) as refused:
        push_steps(account.shop, catalog, planned, archive_old=False, tell=lambda _: None)
    assert refused.value.code == "provider_changed"


def test_ids_and_amounts_that_cannot_be_made_are_left_to_a_person(account: Account) -> None:
    text = CATALOG.replace("stripe: pro_yearly", "stripe: price_123").replace(
        "amount: 2, per: 1000", "amount: 2, per: 3"
    )
    _, left = account.push(read(text))
    unable = {step.pointer: step.detail for step in left if isinstance(step, Cannot)}
    assert "only Stripe chooses" in unable.pop("/plans/pro/prices/yearly")
    assert "at most 12 decimal places" in unable.pop("/plans/pro/prices/calls")
    assert not unable


@contextmanager
def relayed(url: str, after: Callable[[int], None]) -> Iterator[str]:
    """An address before Stripe; `after` is told of every POST that took effect, before its answer goes out."""
    count, client = 0, httpx2.Client(trust_env=False, verify=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            nonlocal count
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host",)}
            answer = client.request(self.command, f"{url}{self.path}", content=body, headers=headers)
            if self.command == "POST":
                count += 1
                after(count)
            self.send_response(answer.status_code)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = _pass

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_push_that_is_killed_goes_on_where_it_was(account: Account, tmp_path: Path) -> None:
    (tmp_path / "paygrade.yaml").write_text(CATALOG)
    process: subprocess.Popen[bytes] | None = None

    def after(count: int) -> None:
        if count in (2, 7) and process is not None:
            process.kill()

    # Each time after an effect that nobody heard of: of a meter, then of a price.
    with relayed(account.url, after) as url:
        shell = Shell(tmp_path, PAYGRADE_STRIPE_API_KEY=account.key, PAYGRADE_STRIPE_API_BASE=url)
        for _ in range(2):
            command = [*RUN, "catalog", "push", "--to-stripe", "--yes"]
            process = subprocess.Popen(command, cwd=tmp_path, env=shell.environ, stdout=subprocess.DEVNULL)
            assert process.wait(60) == -signal.SIGKILL
        process = None
        done = shell.json("catalog", "push", "--to-stripe", "--yes")
    assert done["left"] == []
    assert 0 < done["taken"] < len(NAMES) + 1
    assert Counter(price.lookup_key for price in account.prices()) == Counter(NAMES)
    assert len(account.stripe.v1.products.list().data) == 3
    assert len(account.stripe.v1.billing.meters.list().data) == 2
    assert compare(account.shop, read(CATALOG)) == ()
