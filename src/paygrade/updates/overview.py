"""The overview of an account: all that updates tell of it, at an instant; and what differs between two of them.

Laws: `overview` is pure in `at`, so what dates bring about is told by the same comparison as what facts do; between two
overviews everything that differs is told, each thing once, and nothing else; who applies what is told to the one has
the other.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.contracts import SUBJECT, term_at, turns
from paygrade.billing.facts import Block, Override
from paygrade.billing.standing import Standing, standings
from paygrade.catalog.model import Catalog, Plan
from paygrade.entitlements.findings import findings
from paygrade.entitlements.sources import holdings, view_of
from paygrade.updates.log import News
from paygrade.updates.types import (
    AccountUpdate,
    BlockUpdate,
    ContractUpdate,
    DowngradeGraceUpdate,
    FindingUpdate,
    GraceUpdate,
    InvitationUpdate,
    MemberUpdate,
    OverrideUpdate,
    PlanUpdate,
    SeatUpdate,
    StateUpdate,
    TrialUpdate,
)
from paygrade.values.periods import soonest
from paygrade.values.states import STATUSES, State

TRIAL_ENDING = timedelta(days=3)
"""How long before its end a trial is told to be ending, as Stripe does
(https://docs.stripe.com/billing/subscriptions/trials#trial-ending)."""
OVERRIDE_EXPIRING, CONTRACT_ENDING = timedelta(days=7), timedelta(days=30)
"""The same of an override, and of a term of a contract: long enough to talk about the next one."""
DATES_MAX = 1000
"""How many dates are followed one by one; what came of any further ones is told as one change."""
_BEST: tuple[State, ...] = ("active", "trialing", "grace", "past_due", "unpaid", "paused", "incomplete", "canceled",
                            "expired")  # fmt: skip
assert {*_BEST} == {*STATUSES, "grace"}


class Stand(Struct, frozen=True, omit_defaults=True):
    """How a subscription stands. `step`: of its access ladder, in arrears; `trial_ends_at`: it is a trial."""

    state: State
    step: GraceUpdate | None = None
    trial_ends_at: datetime | None = None
    trial_is_ending: bool = False


class Overview(Struct, frozen=True, omit_defaults=True):
    """What updates tell of an account. `exists` False: there is none, and nothing of it."""

    exists: bool = False
    plan: str | None = None
    add_ons: dict[str, int] = {}
    state: State | None = None
    subscriptions: dict[str, Stand] = {}
    overrides: dict[str, Override] = {}
    scheduled: dict[str, Override] = {}
    """Overrides that begin later."""
    expiring: tuple[str, ...] = ()
    """Features whose overrides end within a week."""
    to_review: tuple[str, ...] = ()
    """Features whose overrides are due for a look."""
    contracts: dict[str, ContractUpdate] = {}
    contracts_ending: tuple[str, ...] = ()
    """Those whose term ends within a month."""
    blocks: dict[str, Block] = {}
    members: dict[str, str] = {}
    invited: dict[str, InvitationUpdate] = {}
    seated: tuple[str, ...] = ()
    leeways: dict[str, DowngradeGraceUpdate] = {}
    findings: dict[str, FindingUpdate] = {}
    catalog: int = 0
    """By which version of the catalog."""


class Announced(Struct, frozen=True):
    """What was last announced of an account. `overview` None: nothing yet, it begins as it is. `announced_at`: until
    when its dates were followed; None: it lives by a test clock. `due_at`: the next date that may change it."""

    account: str
    overview: Overview | None
    announced_at: datetime | None
    due_at: datetime | None


NOTHING = Overview()
"""What is told of an account before it is there."""


def overview(account: Account, catalog: Catalog, at: datetime) -> Overview:
    """What there is to tell of the account at `at`, which is the account's own time."""
    if not account.exists:
        return NOTHING
    has = holdings(account, catalog, at)
    stands = {one.subscription.id: _stand(one, at) for one in standings(account, catalog, at)}
    standing = {key: one for key, one in account.overrides.items() if one.stands(at)}
    contracts = dict(_contracts(account, at))
    return Overview(
        exists=True,
        plan=next((one.bought.ref for one in has if isinstance(one.bought, Plan)), None),
        add_ons={one.bought.ref: one.quantity for one in has if not isinstance(one.bought, Plan)},
        state=min((one.state for one in stands.values()), key=_BEST.index, default=None),
        subscriptions=stands,
        overrides=standing,
        scheduled={key: one for key, one in account.overrides.items() if key not in standing and not one.over(at)},
        expiring=tuple(sorted(key for key, one in standing.items() if _is_expiring(one, at))),
        to_review=tuple(sorted(key for key, one in standing.items() if one.review_at and one.review_at <= at)),
        contracts=contracts,
        contracts_ending=tuple(sorted(key for key, one in contracts.items() if _is_ending(one, at))),
        blocks={key: one for key, one in account.blocks.items() if one.stands(at)},
        members={key: member.role or "" for key, member in account.members.items()},
        invited={
            key: InvitationUpdate(key, one.role or "", one.expires_at) for key, one in account.invitations(at).items()
        },
        seated=tuple(account.holding_seats(at)),
        leeways={
            key: DowngradeGraceUpdate(one.feature, one.limit, one.until, one.change)
            for key, one in account.leeways.items()
            if at < one.until
        },
        findings={
            f"{one.code} {one.subject}": FindingUpdate(one.code, one.subject, one.detail)
            for one in findings(account, catalog, at)
        },
        catalog=catalog.version,
    )


def next_date(account: Account, catalog: Catalog, at: datetime) -> datetime | None:
    """The next instant at which a date may change the overview; None: none does, or the account lives by a test clock,
    whose readings tell."""
    if account.clock_at is not None or not account.exists:
        return None
    trials = [one.subscription.trial_ends_at for one in standings(account, catalog, at) if one.state == "trialing"]
    ending = [ends_at - TRIAL_ENDING for ends_at in trials if ends_at is not None]
    leeways = [one.until for one in account.leeways.values()]
    overrides = [one for one in account.overrides.values() if not one.over(at)]
    ending += [one.expires_at - OVERRIDE_EXPIRING for one in overrides if one.expires_at is not None]
    ending += [one.review_at for one in overrides if one.review_at is not None]
    of_contracts = [date for one in account.contracts.values() for date in turns(one, at)]
    ending += [*of_contracts, *(date - CONTRACT_ENDING for date in of_contracts)]
    return soonest((*view_of(account, catalog, at).ends, *ending, *leeways), at)


def follow_dates(
    account: Account, catalog: Catalog, known: Overview, since: datetime, until: datetime
) -> tuple[list[News], Overview]:
    """What dates have brought about in `(since, until]`, of an account that was `known` so by then."""
    found: list[News] = []
    date = next_date(account, catalog, since)
    for _ in range(DATES_MAX):
        if date is None or date > until:
            break
        then = overview(account, catalog, date)
        found += differences(account.key, known, then, date, occurred_at=date)
        known, date = then, next_date(account, catalog, date)
    return found, known


def differences(
    account: str, before: Overview, after: Overview, at: datetime, *, occurred_at: datetime
) -> Iterator[News]:
    """What is told when `after` takes the place of `before`. `at`: by when what has gone has expired, or has not."""

    def told(type: str, data: Struct) -> News:
        return News(account, type, data, occurred_at)

    if before.exists != after.exists:
        yield told("account.created" if after.exists else "account.deleted", AccountUpdate("profile"))
    if not after.exists:
        return
    if (before.plan, before.add_ons) != (after.plan, after.add_ons):
        yield told("account.plan_changed", PlanUpdate(before.plan, after.plan, before.add_ons, after.add_ons))
    states = {id: one.state for id, one in after.subscriptions.items()}
    if states != {id: one.state for id, one in before.subscriptions.items()}:
        yield told("account.state_changed", StateUpdate(before.state, after.state, states))
    for id in sorted({*before.subscriptions, *after.subscriptions}):
        stood, stands = before.subscriptions.get(id), after.subscriptions.get(id)
        for type, data in (*_of_trial(id, stood, stands), *_of_grace(id, stood, stands)):
            yield told(type, data)
    its = (*_of_overrides(before, after, at), *_of_contracts(before, after))
    for type, data in (*its, *_of_people(before, after, at), *_of_the_rest(before, after)):
        yield told(type, data)


def _stand(standing: Standing, at: datetime) -> Stand:
    id, state = standing.subscription.id, standing.state
    step = None
    if standing.step is not None and state != "paused":
        step = GraceUpdate(id, state, standing.step, standing.access, standing.plan, standing.until)
    ends_at = standing.subscription.trial_ends_at if state == "trialing" else None
    return Stand(state, step, ends_at, ends_at is not None and at >= ends_at - TRIAL_ENDING)


_Told = Iterator[tuple[str, Struct]]


def _of_trial(id: str, stood: Stand | None, stands: Stand | None) -> _Told:
    was = stood is not None and stood.state == "trialing"
    if stands is not None and stands.state == "trialing":
        data = TrialUpdate(id, stands.trial_ends_at, "trialing")
        if stood is None or not was or stood.trial_ends_at != stands.trial_ends_at:
            yield "trial.started", data
        if stands.trial_is_ending and (stood is None or not stood.trial_is_ending):
            yield "trial.ending", data
    elif stood is not None and was:
        yield "trial.ended", TrialUpdate(id, stood.trial_ends_at, stands.state if stands is not None else None)


def _of_grace(id: str, stood: Stand | None, stands: Stand | None) -> _Told:
    was, step = stood.step if stood is not None else None, stands.step if stands is not None else None
    if step is not None and was is None:
        yield "grace.started", step
    elif step is not None and was != step:
        yield "grace.step", step
    elif step is None and was is not None:
        yield "grace.ended", GraceUpdate(id, stands.state if stands is not None else None)


def _of_overrides(before: Overview, after: Overview, at: datetime) -> _Told:
    for _, was, override in _changed(before.overrides, after.overrides):
        if override is not None:
            yield "override.set", OverrideUpdate(override)
        elif was is not None:
            yield "override.expired" if was.over(at) else "override.removed", OverrideUpdate(was)
    for feature, planned, override in _changed(before.scheduled, after.scheduled):
        if override is not None:
            yield "override.scheduled", OverrideUpdate(override)
        elif planned is not None and feature not in after.overrides:
            yield "override.removed", OverrideUpdate(planned)
    for type, due, known in (
        ("override.expiring", after.expiring, before.expiring),
        ("override.review_due", after.to_review, before.to_review),
    ):
        for feature in due:
            if feature not in known or before.overrides.get(feature) != after.overrides[feature]:
                yield type, OverrideUpdate(after.overrides[feature])
    for _, stood, block in _changed(before.blocks, after.blocks):
        if block is not None:
            yield "block.set", BlockUpdate(block)
        elif stood is not None:
            yield "block.lifted" if stood.stands(at) else "block.expired", BlockUpdate(stood)


def _contracts(account: Account, at: datetime) -> Iterator[tuple[str, ContractUpdate]]:
    for subscription, its in account.contracts.items():
        term, key = term_at(its, at), subscription.removeprefix(SUBJECT)
        yield (
            key,
            ContractUpdate(
                key, term.state, its.plan, its.quantity, its.amount, its.currency, term.from_at, term.until, its.renews
            ),
        )


def _is_ending(contract: ContractUpdate, at: datetime) -> bool:
    return contract.state == "active" and contract.until is not None and at >= contract.until - CONTRACT_ENDING


def _of_contracts(before: Overview, after: Overview) -> _Told:
    for _, was, now in _changed(before.contracts, after.contracts):
        if now is not None:
            yield _what_became(was, now), now
        elif was is not None:
            yield "contract.removed", was
    for key in after.contracts_ending:
        term = after.contracts[key]
        known = before.contracts.get(key) if key in before.contracts_ending else None
        if known is None or known.until != term.until or known.renews != term.renews:
            yield "contract.ending", term


def _what_became(was: ContractUpdate | None, now: ContractUpdate) -> str:
    """What is told of a contract: what a date has brought about, else that it was stated."""
    if was is None or replace(was, state=now.state, from_at=now.from_at, until=now.until) != now:
        return "contract.set"
    if was.until is not None and was.until == now.from_at:
        return "contract.renewed"
    if was.state != now.state and (was.from_at, was.until) == (now.from_at, now.until):
        return "contract.ended" if now.state == "ended" else "contract.started"
    return "contract.set"


def _is_expiring(override: Override, at: datetime) -> bool:
    return override.expires_at is not None and at >= override.expires_at - OVERRIDE_EXPIRING


def _of_people(before: Overview, after: Overview, at: datetime) -> _Told:
    for key, was, invited in _changed(before.invited, after.invited):
        if invited is not None:
            yield "invitation.sent", invited
        elif was is not None and key not in after.members:
            expired = was.expires_at is not None and at >= was.expires_at
            yield "invitation.expired" if expired else "invitation.withdrawn", was
    for key, _, role in _changed(before.members, after.members):
        yield "member.set" if role is not None else "member.removed", MemberUpdate(key, role)
    for key in sorted({*before.seated} - {*after.seated}):
        yield "seat.released", SeatUpdate(key)
    for key in after.seated:
        if key not in before.seated:
            yield "seat.given", SeatUpdate(key)


def _of_the_rest(before: Overview, after: Overview) -> _Told:
    for _, was, leeway in _changed(before.leeways, after.leeways):
        if leeway is not None:
            yield "downgrade_grace.started", leeway
        elif was is not None:
            yield "downgrade_grace.ended", was
    for _, had, finding in _changed(before.findings, after.findings):
        if finding is not None and had is None:
            yield "finding.appeared", finding
        elif finding is None and had is not None:
            yield "finding.gone", had


_Value = TypeVar("_Value")


def _changed(
    before: Mapping[str, _Value], after: Mapping[str, _Value]
) -> Iterator[tuple[str, _Value | None, _Value | None]]:
    """Each key of which something else is said: what was, and what is."""
    for key in sorted({*before, *after}):
        was, now = before.get(key), after.get(key)
        if was != now:
            yield key, was, now
