"""The customers' pages: what an account's people see and change by a link, with scripts or without.

Laws: whoever has the link sees this account alone; every change is an operation that the API offers, too, and is
confirmed on what it will do; what is sent comes from our own pages; the link's secret is written down nowhere.
"""

import asyncio
from typing import Annotated, Any

from litestar import Response, Router, get, post
from litestar.params import FromPath
from msgspec.structs import replace

from paygrade.billing.facts import Member
from paygrade.changes.checkout import CheckoutRequest
from paygrade.changes.quote import Quote
from paygrade.changes.request import ChangeRequest
from paygrade.server.http.auth import refuse_other_origin
from paygrade.server.http.console.rendering import see_other
from paygrade.server.http.console.screens import read_form
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.parameters import refuse_odd_texts, text
from paygrade.server.http.portal import showing
from paygrade.server.http.portal.failures import HANDLERS, PLACE, WORDS, told
from paygrade.server.http.portal.rendering import BACK, Place, leave, page, words_for
from paygrade.server.http.portal.style import send_style
from paygrade.server.http.portal.wording import Words
from paygrade.server.http.problems import request_id
from paygrade.server.http.routes.portal_sessions import base_url
from paygrade.server.operations.accounts import accounts, statements
from paygrade.server.operations.accounts import members as people
from paygrade.server.operations.accounts.portal_sessions import visit
from paygrade.server.operations.changes import checkouts, plan_changes, quotes
from paygrade.server.operations.own_pages.invoices import list_invoices
from paygrade.server.operations.own_pages.on_sale import OnSale, list_on_sale
from paygrade.server.operations.own_pages.summary import AccountSummary, summarize
from paygrade.server.process.acting import Acting, set_acting
from paygrade.values.errors import Refused, Unavailable
from paygrade.values.text import is_key

SHOWN, SHOWN_MORE = 25, 250
"""How many people are listed at first, and on each page that follows."""
WAIT_S = 5.0


class Guest:
    """Whoever has come: whose pages these are, and what the deployment offers there."""

    def __init__(self, request: HttpRequest, context: Context, place: Place, words: Words) -> None:
        self.request, self.context, self.place, self.words = request, context, place, words
        self.account, self.you = place.visit.account, place.visit.member

    @property
    def may_change(self) -> bool:
        return not self.context.portal.billing_only and not self.context.portal.hide_plans

    def go(self, *segments: str, at: str = "", **query: str) -> Response[None]:
        return see_other(self.place(*segments, at=at, **query))

    async def summary(self) -> AccountSummary:
        return await summarize(
            self.context.store, self.context.snapshots, account=self.account, member=self.you,
            at=self.context.clock.now(),
        )  # fmt: skip


async def _enter(request: HttpRequest, context: Context, secret: str) -> Guest:
    """Let somebody in. Refused `unauthenticated`, `cross_site`."""
    if request.method != "GET":
        refuse_other_origin(request)
    words = words_for(request, None)
    request.scope["state"][WORDS] = words
    found = await visit(context.store, secret, at=context.clock.now())
    place, words = Place(secret, found), words_for(request, found)
    request.scope["state"][PLACE], request.scope["state"][WORDS] = place, words
    host = request.client.host if request.client is not None else None
    set_acting(Acting(found.actor, host, request_id(request)))
    return Guest(request, context, place, words)


@get("/portal/{secret:str}")
async def overview(
    secret: FromPath[str],
    request: HttpRequest,
    context: InContext,
    interval: Annotated[str, text("At prices of this interval.")] = "",
    people: Annotated[str, text("People after this one.")] = "",
    invoices: Annotated[str, text("Invoices after this one.")] = "",
    done: Annotated[str, text("Something was done.")] = "",
) -> Response[str]:
    guest = await _enter(request, context, secret)
    return await _overview(guest, interval=interval, after=people, bills_after=invoices, is_done=bool(done))


