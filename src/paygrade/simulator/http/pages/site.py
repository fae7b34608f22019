"""The pages for customers: which address shows what, and what its forms do.

Laws. A page is found by an id nobody can guess, and needs no key. What a form asks for is done once and answered by
a redirect, so that reloading repeats nothing. No page of another origin can send a form here (`origins`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qsl

from paygrade.simulator import errors
from paygrade.simulator.checkout import payment_links
from paygrade.simulator.checkout import sessions as checkout_sessions
from paygrade.simulator.engine import Engine
from paygrade.simulator.forms import Json
from paygrade.simulator.http.pages import bank, checkout, html, invoice, portal
from paygrade.simulator.portal import sessions as portal_sessions
from paygrade.simulator.world import World

Form = dict[str, str]
FORM_BYTES_MAX = 16_384
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """What is behind one kind of address: an object, how it is shown, and what its forms do."""

    kind: str
    show: Callable[..., tuple[int, str]]
    act: Callable[[World, Json, Form], str | None]


def _act_on_invoice(world: World, thing: Json, typed: Form) -> None:
    invoice.act(world, thing, typed)


def _show_recovery(_world: World, _session: Json, *, message: str | None = None) -> tuple[int, str]:
    again = html.form(html.button("Open it again", "go", main=True))
    return html.layout("Your order expired", html.said(message), again, status=400 if message else 200)


def _recover(world: World, session: Json, _typed: Form) -> str:
    return str(checkout_sessions.recover(world, session)["url"])


PAGES = {
    r"/c/pay/([\w-]{1,200})": Page(checkout_sessions.KIND, checkout.show, checkout.act),
    r"/c/recover/([\w-]{1,200})": Page(checkout_sessions.KIND, _show_recovery, _recover),
    r"/p/session/([\w-]{1,200})": Page(portal_sessions.KIND, portal.show, portal.act),
    r"/i/([\w-]{1,200})(?:/pdf)?": Page("invoice", invoice.show, _act_on_invoice),
    r"/3ds/(pi_\w{1,100})_secret_(\w{1,100})": Page("payment_intent", bank.show, bank.act),
    r"/3ds/(seti_\w{1,100})_secret_(\w{1,100})": Page("setup_intent", bank.show, bank.act),
}
LINK = re.compile(r"/b/([\w-]{1,200})")  # a payment link's address
PATTERNS = [(re.compile(pattern), page) for pattern, page in PAGES.items()]


def answer(engine: Engine, method: str, path: str, body: bytes, *, query: str = "") -> Answer | None:
    """Answer a request to one of the pages; None: the path is none of theirs."""
    if method == "GET" and (link := LINK.fullmatch(path)):
        return _follow(engine, link.group(1), query)
    matches = ((pattern.fullmatch(path), page) for pattern, page in PATTERNS)
    found, page = next(((found, page) for found, page in matches if found), (None, None))
    if found is None or page is None:
        return None
    id = found.group(1)
    try:
        _check_secret(engine, page, id, found)
        if method == "GET":
            return _page(engine.play(page.kind, id, page.show))
        if method != "POST":
            return _page(html.layout("No such page", status=405))
        return _submit(engine, page, id, path, body)
    except errors.RefusedByStripe as refused:
        return _page(html.layout("No such page", f"<p>{escape(str(refused))}</p>", status=404))


def _follow(engine: Engine, link: str, query: str) -> Answer:
    """Open a session for whoever follows a payment link, and lead them there."""
    told = dict(parse_qsl(query[:FORM_BYTES_MAX]))
    try:
        session = engine.play(
            payment_links.KIND, link, lambda world, thing: payment_links.open_session(world, thing, told)
        )
    except errors.RefusedByStripe as refused:
        return _page(html.layout("This link is closed", f"<p>{escape(str(refused))}</p>", status=404))
    return Answer(303, b"", {**HEADERS, "Location": str(session["url"])})


def _check_secret(engine: Engine, page: Page, id: str, found: re.Match[str]) -> None:
    """Let an intent's page be found by the whole client secret alone."""
    if found.re.groups == 2:
        intent = engine.world.get(page.kind, id)
        if intent["client_secret"] != f"{id}_secret_{found.group(2)}":
            raise errors.missing(kind=page.kind, id=id)


def _submit(engine: Engine, page: Page, id: str, path: str, body: bytes) -> Answer:
    engine.world.get(page.kind, id)
    if len(body) > FORM_BYTES_MAX:
        return _page(html.layout("Too much was sent", status=413))
    typed = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=100))
    try:
        target = engine.play(page.kind, id, lambda world, thing: page.act(world, thing, typed))
    except errors.RefusedByStripe as refused:
        message = str(refused)
        return _page(engine.play(page.kind, id, lambda world, thing: page.show(world, thing, message=message)))
    return Answer(303, b"", {**HEADERS, "Location": target or path})


def _page(shown: tuple[int, str]) -> Answer:
    return Answer(shown[0], shown[1].encode(), {**HEADERS})
