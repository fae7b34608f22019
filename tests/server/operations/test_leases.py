"""Leases: exact over any number of processes, whatever becomes of them; each step once; over when they have to be."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paygrade.billing.facts import Block, Override
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.rebuild import rebuild
from paygrade.server.operations.accounts.statements import put_block, put_override
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.usage.answers import Answer, LeaseChange
from paygrade.server.operations.usage.grants import read_balance, state_usage
from paygrade.server.operations.usage.requests import Asked, Consume, Lease, LeaseStep, Release
from paygrade.server.operations.usage.use import use_together
from paygrade.server.process.settings import Settings
from paygrade.server.state.snapshots import Snapshots
from paygrade.usage.balances import Row, slot_of
from paygrade.usage.entries import Kept
from paygrade.values.errors import Refused
from support.databases import migrated_database
from support.server_process import Api, serving

LIMIT = 24
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean"},
        "calls": {"kind": "metered"},
        "soft_calls": {"kind": "metered", "event": "soft_call"},
        "capped": {"kind": "metered", "event": "capped"},
        "shared": {"kind": "metered", "event": "shared"},
        "rolled": {"kind": "metered", "event": "rolled"},
        "recent": {"kind": "metered", "event": "recent"},
        "costly": {"kind": "metered", "event": "costly"},
        "blobs": {"kind": "metered", "event": "blob"},
        "personal": {"kind": "metered", "event": "personal", "roles": ["editor"]},
        "projects": {"kind": "level"},
        "absent": {"kind": "metered", "event": "absent"},
        "tokens": {"kind": "metered", "event": "completion", "burns": {"ai_credits": {"rate": 1, "per": 10}}},
    },
    "credits": {"ai_credits": {}},
    "plans": {
        "free": {
            "default": True,
            "entitlements": {
                "exports": True,
                "calls": {"limit": LIMIT, "every": "month"},
                "soft_calls": {"limit": 10, "every": "month", "overage": "soft"},
                "capped": {"limit": 100, "every": "month", "caps": [{"limit": 5, "every": "hour"}]},
                "shared": {"limit": 10, "every": "month", "per_member": 4},
                "rolled": {"limit": 10, "every": "month", "rollover": 4},
                "recent": {"limit": 10, "rolling": "1m"},
                "costly": {"limit": 5, "every": "month", "overage": {
                    "price": {"amount": 2, "per": 1, "currency": "usd"}, "spend_cap": 10}},
                "blobs": "unlimited",
                "personal": {"limit": 10, "every": "month"},
                "projects": 8,
                "ai_credits": {"grant": 10, "every": "month"},
            },
        }
    },
}  # fmt: skip
T0 = datetime(2026, 1, 31, 10, tzinfo=UTC)
RESETS_AT = datetime(2026, 2, 28, 10, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


async def opened(store: Store, account: str = "acme") -> None:
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    await put_account(store, account=account, name=account, links={}, traits={}, at=T0)


async def asked(store: Store, one: Asked, at: datetime) -> Answer | Refused:
    (answer,) = await use_together(store, Snapshots(), [one], at)
    return answer


async def changed(store: Store, one: Lease | LeaseStep, at: datetime) -> LeaseChange:
    answer = await asked(store, one, at)
    assert isinstance(answer, Answer)
    assert answer.lease is not None, answer.decision
    return answer.lease


async def counts(store: Store, account: str, at: datetime, feature: str = "calls") -> tuple[int, int]:
    balance = await read_balance(store, Snapshots(), account=account, pool=feature, at=at)
    return balance.used, balance.reserved


async def first_window(store: Store) -> Kept:
    """What is kept of acme's calls in the window that begins at T0."""
    async with store.transaction() as tx:
        (kept,) = (await tx.ledger.load([("acme", "calls", slot_of(T0))])).values()
    return kept