async def _overview(
    guest: Guest,
    *,
    interval: str = "",
    after: str = "",
    bills_after: str = "",
    is_done: bool = False,
    error: Exception | None = None,
    refused: str = "",
) -> Response[str]:
    """The page on which everything stands; `refused`: in words, where there is no code for it."""
    context, words = guest.context, guest.words
    status, wrong = told(words, error) if error is not None else (409 if refused else 200, refused)
    # Whoever bills is asked while the rest is read.
    (summary, named, members, sold), bills = await asyncio.gather(_read(guest), _bills(guest, bills_after))
    first = summary.subscriptions[0] if summary.subscriptions else None
    intervals = showing.intervals(sold)
    wanted = interval if interval in intervals else showing.interval_of(summary) or (intervals[0] if intervals else "")
    listed = [one for one in members.members if one.member > after]
    shown = listed[: SHOWN_MORE if after else SHOWN]
    ends = first is not None and first.ends_at is not None
    return page(
        guest.request, "overview.html", words, guest.place,
        status=status,
        error=wrong,
        is_done=is_done,
        name=named.name or guest.account,
        summary=summary,
        notices=showing.notices(words, summary, await _pay_url(guest, summary)),
        bought=showing.bought_lines(words, first),
        when=showing.when_told(words, first),
        change=summary.change,
        ends=ends,
        is_overdue=any(one.unpaid_since is not None for one in summary.subscriptions),
        may_change=guest.may_change,
        cancelable=first is not None and not ends and summary.change is None and await _default(guest) is not None,
        has_payment=context.pages is not None and bool(named.customers),
        bills=bills,
        meters=showing.meters(words, summary),
        people=showing.rows(words, shown, guest.you),
        more_people=shown[-1].member if len(listed) > len(shown) else "",
        has_seats=members.level is not None,
        seats_told=showing.seats_told(words, summary),
        plans=showing.cards(words, sold, summary, wanted),
        intervals=intervals,
        interval=wanted,
    )  # fmt: skip


async def _read(guest: Guest) -> tuple[AccountSummary, accounts.AccountView, people.MembersView, OnSale]:
    context, account = guest.context, guest.account
    summary = await guest.summary()
    named = await accounts.get_account(context.store, account=account, at=context.clock.now())
    members = await people.list_members(context.store, account=account, at=context.clock.now())
    sold = await list_on_sale(context.store, context.snapshots, hidden=context.portal.hidden_plans)
    return summary, named, members, sold


async def _bills(guest: Guest, after: str) -> showing.Bills | None:
    context = guest.context
    if context.pages is None or context.portal.hide_invoices:
        return None
    try:
        listed = await list_invoices(
            context.store, context.pages, account=guest.account, after=after or None, at=context.clock.now()
        )  # fmt: skip
    except Unavailable:
        listed = None
    return showing.bills(guest.words, listed, is_first=not after)


async def _default(guest: Guest) -> str | None:
    """What is left to whoever cancels, shown among the plans or not."""
    found = (await guest.context.snapshots.catalog(guest.context.store)).default_plan
    return found.key if found is not None and not found.prices else None


async def _pay_url(guest: Guest, summary: AccountSummary) -> str | None:
    """Where a change that waits for its payment is paid."""
    if summary.change is None or summary.change.state != "pending":
        return None
    view = await plan_changes.get_change(guest.context.store, account=guest.account, id=summary.change.change)
    return view.change.pay_url


# Plans


