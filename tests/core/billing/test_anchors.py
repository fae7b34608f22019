"""Law 4: no sequence of changes at the provider hands out a window's units twice; what is billed anew begins fresh."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, apply, replay
from paygrade.billing.anchors import Anchors
from paygrade.billing.facts import Departed, Fact, Item, Profile, Subscription
from paygrade.catalog.parse import parse
from paygrade.providers.stripe import translate
from paygrade.simulator.engine import Engine
from paygrade.values.periods import Period, Recurrence, add_months
from support.samples import CATALOG, MONTH, T0, customer_fact, operator_fact, subscription

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def as_form(value: Any) -> Any:  # Any: Stripe's own parameters
    match value:
        case dict():
            return {name: as_form(inner) for name, inner in value.items()}
        case list():
            return [as_form(inner) for inner in value]
        case _:
            return str(value)


class Subscriber:
    """A customer of a simulated Stripe with one subscription, and what its readings add up to."""

    def __init__(self, *, mode: str, trial_days: int) -> None:
        self.engine = Engine(seed=1, now=START)
        product = self.ask("POST", "/v1/products", name="pro")["id"]
        every = {"interval": "month"}
        price = self.ask("POST", "/v1/prices", product=product, unit_amount=9900, currency="usd", recurring=every,
                         lookup_key="pro_monthly")  # fmt: skip
        self.id = self.ask("POST", "/v1/customers", name="acme")["id"]
        method = self.ask("POST", "/v1/payment_methods/pm_card_visa/attach", customer=self.id)["id"]
        self.ask("POST", f"/v1/customers/{self.id}", invoice_settings={"default_payment_method": method})
        trial = {"trial_period_days": trial_days} if trial_days else {}
        bought = self.ask("POST", "/v1/subscriptions", customer=self.id, items=[{"price": price["id"]}],
                          billing_mode={"type": mode}, **trial)  # fmt: skip
        self.path = f"/v1/subscriptions/{bought['id']}"
        self.subscription = bought["id"]
        self.account = Account("acme")
        self.facts: list[Fact] = []
        self.read()

    def ask(self, method: str, path: str, **params: Any) -> Any:  # Any: plain JSON
        answer = self.engine.request(method, path, as_form(params))
        assert answer.status == 200, answer.body
        return answer.body

    def read(self) -> None:
        customer = self.ask("GET", f"/v1/customers/{self.id}")
        expand = ["data.latest_invoice", "data.schedule"]
        listed = self.ask("GET", "/v1/subscriptions", customer=self.id, status="all", expand=expand)["data"]
        body = translate.customer(customer, listed, ())
        number = len(self.facts) + 1
        self.facts.append(Fact(number, f"stripe:{self.id}", number, self.engine.now, body))
        self.account = apply(self.account, self.facts[-1])

    def window(self, account: Account | None = None) -> Period:
        return Anchors(account or self.account, CATALOG).window(MONTH, self.subscription, self.engine.now)

    def billed(self) -> set[datetime]:
        """When periods began that were paid for."""
        invoices = self.ask("GET", "/v1/invoices", customer=self.id, limit=100)["data"]
        starts = [
            line["period"]["start"] for one in invoices if one["amount_paid"] > 0 for line in one["lines"]["data"]
        ]
        return {datetime.fromtimestamp(start, UTC) for start in starts}


moves = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("move"), st.integers(1, 60)),
    st.tuples(st.just("anew"), st.just(0)),
    st.tuples(st.just("end"), st.integers(1, 40)),
    st.tuples(st.just("keep"), st.just(0)),
)


@settings(max_examples=40, deadline=None)
@example("classic", 0, [("wait", 10), ("move", 54), ("wait", 18), ("move", 1)])
@example("classic", 0, [("wait", 27), ("move", 3), ("anew", 0), ("move", 1)])
@example("classic", 0, [("wait", 16), ("move", 15), ("anew", 0), ("end", 14), ("wait", 10), ("end", 2), ("end", 2)])
@example("classic", 14, [("wait", 39), ("move", 2), ("keep", 0), ("move", 4), ("anew", 0), ("end", 2), ("keep", 0)])
@example("flexible", 0, [("wait", 10), ("move", 54), ("wait", 1), ("end", 40), ("wait", 25), ("keep", 0), ("wait", 30)])
@given(st.sampled_from(["classic", "flexible"]), st.sampled_from([0, 14]), st.lists(moves, min_size=1, max_size=10))
def test_law_4_only_what_is_billed_begins_a_window_before_the_one_before_it_is_over(
    mode: str, trial_days: int, said: list[tuple[str, int]]
) -> None:
    acme = Subscriber(mode=mode, trial_days=trial_days)
    begun = [acme.window()]
    for what, days in said:
        later = int((acme.engine.now + days * DAY).timestamp())
        alive = acme.ask("GET", acme.path)["status"] in ("active", "trialing")
        match what:
            case "move" if alive:
                acme.ask("POST", acme.path, trial_end=later, proration_behavior="none")
            case "anew" if alive:
                acme.ask("POST", acme.path, billing_cycle_anchor="now", proration_behavior="none")
            case "end" if alive:
                acme.ask("POST", acme.path, cancel_at=later)
            case "keep" if alive:
                acme.ask("POST", acme.path, cancel_at="")
        # Time passes a day at a time, as whoever uses it every day would see it.
        for _ in range(days if what == "wait" else 1):
            acme.read()
            window = acme.window()
            if window.from_at != begun[-1].from_at:
                begun.append(window)
            acme.engine.advance_to(acme.engine.now + DAY)
    billed = acme.billed()
    for before, after in pairwise(begun):
        whole = before.from_at + (add_months(before.from_at, 1) - before.from_at) - 3 * DAY
        assert after.from_at > before.from_at, "a window that is over comes back"
        assert after.from_at in billed or after.from_at >= whole, (before, after, sorted(billed))
    assert acme.window(replay("acme", reversed(acme.facts))) == acme.window(), "in any order"


@settings(max_examples=30, deadline=None)
@given(st.lists(moves, min_size=1, max_size=6))
def test_reading_seldom_leads_to_the_windows_that_reading_often_does(said: list[tuple[str, int]]) -> None:
    acme = Subscriber(mode="flexible", trial_days=0)
    seldom = acme.facts[:1]
    for what, days in said:
        if acme.ask("GET", acme.path)["status"] not in ("active", "trialing"):
            break
        if what == "move":
            acme.ask("POST", acme.path, trial_end=int((acme.engine.now + days * DAY).timestamp()),
                     proration_behavior="none")  # fmt: skip
        if what == "anew":
            acme.ask("POST", acme.path, billing_cycle_anchor="now", proration_behavior="none")
        acme.read()
        acme.engine.advance_to(acme.engine.now + (days if what == "wait" else 1) * DAY)
        acme.read()
    # Whatever was billed between two readings is told by the anchor that the later one finds.
    latest = replay("acme", [*seldom, acme.facts[-1]])
    if acme.ask("GET", acme.path)["status"] == "active":
        assert acme.window(latest) == acme.window()


def test_what_no_subscription_is_anchored_to_keeps_the_date_that_was_stated_first() -> None:
    stated = operator_fact("profile", Profile(T0 - 5 * DAY), number=1)
    older = replace(customer_fact(number=2), as_of=T0 + DAY)
    account = replay("acme", [older, stated])
    assert account.since == T0 - 30 * DAY
    assert Anchors(account, CATALOG).window(MONTH, None, T0).from_at == T0 - 5 * DAY


def test_windows_of_the_calendar_are_the_calendars_whatever_is_billed() -> None:
    restarted = replace(subscription(), anchor_at=T0 + 5 * DAY, started_at=T0)
    account = replay("acme", [customer_fact(subscription()), customer_fact(restarted, number=2)])
    calendar = Recurrence("month", calendar=True)
    assert Anchors(account, CATALOG).window(calendar, "sub_1", T0 + 6 * DAY).from_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_of_two_subscriptions_the_first_leads_and_never_the_smaller_id() -> None:
    def bought(id: str, days: int) -> Subscription:
        return replace(subscription(Item("si_" + id, lookup_key="pro_monthly"), id=id), started_at=T0 + days * DAY)

    for first, second in (("sub_a", "sub_b"), ("sub_b", "sub_a")):
        account = replay("acme", [customer_fact(bought(first, 0), bought(second, 3))])
        assert Anchors(account, CATALOG).in_order(["sub_a", "sub_b"]) == [first, second]


def test_of_two_that_began_at_once_the_dearer_leads_whatever_it_is_called() -> None:
    sold = parse({
        "version": 1, "features": {"exports": {"kind": "boolean"}},
        "plans": {
            key: {"prices": {"monthly": {"amount": amount, "currency": "usd", "interval": "month", "stripe": key}}}
            for key, amount in (("cheap", 900), ("dear", 9900))
        },
    })  # fmt: skip
    for cheap, dear in (("sub_a", "sub_b"), ("sub_b", "sub_a")):
        both = (replace(subscription(Item("si", lookup_key=key), id=id), started_at=T0) for key, id in
                (("cheap", cheap), ("dear", dear)))  # fmt: skip
        account = replay("acme", [customer_fact(*both)])
        assert Anchors(account, sold).in_order(["sub_a", "sub_b"]) == [dear, cheap]


def test_a_subscription_that_goes_to_another_account_leaves_its_windows_here() -> None:
    its = replace(subscription(Item("si", lookup_key="pro_monthly", created_at=T0)), started_at=T0)
    facts = [customer_fact(its), Fact(2, "stripe:cus_1", 2, T0 + 5 * DAY, Departed("other"))]
    later = T0 + 6 * DAY
    before, after = (Anchors(replay("acme", known), CATALOG).window(MONTH, None, later) for known in (facts[:1], facts))
    assert before == after == Period(T0, add_months(T0, 1))
