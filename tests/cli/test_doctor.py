"""`paygrade doctor` finds what is wrong, and says what to do: each finding is provoked for real."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql

from paygrade.billing.drift import Difference
from paygrade.cli.main import paygrade
from paygrade.postgres.store import Store
from paygrade.providers.stripe.events import TYPES
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.process.settings import Settings
from support.canned_stripe import CannedStripe, failing, serve
from support.cli_runner import Shell
from support.cluster import folder_of_its_own, free_ports
from support.databases import migrated_database
from support.oidc_provider import providing
from support.server_process import Api, serving
from support.stack import house

ADMIN_KEY = "sk_0123456789012345678901234567890"


class Doctor:
    """It, asked about one database and whatever else the environment names."""

    def __init__(self, **environ: str) -> None:
        (free,) = free_ports(1)
        self.environ = {"PAYGRADE_ADMIN_KEY": ADMIN_KEY, "PAYGRADE_URL": f"http://127.0.0.1:{free}", **environ}

    def says(self, what: str, state: str, **more: str) -> str:
        """All it says of this in this state, which it must."""
        found = self.symptoms(**more)
        said = [each["detail"] for each in found if (each["what"], each["state"]) == (what, state)]
        assert said, found
        return "; ".join(said)

    def symptoms(self, **more: str) -> list[dict[str, Any]]:
        # In this process: to start one takes longer than to look. A server in a thread may write between.
        ended = CliRunner().invoke(paygrade, ["doctor", "--json"], env={**self.environ, **more})
        found: list[dict[str, Any]] = json.loads(
            next(line for line in ended.stdout.splitlines() if line.startswith('[{"what"'))
        )
        assert ended.exit_code == int(any(each["state"] == "wrong" for each in found))
        return found


@pytest.fixture
def doctor(database_url: str) -> Doctor:
    return Doctor(PAYGRADE_DATABASE_URL=database_url)


def altered(database_url: str, setting: str, value: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        named = sql.SQL("alter database {} set {} = {}")
        connection.execute(named.format(name, sql.Identifier(setting), sql.Literal(value)))


def test_settings_that_lose_what_is_acknowledged_are_wrong(doctor: Doctor) -> None:
    said = doctor.says("postgres", "wrong")
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        assert f"`{name}` is off" in said
    assert "set it to on" in said


def test_settings_that_are_safe_are_fine(doctor: Doctor, database_url: str) -> None:
    altered(database_url, "synchronous_commit", "on")
    assert "synchronous_commit" not in doctor.says("postgres", "wrong")


def test_transactions_that_would_be_refused_to_each_other_are_wrong(doctor: Doctor, database_url: str) -> None:
    altered(database_url, "default_transaction_isolation", "serializable")
    assert "set it to read committed" in doctor.says("postgres", "wrong")


def test_an_encoding_that_cannot_hold_every_text_is_wrong(doctor: Doctor, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("create database ascii template template0 encoding 'SQL_ASCII' locale 'C'")
    try:
        url = psycopg.conninfo.make_conninfo(postgres_url, dbname="ascii")
        assert "create the database with UTF8" in doctor.says("postgres", "wrong", PAYGRADE_DATABASE_URL=url)
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("drop database ascii with (force)")


def test_more_connections_than_there_are_is_wrong(doctor: Doctor) -> None:
    assert "raise `max_connections`" in doctor.says("connections", "wrong", PAYGRADE_WORKERS="64")


@pytest.mark.parametrize(("ahead", "state"), [("10 seconds", "note"), ("-1 hour", "wrong")])
def test_a_database_whose_clock_is_another_is_told(doctor: Doctor, database_url: str, ahead: str, state: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        made = "create function public.clock_timestamp() returns timestamptz language sql as {}"
        body = f"select pg_catalog.clock_timestamp() + interval '{ahead}'"
        connection.execute(sql.SQL(made).format(sql.Literal(body)))
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} set search_path = public, pg_catalog").format(name))
    said = doctor.says("clock", state)
    assert "that of the database" in said
    assert "chrony" in said


def test_a_database_that_cannot_be_reached_is_wrong(doctor: Doctor) -> None:
    (nobody,) = free_ports(1)
    url = f"postgresql://127.0.0.1:{nobody}/paygrade"
    assert "can't be reached" in doctor.says("database", "wrong", PAYGRADE_DATABASE_URL=url)


def test_a_replica_that_is_none_is_told(doctor: Doctor, database_url: str) -> None:
    assert "leads to no replica" in doctor.says("replica", "note", PAYGRADE_DATABASE_REPLICA_URL=database_url)
    (nobody,) = free_ports(1)
    url = f"postgresql://127.0.0.1:{nobody}/paygrade"
    assert "reads go to the database" in doctor.says("replica", "note", PAYGRADE_DATABASE_REPLICA_URL=url)


def test_a_disk_with_little_room_is_told(tmp_path: Path) -> None:
    with folder_of_its_own("disk") as folder:
        if (
            os.geteuid() != 0
            or subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=400m,mode=755", "tmpfs", str(folder)], capture_output=True
            ).returncode
        ):
            pytest.skip("only root can make a small disk here")
        try:
            doctor = Doctor(PAYGRADE_DATA_DIR=str(folder / "data"), PAYGRADE_ADMIN_KEY="")
            # There is nothing to look at before there is a database.
            Shell(tmp_path, **doctor.environ).run("migrate")
            assert "make room there" in doctor.says("disk", "note")
            (folder / "ballast").write_bytes(bytes(150 * 2**20))
            assert "make room there" in doctor.says("disk", "wrong")
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def stripe(doctor: Doctor) -> Iterator[CannedStripe]:
    with serve() as canned:
        for name in ("customers", "subscriptions", "invoices", "prices", "products", "events"):
            canned.lists[f"/v1/{name}"] = []
        doctor.environ |= {
            "PAYGRADE_STRIPE_API_KEY": "rk_test_1",
            "PAYGRADE_STRIPE_API_BASE": canned.url,
            "PAYGRADE_STRIPE_WEBHOOK_SECRET": "whsec_1",
        }
        yield canned


def refusing(*paths: str) -> Any:
    refusal = failing(403, "The provided key 'rk_test_1' does not have the required permissions for this endpoint.")
    return lambda path: refusal if path in paths else None


def test_a_key_with_every_permission_is_fine(doctor: Doctor, stripe: CannedStripe) -> None:
    assert "every permission" in doctor.says("provider", "ok")


def test_what_the_key_may_not_read_is_named(doctor: Doctor, stripe: CannedStripe) -> None:
    stripe.instead = refusing("/v1/invoices", "/v1/prices")
    said = doctor.says("provider", "wrong")
    assert "may not read Invoices, Prices" in said
    assert "give it read" in said


def test_what_the_key_may_not_write_is_named_and_nothing_is_changed(doctor: Doctor, stripe: CannedStripe) -> None:
    stripe.instead = refusing("/v1/subscriptions/sub_paygrade_doctor")
    assert "may not write Subscriptions" in doctor.says("provider", "note")
    assert {path for path in stripe.paths if path.count("/") > 2} == {
        "/v1/customers/cus_paygrade_doctor",
        "/v1/checkout/sessions/cs_paygrade_doctor/expire",
        "/v1/billing_portal/sessions",
        "/v1/subscriptions/sub_paygrade_doctor",
        "/v1/invoices/in_paygrade_doctor",
        "/v1/products/prod_paygrade_doctor",
        "/v1/prices/price_paygrade_doctor",
    }


@pytest.mark.parametrize(
    ("what", "path"),
    [
        ("Customers", "/v1/customers/cus_paygrade_doctor"),
        ("Checkout Sessions", "/v1/checkout/sessions/cs_paygrade_doctor/expire"),
        ("Customer portal", "/v1/billing_portal/sessions"),
    ],
)
def test_what_the_key_lacks_to_open_pages_is_named(doctor: Doctor, stripe: CannedStripe, what: str, path: str) -> None:
    stripe.instead = refusing(path)
    said = doctor.says("provider", "note")
    assert f"may not write {what}, so checkouts and billing portals can't be opened" in said


def test_what_the_key_lacks_to_count_money_is_named_once(doctor: Doctor, stripe: CannedStripe) -> None:
    stripe.instead = refusing("/v1/charges", "/v1/credit_notes")
    said = doctor.says("provider", "note")
    assert "may not read Charges and Refunds, Credit notes, so reports of money leave customers out" in said


def test_what_a_key_lacks_to_sell_the_catalog_is_told_and_is_not_wrong(doctor: Doctor, stripe: CannedStripe) -> None:
    stripe.instead = refusing("/v1/products/prod_paygrade_doctor")
    assert "needs write on Products, which this key has not" in doctor.says("provider", "ok")


def test_what_stripe_sells_otherwise_is_told(doctor: Doctor, stripe: CannedStripe, database_url: str) -> None:
    prices = {"monthly": {"amount": 2900, "currency": "usd", "interval": "month", "stripe": "pro_monthly"}}
    document = {"version": 1, "features": {}, "plans": {"pro": {"prices": prices}}}

    async def publish() -> None:
        async with Store(database_url) as store:
            await publish_catalog(store, document=document, lines={}, dry_run=False, at=datetime.now(UTC), by="ann")

    asyncio.run(publish())
    assert "/plans/pro/prices/monthly/stripe: Stripe has no price `pro_monthly`" in doctor.says("stripe", "note")
    price = {"id": "price_1", "object": "price", "product": "prod_1", "active": True, "lookup_key": "pro_monthly",
             "currency": "usd", "unit_amount": 2900, "recurring": {"interval": "month"}}  # fmt: skip
    stripe.lists["/v1/prices"] = [price]
    stripe.objects["/v1/products/prod_1"] = {"id": "prod_1", "object": "product", "name": "Pro", "active": True}
    assert doctor.says("stripe", "ok") == "sells what the catalog in force says"


def test_a_key_that_is_none_is_wrong(doctor: Doctor, stripe: CannedStripe) -> None:
    stripe.instead = lambda path: failing(401, "Invalid API Key provided: rk_test_1")
    assert "give it read" in doctor.says("provider", "wrong")


def test_a_provider_whose_clock_is_another_is_told(doctor: Doctor, stripe: CannedStripe) -> None:
    stripe.date = format_datetime(datetime.now(UTC) - timedelta(minutes=10), usegmt=True)
    assert "ahead of that of the provider" in doctor.says("clock", "wrong")


def test_without_a_signing_secret_webhooks_are_wrong(doctor: Doctor, stripe: CannedStripe) -> None:
    assert "the endpoint's signing secret" in doctor.says("webhooks", "wrong", PAYGRADE_STRIPE_WEBHOOK_SECRET="")


def endpoint(stripe: CannedStripe, url: str, *, status: str = "enabled", events: tuple[str, ...] = ("*",)) -> None:
    told = {"id": "we_1", "url": f"{url}/webhooks/stripe", "status": status, "enabled_events": list(events)}
    stripe.lists["/v1/webhook_endpoints"] = [told]


@pytest.fixture(scope="module")
def receiver(postgres_url: str) -> Iterator[Api]:
    with (
        migrated_database(postgres_url) as url,
        serving(Settings(webhook_secrets=("whsec_1",)), url, catalog=False) as made,
    ):
        yield made


def test_an_endpoint_that_answers_and_is_sent_everything_is_fine(
    doctor: Doctor, stripe: CannedStripe, receiver: Api
) -> None:
    endpoint(stripe, receiver.url)
    assert "is sent every event, and answers" in doctor.says("webhooks", "ok")


def test_an_endpoint_that_is_sent_too_little_is_told(doctor: Doctor, stripe: CannedStripe, receiver: Api) -> None:
    endpoint(stripe, receiver.url, events=tuple(type for type in TYPES if type != "invoice.paid"))
    assert "is not sent invoice.paid" in doctor.says("webhooks", "note")


def test_an_endpoint_that_leads_nowhere_is_wrong(doctor: Doctor, stripe: CannedStripe, receiver: Api) -> None:
    (nobody,) = free_ports(1)
    endpoint(stripe, f"http://127.0.0.1:{nobody}")
    assert "is it the right address" in doctor.says("webhooks", "wrong")
    endpoint(stripe, stripe.url)
    assert "not as Paygrade does" in doctor.says("webhooks", "wrong")
    endpoint(stripe, receiver.url, status="disabled")
    assert "enable it in the dashboard" in doctor.says("webhooks", "wrong")
    stripe.lists["/v1/webhook_endpoints"] = []
    assert "Stripe has no webhook endpoint" in doctor.says("webhooks", "wrong")


def test_a_server_without_the_secret_is_told(doctor: Doctor, stripe: CannedStripe, api: Api) -> None:
    endpoint(stripe, api.url)
    assert "set PAYGRADE_STRIPE_WEBHOOK_SECRET on that server" in doctor.says("webhooks", "wrong")


def test_prices_nobody_named_and_fields_that_differ_are_told(postgres_url: str) -> None:
    with house(postgres_url) as shop:
        shop.shop.welcome("acme", "Acme")
        product = shop.stripe.v1.products.create({"name": "Something else"})
        price = shop.stripe.v1.prices.create(
            {"product": product.id, "currency": "usd", "unit_amount": 500, "recurring": {"interval": "month"}}
        )
        customer = shop.shop.customers["acme"]
        shop.stripe.v1.subscriptions.create({"customer": customer, "items": [{"price": price.id}]})
        shop.api.ok("PUT", "/v1/accounts/acme", json={"links": {"stripe": [customer]}})
        shop.api.ok("POST", "/v1/accounts/acme/refresh", params={"wait_s": 20})
        url = shop.database_url
        asyncio.run(_differing(url, "stripe:cus_nobody_reads"))
        doctor = Doctor(
            PAYGRADE_DATABASE_URL=url,
            PAYGRADE_STRIPE_API_KEY=shop.provider.key,
            PAYGRADE_STRIPE_API_BASE=shop.provider.url,
            PAYGRADE_CLOCK_URL=shop.provider.url,
            PAYGRADE_STRIPE_WEBHOOK_SECRET=shop.provider.secret,
        )
        assert "name each price in the catalog" in doctor.says("mapping", "note")
        assert "paygrade sync sweep" in doctor.says("drift", "note")
        assert "customers are known" in doctor.says("sync", "ok")
        with psycopg.connect(url) as connection:
            connection.execute("update subjects set attempts = 3, error = 'no answer'")
        assert "can't be read" in doctor.says("sync", "wrong")


async def _differing(database_url: str, subject: str) -> None:
    async with Store(database_url) as store, store.transaction() as tx:
        difference = Difference("sub_1", "status", "active", "past_due")
        await tx.drifts.add([(subject, "acme", difference)], found_by="sweep", at=datetime.now(UTC))


# The log-in provider


def test_a_log_in_provider_is_looked_at(doctor: Doctor) -> None:
    with providing() as provider:
        named = {
            "PAYGRADE_PUBLIC_URL": "https://paygrade.example.com",
            "PAYGRADE_OIDC_ISSUER": provider.url,
            "PAYGRADE_OIDC_CLIENT_ID": "paygrade",
            "PAYGRADE_OIDC_CLIENT_SECRET": "hush",
            "PAYGRADE_OIDC_ROLES": "ops=admin",
        }
        assert "https://paygrade.example.com/v1/login/oidc/callback" in doctor.says("log-in", "ok", **named)
        provider.changes["/openid-configuration"] = lambda told: {**told, "issuer": "https://login.example.com"}
        assert "`https://login.example.com`" in doctor.says("log-in", "wrong", **named)
        provider.changes["/openid-configuration"] = lambda told: told | {"code_challenge_methods_supported": ["plain"]}
        assert "PKCE" in doctor.says("log-in", "wrong", **named)
        provider.changes["/openid-configuration"] = lambda told: told | {"token_endpoint": "ftp://x"}
        assert "`token_endpoint`" in doctor.says("log-in", "wrong", **named)
        provider.changes.clear()
        provider.changes["/jwks"] = lambda told: {"keys": []}
        assert "publishes no keys" in doctor.says("log-in", "wrong", **named)
        provider.down = True
        assert "502" in doctor.says("log-in", "wrong", **named)
