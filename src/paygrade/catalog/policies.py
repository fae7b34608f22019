"""The policies of a catalog document: access ladders of subscriptions in arrears, rules of plan changes, top-ups.

Laws: a ladder never opens again what it has closed, and its last step lasts for good; of the plan-change rules the
first that matches wins, one matches always, and a rule that can never match is a mistake.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from itertools import product

from paygrade.catalog.model import (
    ANCHORS,
    CARRIES,
    DIRECTIONS,
    LADDER_ACCESS,
    OVER_LIMIT,
    OVER_SEATS,
    PRORATIONS,
    WHEN,
    Direction,
    Ladder,
    OverLimit,
    PlanChangeRule,
    Policies,
    Step,
    TopUp,
)
from paygrade.catalog.reader import Node
from paygrade.catalog.windows import read_currency, read_duration
from paygrade.values.periods import Every

_LADDER_MAX = timedelta(days=3650)
"""Far beyond any dunning, and near enough that adding it to an invoice's date stays within the calendar."""

_PLAN_CHANGE_DEFAULT = (
    PlanChangeRule(direction="upgrade", when="now", proration="charge_now"),
    PlanChangeRule(direction="downgrade", when="period_end", over_limit="block_new"),
    PlanChangeRule(when="now", proration="none"),
)
_TOP_UP_EVERY: tuple[Every, ...] = ("day", "week", "month", "quarter", "year")
_Match = tuple[str, str, Direction | None]
_CATCH_ALL = 'the last rule must match every change; end with `{ from: "*", to: "*", when: now }`'


def read_policies(
    node: Node,
    *,
    plans: Collection[str],
    default_plan: str | None,
    credits: Collection[str],
    counted: Collection[str],
) -> Policies:
    """Read what the document says; a policy it leaves out falls back to the default plan, or to no plan.

    `counted` are the features that can be over a limit.
    """
    node = node.fields("past_due", "unpaid", "paused", "plan_change", "top_up")
    last = Step(None, access="none", plan=default_plan)
    first = Step(timedelta(days=7), access="full")

    def ladder(name: str, default: Ladder, *, dated: bool = True) -> Ladder:
        return _ladder(node.get(name, None), plans, dated=dated) if node.has(name) else default

    return Policies(
        past_due=ladder("past_due", (first, last)),
        unpaid=ladder("unpaid", (last,)),
        paused=ladder("paused", (last,), dated=False),
        plan_change=_rules(node.get("plan_change", None), plans, [*counted, *credits])
        if node.has("plan_change")
        else _PLAN_CHANGE_DEFAULT,
        top_ups={key: _top_up(key, entry, credits) for key, entry in node.get("top_up", {}).entries().items()},
    )


def _ladder(node: Node, plans: Collection[str], *, dated: bool) -> Ladder:
    """Read the steps in order. Not `dated`: the provider gives no date that steps could be counted from."""
    steps: list[Step] = []
    nodes = node.items()
    for step in nodes:
        if step.has("then"):
            steps.append(_last_step(step, plans))
            if step is not nodes[-1]:
                step.wrong("`then` lasts for good; make it the last step")
        else:
            earlier = steps[-1] if steps and steps[-1].until else None
            steps.append(_dated_step(step, earlier, dated=dated))
    if isinstance(node.value, list | tuple) and (not steps or steps[-1].until is not None):
        node.wrong("the last step must say what remains; end with `{ then: none }` or `then` and a plan")
    return tuple(steps)


def _dated_step(node: Node, earlier: Step | None, *, dated: bool) -> Step:
    """Read a step that begins where the `earlier` one ends."""
    if not dated:
        node.wrong("Stripe gives a pause no date to count from; write a `then` step only")
    node = node.fields("for", "access", hints={"until": "steps say how long they last; write `for`"})
    found = node.mistakes_found
    access = node.need("access", "full").choice(LADDER_ACCESS)
    understood = node.mistakes_found == found
    if understood and earlier and LADDER_ACCESS.index(access) < LADDER_ACCESS.index(earlier.access):
        node.wrong(
            f"a ladder only narrows: after `{earlier.access}` it cannot open `{access}` again; reorder the steps"
        )
    until = (earlier.until if earlier and earlier.until else timedelta()) + _duration(node.need("for", "7d"))
    if until > _LADDER_MAX:
        node.wrong(f"a ladder lasts at most {_LADDER_MAX.days}d before its `then` step; shorten the steps")
    return Step(min(until, _LADDER_MAX), access=access)


def _duration(node: Node) -> timedelta:
    """Read a duration longer than nothing; one that is far too long is cut to what is too long for a ladder."""
    duration = read_duration(node)
    if duration is None:
        return timedelta()
    if not duration:
        node.wrong("a step lasts longer than nothing; write for example `7d` or remove it")
    return min(duration, 2 * _LADDER_MAX)


