"""Reports: what the provider should know, who pays, and which instants and names its events carry."""

from datetime import UTC, datetime, timedelta

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import Account, Statement
from paygrade.billing.facts import Customer
from paygrade.catalog.offers import MeteredFeature, Report
from paygrade.catalog.parse import parse
from paygrade.entitlements.derive import derive
from paygrade.entitlements.model import Entitlement, Source
from paygrade.usage.provider_reports import FUTURE, PAST, identifier, payer, reportable, stamp, summed_span
from paygrade.values.periods import Period
from support.fake_provider import DOCUMENT, T0, customer, pro

INSTANTS = st.integers(0, 730 * 86400 * 10).map(
    lambda tenths: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(milliseconds=100 * tenths)
)
WINDOWS = st.builds(
    lambda from_at, length_s: Period(from_at.replace(microsecond=0), from_at + timedelta(seconds=length_s)),
    INSTANTS,
    st.integers(3600, 100 * 86400),
)
UNITS = st.integers(0, 10**12)


def calls(report: Report) -> MeteredFeature:
    return MeteredFeature("api_calls", "api_call", stripe_meter="calls", report=report)


def granted(limit: int | None, *, soft: bool = True, unlimited: bool = False) -> Entitlement:
    source = Source("plan", "plan", plan="pro@1", subscription="sub_1", state="active", units=limit)
    return Entitlement(
        "api_calls", "metered", True, "plan", limit=limit, soft=soft, unlimited=unlimited, sources=(source,)
    )


@given(UNITS, UNITS)
def test_pay_as_you_go_reports_all_usage_whatever_is_entitled(used: int, limit: int) -> None:
    denied = Entitlement("api_calls", "metered", False, "past_due")
    assert reportable(calls("all"), used, granted(limit)) == reportable(calls("all"), used, denied) == used


@given(UNITS, UNITS)
def test_overage_is_what_a_soft_limit_lets_through(used: int, limit: int) -> None:
    assert reportable(calls("overage"), used, granted(limit)) == max(0, used - limit)


@given(UNITS, UNITS)
def test_nobody_is_billed_for_more_than_a_hard_limit(used: int, limit: int) -> None:
    said = reportable(calls("overage"), used, granted(limit, soft=False))
    assert said == (0 if used <= limit else None)


@given(UNITS)
def test_what_is_unlimited_has_no_overage(used: int) -> None:
    assert reportable(calls("overage"), used, granted(None, unlimited=True)) == 0


def test_a_feature_nobody_used_has_no_overage_to_wait_for() -> None:
    denied = Entitlement("api_calls", "metered", False, "not_in_plan")
    assert reportable(calls("overage"), 0, denied) == 0
    assert reportable(calls("overage"), 1, denied) is None


@given(UNITS)
def test_a_plan_that_stands_in_for_arrears_sells_no_overage(used: int) -> None:
    assume(used > 1000)
    entitlement = granted(1000)
    in_arrears = replace(entitlement, sources=(replace(entitlement.sources[0], state="past_due"),))
    assert reportable(calls("overage"), used, in_arrears) is None


@given(st.lists(st.tuples(UNITS, UNITS), max_size=20))
def test_deltas_add_up_to_what_is_reportable_at_the_end(seen: list[tuple[int, int]]) -> None:
    reported, last = 0, 0
    for used, limit in seen:
        last = reportable(calls("overage"), used, granted(limit)) or 0
        reported += last - reported
    assert reported == last


@given(WINDOWS, INSTANTS)
def test_an_event_carries_an_instant_that_its_window_and_the_provider_take(window: Period, at: datetime) -> None:
    assert window.until is not None
    assume(at >= window.from_at)
    stamped = stamp(window, at)
    if stamped is None:
        assert at - PAST > window.until - timedelta(minutes=2)
        return
    assert window.from_at <= stamped < window.until
    assert at - PAST <= stamped <= at + FUTURE
    span = summed_span(window, at)
    assert span.until is not None
    assert span.from_at <= stamped < span.until, "the provider's sum has it"
    assert window.from_at <= span.from_at
    assert span.until <= window.until, "and nothing of another window"
    for edge in (span.from_at, span.until):
        assert (edge.second, edge.microsecond) == (0, 0)


TEXTS = st.text(max_size=5)


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS, *[st.integers(0, 9)] * 3), min_size=2, max_size=2, unique=True))
def test_no_two_events_have_one_identifier(parts: list[tuple[str, str, str, int, int, int]]) -> None:
    first, second = (
        identifier(account, feature, slot, number=number, reported=reported, pending=pending)
        for account, feature, slot, number, reported, pending in parts
    )
    assert first != second
    assert len(first) <= 100, "Stripe takes no more"


# Who pays


def account(*customers: Customer) -> Account:
    statements = {f"stripe:{each.id}": Statement(1, 1, T0, each) for each in customers}
    return Account(key="acme", statements=statements)


CATALOG = parse(DOCUMENT, lines={})


def test_the_customer_whose_subscription_buys_the_plan_pays() -> None:
    other = customer(pro(id="sub_0", lookup_key="something_else"), id="cus_0")
    assert payer(account(other, customer(pro())), CATALOG, T0) == "cus_1"
    assert payer(account(other), CATALOG, T0) == "cus_0"


def test_who_has_no_live_subscription_pays_nothing() -> None:
    later = T0 + timedelta(days=1)
    ended = customer(pro(ends_at=later))
    assert payer(account(customer(), customer(pro("canceled"))), CATALOG, T0) is None
    assert payer(account(ended), CATALOG, later - timedelta.resolution) == "cus_1"
    assert payer(account(ended), CATALOG, later) is None
    assert payer(account(customer(pro(), deleted=True)), CATALOG, T0) is None


def test_an_account_in_arrears_is_still_paid_for_by_its_customer() -> None:
    assert payer(account(customer(pro("past_due"))), CATALOG, T0) == "cus_1"
    assert derive(account(customer(pro("past_due"))), CATALOG, T0).entitlements["exports"].granted