class Process:
    """A process as it sees itself: its lease, what it has claimed and not used yet, and what it allowed."""

    def __init__(self) -> None:
        self.lease: str | None = None
        self.unspent = self.allowed = 0

    def request(self, account: str, what: str, id: str, units: int) -> Asked | None:
        """What it asks of the server."""
        if what == "consume":
            return Consume(account, "calls", id, units)
        if what == "lease" or self.lease is None:
            return Lease(account, "calls", id, max(1, units), claim=units // 2, ttl_s=30) if what == "lease" else None
        unused = min(units, self.unspent)
        match what:
            case "claim":
                return LeaseStep(account, self.lease, id, claim=units)
            case "hold":
                return LeaseStep(account, self.lease, id, units=units, claim=units // 3, ttl_s=20)
            case "unused":
                return LeaseStep(account, self.lease, id, unused=unused)
            case _:
                return LeaseStep(account, self.lease, id, unused=self.unspent, end=True)

    def hear(self, one: Asked, answer: Answer | Refused) -> None:
        assert isinstance(answer, Answer), answer
        if isinstance(one, Consume):
            self.allowed += one.quantity if answer.took_effect else 0
        if answer.lease is None:
            return
        self.unspent += answer.lease.claim
        if isinstance(one, LeaseStep):
            self.unspent -= one.unused
        elif answer.took_effect:
            # What it had claimed under an earlier lease is lost to it.
            self.lease, self.unspent = one.id, answer.lease.claim  # type: ignore[union-attr]  # it is a Lease


HOW = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(
            ["lease", "lease", "claim", "claim", "hold", "unused", "end", "use", "die", "consume", "again"]
        ),
        st.integers(0, 9),
        st.integers(0, 25),
    ),
    max_size=30,
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(how=HOW)
def test_whatever_processes_do_and_whoever_dies_no_more_is_allowed_than_the_limit(database_url: str, how: Any) -> None:
    async def run() -> None:
        async with Store(database_url) as store:
            account = f"acme {uuid.uuid4().hex}"
            await opened(store, account)
            processes, at, last = [Process() for _ in range(3)], T0, None
            for number, (which, what, units, after_s) in enumerate(how):
                at, process = at + after_s * SECOND, processes[which]
                match what:
                    case "use":
                        taken = min(units, process.unspent)
                        process.unspent, process.allowed = process.unspent - taken, process.allowed + taken
                    case "die":
                        process.lease, process.unspent = None, 0
                    case "again" if last is not None:
                        await same_answer(store, *last, at)
                    case _:
                        one = process.request(account, what, str(number), units)
                        if one is not None:
                            answer = await asked(store, one, at)
                            process.hear(one, answer)
                            last = one, answer
                used, reserved = await counts(store, account, at)
                assert used + reserved <= LIMIT
                assert sum(process.allowed + process.unspent for process in processes) <= used
            later = at + 60 * SECOND
            assert (await rebuild(store, account=account, at=later)).differences == ()
            balance = await read_balance(store, Snapshots(), account=account, pool="calls", at=later)
            used, (window,) = balance.used, [grant.share for grant in balance.grants]
            assert (window.granted, window.available, window.consumed) == (LIMIT, LIMIT - used, used)
            assert balance.reserved == window.reserved == 0, "what was held has come back by itself"
            answer = await asked(store, Consume(account, "calls", "the rest", LIMIT - used), later)
            assert isinstance(answer, Answer)
            assert answer.took_effect
            assert (await rebuild(store, account=account, at=later)).differences == ()

    asyncio.run(run())


async def same_answer(store: Store, one: Asked, before: Answer | Refused, at: datetime) -> None:
    again = await asked(store, one, at)
    assert isinstance(again, Answer)
    assert isinstance(before, Answer)
    assert again.replayed
    assert again.lease == before.lease
    assert (again.decision.allowed, again.decision.reason) == (before.decision.allowed, before.decision.reason)


@pytest.mark.anyio
async def test_steps_of_many_processes_in_one_batch_see_what_those_before_them_did(store: Store) -> None:
    await opened(store)
    leases: list[Asked] = [Lease("acme", "calls", f"lease {n}", 100, claim=100) for n in range(12)]
    answers = await use_together(store, Snapshots(), leases, T0)
    given = [answer.lease.claim if isinstance(answer, Answer) and answer.lease else 0 for answer in answers]
    assert given == [6, 4, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1]
    assert await counts(store, "acme", T0) == (LIMIT, 0)
    (denied,) = await use_together(store, Snapshots(), [Lease("acme", "calls", "late", 1)], T0)
    assert isinstance(denied, Answer)
    assert (denied.lease, denied.decision.reason) == (None, "limit_reached")


@pytest.mark.anyio
async def test_a_lease_ends_with_its_window_and_what_was_not_used_goes_back_into_that_window(store: Store) -> None:
    await opened(store)
    shortly = RESETS_AT - 10 * SECOND
    lease = (await changed(store, Lease("acme", "calls", "one", 6, claim=4, ttl_s=3600), shortly)).lease
    assert (lease.expires_at, lease.resets_at, lease.held, lease.claimed) == (RESETS_AT, RESETS_AT, 2, 4)
    refused = await changed(store, LeaseStep("acme", "one", "two", claim=2), RESETS_AT)
    assert (refused.claim, refused.lease.held, refused.lease.over) == (0, 0, "reset")
    given_back = await changed(store, LeaseStep("acme", "one", "three", unused=3), RESETS_AT)
    assert (given_back.lease.claimed, given_back.lease.over) == (1, "reset")
    assert await counts(store, "acme", RESETS_AT) == (0, 0)
    assert (await first_window(store)).row == Row(1, 0)
    assert (await rebuild(store, account="acme", at=RESETS_AT)).differences == ()


@pytest.mark.anyio
async def test_what_a_dead_process_held_comes_back_on_the_instant_and_what_it_claimed_stays_counted(
    store: Store,
) -> None:
    await opened(store)
    await changed(store, Lease("acme", "calls", "one", 6, claim=4, ttl_s=30), T0)
    assert await counts(store, "acme", T0 + 29 * SECOND) == (4, 2)
    at = T0 + 30 * SECOND
    assert await counts(store, "acme", at) == (4, 0)
    answer = await asked(store, Consume("acme", "calls", "the rest", LIMIT - 4), at)
    assert isinstance(answer, Answer)
    assert answer.took_effect
    late = await changed(store, LeaseStep("acme", "one", "two", claim=1, ttl_s=60), at)
    assert (late.claim, late.lease.over) == (0, "expired")
    # It was not dead, only slow: what it has claimed it may use or give back.
    back = await changed(store, LeaseStep("acme", "one", "three", unused=4), at)
    assert back.lease.claimed == 0
    assert await counts(store, "acme", at) == (LIMIT - 4, 0)


@pytest.mark.anyio
async def test_a_lease_that_is_renewed_outlives_its_first_end(store: Store) -> None:
    await opened(store)
    await changed(store, Lease("acme", "calls", "one", 6, ttl_s=30), T0)
    renewed = await changed(store, LeaseStep("acme", "one", "two", ttl_s=30), T0 + 20 * SECOND)
    assert renewed.lease.expires_at == T0 + 50 * SECOND
    claimed = await changed(store, LeaseStep("acme", "one", "three", claim=6), T0 + 40 * SECOND)
    assert (claimed.claim, claimed.lease.held) == (6, 0)
    async with store.transaction() as tx:
        assert await tx.ledger.open_reservations(["acme"]) == [], "nothing is left behind that never ends"
    # Nothing is held of it now; more can be as long as it lasts.
    more = await changed(store, LeaseStep("acme", "one", "four", units=2), T0 + 45 * SECOND)
    assert (more.units, more.lease.held) == (2, 2)
    assert await counts(store, "acme", T0 + 50 * SECOND) == (6, 0)


@pytest.mark.anyio
async def test_a_lease_that_holds_nothing_ends_all_the_same_when_its_time_is_up(store: Store) -> None:
    await opened(store)
    await changed(store, Lease("acme", "calls", "one", 6, claim=6, ttl_s=30), T0)
    late = await changed(store, LeaseStep("acme", "one", "two", units=2), T0 + 30 * SECOND)
    assert (late.units, late.lease.over) == (0, "expired")


@pytest.mark.anyio
async def test_a_lease_that_was_ended_stays_so(store: Store) -> None:
    await opened(store)
    await changed(store, Lease("acme", "calls", "one", 6, claim=2), T0)
    await changed(store, LeaseStep("acme", "one", "two", unused=2, end=True), T0 + SECOND)
    late = await changed(store, LeaseStep("acme", "one", "three", units=2, claim=1, ttl_s=30), T0 + 2 * SECOND)
    assert (late.units, late.claim, late.lease.held, late.lease.over) == (0, 0, 0, "ended")
    assert await counts(store, "acme", T0 + 2 * SECOND) == (0, 0)


@pytest.mark.anyio
async def test_a_block_stops_claims_and_releases_what_is_held(store: Store) -> None:
    await opened(store)
    await changed(store, Lease("acme", "calls", "one", 6, claim=2), T0)
    await put_block(store, account="acme", block=Block("fraud", reason="chargeback"), at=T0 + SECOND)
    answer = await asked(store, LeaseStep("acme", "one", "two", claim=2), T0 + 2 * SECOND)
    assert isinstance(answer, Answer)
    assert answer.lease is not None
    assert (answer.decision.allowed, answer.decision.reason) == (False, "blocked")
    assert (answer.lease.claim, answer.lease.lease.held, answer.lease.lease.over) == (0, 0, "denied")
    assert (await first_window(store)).row == Row(2, 0)
    denied = await asked(store, Lease("acme", "calls", "three", 1), T0 + 2 * SECOND)
    assert isinstance(denied, Answer)
    assert (denied.lease, denied.decision.reason) == (None, "blocked")


@pytest.mark.anyio
async def test_a_lease_shrinks_with_the_limit_and_never_claims_over_it(store: Store) -> None:
    await opened(store)
    await changed(store, Lease("acme", "calls", "one", 6, claim=2), T0)
    await put_override(store, account="acme", override=Override("calls", limit=3, reason="less"), at=T0 + SECOND)
    first = await changed(store, LeaseStep("acme", "one", "two", claim=4), T0 + 2 * SECOND)
    assert (first.claim, first.lease.held, first.lease.over) == (1, 0, None)
    answer = await asked(store, LeaseStep("acme", "one", "three", claim=1, units=5), T0 + 2 * SECOND)
    assert isinstance(answer, Answer)
    assert answer.lease is not None
    assert (answer.lease.claim, answer.lease.units, answer.decision.reason) == (0, 0, "limit_reached")
    assert await counts(store, "acme", T0 + 2 * SECOND) == (3, 0)


@pytest.mark.anyio
async def test_a_feature_that_is_not_limited_any_more_is_leased_no_more(store: Store) -> None:
    await opened(store)
    await changed(store, Lease("acme", "calls", "one", 6, claim=2), T0)
    await put_override(store, account="acme", override=Override("calls", unlimited=True, reason="all"), at=T0 + SECOND)
    found = await changed(store, LeaseStep("acme", "one", "two", claim=1), T0 + 2 * SECOND)
    assert (found.claim, found.lease.held, found.lease.over) == (0, 0, "not_leasable")


@pytest.mark.anyio
async def test_usage_set_by_hand_below_what_is_claimed_never_becomes_negative(store: Store) -> None:
    await opened(store)
    await changed(store, Lease("acme", "calls", "one", 6, claim=6), T0)
    snapshots = Snapshots()
    await state_usage(store, snapshots, account="acme", pool="calls", used=2, id="recount", reason="by hand", at=T0)
    ended = await changed(store, LeaseStep("acme", "one", "two", unused=6, end=True), T0)
    assert ended.lease.over == "ended"
    assert await counts(store, "acme", T0) == (0, 0)
    assert (await rebuild(store, account="acme", at=T0)).differences == ()


@pytest.mark.anyio
async def test_what_a_slot_knows_of_the_next_end_is_renewed_once_leases_were_extended(store: Store) -> None:
    await opened(store)
    await changed(store, Lease("acme", "calls", "one", 6, ttl_s=30), T0)
    await changed(store, LeaseStep("acme", "one", "two", ttl_s=600), T0 + 20 * SECOND)
    await changed(store, LeaseStep("acme", "one", "three", claim=1), T0 + 40 * SECOND)
    assert (await first_window(store)).expires_at == T0 + 620 * SECOND


@pytest.mark.anyio
async def test_a_lease_is_no_reservation_to_those_who_do_not_know_it(store: Store) -> None:
    await opened(store)
    await changed(store, Lease("acme", "calls", "one", 6), T0)
    refused = await asked(store, Release("acme", "one"), T0)
    assert isinstance(refused, Refused)
    assert refused.code == "unknown_reservation"


@pytest.fixture(scope="module")
def leasing(postgres_url: str) -> Iterator[Api]:
    """A server that sells one plan with every kind of limit."""
    with migrated_database(postgres_url) as database_url, serving(Settings(), database_url, catalog=False) as api:
        api.ok("PUT", "/v1/catalog", json=DOCUMENT)
        yield api


@pytest.fixture
def acme(leasing: Api) -> str:
    key = f"acme-{uuid.uuid4().hex[:12]}"
    leasing.ok("PUT", f"/v1/accounts/{key}", json={"name": "Acme"})
    return key


def lease(api: Api, account: str, units: int, claim: int = 0, feature: str = "calls", **more: Any) -> Any:
    body = {"account": account, "feature": feature, "units": units, "claim": claim, "id": uuid.uuid4().hex, **more}
    return api.ok("POST", "/v1/leases", json=body)


def steps(api: Api, *said: Any) -> list[Any]:
    found: list[Any] = api.ok("POST", "/v1/leases/steps", json={"steps": list(said)})["results"]
    return found


def test_a_lease_is_taken_claimed_from_and_ended_over_http(leasing: Api, acme: str) -> None:
    told = lease(leasing, acme, 100, 4)
    its = told["lease"]
    assert (its["held"], its["claimed"], its["over"], told["replayed"]) == (2, 4, None, False)
    assert (told["decision"]["allowed"], told["decision"]["quantity"]) == (True, 6)
    assert (told["decision"]["used"], told["decision"]["reserved"], told["decision"]["exact"]) == (4, 2, True)
    step = {"account": acme, "lease": its["id"]}
    claimed, more, ended = steps(
        leasing,
        {**step, "id": "a", "claim": 5},
        {**step, "id": "b", "units": 8, "unused": 1, "ttl_s": 120},
        {**step, "id": "c", "unused": 2, "end": True},
    )
    assert (claimed["claim"], claimed["lease"]["held"], claimed["lease"]["claimed"]) == (2, 0, 6)
    assert (more["units"], more["lease"]["held"], more["lease"]["claimed"]) == (4, 5, 5)
    assert (ended["lease"]["held"], ended["lease"]["claimed"], ended["lease"]["over"]) == (0, 3, "ended")
    assert all(each["problem"] is None for each in (claimed, more, ended))
    decision = leasing.check(acme, "calls")
    assert (decision["used"], decision["reserved"], decision["remaining"]) == (3, 0, 21)
    page = leasing.ok("GET", f"/v1/accounts/{acme}/ledger/calls")["entries"]
    assert [(entry["kind"], entry["quantity"]) for entry in page] == [
        ("lease", -2), ("lease", -1), ("lease", 2), ("lease", 4)
    ]  # fmt: skip
    assert leasing.ok("POST", f"/v1/accounts/{acme}/rebuild")["differences"] == []


def test_a_step_sent_again_counts_once_and_another_one_under_its_id_is_a_conflict(leasing: Api, acme: str) -> None:
    body = {"account": acme, "feature": "calls", "units": 6, "id": "one"}
    first = leasing.ok("POST", "/v1/leases", json=body)
    again = leasing.ok("POST", "/v1/leases", json=body)
    assert again == first | {"replayed": True, "decision": again["decision"]}
    assert leasing.problem(409, "POST", "/v1/leases", json={**body, "claim": 1})["code"] == "id_conflict"
    step = {"account": acme, "lease": "one", "id": "two", "claim": 3}
    (once,), (twice,) = steps(leasing, step), steps(leasing, step)
    assert (twice["lease"], twice["claim"], twice["replayed"]) == (once["lease"], 3, True)
    for other in ({"claim": 4}, {"unused": 1}, {"units": 1}, {"ttl_s": 9}, {"end": True}):
        (conflict,) = steps(leasing, {**step, **other})
        problem = conflict["problem"]
        assert (problem["code"], problem["status"], conflict["lease"]) == ("id_conflict", 409, None)
    assert leasing.check(acme, "calls")["used"] == 3


def test_a_lease_denied_stays_denied_under_its_id(leasing: Api, acme: str) -> None:
    leasing.ok("POST", "/v1/consume", json={"account": acme, "feature": "calls", "quantity": LIMIT, "id": "all"})
    body = {"account": acme, "feature": "calls", "units": 6, "id": "one"}
    denied = leasing.ok("POST", "/v1/leases", json=body)
    assert (denied["lease"], denied["decision"]["reason"]) == (None, "limit_reached")
    leasing.ok("PUT", f"/v1/accounts/{acme}/usage/calls", json={"used": 0, "id": "recount"})
    again = leasing.ok("POST", "/v1/leases", json=body)
    assert (again["lease"], again["replayed"]) == (None, True)
    assert leasing.ok("POST", "/v1/leases", json={**body, "id": "two"})["lease"]["held"] == 6


def test_one_bad_step_keeps_no_other_out(leasing: Api, acme: str) -> None:
    its = lease(leasing, acme, 6)["lease"]["id"]
    step = {"account": acme, "lease": its}
    found = steps(
        leasing,
        {**step, "id": "a", "claim": 1},
        {**step, "id": "b", "claim": -1},
        "nonsense",
        {**step, "id": "c", "unused": 5},
        {**step, "id": "d", "lease": "nobody's"},
        {**step, "id": "e\n"},
        {**step, "id": "f", "clam": 1},
        {**step},
        {**step, "id": "g", "claim": 1},
    )
    assert [each["problem"] and each["problem"]["code"] for each in found] == [
        None, "invalid_body", "invalid_body", "exceeds_lease", "unknown_lease", "invalid_key", "invalid_body",
        "invalid_body", None,
    ]  # fmt: skip
    assert [each["claim"] for each in found] == [1, *[0] * 7, 1]
    assert found[6]["problem"]["errors"][0]["message"] == "unknown field `clam`; did you mean `claim`?"


def test_a_call_that_is_no_list_of_steps_is_refused_whole(leasing: Api, acme: str) -> None:
    step = {"account": acme, "lease": "one", "id": "a"}
    bodies: list[Any] = [{}, {"steps": {}}, {"steps": [], "more": 1}, {"steps": [step] * 1001}, {"steps": None}]
    for body in bodies:
        assert leasing.problem(400, "POST", "/v1/leases/steps", json=body)["code"] == "invalid_body"
    assert leasing.problem(400, "POST", "/v1/leases/steps", content=b"[")["code"] == "malformed_json"
    assert steps(leasing) == []


@pytest.mark.parametrize(
    "feature",
    ["exports", "blobs", "capped", "shared", "rolled", "recent", "costly", "tokens", "ai_credits", "personal"],
)
def test_what_one_count_and_one_limit_do_not_tell_is_not_leased(leasing: Api, acme: str, feature: str) -> None:
    body = {"account": acme, "feature": feature, "units": 5, "id": "one"}
    told = leasing.problem(409, "POST", "/v1/leases", json=body)
    assert told["code"] == "not_leasable"
    assert feature in told["detail"]


def test_granted_units_are_not_leased_until_they_are_spent(leasing: Api, acme: str) -> None:
    grant = {"feature": "calls", "units": 5, "id": "g1", "priority": 1, "reason": "bought"}
    leasing.ok("POST", f"/v1/accounts/{acme}/grants", json=grant)
    body = {"account": acme, "feature": "calls", "units": 4, "id": "one"}
    assert leasing.problem(409, "POST", "/v1/leases", json=body)["code"] == "not_leasable"
    leasing.ok("POST", "/v1/consume", json={"account": acme, "feature": "calls", "quantity": 5, "id": "spent"})
    later = {**grant, "id": "g2", "from_at": (datetime.now(UTC) + DAY).isoformat()}
    leasing.ok("POST", f"/v1/accounts/{acme}/grants", json=later)
    assert leasing.ok("POST", "/v1/leases", json=body)["lease"]["held"] == 4


def test_a_level_and_a_soft_limit_are_leased(leasing: Api, acme: str) -> None:
    level = lease(leasing, acme, 5, 1, "projects")["lease"]
    assert (level["held"], level["claimed"], level["resets_at"]) == (1, 1, None)
    soft = lease(leasing, acme, 500, 50, "soft_calls")["lease"]
    assert (soft["held"], soft["claimed"]) == (450, 50)


def test_who_does_not_have_a_feature_is_told_so_and_nobody_leases_what_is_not_there(leasing: Api, acme: str) -> None:
    told = lease(leasing, acme, 5, feature="absent")
    assert (told["lease"], told["decision"]["reason"]) == (None, "not_in_plan")
    assert lease(leasing, acme, 5, feature="nothing")["decision"]["reason"] == "unknown_feature"
    assert lease(leasing, "nobody", 5)["decision"]["reason"] == "unknown_account"


def test_a_reservation_is_no_lease(leasing: Api, acme: str) -> None:
    leasing.ok("POST", "/v1/reservations", json={"account": acme, "feature": "calls", "quantity": 2, "id": "held"})
    (found,) = steps(leasing, {"account": acme, "lease": "held", "id": "a", "claim": 1})
    assert found["problem"]["code"] == "unknown_lease"


@pytest.mark.anyio
async def test_entries_of_leases_say_how_many_units_they_count(store: Store, database_url: str) -> None:
    await opened(store)
    await changed(store, Lease("acme", "calls", "one", 6, claim=4), T0)
    await changed(store, LeaseStep("acme", "one", "two", claim=1, unused=3), T0)
    with psycopg.connect(database_url) as connection:
        found = connection.execute("select sum(quantity) from ledger where kind = 'lease'").fetchone()
    assert found == (2,)
