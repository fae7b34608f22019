"""The auditor of plan changes: what owners were told, what the rows say, and what Stripe did must be one story.

It shares no code with what carries changes out. What Stripe did it learns from the events of the engine: which change
an update named in its metadata, and under which of our idempotency keys an invoice was made.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from paygrade.changes.plan_change import PlanChange
from simulation.merchant import PRICES
from simulation.subscribers import Owners

from .hostile import Committed
from .provider import Event
from .run import Run

NAME = "paygrade_change"
OVER = ("applied", "failed", "canceled")
KNOWN = frozenset(key for key, _, _ in PRICES if key != "unmapped_weekly")
Sold = tuple[tuple[str, int], ...]
"""What a subscription consists of: lookup keys and quantities, of what the catalog knows."""


class Effect(Struct, frozen=True):
    """An update of a subscription that took a change's name: what it consisted of before, and then."""

    change: str
    before: Sold | None
    after: Sold


def audit_changes(run: Run) -> list[str]:
    """Everything that was asked for has come to its end, or waits for its date; and once."""
    if run.owners is None or run.applied is not None:
        return []
    changes = run.database.backend.dump().changes
    effects, paid = read_effects(run.stripe.history), paid_invoices(run.stripe.history)
    return [
        *audit_answers(run.owners, changes),
        *(f"changes: {each.key} of {each.account} is {each.state}" for each in changes if not _rests(run, each)),
        *audit_effects(changes, effects, paid),
        *audit_course(run.database.committed),
    ]


def _rests(run: Run, change: PlanChange) -> bool:
    if change.undo or change.state in ("asked", "pending"):
        return False
    return change.state != "scheduled" or (change.effective_at is not None and change.effective_at > run.loop.now())


def audit_answers(owners: Owners, changes: Iterable[PlanChange]) -> Iterator[str]:
    """Each key has exactly one change, the one that every answer named; nothing was begun that nobody asked for."""
    there = {(each.account, each.key): each.id for each in changes if each.source == "request"}
    for asked, named in owners.answered.items():
        if named and named != {there.get(asked)}:
            yield f"changes: {asked} was answered with {len(named)} changes, and {asked in there} that one is there"
        if not named and asked in there and asked not in owners.refused:
            yield f"changes: {asked} was never answered"
    for account, key in there.keys() - owners.answered.keys():
        yield f"changes: {key} of {account} was asked for by nobody"


def audit_effects(
    changes: Iterable[PlanChange], effects: Iterable[Effect], paid: Counter[str]
) -> Iterator[str]:  # fmt: skip
    """What was applied was done once and as it was quoted; of what failed or was taken back nothing was bought."""
    by_change: dict[str, list[Effect]] = {}
    for effect in effects:
        by_change.setdefault(effect.change, []).append(effect)
    for change in changes:
        done, invoices = by_change.get(change.id, []), paid[change.id]
        what = f"changes: {change.key} of {change.account} ({change.act}, {change.state})"
        if len(done) > 1:
            yield f"{what} was done {len(done)} times"
        if invoices > 1:
            yield f"{what} was paid {invoices} times"
        if change.state in ("failed", "canceled") and change.act in ("change", "set_trial", "end_trial"):
            if done:
                yield f"{what} was done all the same"
            if invoices:
                yield f"{what} was paid all the same"
        if change.state == "applied" and change.quoted is not None and change.act == "change":
            yield from (f"{what} {text}" for text in _unlike_its_quote(change, done))


def _unlike_its_quote(change: PlanChange, done: list[Effect]) -> Iterator[str]:
    assert change.quoted is not None
    items = change.quoted.items
    before = _sold((item.price_before, item.quantity_before) for item in items if item.before is not None)
    after = _sold((item.price_after, item.quantity_after) for item in items if item.after is not None)
    for effect in done:
        # Where somebody else changed it in between there is nothing to compare.
        if effect.before == before and effect.after != after:
            yield f"made {effect.after} of {before}, not {after}"


