"""How an errand must end: what a quote has to say, or how a plan change has to stand, in words a person would use.

    quoted upgrade, due 40000 usd, credit 9900
    applied downgrade, from scale to pro, over projects 12 of 10 block_new
    pending, because "generic_decline: Your card was declined."
    refused change_scheduled

Details that are not mentioned may be anything. Both runners have to give the same quotes and changes in every field but
those that name things (ids, versions, invoices): `plain` leaves these out. Of money it leaves out who says so, since
the core has the formula's sums and the house has the provider's: they have to be equal.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar, get_args

from msgspec import Struct
from msgspec.structs import replace

from paygrade.catalog.model import Direction
from paygrade.changes.cost import CostPreview, Invoice
from paygrade.changes.impact import CarryOver, Violation
from paygrade.changes.plan_change import PlanChange
from paygrade.changes.quote import Quote
from paygrade.changes.transition import PlanTransition
from stories.language.expectations import split
from stories.language.phrases import Phrases
from stories.language.product_phrases import Refusal

STATES = ("quoted", "asked", "pending", "scheduled", "applied", "failed", "canceled")
_EXAMPLE = "write for example `applied upgrade, from pro to scale, due 40000 usd` or `refused same_as_now`"
_OF_THE_FORMULA = ("price_unknown", "metered_not_counted", "coupon_not_counted")
"""What is to be known of the formula's sums, and not of the provider's."""


class Quoted(Struct, frozen=True):
    """What was said a change would do."""

    quote: Quote


class Changed(Struct, frozen=True):
    """How a change stands."""

    change: PlanChange


Found = Quoted | Changed
Difference = str | None
Check = Callable[[Found], Difference]


class ChangeExpected(Struct, frozen=True):
    """How an errand must end. `refused`: with which code it must be refused. `checks`: the details."""

    state: str
    direction: Direction | None = None
    refused: str = ""
    checks: tuple[Check, ...] = ()


details: Phrases[Check] = Phrases("outcome of a plan change")


def read_expected(text: str) -> ChangeExpected:
    """Read how an errand must end. ValueError says what was expected instead."""
    if text.startswith("refused "):
        return ChangeExpected("", refused=text.removeprefix("refused "))
    head, _, rest = text.partition(", ")
    state, _, direction = head.partition(" ")
    if state not in STATES:
        raise ValueError(f"an errand ends `refused …` or {', '.join(STATES)}, not `{text}`; {_EXAMPLE}")
    if direction and direction not in get_args(Direction):
        raise ValueError(f"the direction is one of {', '.join(get_args(Direction))}, not `{direction}`; {_EXAMPLE}")
    checks = tuple(details.read(detail.strip())() for detail in split(rest))
    return ChangeExpected(state, direction or None, checks=checks)  # type: ignore[arg-type]  # it is one of them


def differences(expected: ChangeExpected, told: Found | Refusal) -> list[str]:
    """What this says otherwise."""
    if isinstance(told, Refusal):
        return [] if told.code == expected.refused else [f"refused `{told.code}`"]
    if expected.refused:
        return [f"expected to be refused `{expected.refused}`"]
    wrong = [_unlike("state", expected.state, state_of(told))]
    if expected.direction is not None:
        wrong.append(_unlike("direction", expected.direction, _of_both(told, "direction")))
    return [difference for difference in [*wrong, *(check(told) for check in expected.checks)] if difference]


def state_of(told: Found) -> str:
    return "quoted" if isinstance(told, Quoted) else told.change.state


def latest(changes: Iterable[PlanChange], asked: list[str]) -> PlanChange | None:
    """The change that is newest; of those of one instant the one that was asked for last, by the ids in `asked`."""
    order = {id: number for number, id in enumerate(asked, 1)}
    return max(changes, key=lambda change: (change.asked_at, order.get(change.id, 0)), default=None)


def _unlike(name: str, expected: object, found: object) -> Difference:
    return None if expected == found else f"{name}: expected {expected}, got {found}"


# Any: the fields are of several types.
def _of_both(told: Found, name: str) -> Any:
    """What a settlement and a quote both say: of a change that was settled, what followed counts."""
    said = settlement_of(told) or quote_of(told)
    return getattr(said, name) if said is not None else None


def settlement_of(told: Found) -> PlanTransition | None:
    return told.change.settlement if isinstance(told, Changed) else None


def quote_of(told: Found) -> Quote | None:
    return told.quote if isinstance(told, Quoted) else told.change.quoted


def _money(told: Found) -> CostPreview:
    quote = quote_of(told)
    assert quote is not None, "nobody was told what this change costs"
    return quote.money


@details.say("from <before> to <after>")
def plans(before: str, after: str) -> Check:
    """Plans of any version, or of one: `pro@2`; `nothing` where there is none."""

    def check(told: Found) -> Difference:
        found = (_plan(_of_both(told, "plan_before"), before), _plan(_of_both(told, "plan_after"), after))
        return _unlike("plans", (before, after), found)

    return check


def _plan(ref: str | None, expected: str) -> str:
    if ref is None:
        return "nothing"
    return ref if "@" in expected else ref.partition("@")[0]


@details.say("due <units> <currency>")
def due(units: int, currency: str) -> Check:
    return lambda told: _unlike("due now", (units, currency), (_money(told).due_now, _money(told).currency))


@details.say("credit <units>")
def credit(units: int) -> Check:
    return lambda told: _unlike("credit", units, _money(told).credit)


@details.say("charge <units>")
def charge(units: int) -> Check:
    return lambda told: _unlike("charge", units, _money(told).charge)


@details.say("next invoice <units>[ at <at>]")
def next_invoice(units: int, at: datetime | None = None) -> Check:
    def check(told: Found) -> Difference:
        invoice = _money(told).next_invoice
        if invoice is None:
            return "there is no next invoice"
        return _unlike("next invoice", (units, at), (invoice.due, invoice.at if at is not None else None))

    return check


@details.say("no next invoice")
def no_next_invoice() -> Check:
    return lambda told: _unlike("next invoice", None, _money(told).next_invoice)


@details.say("effective <at>")
def effective(at: datetime) -> Check:
    def check(told: Found) -> Difference:
        quote = quote_of(told)
        return _unlike("effective", at, quote.effective_at if quote is not None else None)

    return check


@details.say("rule <number>")
def rule(number: int) -> Check:
    return lambda told: _unlike("rule", number, _of_both(told, "matched").number)


@details.say("over <feature> <used> of <limit> <policy:refuse|block_new|grace|keep>[ until <until>]")
def over(feature: str, used: int, limit: int, policy: str, until: datetime | None = None) -> Check:
    def check(told: Found) -> Difference:
        violations: tuple[Violation, ...] = _of_both(told, "violations") or ()
        found = [(v.feature, v.used, v.limit, v.policy, v.until) for v in violations]
        return _among("over the limit", (feature, used, limit, policy, until), found)

    return check


@details.say("over nothing")
def over_nothing() -> Check:
    return lambda told: _unlike("over the limit", (), _of_both(told, "violations"))


@details.say("counts <used> <feature> as <counted>")
def counts(used: int, feature: str, counted: int) -> Check:
    """What is used counts otherwise from now on."""

    def check(told: Found) -> Difference:
        carried: tuple[CarryOver, ...] = _of_both(told, "usage") or ()
        return _among("usage", (feature, used, counted), [(c.feature, c.used_before, c.used_after) for c in carried])

    return check


@details.say("usage as it is")
def usage_as_it_is() -> Check:
    return lambda told: _unlike("usage", (), _of_both(told, "usage"))


@details.say("leaves <units> <feature> until <until>")
def leaves(units: int, feature: str, until: datetime) -> Check:
    """What is left for a while of a feature: as much of it as before."""
    return _leaves(feature, units, until)


@details.say("leaves all <feature> until <until>")
def leaves_all(feature: str, until: datetime) -> Check:
    return _leaves(feature, None, until)


def _leaves(feature: str, units: int | None, until: datetime) -> Check:
    def check(told: Found) -> Difference:
        settlement = settlement_of(told)
        leeways = settlement.leeways if settlement is not None else ()
        return _among("leeways", (feature, units, until), [(one.feature, one.limit, one.until) for one in leeways])

    return check


@details.say("<member> is <how:suspended|released>")
def loses_seat(member: str, how: str) -> Check:
    def check(told: Found) -> Difference:
        settlement = settlement_of(told)
        lost = settlement.lost if settlement is not None else ()
        return _among("lost seats", (member, how), [(loss.member, loss.how) for loss in lost])

    return check


@details.say("nobody loses a seat")
def nobody_loses_a_seat() -> Check:
    return lambda told: _unlike("lost seats", (), _of_both(told, "lost"))


@details.say("the trial <effect:goes on|is over|ends>")
def trial(effect: str) -> Check:
    def check(told: Found) -> Difference:
        quote = quote_of(told)
        found = quote.trial.effect if quote is not None and quote.trial is not None else None
        return _unlike("trial", effect.replace(" ", "_"), found)

    return check


@details.say("warns of nothing")
def warns_of_nothing() -> Check:
    def check(told: Found) -> Difference:
        quote = quote_of(told)
        return _unlike("warnings", [], [caveat.code for caveat in quote.warnings] if quote is not None else [])

    return check


@details.say("warns of <code>")
def warns(code: str) -> Check:
    def check(told: Found) -> Difference:
        quote = quote_of(told)
        return _among("warnings", code, [caveat.code for caveat in quote.warnings] if quote is not None else [])

    return check


@details.say("because <text>")
def because(text: str) -> Check:
    return lambda told: _unlike("reason", text, told.change.reason if isinstance(told, Changed) else None)


@details.say("<who:asked for|made at the provider>")
def source(who: str) -> Check:
    expected = "request" if who == "asked for" else "billing"
    return lambda told: _unlike("source", expected, told.change.source if isinstance(told, Changed) else None)


@details.say("taken back later")
def taken_back() -> Check:
    return lambda told: None if isinstance(told, Changed) and told.change.reverted_by else "no change has taken it back"


Value = TypeVar("Value")


def _among(name: str, expected: Value, found: Iterable[Value]) -> Difference:
    listed = list(found)
    return None if expected in listed else f"{name}: expected {expected}, got {listed}"


def plain(told: Quote | PlanChange) -> Found:
    """All that is said but for what names things, and for who says what it costs."""
    return Quoted(_plain_quote(told)) if isinstance(told, Quote) else Changed(_plain_change(told))


def _plain_quote(quote: Quote) -> Quote:
    return replace(
        quote,
        account_version=0,
        subscription="",
        wanted=replace(quote.wanted, subscription=None),
        items=tuple(replace(item, id=None) for item in quote.items),
        money=_plain_money(quote.money),
        warnings=tuple(caveat for caveat in quote.warnings if caveat.code not in _OF_THE_FORMULA),
        reverts=_named(quote.reverts),
        id="",
        expires_at=None,
        digest="",
    )


def _plain_money(money: CostPreview) -> CostPreview:
    invoice, following = _plain_invoice(money.invoice), _plain_invoice(money.next_invoice)
    return replace(money, source="formula", invoice=invoice, next_invoice=following)


def _plain_invoice(invoice: Invoice | None) -> Invoice | None:
    """Of a line of nothing nobody can tell whether it gives or takes."""
    if invoice is None:
        return None
    lines = tuple(sorted((line for line in invoice.lines if line.amount), key=str))
    return replace(invoice, lines=lines, source="formula")


def _plain_change(change: PlanChange) -> PlanChange:
    return replace(
        change,
        id="",
        key="",
        subscription="",
        subject="",
        quote=_named(change.quote),
        quoted=_plain_quote(change.quoted) if change.quoted is not None else None,
        reverts=_named(change.reverts),
        reverted_by=_named(change.reverted_by),
        invoice=_named(change.invoice),
        schedule=_named(change.schedule),
        pay_url=_named(change.pay_url),
        error=None,
        done_fence=None,
    )


def _named(id: str | None) -> str | None:
    return "…" if id else None
