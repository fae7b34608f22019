"""The auditor: says what a run got wrong. It shares no code with sync, and knows what is right by other means.

It looks at Stripe's full state, at what the operator was told is so, at what the store holds, and at the record of
every committed statement. Each check returns what is wrong as text; nothing wrong is an empty list.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, TypeVar

from msgspec.structs import replace

from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Body, Customer, Departed, Fact, Profile, Subscription
from paygrade.catalog.model import Catalog
from paygrade.decisions.decide import decide
from paygrade.decisions.take import snapshot
from paygrade.entitlements.derive import derive
from paygrade.values.states import TERMINAL
from simulation.merchant import DOCUMENT

from .hostile import Committed
from .run import CATALOG, Run
from .tables import Dump

T = TypeVar("T")

FEATURES = tuple(DOCUMENT["features"])


def audit_access(run: Run) -> list[str]:
    """(a) Access is the pure function of Stripe's truth, the operator's statements, the catalog and the clock."""
    dump, at = run.database.backend.dump(), run.loop.now()
    expected = expected_accounts(run, dump)
    wrong = []
    for key in sorted({*expected, *(key for key, account in dump.accounts.items() if account.exists)}):
        stored = dump.accounts.get(key, Account(key))
        wrong += [f"access: {key}: {text}" for text in compare_access(stored, expected.get(key, Account(key)), at)]
    return wrong


def compare_access(stored: Account, expected: Account, at: datetime, catalog: Catalog = CATALOG) -> Iterator[str]:
    """Differences in existence, in what each feature entitles to, and in every decision."""
    if stored.exists != expected.exists:
        yield f"exists is {stored.exists}, should be {expected.exists}"
        return
    is_ours, should_be = derive(stored, catalog, at).entitlements, derive(expected, catalog, at).entitlements
    our_view, their_view = snapshot(stored, catalog, at), snapshot(expected, catalog, at)
    for feature in FEATURES:
        if is_ours[feature] != should_be[feature]:
            yield f"`{feature}` is {is_ours[feature]}, should be {should_be[feature]}"
        for quantity in (1, 5, 2000):
            ours = decide(our_view, feature, quantity, at)
            theirs = decide(their_view, feature, quantity, at)
            if (ours.allowed, ours.reason, ours.limit) != (theirs.allowed, theirs.reason, theirs.limit):
                yield f"{quantity} of `{feature}`: {ours.allowed} {ours.reason}, should be {theirs.allowed}"


def expected_accounts(run: Run, dump: Dump) -> dict[str, Account]:
    """Every account as it should be, put together from what Stripe and the operator say and nothing else.

    Four things no present truth can tell, and they are taken from the store after a look at whether they can be: in
    which account a deleted customer is (its metadata is gone), since when there has been an account (its first
    customer may have moved on), what a subscription was known to buy before it went to a price nobody can name, and
    what it was anchored to before that moved.
    """
    said: dict[str, dict[str, Body]] = {}
    for account, statements in run.operator.stated.items():
        said.setdefault(account, {}).update(statements)
    for account, links in run.operator.linked.items():
        known = dump.accounts[account].profile
        created_at = known.created_at if known else run.loop.now()
        profile = Profile(created_at, f"Account {account}", {"stripe": links} if links else {})
        said.setdefault(account, {})["profile"] = profile
    linking = {customer: account for account, links in run.operator.linked.items() for customer in links}
    for id in run.shop.named:
        customer = _translated(run, id)
        key = customer.account or linking.get(id) or id
        if customer.deleted:
            row = dump.subjects.get(f"stripe:{id}")
            possible = {*run.shop.named[id], *run.operator.ever_linked.get(id, ()), id}
            if row is None or row.account is None or row.account not in possible:
                continue
            key = row.account
        said.setdefault(key, {})[f"stripe:{id}"] = customer
    expected = {}
    for key, bodies in said.items():
        facts = [Fact(n, subject, n, run.loop.now(), body) for n, (subject, body) in enumerate(bodies.items(), 1)]
        found = replay(key, facts)
        if found.exists:
            stored = dump.accounts.get(key)
            expected[key] = _anchored(_bought_before(_since(found, stored), stored, run), stored, run)
    return expected


def _bought_before(expected: Account, stored: Account | None, run: Run) -> Account:
    """With what was read of its subscriptions before: a line of no name keeps that, and whether one ever bought a plan
    says whose windows go on when it ends. Which readings there were depends on the weather, but each can only have met
    a price that is sold, and what is bought now is among them."""
    if stored is None:
        return expected
    for id, its in stored.purchases.items():
        assert {one.price for one in its} <= run.shop.sold
        assert {one.item for one in expected.purchases.get(id, ())} <= {one.item for one in its}
    return replace(expected, purchases={**expected.purchases, **stored.purchases})


def audit_differences(run: Run) -> list[str]:
    """(g) What is stored of each customer is what Stripe says of it, field by field."""
    dump = run.database.backend.dump()
    wrong = []
    for id in run.shop.named:
        subject, said = f"stripe:{id}", _translated(run, id)
        row = dump.subjects.get(subject)
        if row is None or row.account is None:
            if not said.deleted:
                wrong.append(f"differences: {id} is not stored at all")
            continue
        for key, account in dump.accounts.items():
            statement = account.statements.get(subject)
            held = statement.body if statement else None
            if key == row.account and held != said:
                wrong.append(f"differences: {key} holds {held}, Stripe says {said}")
            if key != row.account and held is not None and not isinstance(held, Departed):
                wrong.append(f"differences: {key} still holds {id}, which is in {row.account}")
    return wrong


def audit_subscriptions(run: Run) -> list[str]:
    """Every subscription counts as it is: its status, what it consists of, and its end. No rule of sync is assumed."""
    accounts = run.database.backend.dump().accounts.values()
    counted = {s.id: s for account in accounts for s in account.subscriptions}
    wrong = []
    for customer in (_translated(run, id) for id in run.shop.named):
        for truth in customer.subscriptions:
            if customer.deleted and truth.id not in counted:
                continue  # it was gone before anybody looked
            ours = counted.get(truth.id)
            if ours is None or _counted(ours) != _counted(truth):
                wrong.append(f"subscriptions: {truth.id} counts as {ours}, but it is {truth}")
    return wrong


def audit_ends(run: Run) -> list[str]:
    """Every subscription that Stripe has ended is ended here: what even lagging answers must not hide for long."""
    dump = run.database.backend.dump()
    counted = {s.id: s for account in dump.accounts.values() for s in account.subscriptions}
    return [
        f"ends: {s.id} is {counted[s.id].status}, but it has ended"
        for id in run.shop.named
        for s in _translated(run, id).subscriptions
        if s.status in TERMINAL and s.id in counted and counted[s.id].status not in TERMINAL
    ]


def audit_record(run: Run) -> list[str]:
    """What must hold of the way there, whatever the weather was."""
    dump = run.database.backend.dump()
    committed = run.database.committed
    return [
        *audit_read_instants(committed, dump),
        *audit_effects(committed, dump),
        *audit_terminals(committed),
        *(f"acknowledged: {a.event_id} is not in the inbox" for a in run.arrivals if not _kept(a, dump)),
        *(f"deadlock: {text}" for text in run.database.deadlocks),
        *(f"broken: {text}" for text in run.broken),
        *(f"broken: {context.get('exception')!r}" for context in run.loop.broken),
    ]


def audit_read_instants(committed: list[Committed], dump: Dump) -> list[str]:
    """(b) The instants of the readings that are saved of a subject never go back, nor do those of its facts."""
    wrong = []
    latest: dict[str, datetime] = {}
    for transaction in committed:
        for call in transaction.calls:
            if (call.noun, call.method) == ("subjects", "settle"):
                subject, read_at = call.args[0].subject, call.named["read_at"]
                if subject in latest and read_at < latest[subject]:
                    wrong.append(f"read instants: {subject} went from {latest[subject]} back to {read_at}")
                latest[subject] = read_at
    by_subject: dict[tuple[str, str], list[Fact]] = {}
    for account, fact in dump.facts:
        by_subject.setdefault((account, fact.subject), []).append(fact)
    for (account, subject), facts in by_subject.items():
        for one, other in pairwise(facts):
            if other.as_of < one.as_of or other.sequence <= one.sequence:
                wrong.append(f"read instants: fact {other.number} of {account} about {subject} is older than the last")
    return wrong


def audit_effects(committed: list[Committed], dump: Dump) -> list[str]:
    """(d) Each event is taken in once, handled once, and led to one reading at most, except while it was doubted."""
    wrong = []
    taken: dict[tuple[str, str], int] = {}
    handled: dict[tuple[str, str], int] = {}
    doubted: set[tuple[str, int]] = set()
    for transaction in committed:
        for call in transaction.calls:
            match call.noun, call.method:
                case "inbox", "add" if call.result:
                    key = (call.named["subject"], call.named["event_id"])
                    taken[key] = taken.get(key, 0) + 1
                case "inbox", "handle":
                    for id in call.args[1]:
                        handled[call.args[0], id] = handled.get((call.args[0], id), 0) + 1
                case "subjects", "settle" if call.named.get("reread_s") is not None:
                    doubted.add((call.args[0].subject, call.args[0].fence))
    wrong += [f"effects: {key} was taken in {count} times" for key, count in taken.items() if count > 1]
    wrong += [f"effects: {key} was handled {count} times" for key, count in handled.items() if count > 1]
    wrong += [f"effects: {key} is not handled" for key, done in dump.inbox.items() if not done]
    causes: dict[tuple[str, str], set[int]] = {}
    for _, fact in dump.facts:
        for id in fact.cause:
            if (fact.subject, id) not in dump.inbox:
                wrong.append(f"effects: {id} is the cause of a fact and not in the inbox of {fact.subject}")
            if (fact.subject, fact.sequence) not in doubted:
                causes.setdefault((fact.subject, id), set()).add(fact.sequence)
    wrong += [f"effects: {key} led to the readings {sorted(s)}" for key, s in causes.items() if len(s) > 1]
    return wrong


def audit_terminals(committed: list[Committed]) -> list[str]:
    """(f) A subscription that was stored as ended never counts as anything else in that account."""
    wrong = []
    ended: set[tuple[str, str]] = set()
    for transaction in committed:
        for call in transaction.calls:
            if (call.noun, call.method) != ("accounts", "save"):
                continue
            account: Account = call.result
            for subscription in account.subscriptions:
                key = (account.key, subscription.id)
                if subscription.status in TERMINAL:
                    ended.add(key)
                elif key in ended:
                    wrong.append(f"terminals: {key} is {subscription.status} again")
    return wrong


class LadderAuditor:
    """(e) Looks at every past-due account now and then: it stands on the step that its invoice's date dictates, what
    lies ahead are the remaining steps, in order and without a gap, and over time it only ever goes down."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.looked = 0
        self._steps: dict[tuple[str, str, datetime], int] = {}

    def look(self, accounts: Mapping[str, Account], at: datetime) -> None:
        for key, account in accounts.items():
            live = [s for s in account.subscriptions if s.status not in TERMINAL]
            bought = {item.lookup_key for s in live for item in s.items}
            clean = not account.blocks and not account.overrides and bought <= {"pro_monthly", "scale_monthly"}
            if len(live) == 1 and live[0].status == "past_due" and live[0].unpaid_since and bought and clean:
                ends_at = live[0].ends_at
                if ends_at is None or at < ends_at:
                    self._look_at(key, account, (live[0].id, live[0].unpaid_since), ends_at, at)

    def _look_at(
        self, key: str, account: Account, owed: tuple[str, datetime], ends_at: datetime | None, at: datetime
    ) -> None:
        self.looked += 1
        subscription, since = owed
        step = _step(since, at)
        before = self._steps.get((key, subscription, since), 0)
        if step < before:
            self.wrong.append(f"ladder: {key} went from step {before} back to {step}")
        self._steps[key, subscription, since] = step
        view = snapshot(account, CATALOG, at)
        last = ends_at if ends_at is not None and ends_at < view.until else view.until
        # Right before and on each date, and now.
        dates = [since + timedelta(days=days) for days in (7, 21)]
        for moment in (at, *(d - timedelta(microseconds=1) for d in dates), *dates):
            if not at <= moment < last:
                continue
            reads = decide(view, "exports", 1, moment).allowed
            writes = decide(view, "editor", 1, moment).allowed
            if (reads, writes) != ((True, True), (True, False), (False, False))[_step(since, moment)]:
                self.wrong.append(
                    f"ladder: {key} owes since {since}; on {moment} it may read: {reads}, write: {writes}"
                )


