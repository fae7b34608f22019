"""What the customers' pages show, made of what operations answer: every figure and sentence is ready here.

Law: nothing is decided and nothing is added up that an operation has not said, but a price times how many of it.
"""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from markupsafe import Markup

from paygrade.billing.listed_invoices import InvoicePage, ListedState
from paygrade.catalog.model import Price
from paygrade.changes.impact import Delta, Violation
from paygrade.changes.quote import Quote
from paygrade.decisions.decide import Decision
from paygrade.server.http.portal.wording import Words
from paygrade.server.operations.accounts.members import MembersView, MemberView
from paygrade.server.operations.own_pages.on_sale import OnSale, PlanOnSale
from paygrade.server.operations.own_pages.summary import AccountSummary, BoughtPlan, FeatureUse

NEAR_PERCENT = 80
"""From how much of a limit on one is told of it."""


class Meter(NamedTuple):
    name: str
    used: int
    limit: int | None
    told: str
    sub: str
    is_calm: bool = False
    """Whether a full one is nothing to worry about."""


class Line(NamedTuple):
    what: Markup | str
    money: str
    sum: bool = False


class Notice(NamedTuple):
    tone: str
    text: str
    action: str = ""
    action_text: str = ""


class Row(NamedTuple):
    """A person of the account."""

    member: str
    role: str
    seat: bool
    seat_told: str
    invited: bool
    active: Markup | str
    is_you: bool
    keeps: bool = False


class InvoiceRow(NamedTuple):
    number: str
    date: Markup
    amount: str
    state: str
    tone: str
    page: str | None
    file: str | None


class Bills(NamedTuple):
    """A page of invoices. `is_away`: whoever bills does not answer; `older`: after which invoice the next page goes
    on."""

    rows: list[InvoiceRow]
    is_away: bool
    older: str | None
    is_first: bool


_TONES: dict[ListedState, str] = {"paid": "ok", "open": "wait", "overdue": "stop"}


class Card(NamedTuple):
    """A plan on sale."""

    key: str
    name: str
    price: str
    per: str
    lines: list[str]
    trial: str
    is_current: bool
    is_offered: bool
    asks: bool
    button: str
    seats: int | None


def markup(words: Words, key: str, **said: Any) -> Markup:
    """A text that may have instants in it: the text itself is escaped, too, as a deployment may have written it.
    Any: whatever stands in a text."""
    told = Markup.escape(words.say(key))
    for name, value in said.items():
        told = told.replace("{" + name + "}", Markup.escape(value))
    return told


def bought_lines(words: Words, bought: BoughtPlan | None) -> list[Line]:
    """What is paid, item by item: the price and how many."""
    lines = []
    for item in bought.items if bought is not None else ():
        price = item.price
        if price is None or price.part == "usage":
            continue
        name, each = words.name("plan", item.key), words.money(price.amount, price.currency)
        told = f"{name}, {words.number(item.quantity)} × {each}" if item.quantity > 1 else name
        lines.append(Line(f"{words.per(price)}: {told}", words.money(price.amount * item.quantity, price.currency)))
    return lines


def when_told(words: Words, bought: BoughtPlan | None) -> Markup | str:
    """What happens next of itself."""
    if bought is None:
        return ""
    if bought.ends_at is not None:
        return markup(words, "banner.ends", plan=words.plan(bought.plan), date=words.date(bought.ends_at))
    if bought.trial_ends_at is not None:
        return markup(words, "banner.trial", date=words.date(bought.trial_ends_at))
    return markup(words, "portal.renews", date=words.date(bought.renews_at)) if bought.renews_at is not None else ""


def notices(words: Words, summary: AccountSummary, pay_url: str | None) -> list[Notice]:
    """What somebody should know first; `pay_url`: where the change under way is paid."""
    found = []
    for one in summary.subscriptions:
        if one.unpaid_since is not None:
            found.append(Notice("wait" if one.access == "full" else "stop", _overdue(words, one)))
        elif one.state == "paused":
            found.append(Notice("stop", words.say("banner.paused")))
    change = summary.change
    if change is not None and change.state == "pending":
        action = (pay_url, words.say("portal.pay")) if pay_url is not None else ("", "")
        found.append(Notice("wait", words.say("portal.pending"), *action))
    elif change is not None and change.state == "asked":
        found.append(Notice("act", words.say("portal.working")))
    elif change is not None and change.effective_at is not None:
        plan = summary.plan if change.ends else change.plan_after
        key = "banner.ends" if change.ends else "banner.change"
        found.append(Notice("act", markup(words, key, plan=words.plan(plan), date=words.date(change.effective_at))))
    return [*found, *_near(words, summary.features)]


