"""The decision log: what is kept of what was answered, within its bounds, and what a replay shows."""

from collections import Counter
from datetime import timedelta

import pytest

from paygrade.billing.facts import Override
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import check
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.statements import put_override
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.decision_log import LoggedDecisions, list_logged, purge_decisions, replay
from paygrade.server.state import decision_log
from paygrade.server.state.decision_log import DecisionLog, Kept
from paygrade.server.state.snapshots import Snapshots
from paygrade.values.errors import Refused
from support.fake_provider import DOCUMENT, T0

pytestmark = pytest.mark.anyio

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture
async def sold(store: Store) -> Store:
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    await put_account(store, account="acme", name="", links={}, traits={}, at=T0)
    return store


class Kit:
    """A decision log, and what became of what it was told."""

    def __init__(self, kept: Kept = "denials", percent: int = 100) -> None:
        self.outcomes = Counter[str]()
        self.log = DecisionLog(kept, percent, lambda outcome, count: self.outcomes.update({outcome: count}))

    async def ask(
        self, store: Store, feature: str, quantity: int = 1, *, after: timedelta, account: str = "acme"
    ) -> None:
        at = T0 + after
        decision = await check(store, Snapshots(), account=account, feature=feature, quantity=quantity, at=at)
        self.log.note(decision, at, via="check", properties={"model": "large"})


async def listed(
    store: Store, feature: str | None = None, before: str | None = None, limit: int = 9
) -> LoggedDecisions:
    return await list_logged(store, account="acme", feature=feature, before=before, limit=limit)


async def test_a_denial_is_kept_and_asked_again_it_shows_what_was_learned_since(sold: Store) -> None:
    kit = Kit()
    await kit.ask(sold, "exports", after=SECOND)
    await kit.ask(sold, "seats", 2, after=2 * SECOND)
    await kit.ask(sold, "seats", 1, after=3 * SECOND)
    await kit.ask(sold, "exports", after=4 * SECOND)
    await kit.ask(sold, "exports", after=4 * SECOND, account="nobody")
    assert (await listed(sold)).decisions == ()
    await kit.log.write(sold)
    assert kit.outcomes == {"saved": 3}
    first = await listed(sold, limit=2)
    rest = await listed(sold, before=first.next)
    assert [one.feature for one in (*first.decisions, *rest.decisions)] == ["exports", "seats", "exports"]
    assert len((await listed(sold, "exports")).decisions) == 2
    assert rest.next is None
    denied = rest.decisions[0]
    assert (denied.at, denied.outcome.allowed, denied.outcome.reason) == (T0 + SECOND, False, "not_in_plan")
    assert (denied.via, denied.properties) == ("check", {"model": "large"})
    again = await replay(sold, account="acme", id=denied.id, now=T0 + DAY)
    assert (again.decision, again.differs_believed, again.differs_true) == (denied, (), ())
    # What was said of the time before is learned later, and shows where what is known now is asked.
    await put_override(sold, account="acme", override=Override("exports", value=True), at=T0 + DAY)
    async with sold.transaction() as tx:
        await tx._connection.execute("update facts set as_of = %s where subject = 'override:exports'", (T0,))
    again = await replay(sold, account="acme", id=denied.id, now=T0 + 2 * DAY)
    assert (again.differs_believed, again.true.allowed) == ((), True)
    assert again.differs_true == ("allowed", "reason", "value")
    with pytest.raises(Refused, match="no logged decision") as refused:
        await replay(sold, account="other", id=denied.id, now=T0 + DAY)
    assert refused.value.code == "unknown_decision"
    assert await purge_decisions(sold, kept=DAY, at=T0 + DAY + 2 * SECOND) == 1
    assert len((await listed(sold)).decisions) == 2


async def test_what_does_not_fit_is_dropped_and_counted(
    sold: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decision = await check(sold, Snapshots(), account="acme", feature="exports", at=T0)
    kit = Kit()
    for second in range(120):
        for _ in range(2):
            kit.log.note(decision, T0 + second * SECOND, via="check")
    await kit.log.write(sold)
    kept = 2 * decision_log.ACCOUNT_MAX
    assert kit.outcomes == {"limited": 240 - kept, "saved": kept}
    monkeypatch.setattr(decision_log, "WAITING_MAX", 1)
    for _ in range(3):
        kit.log.note(decision, T0 + DAY, via="check")
    assert kit.outcomes["full"] == 2
    async with Store(database_url) as away:
        pass
    await kit.log.write(away)
    assert kit.outcomes["failed"] == 1


async def test_allowed_decisions_are_kept_where_all_are(sold: Store) -> None:
    every, some = Kit("all"), Kit("all", percent=1)
    for kit in (every, some):
        for second in range(50):
            await kit.ask(sold, "seats", after=second * SECOND) if kit is every or second < 5 else None
        await kit.log.write(sold)
    assert every.outcomes == {"saved": 50}
    assert some.outcomes["saved"] < 5