def audit_replay(run: Run) -> list[str]:
    """(c) Receiving every event again changes nothing."""
    before, done = _at_rest(run), len(run.database.committed)
    run.receive_again()
    again = [
        call.named["event_id"]
        for transaction in run.database.committed[done:]
        for call in transaction.calls
        if (call.noun, call.method) == ("inbox", "add") and call.result
    ]
    wrong = [f"replay: {id} was taken for a new event" for id in again]
    if _at_rest(run) != before:
        wrong.append("replay: receiving the inbox again changed the store")
    return wrong


def _at_rest(run: Run) -> Dump:
    """What is stored. That a daily sweep comes due meanwhile is the clock's doing (seed 4863)."""
    return replace(run.database.backend.dump(), sweeping=False)


def audit_sweep(run: Run) -> list[str]:
    """(h) After a sweep nothing is adrift; another one meets everything there is, and finds nothing to do."""
    wrong = [f"sweep: {key} is still adrift" for key in run.database.backend.dump().drift]
    counts = run.sweep_again().counts
    bought = [s for id in run.shop.named for s in _translated(run, id).subscriptions]
    owners = sum(bool(_translated(run, id).subscriptions) for id in run.shop.named)
    if (counts.different, counts.discovered, counts.missing) != (0, 0, 0):
        wrong.append(f"sweep: the next one finds work: {counts}")
    if (counts.subscriptions, counts.customers) != (len(bought), owners):
        wrong.append(f"sweep: it met {counts}, but there are {len(bought)} subscriptions of {owners} customers")
    return wrong