def _overdue(words: Words, its: BoughtPlan) -> Markup | str:
    """What is left of access, and when the payment is tried again."""
    left = _left(words, its)
    if its.next_attempt_at is None:
        return left
    return Markup("{} {}").format(left, markup(words, "banner.retry", date=words.date(its.next_attempt_at)))


def _left(words: Words, its: BoughtPlan) -> Markup | str:
    if its.access == "full" and its.access_until is not None:
        return markup(words, "banner.grace", date=words.date(its.access_until))
    return words.say("banner.read" if its.access == "read" else "banner.overdue")


def _near(words: Words, features: Iterable[FeatureUse]) -> Iterable[Notice]:
    """The one of which most is used, if that is near its limit."""
    counted = [(_taken(use) / use.limit, use, use.limit) for use in features if use.limit and _is_metered(use)]
    near = [one for one in counted if 100 * one[0] >= NEAR_PERCENT]
    for part, use, limit in sorted(near, key=lambda one: -one[0])[:1]:
        name = words.name("feature", use.feature)
        if part >= 1:
            yield Notice("stop", words.say("banner.full", feature=name, limit=words.number(limit)))
        else:
            yield Notice("wait", words.say("banner.limit", feature=name, percent=f"{round(100 * part)}%"))


def _is_metered(use: FeatureUse) -> bool:
    return use.its.kind in ("metered", "level") and not use.its.in_seats and use.credit is None


def _taken(use: FeatureUse) -> int:
    return (use.used or 0) + (use.reserved or 0)


def meters(words: Words, summary: AccountSummary) -> list[Meter]:
    """Everything that is counted: features, credits, seats."""
    found = []
    for use in summary.features:
        is_credit = use.its.kind == "credit"
        if (_is_metered(use) or is_credit) and (use.limit is not None or use.unlimited):
            found.append(_credit(words, use) if is_credit else _meter(words, use))
    seats = summary.seats
    if seats is not None:
        told, left = seats_told(words, summary), seats_left(words, summary)
        found.append(Meter(words.say("seats"), seats.taken, seats.units, told, left, is_calm=True))
    return found


def _meter(words: Words, use: FeatureUse) -> Meter:
    name, taken, limit = words.name("feature", use.feature), _taken(use), use.limit
    if limit is None:
        told = f"{words.say('use.used', used=words.number(taken))} ({words.say('unlimited')})"
        return Meter(name, taken, None, told, "")
    left = limit - taken
    said = (
        words.say("use.left", n=words.number(left)) if left > 0
        else words.say("use.full", limit=words.number(limit)) if left == 0
        else words.say("use.over", n=words.number(-left))
    )  # fmt: skip
    told = words.say("use.of", used=words.number(taken), limit=words.number(limit))
    return Meter(name, taken, limit, told, _and_resets(words, said, use))


def _credit(words: Words, use: FeatureUse) -> Meter:
    name = words.name("feature", use.feature)
    left = words.say("unlimited") if use.unlimited else words.number(use.remaining or 0)
    grants = []
    for one in use.granted:
        if one.left > 0 and one.asleep:
            grants.append(words.say("credits.asleep", n=words.number(one.left)))
        elif one.left > 0 and one.until is not None:
            grants.append(markup(words, "credits.until", n=words.number(one.left), date=words.date(one.until)))
        elif one.left > 0:
            grants.append(words.say("credits.forever", n=words.number(one.left)))
    return Meter(name, _taken(use), use.limit, words.say("use.left", n=left), Markup("; ").join(grants))


def _and_resets(words: Words, said: str, use: FeatureUse) -> Markup | str:
    if use.resets_at is None:
        return said
    return Markup("{}; {}").format(said, markup(words, "use.resets", date=words.date(use.resets_at)))


