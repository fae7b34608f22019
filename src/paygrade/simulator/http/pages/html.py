"""What the pages for customers are made of: one layout, forms that need no JavaScript, money and days in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from html import escape

from paygrade.simulator.billing.lines import SIGNS, WHOLE_UNITS
from paygrade.simulator.forms import Json

STYLE = (
    ":root{color-scheme:light dark;--ink:#1a1f36;--soft:#5a6072;--line:#d8dce6;--page:#f6f8fb;--card:#fff;"
    "--act:#3f46c8;--on-act:#fff;--bad:#a3123a;--bad-page:#fdecef;--good:#1c6b3c;--good-page:#e8f6ed}"
    "@media(prefers-color-scheme:dark){:root{--ink:#eceef5;--soft:#a9b0c3;--line:#3a4152;--page:#12151d;--card:#1b202b;"
    "--act:#8f97ff;--on-act:#12151d;--bad:#ffb3c2;--bad-page:#3a1a23;--good:#a6e3bd;--good-page:#16301f}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
    "main{max-width:34rem;margin:0 auto;padding:1.5rem 1rem 3rem}"
    "h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0 1rem}"
    "h2{font-size:1.1rem;margin:2rem 0 .5rem}section{background:var(--card);border:1px solid var(--line);"
    "border-radius:.75rem;padding:1rem;margin:1rem 0}section h2:first-child{margin-top:0}"
    ".note,small,.soft{color:var(--soft);font-size:.875rem}.said{border-radius:.5rem;padding:.75rem 1rem;margin:1rem 0}"
    ".bad{background:var(--bad-page);color:var(--bad)}.good{background:var(--good-page);color:var(--good)}"
    "table{width:100%;border-collapse:collapse}td,th{padding:.4rem 0;text-align:left;vertical-align:top;"
    "border-bottom:1px solid var(--line);overflow-wrap:anywhere}tr:last-child td,tr:last-child th{border-bottom:0}"
    "td:last-child,th.sum{text-align:right;white-space:nowrap;padding-left:1rem}"
    "label{display:block;margin:.75rem 0 .25rem;font-weight:500}label.tick{font-weight:400}"
    "input:not([type=checkbox],[type=radio]),select,textarea{width:100%;font:inherit;color:inherit;background:var(--page);"
    "border:1px solid var(--soft);border-radius:.5rem;padding:.6rem .75rem;min-height:2.75rem}"
    "fieldset{border:0;margin:1rem 0 0;padding:0}legend{padding:0;font-weight:500}"
    "button,.button{display:block;width:100%;margin:.6rem 0 0;padding:.65rem 1rem;min-height:2.75rem;font:inherit;"
    "font-weight:500;text-align:center;text-decoration:none;border-radius:.5rem;border:1px solid var(--soft);"
    "background:transparent;color:var(--ink);cursor:pointer}.main{background:var(--act);color:var(--on-act);"
    "border-color:var(--act)}a{color:var(--act)}:focus-visible{outline:3px solid var(--act);outline-offset:2px}"
)
NOTE = "A page of the Stripe simulator. No card is charged and no money moves."


def layout(title: str, *parts: str, status: int = 200) -> tuple[int, str]:
    """Give a whole page with its status."""
    head = (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        f"<title>{escape(title)}</title><meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<meta name=robots content=noindex><link rel=icon href='data:,'><style>{STYLE}</style></head>"
    )
    return (
        status,
        f"{head}<body><main><p class=note>{NOTE}</p><h1>{escape(title)}</h1>{''.join(parts)}</main></body></html>",
    )


def said(message: str | None, *, good: bool = False) -> str:
    """What came of the last thing the customer did."""
    if not message:
        return ""
    return f"<p role={'status' if good else 'alert'} class='said {'good' if good else 'bad'}'>{escape(message)}</p>"


def section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def form(*parts: str) -> str:
    return f"<form method=post>{''.join(parts)}</form>"


def button(text: str, action: str, *, main: bool = False, skips_checks: bool = False) -> str:
    """A button that posts its form with `action` set to this."""
    kind = " class=main" if main else ""
    skips = " formnovalidate" if skips_checks else ""
    return f"<button{kind}{skips} name=action value='{escape(action)}'>{escape(text)}</button>"


def link(text: str, address: str, *, as_button: bool = True) -> str:
    return f"<a{' class=button' if as_button else ''} href='{escape(address)}'>{escape(text)}</a>"


def field(
    name: str,
    label: str,
    *,
    value: object = "",
    type: str = "text",
    required: bool = False,
    extra: str = "",
    of: str = "",
) -> str:
    """A labelled input; `of` tells fields of one name on one page apart."""
    id, needs = escape(f"{name}{of}"), " required" if required else ""
    shown = "" if value is None else escape(str(value))
    return (
        f"<label for='{id}'>{escape(label)}{'' if required else ' <small>(optional)</small>'}</label>"
        f"<input id='{id}' name='{escape(name)}' type='{type}' value='{shown}'{needs}{extra}>"
    )


def tick(name: str, label: str) -> str:
    return f"<label class=tick><input type=checkbox name='{escape(name)}' value=yes required> {escape(label)}</label>"


def choice(
    name: str, label: str, options: Iterable[tuple[str, str]], *, chosen: str | None = None, of: str = ""
) -> str:
    listed = "".join(
        f"<option value='{escape(value)}'{' selected' if value == chosen else ''}>{escape(text)}</option>"
        for value, text in options
    )
    id = escape(f"{name}{of}")
    return f"<label for='{id}'>{escape(label)}</label><select id='{id}' name='{escape(name)}'>{listed}</select>"


def sums(rows: Iterable[Sequence[str]], *, total: tuple[str, str] | None = None) -> str:
    """A table of what things cost: a text and an amount each, and what it comes to."""
    body = "".join(f"<tr><td>{escape(text)}</td><td>{escape(amount)}</td></tr>" for text, amount in rows)
    foot = ""
    if total is not None:
        foot = f"<tr><th scope=row>{escape(total[0])}</th><th class=sum>{escape(total[1])}</th></tr>"
    return f"<table>{body}{foot}</table>"


def money(amount: int | Decimal, currency: str | None) -> str:
    """Write minor units as people read them; what is below a minor unit is written out."""
    currency = currency or "usd"
    sign, places = "-" if amount < 0 else "", 0 if currency in WHOLE_UNITS else 2
    figure = f"{abs(Decimal(amount)).scaleb(-places):,f}"
    whole, _, below = figure.partition(".")
    below = below.rstrip("0").ljust(places, "0")
    figure = f"{whole}.{below}" if below else whole
    return f"{sign}{SIGNS[currency]}{figure}" if currency in SIGNS else f"{sign}{figure} {currency.upper()}"


def every(price: Json) -> str:
    """How often a recurring price is paid: `per month`, `every 3 months`."""
    recurring = price["recurring"]
    count = recurring["interval_count"]
    return f"per {recurring['interval']}" if count == 1 else f"every {count} {recurring['interval']}s"


def cost(price: Json, quantity: int | None) -> str:
    """What a recurring price costs: `$25.00 per month`, and by the unit where it is metered."""
    if price["billing_scheme"] == "tiered":
        return f"priced in tiers, {every(price)}"
    amount = Decimal(price["unit_amount_decimal"] or 0) * (1 if quantity is None else quantity)
    unit = " per unit" if price["recurring"]["usage_type"] == "metered" else ""
    return f"{money(amount, price['currency'])}{unit} {every(price)}"


def day(instant: int) -> str:
    moment = datetime.fromtimestamp(instant, UTC)
    return f"{moment.day} {moment:%B %Y}"


def card(method: Json) -> str:
    """A payment method as people know it: `Visa •••• 4242`."""
    details = method[method["type"]]
    name = details["brand"].title() if method["type"] == "card" else "Bank account"
    return f"{name} •••• {details['last4']}"


def challenge(amount: int | None, currency: str | None) -> tuple[int, str]:
    """The page of the customer's bank, which asks whether it is them (3-D Secure)."""
    what = f"A payment of {money(amount, currency)} waits" if amount else "Saving your card waits"
    return layout(
        "Your bank asks: is it you?",
        f"<p>{escape(what)} for your confirmation.</p>",
        form(button("Yes, confirm", "confirm", main=True), button("No, fail the check", "refuse")),
    )