def _counted(subscription: Subscription) -> tuple[object, ...]:
    return subscription.status, subscription.items, subscription.ends_at, subscription.next


def _translated(run: Run, id: str) -> Customer:
    return run.stripe.translated(id)


def _since(expected: Account, stored: Account | None) -> Account:
    """The store may know of an earlier beginning than the present truth does, never of a later one; and it knows of
    which customer it heard first, whoever came later."""
    if stored is None or stored.since is None or (expected.since is not None and stored.since > expected.since):
        return expected
    assert stored.began is None or stored.began.created_at >= stored.since
    return replace(expected, since=stored.since, began=stored.began)


def _anchored(expected: Account, stored: Account | None, run: Run) -> Account:
    """With what its subscriptions were anchored to before, those that moved on among them: a window that began then
    goes on. Each anchor is one that Stripe told of, and the present ones are among them."""
    if stored is None:
        return expected
    for id, its in stored.anchors.items():
        assert {one.anchor_at for one in its} <= run.stripe.anchors(id)
        assert {one.anchor_at for one in expected.anchors.get(id, ())} <= {one.anchor_at for one in its}
    gone = stored.anchors.keys() - {subscription.id for subscription in expected.subscriptions}
    return replace(
        expected,
        anchors={**expected.anchors, **stored.anchors},
        latched={**_of(stored.latched, gone), **expected.latched},
        understood={**_of(stored.understood, gone), **expected.understood},
    )


def _of(known: Mapping[str, T], ids: Collection[str]) -> dict[str, T]:
    return {id: one for id, one in known.items() if id in ids}


def _step(since: datetime, at: datetime) -> int:
    """0: everything, 1: reading, 2: the free plan. As the shop's catalog says it: 7 days, then 14, then free."""
    days = (at - since) / timedelta(days=1)
    return 0 if days < 7 else 1 if days < 21 else 2


def _kept(arrival: Any, dump: Dump) -> bool:
    return (arrival.subject or "none", arrival.event_id) in dump.inbox