def seats_told(words: Words, summary: AccountSummary) -> str:
    seats = summary.seats
    if seats is None:
        return ""
    if seats.units is None:
        return words.say("seats.taken", taken=words.number(seats.taken))
    return words.say("seats.of", taken=words.number(seats.taken), units=words.number(seats.units))


def seats_left(words: Words, summary: AccountSummary) -> str:
    seats = summary.seats
    if seats is None or seats.units is None:
        return ""
    if seats.suspended:
        return words.say("seats.suspended", count=seats.suspended, n=words.number(seats.suspended))
    free = seats.units - seats.taken
    return words.say("seats.free", count=free, n=words.number(free)) if free > 0 else words.say("seats.none")


def rows(words: Words, members: Iterable[MemberView], you: str | None, keeping: Collection[str] = ()) -> list[Row]:
    """People as they are listed; `keeping`: those who are to keep their seat."""
    return [
        Row(one.member, one.role, one.seat, _seat_told(words, one), one.invited,
            words.date(one.active_at) if one.active_at is not None else words.say("portal.never"),
            one.member == you, one.member in keeping)
        for one in members
    ]  # fmt: skip


def _seat_told(words: Words, one: MemberView) -> str:
    return words.say("portal.suspended" if one.suspended else "portal.has_seat" if one.seat else "portal.no_seat")


def bills(words: Words, listed: InvoicePage | None, *, is_first: bool) -> Bills | None:
    """`listed` None: whoever bills does not answer. None: there is nothing to show."""
    if listed is None:
        return Bills([], is_away=True, older=None, is_first=is_first)
    rows = [
        InvoiceRow(
            one.number or one.id, words.date(one.issued_at), words.money(one.amount, one.currency),
            words.say(f"portal.invoice.{one.state}"), _TONES.get(one.state, ""), one.page, one.file,
        )
        for one in listed.invoices
    ]  # fmt: skip
    return Bills(rows, is_away=False, older=listed.after, is_first=is_first) if rows or not is_first else None


def intervals(sold: OnSale) -> list[str]:
    """How often one can pay, in the order of the catalog."""
    return list(dict.fromkeys(price.interval for plan in sold.plans for price in plan.prices))


def cards(words: Words, sold: OnSale, summary: AccountSummary, interval: str) -> list[Card]:
    """The plans on sale, at prices of this interval where they have some."""
    return [_card(words, sold, plan, summary, interval) for plan in sold.plans]


def _card(words: Words, sold: OnSale, plan: PlanOnSale, summary: AccountSummary, interval: str) -> Card:
    prices = _prices(plan, interval)
    by = next((term.feature for term in plan.terms.values() if getattr(term, "by_quantity", False)), None)
    in_seats = by is not None and sold.features[by].in_seats
    price, per = _cost(words, prices, is_free=plan.default, by_seat=in_seats if by is not None else None)
    is_current = _key(summary.plan) == plan.plan
    seats = summary.seats
    wanted = max(1, seats.taken, (seats.units or 0) if is_current else 0) if seats is not None else 1
    name = words.name("plan", plan.plan)
    is_other = not is_current or in_seats or interval_of(summary) != interval
    is_sold = bool(prices) or (plan.default and bool(summary.subscriptions))
    return Card(
        key=plan.plan,
        name=name,
        price=price,
        per=per,
        lines=[line for term in plan.terms.values() if (line := words.term(term, sold.features.get(term.feature)))],
        trial="" if summary.subscriptions else _trial(words, plan),
        is_current=is_current,
        is_offered=is_sold and is_other,
        asks=not plan.default and not plan.prices,
        button=words.say("portal.update" if is_current else "portal.go_to", plan=name),
        seats=wanted if in_seats and prices else None,
    )


def _trial(words: Words, plan: PlanOnSale) -> str:
    return words.say("plan.trial", count=plan.trial_days, n=plan.trial_days) if plan.trial_days else ""


def interval_of(summary: AccountSummary) -> str | None:
    its = summary.subscriptions[0].items if summary.subscriptions else ()
    return next((item.price.interval for item in its if item.price is not None), None)


def _prices(plan: PlanOnSale, interval: str) -> list[Price]:
    return [price for price in plan.prices if price.interval == interval]


