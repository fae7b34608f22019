"""Plan changes on the pure core: quotes by the formula, steps taken at an engine in process, and what follows settled.

What the server does around the core is done here in the fewest words: a change that was asked for takes one step after
the other until it has to wait; a reading of the customer that began after it was done tells that it is applied; and
whatever has changed of what is bought is settled when a fact, or a date, tells of it.
"""

from collections import defaultdict
from datetime import datetime, timedelta
from itertools import count
from typing import Protocol, assert_never

from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Body, Customer, ManualSubscription, Subscription
from paygrade.catalog.model import Catalog
from paygrade.changes.impact import CarryOver, Cooling
from paygrade.changes.order import Progress
from paygrade.changes.plan_change import (
    UNDER_WAY,
    ChangeState,
    PlanChange,
    acted,
    asked_for,
    back,
    cooling_until,
    coolings,
    is_doubted,
    is_reversal,
    order_of,
    refuse_idle,
)
from paygrade.changes.quote import Caveat, Quote, changed_subscription, quote
from paygrade.changes.request import ChangeRequest
from paygrade.changes.transition import PlanTransition, is_billed, transition
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.entitlements.derive import derive
from paygrade.entitlements.seats import losses, seats_at, without_seat
from paygrade.providers.stripe.orders import StripeOrders
from paygrade.usage.balances import slot_of
from paygrade.values.errors import Refused
from paygrade.values.states import NOT_LIVE
from stories.language.change_outcomes import Found, latest, plain
from stories.language.core_ledger import Ledger
from stories.language.owner_phrases import Accept, Change, Do, GoBack, Look, PlanChangeAsked, TakeBack
from stories.language.product_phrases import Refusal

QUOTED_FOR = timedelta(hours=1)
GIVEN_UP = timedelta(hours=22)
"""When a change that was to be made at once is taken back."""
LATE = timedelta(minutes=2)
"""How long after its time a scheduled change is looked at, if no reading has told of it."""
STEPS_MAX = 16


class Books(Protocol):
    """What is known of all accounts, and how to add to it."""

    catalog: Catalog

    @property
    def now(self) -> datetime: ...
    @property
    def fence(self) -> int:
        """The latest one that was taken."""

    def account(self, key: str) -> Account: ...
    def held(self, key: str) -> Snapshot:
        """The account's snapshot with its balances."""

    def ledger(self, key: str) -> Ledger: ...
    def record(self, key: str, subject: str, body: Body, sequence: int | None) -> None: ...
    def mark(self) -> None:
        """Let everything be read anew."""

    def quiesce(self) -> None:
        """Return once everything that happened has been heard of."""


