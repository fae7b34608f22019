"""A page for people: the clock, customers, subscriptions and the last deliveries, as plain HTML."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape

from paygrade.simulator.forms import Json
from paygrade.simulator.http.account import Account
from paygrade.simulator.world import World

ROWS_MAX = 100
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1a1a1a}"
    "table{border-collapse:collapse;width:100%}"
    "th,td,li{text-align:left;overflow-wrap:anywhere;padding:.25rem .75rem .25rem 0;"
    "border-bottom:1px solid #ddd}th{color:#666;font-weight:500}h2{margin-top:2rem;font-size:1.1rem}"
    "@media(prefers-color-scheme:dark){body{background:#161616;color:#eee}td,th{border-color:#444}th{color:#aaa}}"
)


def render(account: Account) -> str:
    world = account.engine.world
    clock = f"{world.now:%Y-%m-%d %H:%M:%S} UTC, {'running' if account.running else 'standing still'}"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Stripe simulator</title>",
        "<meta name=viewport content='width=device-width'>",
        f"<style>{STYLE}</style><h1>Stripe simulator</h1>",
        f"<p>Clock: <strong>{escape(clock)}</strong> · seed {world.seed}</p>",
        _table(
            "Subscriptions",
            ("subscription", "customer", "status", "prices", "period ends", "cancels"),
            (_subscription_row(world, thing) for thing in _newest(world, "subscription")),
        ),
        _pages(world),
        _table("Customers", ("customer", "name", "email"), map(_customer_row, _newest(world, "customer"))),
        _table(
            "Last deliveries",
            ("event", "type", "endpoint", "status", "attempts"),
            ((d.event, d.type, d.url, d.status, str(d.attempts)) for d in reversed(account.deliveries.history)),
        ),
    ]
    return "".join(parts)


def _pages(world: World) -> str:
    """Links to the pages that wait for a customer."""
    open_now = [one for one in _newest(world, "checkout.session") if one["url"]]
    waiting = [one for one in _newest(world, "invoice") if one["status"] == "open"]
    links = [(one["url"], f"Checkout: {one['id']}") for one in open_now]
    links += [(one["url"], f"Portal: {one['customer']}") for one in _newest(world, "billing_portal.session")]
    links += [(one["hosted_invoice_url"], f"Invoice {one['number']}") for one in waiting]
    listed = "".join(f"<li><a href='{escape(url)}'>{escape(text)}</a></li>" for url, text in links)
    return f"<h2>Open pages</h2><ul>{listed}</ul>" if listed else "<h2>Open pages</h2><p>None yet.</p>"


def _newest(world: World, kind: str) -> list[Json]:
    things = (world.objects[id] for id in reversed(world.shelves.get(kind, [])))
    return [thing for thing, _ in zip((t for t in things if not t.get("deleted")), range(ROWS_MAX), strict=False)]


def _subscription_row(world: World, subscription: Json) -> tuple[str, ...]:
    items = subscription["items"]["data"]
    prices = ", ".join(
        f"{item['price']['lookup_key'] or item['price']['id']}"
        + (f" × {item['quantity']}" if item["quantity"] not in (None, 1) else "")
        for item in items
    )
    customer = world.objects[subscription["customer"]]
    end = min((item["current_period_end"] for item in items), default=None)
    return (
        subscription["id"],
        customer.get("name") or customer.get("email") or customer["id"],
        subscription["status"],
        prices,
        _day(end),
        _day(subscription["ended_at"] or subscription["cancel_at"]),
    )


def _customer_row(customer: Json) -> tuple[str, ...]:
    return customer["id"], customer["name"] or "", customer["email"] or ""


def _day(instant: int | None) -> str:
    return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%d %H:%M}" if instant is not None else ""


def _table(title: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    empty = "" if body else "<p>None yet.</p>"
    return f"<h2>{escape(title)}</h2><table><tr>{head}</tr>{body}</table>{empty}"