def _cost(words: Words, prices: list[Price], *, is_free: bool, by_seat: bool | None) -> tuple[str, str]:
    """The price in large, and for what and how often; `by_seat` None: the quantity says nothing of what one has."""
    flat = next((price for price in prices if price.part == "flat"), None)
    each = next((price for price in prices if price.part == "quantity"), None)
    main = flat or each
    if main is None:
        return words.say("price.free" if is_free else "price.ask"), ""
    unit = words.say("price.seat" if by_seat else "price.unit")
    per = [*([unit] if by_seat is not None and main is each else []), words.per(main)]
    if flat is not None and each is not None:
        per.append(f"+ {words.money(each.amount, each.currency)} {unit}")
    if any(price.part == "usage" for price in prices):
        per.append(words.say("price.usage"))
    return words.money(main.amount, main.currency), " ".join(per)


def _key(ref: str | None) -> str | None:
    return ref.partition("@")[0] if ref is not None else None


# A plan change, as its quote says it


def change_title(words: Words, made: Quote) -> Markup:
    its = "cancel" if made.ends else "update" if _key(made.plan_before) == _key(made.plan_after) else ""
    key = "_".join(part for part in ("portal.ask", its, "now" if made.when == "now" else "on") if part)
    plan = made.plan_before if made.ends else made.plan_after
    return markup(words, key, plan=words.plan(plan), date=words.date(made.effective_at))


def costs(words: Words, made: Quote) -> list[Line]:
    """What is paid now, and next."""
    money, currency = made.money, made.money.currency
    if currency is None:
        return []
    lines = [Line(words.say("portal.today"), words.money(money.due_now, currency))]
    if money.credit:
        lines.append(Line(words.say("portal.credit"), words.money(-abs(money.credit), currency), sum=True))
    if money.invoice is not None and made.when != "now":
        on = markup(words, "portal.on", date=words.date(money.invoice.at))
        lines.append(Line(on, words.money(money.invoice.due, currency)))
    if money.next_invoice is not None:
        on = markup(words, "portal.next", date=words.date(money.next_invoice.at))
        lines.append(Line(on, words.money(money.next_invoice.due, currency), sum=True))
    return lines


class Changed(NamedTuple):
    name: str
    before: str
    after: str


def changed(words: Words, deltas: Iterable[Delta], sold: OnSale) -> list[Changed]:
    """What one has of each feature, before and after."""
    found = []
    for delta in deltas:
        its = sold.features.get(delta.feature)
        unit = its.unit if its is not None else ""
        before, after = (_had(words, each, unit) for each in (delta.decision_before, delta.decision_after))
        if before != after:
            found.append(Changed(words.name("feature", delta.feature), before, after))
    return found


def _had(words: Words, its: Decision, unit: str) -> str:
    if its.unlimited:
        return words.say("unlimited")
    if its.limit is not None:
        return words.number(its.limit)
    if not its.allowed:
        return words.say("portal.not_had")
    return words.say("portal.included") if its.value is None or its.value is True else words.value(its.value, unit)


def over(words: Words, violations: Iterable[Violation]) -> list[Markup]:
    """What one has too much of, and what becomes of it."""
    told = []
    for each in violations:
        if each.kind == "usage":
            key = {"refuse": "portal.over_refused", "block_new": "portal.over"}.get(each.policy, "portal.over_until")
            key = key if each.until is not None or key != "portal.over_until" else "portal.over"
            until = words.date(each.until) if each.until is not None else ""
            told.append(markup(words, key, feature=words.name("feature", each.feature), date=until,
                                used=words.number(each.used), limit=words.number(each.limit)))  # fmt: skip
    return told


def seat_violation(made: Quote) -> Violation | None:
    """Where members lose their seats."""
    return next((each for each in made.violations if each.kind == "members" and each.members), None)


def may_choose(violation: Violation) -> bool:
    """Whether the order of members says who keeps a seat, so that choosing means something."""
    return violation.seats != "release_least_active"


def seated(members: MembersView) -> list[MemberView]:
    """Who has a seat, first come first."""
    held = [(one.since, one.member, one) for one in members.members if one.since is not None]
    return [one for _, _, one in sorted(held, key=lambda each: each[:2])]