@post("/portal/{secret:str}/change", status_code=303)
async def ask_change(secret: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
    """Quote what was chosen, or sell it to who has nothing yet. Any: a page, or a way to one."""
    guest = await _enter(request, context, secret)
    _require_changes(guest)
    form = await read_form(request)
    plan, interval = form["plan"], form["interval"] or None
    try:
        if not is_key(plan) or plan in context.portal.hidden_plans:
            raise Refused("change_refused", "choose one of the plans that are shown")
        quantities = await _seats_asked(guest, plan, form["seats"])
        if (await guest.summary()).subscriptions:
            has_price = await _has_price(guest, plan)
            made = await _quoted(
                guest, ChangeRequest(plan=plan, interval=interval if has_price else None, quantities=quantities)
            )
            return guest.go("change", made.id)
        wanted = CheckoutRequest(plan=plan, interval=interval, quantities=quantities)
        return await _buy(guest, wanted)
    except (Refused, Unavailable) as error:
        return await _overview(guest, interval=form["interval"], error=error)


async def _has_price(guest: Guest, plan: str) -> bool:
    catalog = await guest.context.snapshots.catalog(guest.context.store)
    return plan in catalog.plans and bool(catalog.plans[plan].prices)


async def _seats_asked(guest: Guest, plan: str, said: str) -> dict[str, int]:
    """How many seats, where the plan counts them. Refused `quantity_not_sold`."""
    if not said:
        return {}
    catalog = await guest.context.snapshots.catalog(guest.context.store)
    terms = catalog.plans[plan].terms.values() if plan in catalog.plans else ()
    level = next((term.feature for term in terms if getattr(term, "by_quantity", False)), None)
    if not said.isascii() or not said.isdecimal() or not 1 <= int(said[:8]) <= 1_000_000:
        raise Refused("quantity_not_sold", "write a number of seats from 1 on")
    return {level: int(said)} if level is not None else {}


async def _buy(guest: Guest, wanted: CheckoutRequest) -> Response[str]:
    context, back = guest.context, f"{base_url(guest.request, guest.context)}/portal/back"
    if context.pages is None:
        raise Unavailable("provider_not_configured", "no provider is configured; set PAYGRADE_STRIPE_API_KEY")
    opened = await checkouts.start_checkout(
        context.store, context.pages, context.clock, account=guest.account, wanted=wanted, success_url=back,
        cancel_url=back,
    )  # fmt: skip
    return leave(guest.request, guest.words, guest.place, opened.url)


async def _quoted(guest: Guest, wanted: ChangeRequest) -> Quote:
    """The quote; at the end of the period for less, where the deployment says so."""
    context = guest.context

    async def asked(request: ChangeRequest) -> Quote:
        at = context.clock.now()
        return await quotes.quote_change(
            context.store, context.previewer, account=guest.account, wanted=request, at=at
        )  # fmt: skip

    made = await asked(wanted)
    is_less = made.direction == "downgrade" or made.ends
    if context.portal.downgrades == "at_renewal" and is_less and made.when == "now":
        return await asked(replace(wanted, when="period_end"))
    return made


@post("/portal/{secret:str}/cancel", status_code=303)
async def ask_cancel(secret: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
    """Quote a cancellation: the way to the plan that everybody has. Any: a page, or a way to one."""
    guest = await _enter(request, context, secret)
    _require_changes(guest)
    try:
        default = await _default(guest)
        if default is None:
            raise Refused("change_refused", "there is no plan to go to")
        made = await _quoted(guest, ChangeRequest(plan=default))
    except (Refused, Unavailable) as error:
        return await _overview(guest, error=error)
    return guest.go("change", made.id)


@get("/portal/{secret:str}/change/{quote:str}")
async def show_change(
    secret: FromPath[str], quote: FromPath[str], request: HttpRequest, context: InContext
) -> Response[str]:
    guest = await _enter(request, context, secret)
    _require_changes(guest)
    made = await quotes.get_quote(context.store, account=guest.account, id=quote)
    return await _change_page(guest, made)


async def _change_page(
    guest: Guest, made: Quote, *, error: str = "", keeping: list[str] | None = None
) -> Response[str]:
    context, words = guest.context, guest.words
    members = await people.list_members(context.store, account=guest.account, at=context.clock.now())
    sold = await list_on_sale(context.store, context.snapshots)
    named = await accounts.get_account(context.store, account=guest.account, at=context.clock.now())
    losing = showing.seat_violation(made)
    choosing = None
    if losing is not None and showing.may_choose(losing):
        seated = showing.seated(members)
        kept = keeping if keeping is not None else [one.member for one in seated if one.member not in losing.members]
        choosing = {"people": showing.rows(words, seated, guest.you, kept), "seats": losing.limit}
    when = words.date(made.effective_at)
    return page(
        guest.request, "change.html", words, guest.place, status=409 if error else 200,
        name=named.name or guest.account,
        quote=made,
        title=showing.change_title(words, made),
        error=error,
        choosing=choosing,
        losing=losing.members if losing is not None else (),
        loses=len(losing.members) if losing is not None else 0,
        over=showing.over(words, made.violations),
        deltas=showing.changed(words, made.deltas, sold),
        costs=showing.costs(words, made),
        confirm=showing.markup(words, "portal.confirm_now" if made.when == "now" else "portal.confirm_on", date=when),
    )  # fmt: skip


@post("/portal/{secret:str}/change/{quote:str}", status_code=303)
async def confirm_change(
    secret: FromPath[str], quote: FromPath[str], request: HttpRequest, context: InContext
) -> Response[Any]:
    """Do what the page said, and nothing else. Any: a page, or a way to one."""
    guest = await _enter(request, context, secret)
    _require_changes(guest)
    form, words = await read_form(request), guest.words
    made = await quotes.get_quote(context.store, account=guest.account, id=quote)
    losing = showing.seat_violation(made)
    if losing is not None and form["understood"] != "1":
        return await _change_page(guest, made, error=words.say("portal.understood_short"))
    try:
        if losing is not None and form["chooses"]:
            keeping = list(dict.fromkeys(form.every("seat")))
            if len(keeping) > losing.limit:
                told_much = words.say("portal.too_many", n=words.number(len(keeping)), seats=words.number(losing.limit))
                return await _change_page(guest, made, error=told_much, keeping=keeping)
            chosen = await _chosen(guest, made, keeping)
            if chosen is None:
                return await _asked_anew(guest, made)
            made = chosen
        change = await plan_changes.carry_out(
            context.store, account=guest.account, quote_id=made.id, key=None, has_provider=context.has_provider,
            at=context.clock.now(),
        )  # fmt: skip
    except Refused as error:
        if error.code in ("account_changed", "catalog_changed", "quote_expired"):
            return await _asked_anew(guest, made)
        return await _change_page(guest, made, error=told(words, error)[1])
    change = await plan_changes.settled_within(context.store, change, seconds=WAIT_S)
    if change.state == "pending" and change.pay_url is not None:
        return leave(request, words, guest.place, change.pay_url)
    return guest.go(done="1")


async def _chosen(guest: Guest, made: Quote, keeping: list[str]) -> Quote | None:
    """The quote with these as the ones who keep a seat; None: it says something else by now than was confirmed."""
    losing, context = showing.seat_violation(made), guest.context
    assert losing is not None
    members = await people.list_members(context.store, account=guest.account, at=context.clock.now())
    kept_by_itself = {one.member for one in members.members if one.seat} - set(losing.members)
    if kept_by_itself == set(keeping):
        return made
    await people.rank_seats(context.store, account=guest.account, first=keeping, at=context.clock.now())
    now = await quotes.quote_change(
        context.store, context.previewer, account=guest.account, wanted=made.wanted, at=context.clock.now()
    )  # fmt: skip
    still = showing.seat_violation(now)
    loses = set(still.members) if still is not None else set()
    is_same = not loses & set(keeping) and _said(now) == _said(made)
    return now if is_same else None


def _said(made: Quote) -> tuple[object, ...]:
    """What was confirmed of a quote, but for who loses a seat. What is due now differs by the second it is asked."""
    money = made.money
    to_come = money.next_invoice.due if money.next_invoice is not None and made.when != "now" else None
    at = made.effective_at if made.when != "now" else None
    return made.plan_after, made.when, at, made.ends, money.currency, to_come, made.when == "now" or money.due_now


async def _asked_anew(guest: Guest, made: Quote) -> Response[Any]:
    """The same asked again, on how things stand now, for another look. Any: a page, or a way to one."""
    try:
        now = await _quoted(guest, made.wanted)
    except (Refused, Unavailable) as error:
        return await _overview(guest, error=error)
    return await _change_page(guest, now, error=guest.words.say("portal.error.changed"))


@post("/portal/{secret:str}/undo", status_code=303)
async def undo_change(secret: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
    """Take a change back that has not come yet. Any: a page, or a way to one."""
    guest = await _enter(request, context, secret)
    _require_changes(guest)
    form = await read_form(request)
    try:
        undone = await plan_changes.take_back(
            context.store, account=guest.account, id=form["change"], at=context.clock.now()
        )  # fmt: skip
        await plan_changes.settled_within(context.store, undone, seconds=WAIT_S)
    except (Refused, Unavailable) as error:
        return await _overview(guest, error=error)
    return guest.go(done="1")


@post("/portal/{secret:str}/keep", status_code=303)
async def keep_plan(secret: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
    """Take a cancellation back, whoever made it. Any: a page, or a way to one."""
    guest = await _enter(request, context, secret)
    _require_changes(guest)
    try:
        summary, at = await guest.summary(), context.clock.now()
        change = summary.change
        if change is not None and change.ends and change.state == "scheduled":
            undone = await plan_changes.take_back(context.store, account=guest.account, id=change.change, at=at)
        else:
            undone = await plan_changes.act(
                context.store, account=guest.account, act="keep_going",
                subscription=summary.subscriptions[0].subscription if summary.subscriptions else None,
                trial_ends_at=None, key=None, has_provider=context.has_provider, at=at,
            )  # fmt: skip
        await plan_changes.settled_within(context.store, undone, seconds=WAIT_S)
    except (Refused, Unavailable) as error:
        return await _overview(guest, error=error)
    return guest.go(done="1")


def _require_changes(guest: Guest) -> None:
    if not guest.may_change:
        raise Refused("not_found", "plans are not changed on these pages")


# People and payment


@post("/portal/{secret:str}/people", status_code=303)
async def change_person(secret: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
    """Give somebody a seat, take it, or remove them. Any: a page, or a way to one."""
    guest = await _enter(request, context, secret)
    if context.portal.billing_only:
        raise Refused("not_found", "people are not changed on these pages")
    form, at = await read_form(request), context.clock.now()
    member, act = form["member"], form["act"]
    if member == guest.you:
        return await _overview(guest, refused=guest.words.say("portal.error.yourself"))
    try:
        if act == "remove":
            await statements.delete_member(context.store, account=guest.account, member=member, at=at)
        else:
            await _set_seat(guest, member, seat=act == "give")
    except (Refused, Unavailable) as error:
        return await _overview(guest, error=error)
    return guest.go(done="1", at="who")


async def _set_seat(guest: Guest, member: str, *, seat: bool) -> None:
    store, at = guest.context.store, guest.context.clock.now()
    members = await people.list_members(store, account=guest.account, at=at)
    its = next((one for one in members.members if one.member == member), None)
    if its is None:
        raise Refused("unknown_member", "there is nobody of this name")
    stated = Member(its.member, its.role, seat, invited=its.invited)
    await people.put_members(store, account=guest.account, members=[stated], at=at)


@post("/portal/{secret:str}/payment", status_code=303)
async def payment(secret: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
    """On to the provider's pages, where invoices are and one pays. Any: a page, or a way to one."""
    guest = await _enter(request, context, secret)
    try:
        if context.pages is None:
            raise Unavailable("provider_not_configured", "no provider is configured; set PAYGRADE_STRIPE_API_KEY")
        opened = await checkouts.open_portal(
            context.store, context.pages, context.clock, account=guest.account,
            return_url=f"{base_url(request, context)}/portal/back",
        )  # fmt: skip
    except (Refused, Unavailable) as error:
        return await _overview(guest, error=error)
    return leave(request, guest.words, guest.place, opened.url)


@get("/portal/back")
async def come_back(request: HttpRequest, context: InContext) -> Response[Any]:
    """From a page of the provider to the page before: its secret was sent nowhere. Any: a page, or a way to one."""
    guest = await _enter(request, context, request.cookies.get(BACK, ""))
    return guest.go()


def portal() -> Router:
    """All of it."""
    pages = [
        overview, ask_change, ask_cancel, show_change, confirm_change, undo_change, keep_plan, change_person, payment,
        come_back, send_style,
    ]  # fmt: skip
    return Router(
        "/", route_handlers=pages, guards=[refuse_odd_texts], exception_handlers=HANDLERS, include_in_schema=False
    )
