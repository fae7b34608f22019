"""Credits by grant: units add up, and so does what was paid for them."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from paygrade.reports.credits import CreditRow, Price, credit_row
from paygrade.usage.balances import Grant
from support.samples import T0

DAY = timedelta(days=1)


def row(used: int = 0, reserved: int = 0, voided: int = 0, *, units: int = 1000, price: int | None = 999,
        expires: bool = True, late: bool = False) -> CreditRow:  # fmt: skip
    until = T0 + 10 * DAY if expires else None
    grant = Grant("top_1", "top_up", units, T0, until, used=used, reserved=reserved, voided=voided)
    return credit_row(
        "ai_credits", grant, None if price is None else Price(price, "usd"), T0 + (11 if late else 1) * DAY
    )


@given(st.lists(st.integers(0, 10**9), min_size=4, max_size=4), st.integers(0, 10**9), st.booleans(), st.booleans())
def test_units_and_what_was_paid_for_them_add_up(parts: list[int], price: int, expires: bool, late: bool) -> None:
    used, reserved, voided, _ = parts
    found = row(used, reserved, voided, units=sum(parts), price=price, expires=expires, late=late)
    assert found.units == found.used + found.reserved + found.voided + found.expired + found.available
    money = [found.earned, found.breakage, found.voided_price, found.deferred]
    assert all(each is not None and each >= 0 for each in money)
    assert sum(each for each in money if each is not None) == price
    if found.units and not found.available and not found.reserved:
        assert found.deferred == 0


def test_what_is_unused_when_a_grant_expires_is_breakage() -> None:
    before, after = row(used=400), row(used=400, late=True)
    assert (before.earned, before.breakage, before.deferred, before.available) == (399, 0, 600, 600)
    assert (after.earned, after.breakage, after.deferred, after.expired) == (399, 600, 0, 600)
    assert row(used=400, voided=600).voided_price == 600
    given_away = row(used=400, price=None)
    assert (given_away.price, given_away.earned, given_away.available) == (None, None, 600)
