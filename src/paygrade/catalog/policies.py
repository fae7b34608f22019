"""The policies of a catalog document: access ladders of subscriptions in arrears, rules of plan changes, top-ups, what
follows when a payment goes back, invitations, and what a checkout may offer.

Laws: a ladder never opens again what it has closed, and its last step lasts for good; of the plan-change rules the
first that matches wins, one matches always, and a rule that can never match is a mistake.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from itertools import product
from typing import Any, get_args

from paygrade.catalog.model import (
    LADDER_ACCESS,
    CheckoutPolicy,
    Consequence,
    Consequences,
    Direction,
    Invitations,
    Ladder,
    LadderAccess,
    Ladders,
    OverLimit,
    PlanChangeRule,
    Policies,
    RemovedItems,
    ReturnedPayment,
    Step,
    TopUp,
)
from paygrade.catalog.reader import Node
from paygrade.catalog.shapes import (
    POSITIVE,
    Field,
    Group,
    Items,
    Keyed,
    Law,
    Or,
    Record,
    Schema,
    Shape,
    Via,
    barred,
    is_mapping,
    may,
    name,
    need,
    text,
    word,
)
from paygrade.catalog.windows import CURRENCY, DURATION
from paygrade.values.periods import Every

_LADDER_MAX = timedelta(days=3650)
"""Far beyond any dunning, and near enough that adding it to an invoice's date stays within the calendar."""
_STEPS_MAX = 50
"""More than anybody can explain to a customer; with it a plan's ladders are answered at once."""

_PLAN_CHANGE_DEFAULT = (
    PlanChangeRule(direction="upgrade", when="now", proration="charge_now"),
    PlanChangeRule(direction="downgrade", when="period_end", over_limit="block_new"),
    PlanChangeRule(when="now", proration="none"),
)
_TOP_UP_EVERY: tuple[Every, ...] = ("day", "week", "month", "quarter", "year")
_Match = tuple[str, str, Direction | None]
_CATCH_ALL = 'the last rule must match every change; end with `{ from: "*", to: "*", when: now }`'


def _span(at_most: timedelta) -> Shape[timedelta]:
    """A duration longer than nothing; one that is far too long is cut."""

    def check(node: Node, duration: timedelta | None) -> None:
        if duration == timedelta():
            node.wrong("a step must last longer than 0; write for example `7d` or remove it")

    return Via(DURATION, lambda duration: min(duration or timedelta(), at_most), check=check)


_SPAN = _span(_LADDER_MAX)
_STEP = Record(
    dict[str, Any],
    {"for": need("7d", _span(2 * _LADDER_MAX)), "access": need("full", word(LADDER_ACCESS))},
    hints={"until": "steps say how long they last; write `for`"},
)
_LAST = Record(
    dict[str, Any],
    {"then": need("none", name("the key of a plan or `none`", "plan", "none"))},
    hints={key: f"`then` lasts for good; remove `{key}`" for key in ("for", "access")},
)


class _Ladder(Shape[Ladder], frozen=True):
    """The steps in order. Not `dated`: the provider gives no date that steps could be counted from."""

    dated: bool = True

    def read(self, node: Node) -> Ladder:
        steps: list[Step] = []
        nodes = node.items()
        for step in nodes:
            if step.has("then"):
                plan = _LAST.read(step)["then"]
                steps.append(Step(None, access="none", plan=plan if plan and plan != "none" else None))
                if step is not nodes[-1]:
                    step.wrong("`then` lasts for good; make it the last step")
            else:
                steps.append(self._dated(step, steps[-1] if steps and steps[-1].until else None))
        if len(steps) > _STEPS_MAX:
            node.wrong(f"a ladder has at most {_STEPS_MAX} steps; remove some")
        if isinstance(node.value, list | tuple) and (not steps or steps[-1].until is not None):
            node.wrong("the last step must say which access is left; end with `{ then: none }` or `then` and a plan")
        return tuple(steps)

    def _dated(self, node: Node, earlier: Step | None) -> Step:
        """Read a step that begins where the `earlier` one ends."""
        if not self.dated:
            node.wrong("Stripe gives a pause no date to count from; write a `then` step only")
        values = _STEP.read(node)
        access: LadderAccess = values["access"]
        before = earlier.access if earlier and node.raw("access") in LADDER_ACCESS else "full"
        if LADDER_ACCESS.index(access) < LADDER_ACCESS.index(before):
            node.wrong(f"a ladder only narrows: after `{before}` it can't give `{access}` again; reorder the steps")
        until = (earlier.until if earlier and earlier.until else timedelta()) + values["for"]
        if until > _LADDER_MAX:
            node.wrong(f"a ladder lasts at most {_LADDER_MAX.days}d before its `then` step; shorten the steps")
        return Step(min(until, _LADDER_MAX), access=access)

    def write(self, value: Ladder) -> object:
        begins = [timedelta(), *(step.until for step in value if step.until is not None)]
        return [
            _LAST.write({"then": step.plan or "none"})
            if step.until is None
            else _STEP.write({"for": step.until - begun, "access": step.access})
            for step, begun in zip(value, begins, strict=False)
        ]

    def schema(self) -> Schema:
        if not self.dated:
            return {"type": "array", "minItems": 1, "maxItems": 1, "items": _LAST.schema()}
        return {
            "type": "array",
            "minItems": 1,
            "maxItems": _STEPS_MAX,
            "items": {"anyOf": [_STEP.schema(), _LAST.schema()]},
            "contains": {"required": ["then"]},
            "maxContains": 1,
        }


