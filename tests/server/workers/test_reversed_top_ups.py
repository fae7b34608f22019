"""Top-ups whose money went back: what is left of the units goes with it, and comes again when a dispute is won."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from paygrade.catalog.model import TopUp
from paygrade.postgres.store import Store
from paygrade.providers.stripe.client import Redirect
from paygrade.providers.stripe.events import refs
from paygrade.server.operations.balances.unit_of_work import ask_top_up
from paygrade.server.operations.sync.inbox import receive_event
from paygrade.server.operations.usage.grants import read_balance, void
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers.claims import take
from paygrade.server.workers.sync import SUBJECTS, sync_subject
from paygrade.server.workers.top_ups import TOP_UPS, buy_top_up
from paygrade.usage.balances import Share
from paygrade.usage.top_ups import TopUpPurchase
from support.billing import Billing, billing

pytestmark = pytest.mark.anyio

POLICY = TopUp("ai_credits", below=500, add=5000, at_most=3, every="month", amount=2000, currency="usd")
INCLUDED = 5000
"""Credits of the plan, which are used first."""


@pytest.fixture
def desk(database_url: str) -> Iterator[Billing]:
    with billing(database_url) as desk:
        yield desk


class Bought:
    """An account that has bought units by a top-up, and its charge."""

    def __init__(self, store: Store, desk: Billing, top_up: TopUpPurchase, charge: str) -> None:
        self.store, self.desk, self.top_up, self.charge = store, desk, top_up, charge

    async def told(self) -> None:
        """Have every event heard that has not been heard yet, and do what follows."""
        await self.heard()
        while await self._read() + await self._look():
            self.desk.let_pass("subjects")

    async def heard(self) -> None:
        """Have them heard, and their customers read once."""
        listed = self.desk.stripe.v1.events.list({"limit": 100}).data
        for event in reversed(listed):
            payload = event.to_dict()
            await receive_event(self.store, ref=refs(payload), body=b"{}", at=self.desk.at)
        await self._read()

    async def _read(self) -> int:
        claims = await take(self.store, SUBJECTS, limit=10, at=self.desk.at)
        for claim in claims:
            await sync_subject(self.store, self.desk.provider, self.desk, claim)
        return len(claims)

    async def _look(self) -> int:
        claims = await take(self.store, TOP_UPS, limit=10, at=self.desk.at)
        for claim in claims:
            await buy_top_up(self.store, self.desk.commands, self.desk, claim)
        return len(claims)

    async def share(self) -> Share:
        found = await read_balance(self.store, Snapshots(), account="acme", pool="ai_credits", at=self.desk.at)
        return next(view.share for view in found.grants if view.grant.kind == "top_up")

    async def saved(self) -> TopUpPurchase:
        async with self.store.transaction() as tx:
            found = await tx.top_ups.find("acme", self.top_up.id)
        assert found is not None
        return found

    def refund(self, amount: int | None = None) -> None:
        self.desk.stripe.v1.refunds.create({"charge": self.charge, **({"amount": amount} if amount else {})})

    def dispute(self, **more: Any) -> str:
        made = self.desk.control.ok("POST", "/dispute", json={"charge": self.charge, "reason": "fraudulent", **more})
        return str(made["dispute"]["id"] if "dispute" in made else made["id"])

    def decide(self, dispute: str, word: str) -> None:
        evidence: Any = {"evidence": {"uncategorized_text": f"{word}_evidence"}, "submit": True}
        self.desk.stripe.v1.disputes.update(dispute, evidence)


async def bought(store: Store, desk: Billing, policy: TopUp = POLICY, *, used: int = 1000) -> Bought:
    """Units are bought, and `used` of them are used."""
    await desk.sell(store, top_up=policy)
    customer = await desk.buyer(store, "acme")
    async with store.transaction() as tx:
        catalog = await tx.catalogs.in_force()
        assert await ask_top_up(tx, catalog, account="acme", credit="ai_credits", balance=100, at=desk.at)
    for claim in await take(store, TOP_UPS, limit=1, at=desk.at):
        assert await buy_top_up(store, desk.commands, desk, claim) == "paid"
    await desk.use(store, "acme", INCLUDED + used, feature="ai_credits")
    async with store.transaction() as tx:
        (top_up,) = await tx.top_ups.of_account("acme", limit=10)
    charges = desk.stripe.v1.charges.list({"customer": customer, "limit": 100}).data
    charge = next(one.id for one in charges if one.amount == policy.amount)
    one = Bought(store, desk, top_up, charge)
    await one.told()
    assert await one.share() == Share(5000, 4000, 0, 1000, 0, 0)
    return one


async def test_of_a_refunded_top_up_nothing_that_is_left_can_be_spent(store: Store, desk: Billing) -> None:
    one = await bought(store, desk)
    one.refund()
    await one.told()
    assert await one.share() == Share(5000, 0, 0, 1000, 0, 4000)
    saved = await one.saved()
    assert (saved.state, saved.reversed, saved.taken_back) == ("paid", 2000, 4000)
    await one.told()
    assert await one.share() == Share(5000, 0, 0, 1000, 0, 4000), "it is taken back once"


async def test_a_part_of_the_money_takes_its_part_of_the_units(store: Store, desk: Billing) -> None:
    one = await bought(store, desk)
    one.refund(501)
    await one.told()
    assert await one.share() == Share(5000, 2747, 0, 1000, 0, 1253), "5000 × 501 / 2000, a part of a unit whole"
    one.refund(1000)
    await one.told()
    assert await one.share() == Share(5000, 247, 0, 1000, 0, 3753)
    one.refund()
    await one.told()
    assert await one.share() == Share(5000, 0, 0, 1000, 0, 4000), "what is used stays used"


@pytest.mark.parametrize("word", ["winning", "losing"])
async def test_a_dispute_takes_the_units_and_one_that_is_won_gives_them_again(
    store: Store, desk: Billing, word: str
) -> None:
    one = await bought(store, desk)
    dispute = one.dispute(inquiry=False)
    await one.told()
    assert await one.share() == Share(5000, 0, 0, 1000, 0, 4000)
    desk.advance(timedelta(days=3))
    one.decide(dispute, word)
    await one.told()
    left = 4000 if word == "winning" else 0
    assert await one.share() == Share(5000, left, 0, 1000, 0, 4000 - left)
    assert (await one.saved()).reversed == (0 if word == "winning" else 2000)


async def test_an_inquiry_takes_no_money_and_no_units(store: Store, desk: Billing) -> None:
    one = await bought(store, desk)
    one.dispute(inquiry=True)
    await one.told()
    assert await one.share() == Share(5000, 4000, 0, 1000, 0, 0)


@pytest.mark.parametrize(("refund", "dispute"), [("keep", "take_back"), ("take_back", "keep")])
async def test_the_policy_says_which_of_them_takes_units_back(
    store: Store, desk: Billing, refund: Any, dispute: Any
) -> None:
    one = await bought(store, desk, replace(POLICY, refund=refund, dispute=dispute))
    if refund == "keep":
        one.refund()
    else:
        one.dispute(inquiry=False)
    await one.told()
    assert await one.share() == Share(5000, 4000, 0, 1000, 0, 0)
    assert (await one.saved()).reversed == 2000


async def test_what_an_operator_took_back_is_not_given_again_by_a_dispute_that_is_won(
    store: Store, desk: Billing
) -> None:
    one = await bought(store, desk)
    await void(store, account="acme", pool="ai_credits", id=one.top_up.id, at=desk.at)
    dispute = one.dispute(inquiry=False)
    await one.told()
    # What is gone is not taken back once more.
    assert await one.share() == Share(5000, 0, 0, 1000, 0, 4000)
    one.decide(dispute, "winning")
    await one.told()
    assert await one.share() == Share(5000, 0, 0, 1000, 0, 4000)
    assert (await one.saved()).taken_back == 0


async def test_of_two_who_look_at_the_same_refund_one_takes_units_back_and_it_stays_known(
    store: Store, desk: Billing
) -> None:
    one = await bought(store, desk)
    one.refund()
    await one.heard()
    (slow,) = await take(store, TOP_UPS, limit=1, lease_s=0, at=desk.at)
    (quick,) = await take(store, TOP_UPS, limit=1, at=desk.at)
    assert await buy_top_up(store, desk.commands, desk, quick) == "checked"
    assert await buy_top_up(store, desk.commands, desk, slow) == "overtaken"
    assert await one.share() == Share(5000, 0, 0, 1000, 0, 4000)
    assert (await one.saved()).taken_back == 4000


async def test_whoever_took_the_money_back_is_not_charged_again_by_itself(store: Store, desk: Billing) -> None:
    one = await bought(store, desk)
    one.refund()
    await one.told()
    async with store.transaction() as tx:
        catalog = await tx.catalogs.in_force()
        assert not await ask_top_up(tx, catalog, account="acme", credit="ai_credits", balance=0, at=desk.at)
    desk.advance(timedelta(days=31))
    async with store.transaction() as tx:
        assert await ask_top_up(tx, catalog, account="acme", credit="ai_credits", balance=0, at=desk.at)


async def test_charges_refunds_and_disputes_lead_to_their_customer(store: Store, desk: Billing) -> None:
    one = await bought(store, desk)
    customer = Redirect(f"stripe:{desk.shop.customers['acme']}")
    refund = desk.stripe.v1.refunds.create({"charge": one.charge, "amount": 100}).id
    dispute = one.dispute(inquiry=True)
    for id in (one.charge, refund, dispute):
        assert desk.provider.fetch(f"stripe:{id}") == customer, id
    assert desk.provider.fetch("stripe:du_nobody") is None