class Changes:
    """The plan changes of all accounts, and when what each buys was last looked at."""

    def __init__(self, books: Books, orders: StripeOrders) -> None:
        self._books = books
        self._orders = orders
        self._numbers = count(1)
        self._quotes: dict[str, Quote] = {}
        """The latest of each account."""
        self._changes: dict[str, PlanChange] = {}
        self._asked: dict[str, list[str]] = defaultdict(list)
        """The ids of those that were asked for here, by account."""
        self._settled_at: dict[str, datetime] = {}

    # What an owner asks for

    def run(self, errand: PlanChangeAsked) -> Found | Refusal:
        try:
            return plain(self._run(errand))
        except Refused as refused:
            return Refusal(refused.code)

    def _run(self, errand: PlanChangeAsked) -> Quote | PlanChange:
        key = errand.account
        if not self._books.account(key).exists:
            raise Refused("unknown_account", key)
        match errand.what:
            case Change(wanted=wanted, only_quoted=only_quoted):
                made = self._quote(key, wanted)
                return made if only_quoted else self._settled(self._carry_out(key))
            case Accept():
                return self._settled(self._carry_out(key))
            case GoBack(only_quoted=only_quoted):
                change = self._latest(key)
                if change.reverted_by is not None:
                    raise Refused("not_revertible", change.id)
                made = self._quote(key, back(change), reverts=change.id)
                return made if only_quoted else self._settled(self._carry_out(key))
            case Do() as wanted_act:
                return self._settled(self._act(key, wanted_act))
            case TakeBack():
                return self._settled(self._take_back(key))
            case Look():
                return self._latest(key)
            case _:
                assert_never(errand.what)

    def _settled(self, change: PlanChange) -> PlanChange:
        """The change once there is nothing more to do."""
        self._books.mark()
        self._books.quiesce()
        return self._changes[change.id]

    def _latest(self, key: str) -> PlanChange:
        found = latest(self._of(key), self._asked[key])
        if found is None:
            raise Refused("unknown_change", key)
        return found

    def _quote(self, key: str, wanted: ChangeRequest, *, reverts: str | None = None) -> Quote:
        account, at = self._books.account(key), self._books.now
        active_at = self._books.ledger(key).active_at
        held, cooling = self._books.held(key), self._coolings(account)
        now = account.time(at)
        made = quote(account, self._books.catalog, held, wanted, now, active_at=active_at, coolings=cooling)
        self._refuse_cooling(account, made)
        caveats = []
        for change in self._under_way(key):
            if change.state != "scheduled":
                caveats.append(Caveat("another_under_way", self._doubt(change)))
            elif change.subscription == made.subscription:
                caveats.append(Caveat("another_scheduled", self._doubt(change)))
        made = replace(made, reverts=reverts, warnings=(*made.warnings, *caveats))
        self._quotes[key] = replace(made, id=f"quote_{next(self._numbers)}", expires_at=at + QUOTED_FOR)
        return self._quotes[key]

    def _coolings(self, account: Account) -> tuple[Cooling, ...]:
        applied = [change for change in self._of(account.key) if change.state == "applied"]
        went = [c for c in applied if c.settlement and c.settlement.plan_before != c.settlement.plan_after]
        return coolings(sorted(went, key=lambda c: (c.resolved_at or c.asked_at, c.asked_at), reverse=True), account)

    def _doubt(self, change: PlanChange) -> str:
        if change.state != "scheduled":
            return f"`{change.id}` is {change.state}; wait until it finishes, or cancel it"
        when = f" for {change.effective_at:%Y-%m-%d %H:%M} UTC" if change.effective_at else ""
        return f"`{change.id}` is scheduled{when}; cancel it before this one is made"

    def _refuse_cooling(self, account: Account, made: Quote) -> None:
        applied = [c for c in self._of(account.key) if c.state == "applied" and c.subscription == made.subscription]
        newest = max(applied, key=lambda c: (c.resolved_at or c.asked_at, c.asked_at), default=None)
        if newest is None or not is_reversal(made, newest):
            return
        until = cooling_until(newest, next(s for s in account.subscriptions if s.id == made.subscription))
        if until is not None and made.effective_at < until:
            raise Refused("cooling_off", newest.id)

    def _carry_out(self, key: str) -> PlanChange:
        made, at, account = self._quotes.get(key), self._books.now, self._books.account(key)
        if made is None:
            raise Refused("unknown_quote", key)
        for known in self._of(key):
            if known.quote == made.id:
                return known
        self._refuse_outdated(made, account, at)
        subject = _subject_of(account, made.subscription)
        change = self._begin(asked_for(made, id=self._id(), key=made.id, subject=subject, at=at))
        if change.is_manual:
            return self._state(change, changed_subscription(account, self._books.catalog, made))
        return change

    def _refuse_outdated(self, made: Quote, account: Account, at: datetime) -> None:
        if made.expires_at is not None and made.expires_at <= at:
            raise Refused("quote_expired", made.id)
        if made.account_version != account.version:
            raise Refused("account_changed", made.id)
        if made.catalog_version != self._books.catalog.version:
            raise Refused("catalog_changed", made.id)
        now = account.time(at)
        if made.when != "now" and made.effective_at <= now:
            raise Refused("quote_expired", made.id)
        held, active_at = self._books.held(account.key), self._books.ledger(account.key).active_at
        if not quote(account, self._books.catalog, held, made.wanted, now, active_at=active_at).executable:
            raise Refused("change_refused", made.id)

    def _act(self, key: str, wanted: Do) -> PlanChange:
        account, at = self._books.account(key), self._books.now
        live = [s for s in account.subscriptions if s.status not in NOT_LIVE]
        if len(live) != 1:
            raise Refused("no_subscription_to_change", key)
        refuse_idle(live[0], wanted.act)
        if wanted.trial_ends_at is not None and wanted.trial_ends_at <= at:
            raise Refused("date_in_the_past", key)
        id = self._id()
        change = PlanChange(
            account=key,
            id=id,
            key=id,
            source="request",
            act=wanted.act,
            state="asked",
            subscription=live[0].id,
            subject=_subject_of(account, live[0].id),
            asked_at=at,
            trial_ends_at=wanted.trial_ends_at,
        )
        self._begin(change)
        if change.is_manual:
            return self._state(change, acted(live[0], wanted.act, trial_ends_at=wanted.trial_ends_at, at=at))
        return change

    def _take_back(self, key: str) -> PlanChange:
        under_way = self._under_way(key)
        change = under_way[-1] if under_way else self._latest(key)
        if change.state == "canceled":
            return change
        if change.state not in UNDER_WAY:
            raise Refused("change_resolved", change.id)
        if not change.is_manual:
            return self._keep(replace(change, undo=True, done_fence=None))
        account = self._books.account(key)
        subscription = next(s for s in account.subscriptions if s.id == change.subscription)
        goes_on = {"ends_at": None} if change.act == "cancel" else {"next": ()}
        return self._state(change, replace(subscription, **goes_on), taken_back=True)

    def _begin(self, change: PlanChange) -> PlanChange:
        for other in self._under_way(change.account):
            if other.state != "scheduled":
                raise Refused("change_under_way", other.id)
            if other.subscription == change.subscription:
                raise Refused("change_scheduled", other.id)
        self._asked[change.account].append(change.id)
        return self._keep(change)

    def _state(self, change: PlanChange, subscription: Subscription, *, taken_back: bool = False) -> PlanChange:
        """State a subscription that nobody bills, as it is after the change."""
        before = self._books.account(change.account)
        sequence = before.statements[change.subject].sequence + 1
        self._books.record(change.account, change.subject, ManualSubscription(subscription), sequence)
        self.transition(before)
        now = self._changes[change.id]
        if now.state not in UNDER_WAY:
            return now
        if taken_back:
            return self._resolve(now, "canceled")
        if change.effective_at is None:
            return self._resolve(now, "applied")
        return self._keep(replace(now, state="scheduled"))

    # What is done at the provider

    def work(self) -> None:
        """Take every step at the provider that there is to take."""
        for change in list(self._changes.values()):
            if self._has_work(change):
                self._advance(change.id)

    def _has_work(self, change: PlanChange) -> bool:
        if change.is_manual or change.done_fence is not None or change.state in ("failed", "canceled"):
            return False
        if change.state == "scheduled" and not change.undo:
            late = change.effective_at is not None and change.effective_at + LATE <= self._books.now
            held = self._books.account(change.account).subscriptions
            return late or any(s.id == change.subscription and is_doubted(change, s) for s in held)
        return change.state != "applied" or change.schedule is not None

    def _advance(self, id: str) -> None:
        for _ in range(STEPS_MAX):
            held = self._changes[id]
            at_once = held.effective_at is None and held.state in ("asked", "pending")
            if at_once and not held.undo and self._books.now - held.asked_at >= GIVEN_UP:
                held = replace(held, undo=True, reason="it was not made or not paid within a day")
            try:
                progress = self._orders.advance(order_of(held, tries=0))
            except Refused as refused:
                progress = Progress("failed", held.schedule, held.invoice, None, refused.detail)
            if not self._note(held, progress):
                return
        raise AssertionError("the change comes to no end")

    def _note(self, held: PlanChange, progress: Progress) -> bool:
        """Keep how a change stands at the provider; True: it goes on there."""
        if progress.state not in ("open", "pending"):
            self._books.mark()
        done_fence = self._books.fence
        if held.state == "applied":
            # It was only to let go of its schedule, which is taken back where it plans the same still.
            over = progress.state in ("done", "failed", "undone")
            undo = not over and (held.undo or progress.state == "scheduled")
            self._keep(replace(held, undo=undo, done_fence=done_fence if over else None))
            return not over
        now = replace(
            held,
            schedule=progress.schedule or held.schedule,
            invoice=progress.invoice or held.invoice,
            pay_url=progress.pay_url,
        )
        match progress.state:
            case "open":
                self._keep(now)
                return True
            case "pending" | "scheduled":
                self._keep(replace(now, state=progress.state))
            case "done":
                self._keep(replace(now, done_fence=done_fence, undo=False))
            case "failed" if held.undo and held.state == "scheduled":
                self._keep(replace(now, undo=False, reason=progress.detail))
            case "failed":
                self._resolve(now, "failed", reason=progress.detail)
            case "undone" if held.reason is not None:
                self._resolve(now, "failed", reason=held.reason)
            case "undone":
                self._resolve(now, "canceled", reason=progress.detail)
        return False

    # What follows

    def transition(self, before: Account, read: tuple[str, int] | None = None) -> None:
        """Settle what has changed of what the account buys since `before` was known. `read`: the subject whose reading
        told, and its fence."""
        key, at = before.key, self._books.now
        since = self._settled_at.get(key)
        self._settled_at[key] = at
        settled = self._follow(before, since or at) if since is not None or before.version else None
        for change in self._under_way(key):
            if change.id != settled and _has_told(change, read):
                self._resolve(change, "applied")

    def transition_by_date(self) -> None:
        for key in list(self._settled_at):
            self.transition(self._books.account(key))

    def _follow(self, before: Account, since: datetime) -> str | None:
        """Settle, and return the id of the change that was."""
        key, at, catalog = before.key, self._books.now, self._books.catalog
        after, held, active_at = self._books.account(key), self._books.held(key), self._books.ledger(key).active_at
        id = self._id()
        cooling = self._coolings(after)
        found = transition(before, since, after, catalog, held, at, change=id, active_at=active_at, coolings=cooling)
        if found is None:
            return None
        for asked in self._under_way(key):
            changed, expected = asked.subscription in found.subscriptions, asked.expected
            if (
                changed
                and expected is not None
                and is_billed(expected, asked.subscription, after, catalog, after.time(at))
            ):
                id = asked.id
                break
        else:
            self._keep(_seen(id, after, found))
        leeways = tuple(replace(leeway, change=id) for leeway in found.leeways)
        for carried in found.usage:
            self._carry(key, held, carried)
        for leeway in leeways:
            self._books.record(key, f"leeway:{leeway.feature}", leeway, None)
        lost = losses(
            self._books.account(key),
            seats_at(derive(self._books.account(key), catalog, after.time(at)).entitlements),
            found.matched.rule.seats,
            active_at,
            at,
        )
        for loss in lost:
            if loss.how == "released":
                body = without_seat(self._books.account(key), loss.member, at)
                self._books.record(key, f"member:{body.key}", body, None)
        self._resolve(self._changes[id], "applied", settlement=replace(found, leeways=leeways, lost=lost))
        return id

    def _carry(self, key: str, held: Snapshot, carried: CarryOver) -> None:
        if carried.how != "new_window":
            more, from_at = carried.used_after - carried.used_before, self._from_at(held, carried.feature)
            self._books.ledger(key).carry_over(carried.feature, slot_of(from_at), more, held, self._books.now)

    def _from_at(self, held: Snapshot, feature: str) -> datetime | None:
        """When the window that runs began."""
        return entitlements_at(held, self._books.now)[feature].from_at

    def _resolve(
        self,
        change: PlanChange,
        state: ChangeState,
        *,
        settlement: PlanTransition | None = None,
        reason: str | None = None,
    ) -> PlanChange:
        if state == "applied" and change.reverts is not None:
            self._keep(replace(self._changes[change.reverts], reverted_by=change.id))
        return self._keep(
            replace(
                change,
                state=state,
                resolved_at=self._books.now,
                settlement=settlement,
                reason=reason,
                undo=False,
                pay_url=None,
            )
        )

    def _of(self, key: str) -> list[PlanChange]:
        return [change for change in self._changes.values() if change.account == key]

    def _under_way(self, key: str) -> list[PlanChange]:
        return [change for change in self._of(key) if change.state in UNDER_WAY]

    def _keep(self, change: PlanChange) -> PlanChange:
        self._changes[change.id] = change
        return change

    def _id(self) -> str:
        return f"chg_{next(self._numbers)}"


def _has_told(change: PlanChange, read: tuple[str, int] | None) -> bool:
    """Whether this reading began after the provider said that the change is done."""
    return (
        read is not None and change.done_fence is not None and read[0] == change.subject and read[1] > change.done_fence
    )


def _seen(id: str, account: Account, found: PlanTransition) -> PlanChange:
    """The record of a change that nobody asked for here."""
    subscription = found.subscriptions[0]
    return PlanChange(
        account=account.key,
        id=id,
        key=id,
        source="billing",
        act="change",
        state="applied",
        subscription=subscription,
        subject=_subject_of(account, subscription),
        asked_at=found.at,
        resolved_at=found.at,
    )


def _subject_of(account: Account, subscription: str) -> str:
    """The subject whose statement says how this subscription stands."""
    for subject, statement in account.statements.items():
        match statement.body:
            case Customer(subscriptions=known) if any(one.id == subscription for one in known):
                return subject
            case ManualSubscription(subscription=known) if known is not None and known.id == subscription:
                return subject
    return ""