COUNTED = "feature or credit that is counted"
"""The noun of what can be over a limit."""


def _bar_grace(node: Node) -> Collection[str]:
    """It is there where something has it, and nowhere else."""
    words = node.raw("over_limit")
    if node.raw("when") != "refuse" and "grace" in (words.values() if isinstance(words, Mapping) else [words]):
        node.need("grace", "14d")
        return ()
    if node.has("grace") and node.raw("when") != "refuse":
        node.at("grace").wrong("nothing here has grace; write `over_limit: grace` or remove this line")
    return ("grace",)


_OVER_LIMIT: tuple[OverLimit, ...] = get_args(OverLimit)
_ANY_PLAN = name("the key of a plan or `*`", "plan", "*")
_MATCHED: dict[str, Field] = {
    "from": may(_ANY_PLAN, of="from_plan"),
    "to": may(_ANY_PLAN, of="to_plan"),
    "direction": may(),
    "when": need("now"),
}
_OF_ALLOWED: dict[str, Field] = {
    "proration": may(),
    "anchor": may(about="`reset`: new billing periods begin with the change."),
    "usage": may(about="What counts as used in a window whose limit changes."),
    "over_limit": may(
        Or(
            {said: (said, {}) for said in _OVER_LIMIT},
            Via(
                Keyed(word(_OVER_LIMIT), COUNTED, "*", free=True),
                lambda words: (words.pop("*", None), dict(sorted(words.items()))),
                lambda said: {**said[1], **({"*": said[0]} if said[0] else {})},
            ),
            is_mapping,
        ),
        "What happens to units over the new limit: one word, or a word for each feature, `*` for the others.",
        of=("over_limit", "over_limits"),
    ),
    "grace": may(_SPAN, "How long the grace lasts; required with `over_limit: grace`."),
    "cooling_off": may(
        Or({"period": (None, True)}, Via(_SPAN, lambda span: (span, False), lambda cooling: cooling[0])),
        "For how long the plan can't be changed back: a duration, or the period that is paid for then.",
        of=("cooling_off", "cools_for_period"),
    ),
    "seats": may(about="Who loses a seat when there are fewer."),
}
_RULE = Record(
    PlanChangeRule,
    {**_MATCHED, **_OF_ALLOWED},
    (
        barred(
            {key: f"a change that is refused has no `{key}`; remove it" for key in _OF_ALLOWED},
            where="when",
            says="refuse",
        ),
        Law(bars=_bar_grace),
    ),
)


class _Rules(Items[PlanChangeRule], frozen=True):
    def read(self, node: Node) -> tuple[PlanChangeRule, ...]:
        places: dict[_Match, int] = {}
        rules = []
        for place, item in enumerate(node.items(), 1):
            rule = self.item.read(item)
            earlier = [places[match] for match in _wider(rule) if match in places]
            if earlier:
                item.wrong(f"this rule can never match: rule {min(earlier)} comes first; move it up or remove it")
            places.setdefault((rule.from_plan, rule.to_plan, rule.direction), place)
            rules.append(rule)
        if isinstance(node.value, list | tuple) and ("*", "*", None) not in places:
            node.wrong(_CATCH_ALL)
        return tuple(rules)

    def schema(self) -> Schema:
        catch_all = {
            "not": {"required": ["direction"]},
            "properties": {"from": {"const": "*"}, "to": {"const": "*"}},
        }
        return {**super().schema(), "minItems": 1, "contains": catch_all}


def _wider(rule: PlanChangeRule) -> Iterator[_Match]:
    """What a rule matches when it matches all that this one does."""
    return product((rule.from_plan, "*"), (rule.to_plan, "*"), (rule.direction, None))


_TOP_UP = Record(
    TopUp,
    {
        "below": need("500", POSITIVE, "More are bought when fewer credits than these are left."),
        "add": need("5000", POSITIVE, "How many credits are bought."),
        "at_most": need("3", POSITIVE, "How many times at most in each period."),
        "every": need("month", word(_TOP_UP_EVERY)),
        "price": Group(
            {"amount": need("2000", POSITIVE, "In minor units, for `add` credits."), "currency": need("usd", CURRENCY)},
            example="{ amount: 2000, currency: usd }",
        ),
        "refund": may(about="What happens to the remaining credits when the payment is refunded."),
        "dispute": may(about="The same when it is disputed, until the dispute is won."),
    },
    keyed=True,
)

