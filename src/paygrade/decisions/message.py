"""What a decision says to a person: one plain sentence, the same wherever it is shown.

Laws: every reason has its words; the sentence follows from the decision alone, so that the same decision always reads
the same; it names nothing that the decision does not.
"""

from msgspec import UNSET

from paygrade.decisions.decide import Decision
from paygrade.values.money import amount
from paygrade.values.periods import EVERY

_WHY = {
    "plan": "{plan} includes it",
    "add_on": "an add-on includes it",
    "override": "an override allows it",
    "trial": "the trial of {plan} includes it",
    "credit": "credits cover it",
    "grace": "a payment is overdue, but the grace period isn't over",
    "not_in_plan": "{plan} doesn't include it",
    "no_subscription": "the account has no subscription",
    "trial_ended": "the trial has ended",
    "past_due": "a payment is overdue",
    "unpaid": "the subscription is unpaid",
    "paused": "the subscription is paused",
    "canceled": "the subscription has ended",
    "blocked": "the account is blocked",
    "no_seat": "only members with a seat can",
    "role_not_permitted": "only members with another role can",
    "override_denied": "an override denies it",
    "unknown_feature": "the catalog has no such feature",
    "unknown_account": "there is no such account",
    "stale": "how much is in use can't be read right now",
}


class DecisionView(Decision, frozen=True, gc=False):
    """A decision as it is shown.

    `message` says it in one plain sentence. `exact`: nothing is counted, or the counts are those of the transaction
    that this answer comes from. Otherwise they are as last known, and another process may have counted more meanwhile.
    """

    message: str = ""
    exact: bool = False


def shown(decision: Decision, *, counted: bool) -> DecisionView:
    """The decision with its words. `counted`: in a transaction that holds as long as the answer is true."""
    its = decision
    # By position, as `decide` makes it; whoever it is shown to has the sources themselves.
    return DecisionView(
        its.allowed, its.reason, its.account, its.feature, its.quantity, its.limit, its.used, its.reserved,
        its.remaining, its.unlimited, its.resets_at, its.value, its.plan, its.sources, its.as_of, its.version,
        its.stale, its.limited_by, UNSET, message(its), is_exact(its, counted=counted),
    )  # fmt: skip


def is_exact(decision: Decision, *, counted: bool) -> bool:
    """Whether no other process can have counted more meanwhile."""
    return not decision.stale and (counted or decision.limit is None)


def message(decision: Decision) -> str:
    """Who can or can't use what, and why: `acme can't use 8 seats: 7 of 7 are in use`."""
    can = "can" if decision.allowed else "can't"
    what = f"{decision.quantity} {decision.feature}" if decision.quantity > 1 else decision.feature
    return f"{decision.account} {can} use {what}: {_why(decision)}"


def _why(decision: Decision) -> str:
    if decision.reason == "limit_reached":
        return _in_use(decision)
    if decision.reason == "insufficient_credit":
        left = decision.remaining or 0
        return f"the credits left cover only {left}" if 0 < left < decision.quantity else "not enough credits are left"
    return _WHY[decision.reason].replace("{plan}", decision.plan or "the plan")


def _in_use(decision: Decision) -> str:
    taken, limit = (decision.used or 0) + (decision.reserved or 0), decision.limit or 0
    counter, _, length = (decision.limited_by or "").partition(" ")
    match counter:
        case "member":
            return f"the member has used {taken} of {limit}"
        case "node":
            return f"{length} has used {taken} of {limit}"
        case "spend_cap":
            return f"the spend cap allows {limit}, and {taken} are in use"
        case "budget":
            units, currency, window = length.split(" ", 2)
            return f"the budget of {amount(int(units), currency)} {_span(window)} pays for {limit}, {taken} are in use"
        case "rolling":
            return f"{taken} of {limit} were used in the last {length}"
        case "":
            return f"{taken} of {limit} are in use"
        case "hour" | "day" | "week" | "month" | "quarter" | "year":
            return f"{taken} of {limit} are used this {counter}"
        case _:
            return f"{taken} of {limit} are used in this window of {counter}"


def _span(window: str) -> str:
    counter, _, length = window.partition(" ")
    if counter == "rolling":
        return f"in {length}"
    return f"each {counter}" if counter in EVERY else f"each {counter} window"