def audit_course(committed: Iterable[Committed]) -> Iterator[str]:
    """No two changes of an account are under way at once, what is over stays so, and each is counted once."""
    states: dict[tuple[str, str], PlanChange] = {}
    counted: Counter[tuple[str, str]] = Counter()
    for transaction in committed:
        touched = set()
        for call in transaction.calls:
            if call.noun != "plan_changes":
                continue
            if call.method == "step" and call.args[2] in OVER:
                counted[call.args[0], call.args[1]] += 1
            if call.method == "save" or (call.method == "add" and call.result):
                change: PlanChange = call.args[0]
                before = states.get((change.account, change.id))
                if before is not None and before.state in OVER and before.state != change.state:
                    yield f"changes: {change.key} of {change.account} was {before.state} and became {change.state}"
                states[change.account, change.id] = change
                touched.add(change.account)
        for account in touched:
            yield from _together(account, [change for (its, _), change in states.items() if its == account])
    for (account, id), times in counted.items():
        if times > 1:
            yield f"changes: {states[account, id].key} of {account} was resolved {times} times"


def _together(account: str, changes: list[PlanChange]) -> Iterator[str]:
    making = [change.key for change in changes if change.state in ("asked", "pending")]
    if len(making) > 1:
        yield f"changes: {making} of {account} are under way at once"
    waiting = Counter(change.subscription for change in changes if change.state == "scheduled")
    yield from (f"changes: {n} of {account} are scheduled for {id}" for id, n in waiting.items() if n > 1)


def audit_settlements(run: Run) -> list[str]:
    """What one settlement of an account left is what the next one began with."""
    wrong = []
    last: dict[str, str | None] = {}
    seen = set()
    for transaction in run.database.committed:
        for call in transaction.calls:
            if (call.noun, call.method) != ("plan_changes", "save") or call.args[0].settlement is None:
                continue
            change: PlanChange = call.args[0]
            if (change.account, change.id) in seen or change.settlement is None:
                continue
            seen.add((change.account, change.id))
            before, after = change.settlement.plan_before, change.settlement.plan_after
            if change.account in last and last[change.account] != before:
                wrong.append(f"settlements: {change.account} went on from {before}, not {last[change.account]}")
            last[change.account] = after
    return wrong


def read_effects(history: Iterable[Event]) -> list[Effect]:
    """The updates by which subscriptions took the name of a change, in order."""
    found: list[Effect] = []
    known: dict[str, tuple[str | None, Sold]] = {}
    for event in history:
        thing = event["data"]["object"]
        if not event["type"].startswith("customer.subscription."):
            continue
        named, sold = (thing.get("metadata") or {}).get(NAME) or None, _consists_of(thing)
        before, had = known.get(thing["id"], (None, None))
        if named is not None and named != before:
            found.append(Effect(named, had, sold))
        known[thing["id"]] = (named, sold)
    return found


def paid_invoices(history: Iterable[Event]) -> Counter[str]:
    """How many invoices that cost something were made under the keys of a change, and were paid."""
    made: dict[str, str] = {}
    paid: Counter[str] = Counter()
    for event in history:
        thing = event["data"]["object"]
        key = (event.get("request") or {}).get("idempotency_key") or ""
        if event["type"] == "invoice.created" and key.startswith("pg_"):
            made[thing["id"]] = key.removeprefix("pg_").rpartition("_")[0].rpartition("_")[0]
        if event["type"] == "invoice.paid" and thing["id"] in made and thing["amount_paid"] > 0:
            paid[made[thing["id"]]] += 1
    return paid


# Any: Stripe's own object.
def _consists_of(subscription: dict[str, Any]) -> Sold:
    lines = subscription["items"]["data"]
    return _sold((line["price"]["lookup_key"], line.get("quantity") or 1) for line in lines)


def _sold(lines: Iterable[tuple[str | None, int]]) -> Sold:
    return tuple(sorted((key, quantity) for key, quantity in lines if key in KNOWN and quantity > 0))