_CHECKOUT = Record(
    CheckoutPolicy,
    {
        "trial": may(about="Who gets the trial of the plan: an account that never had one, everybody, or nobody."),
        "coupons": may(
            Or(
                {"any": ((), True), "none": ((), False)},
                Via(
                    Items(text("the id of a coupon at Stripe")),
                    lambda ids: (tuple(dict.fromkeys(ids)), False),
                    lambda said: said[0],
                ),
                lambda said: not isinstance(said, str),
            ),
            "The coupons that a checkout may be opened with: `any`, `none`, or those listed.",
            of=("coupons", "any_coupon"),
        ),
        "promotion_codes": may(about="Whether customers can enter a promotion code on the page."),
    },
)
_CONSEQUENCES: Or[Consequences] = Or(
    {said: Consequences(said) for said in get_args(Consequence)},
    Record(
        Consequences,
        {
            "full": may(about="When all of the payment went back."),
            "partial": may(about="When a part of it did; `void_rest` voids the same part of the units."),
        },
    ),
    is_mapping,
)
_RETURNED = Record(
    ReturnedPayment,
    {
        "refund": may(_CONSEQUENCES, "When the payment of the current period is refunded."),
        "dispute": may(_CONSEQUENCES, "While it is disputed; a dispute that is won gives everything back."),
        "dispute_lost": may(_CONSEQUENCES, "When the dispute is lost; left out, what `dispute` says goes on."),
        "credit_note": may(_CONSEQUENCES, "When a credit note gives it back other than by a refund."),
    },
)

_INVITATIONS = Record(
    Invitations,
    {
        "expire_after": may(Or({"never": None}, _SPAN), "How long an invitation stands; `never`: until withdrawn."),
        "hold_seat": may(about="Whether it takes a seat until it is accepted, withdrawn or expired."),
    },
)

_DATED = "Steps from the date of the oldest unpaid invoice; the last one says which access is left."
_LADDERS: dict[str, Field] = {
    "past_due": may(_Ladder(), _DATED),
    "unpaid": may(_Ladder(), _DATED),
    "paused": may(_Ladder(dated=False), "Stripe gives a pause no date, so there are no dated steps."),
}
_OF_THE_CATALOG = ("plan_change", "top_up", "checkout", "returned_payment", "invitations", "removed_items")
LADDERS = Record(
    Ladders,
    _LADDERS,
    hints={key: f"`{key}` is the same for all plans; move it to the catalog's `policies`" for key in _OF_THE_CATALOG},
)
POLICIES: Record[Any] = Record(
    dict[str, Any],
    {
        **_LADDERS,
        "plan_change": may(_Rules(_RULE), "The first rule that matches wins; the last one matches every change."),
        "top_up": may(Keyed(_TOP_UP, "credit"), "By credit: buy more when few are left.", of="top_ups"),
        "checkout": may(_CHECKOUT, "What a checkout may offer to who buys for the first time."),
        "returned_payment": may(_RETURNED, "What follows when the payment of a period goes back.", of="returned"),
        "invitations": may(_INVITATIONS, "What becomes of people who are invited and have not accepted yet."),
        "removed_items": may(
            word(get_args(RemovedItems)),
            "When an item stops counting that is removed at the provider in the middle of a paid period.",
        ),
    },
    given={
        "top_ups": {},
        "checkout": CheckoutPolicy(),
        "returned": ReturnedPayment(),
        "invitations": Invitations(),
        "removed_items": "now",
    },
)


def refuse_climbing(node: Node, plan: str, ladders: Ladders) -> None:
    """A plan's own ladder ends in a plan below it, or in none: what it narrows it must not open again."""
    plans = list(node.defined("plan"))
    for said in LADDERS.fields:
        ladder: Ladder = getattr(ladders, said) or ()
        then = ladder[-1].plan if ladder else None
        if then in plans[plans.index(plan) :]:
            node.at("policies", said).wrong(
                f"a ladder only narrows: `{plan}` can't end as `{then}`; write `then` with a plan further up, or `none`"
            )


def policies_of(said: Mapping[str, Any], default_plan: str | None) -> Policies:
    """What the document says; a policy it leaves out falls back to the default plan, or to no plan."""
    last = Step(None, access="none", plan=default_plan)
    first = Step(timedelta(days=7), access="full")
    left_out = {"past_due": (first, last), "unpaid": (last,), "paused": (last,), "plan_change": _PLAN_CHANGE_DEFAULT}
    return Policies(**{**left_out, **said})