def _last_step(node: Node, plans: Collection[str]) -> Step:
    hints = {key: f"`then` lasts for good; remove `{key}`" for key in ("for", "access")}
    then = node.fields("then", hints=hints).need("then", "none")
    plan = then.text("the key of a plan or `none`")
    if plan == "none" or not plan:
        return Step(None, access="none")
    if plan not in plans:
        then.unknown("plan", {**dict.fromkeys(plans), "none": None})
    return Step(None, access="none", plan=plan)


def _rules(node: Node, plans: Collection[str], counted: Collection[str]) -> tuple[PlanChangeRule, ...]:
    places: dict[_Match, int] = {}
    rules = []
    for place, item in enumerate(node.items(), 1):
        rule = _rule(item, plans, counted)
        earlier = [places[match] for match in _wider(rule) if match in places]
        if earlier:
            item.wrong(f"this rule can never match, rule {min(earlier)} comes first; move it up or remove it")
        places.setdefault((rule.from_plan, rule.to_plan, rule.direction), place)
        rules.append(rule)
    if isinstance(node.value, list | tuple) and ("*", "*", None) not in places:
        node.wrong(_CATCH_ALL)
    return tuple(rules)


def _wider(rule: PlanChangeRule) -> Iterator[_Match]:
    """What a rule matches when it matches all that this one does."""
    return product((rule.from_plan, "*"), (rule.to_plan, "*"), (rule.direction, None))


def _rule(node: Node, plans: Collection[str], counted: Collection[str]) -> PlanChangeRule:
    node = node.fields("from", "to", "direction", "when", *_OF_ALLOWED)
    when = node.need("when", "now").choice(WHEN)
    if when == "refuse":
        for field in _OF_ALLOWED:
            if node.has(field):
                node.get(field, None).wrong(f"a change that is refused has no `{field}`; remove it")
    over_limit, over_limits = (
        _over_limit(node.get("over_limit", None), counted) if node.has("over_limit") else (None, {})
    )
    graced = "grace" in (over_limit, *over_limits.values())
    if node.has("grace") and not graced:
        node.get("grace", None).wrong("nothing here has grace; write `over_limit: grace` or remove this line")
    cools_for_period = node.has("cooling_off") and node.get("cooling_off", None).value == "period"
    cools = node.has("cooling_off") and not cools_for_period
    return PlanChangeRule(
        from_plan=_plan_or_any(node.get("from", "*"), plans),
        to_plan=_plan_or_any(node.get("to", "*"), plans),
        direction=node.get("direction", None).choice(DIRECTIONS) if node.has("direction") else None,
        when=when,
        proration=node.get("proration", "none").choice(PRORATIONS),
        anchor=node.get("anchor", "keep").choice(ANCHORS),
        usage=node.get("usage", "keep").choice(CARRIES),
        over_limit=over_limit,
        over_limits=over_limits,
        grace=min(_duration(node.need("grace", "14d")), _LADDER_MAX) if graced else None,
        cooling_off=min(_duration(node.get("cooling_off", None)), _LADDER_MAX) if cools else None,
        cools_for_period=cools_for_period,
        seats=node.get("seats", "suspend").choice(OVER_SEATS),
    )


_OF_ALLOWED = ("proration", "anchor", "usage", "over_limit", "grace", "cooling_off", "seats")


def _over_limit(node: Node, counted: Collection[str]) -> tuple[OverLimit | None, dict[str, OverLimit]]:
    """Read one word for everything, or words by feature, `"*"` for the others."""
    if not isinstance(node.value, Mapping):
        return node.choice(OVER_LIMIT), {}
    words = {}
    for key, word in node.named().items():
        if key != "*" and key not in counted:
            word.unknown("feature or credit that is counted", counted, key=key)
        words[key] = word.choice(OVER_LIMIT)
    others = words.pop("*", None)
    return others, dict(sorted(words.items()))


def _plan_or_any(node: Node, plans: Collection[str]) -> str:
    key = node.text("the key of a plan or `*`")
    if key and key != "*" and key not in plans:
        node.unknown("plan", {**dict.fromkeys(plans), "*": None})
    return key


def _top_up(key: str, node: Node, credits: Collection[str]) -> TopUp:
    if key not in credits:
        node.unknown("credit", credits, key=key)
    node = node.fields("below", "add", "at_most", "every", "price")
    price = node.need("price", "{ amount: 2000, currency: usd }").fields("amount", "currency")
    return TopUp(
        key,
        below=node.need("below", "500").integer(at_least=1),
        add=node.need("add", "5000").integer(at_least=1),
        at_most=node.need("at_most", "3").integer(at_least=1),
        every=node.need("every", "month").choice(_TOP_UP_EVERY),
        amount=price.need("amount", "2000").integer(at_least=1),
        currency=read_currency(price.need("currency", "usd")),
    )
