"""Using and holding units over HTTP: exact, durable, once for each id."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.server_process import Api, serving

CATALOG: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean"},
        "calls": {"kind": "metered"},
        "soft_calls": {"kind": "metered", "event": "soft_call"},
        "capped": {"kind": "metered", "event": "capped"},
        "shared": {"kind": "metered", "event": "shared"},
        "seats": {"kind": "level"},
        "blobs": {"kind": "metered", "event": "blob"},
        "tokens": {
            "kind": "metered",
            "event": "completion",
            "aggregate": "sum",
            "value": "tokens",
            "burns": {
                "ai_credits": {
                    "rate": 1,
                    "per": 1000,
                    "by": {"property": "model", "rates": {"large": {"rate": 3, "per": 1000}}},
                }
            },
        },
    },
    "credits": {"ai_credits": {}},
    "plans": {
        "free": {
            "default": True,
            "entitlements": {
                "exports": True,
                "calls": {"limit": 10, "every": "month"},
                "soft_calls": {"limit": 10, "every": "month", "overage": {
                    "price": {"amount": 2, "per": 1, "currency": "usd"}, "spend_cap": 10}},
                "capped": {"limit": 100, "every": "month", "caps": [{"limit": 5, "every": "hour"}]},
                "shared": {"limit": 10, "every": "month", "per_member": 4},
                "seats": 3,
                "blobs": "unlimited",
                "ai_credits": {"grant": 10, "every": "month"},
            },
        }
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def metered(postgres_url: str) -> Iterator[Api]:
    """A server that sells one plan with every kind of limit."""
    with migrated_database(postgres_url) as database_url, serving(Settings(), database_url, catalog=False) as api:
        api.ok("PUT", "/v1/catalog", json=CATALOG)
        yield api


@pytest.fixture
def acme(metered: Api) -> str:
    key = f"acme-{uuid.uuid4().hex[:12]}"
    metered.ok("PUT", f"/v1/accounts/{key}", json={"name": "Acme"})
    return key


def consume(api: Api, account: str, feature: str, quantity: int = 1, **more: Any) -> Any:
    body = {"account": account, "feature": feature, "quantity": quantity, "id": uuid.uuid4().hex, **more}
    return api.ok("POST", "/v1/consume", json=body)


def reserve(api: Api, account: str, feature: str, quantity: int, **more: Any) -> Any:
    body = {"account": account, "feature": feature, "quantity": quantity, "id": uuid.uuid4().hex, **more}
    return api.ok("POST", "/v1/reservations", json=body)


def counts(decision: Any) -> tuple[Any, ...]:
    return decision["limit"], decision["used"], decision["reserved"], decision["remaining"]


def test_what_is_consumed_is_counted_and_checked(metered: Api, acme: str) -> None:
    answer = consume(metered, acme, "calls", 4)
    assert (answer["consumed"], answer["replayed"], counts(answer["decision"])) == (True, False, (10, 4, 0, 6))
    assert counts(metered.check(acme, "calls")) == (10, 4, 0, 6)
    assert not metered.check(acme, "calls", quantity=7)["allowed"]


def test_one_unit_over_the_limit_is_denied_and_uses_nothing(metered: Api, acme: str) -> None:
    consume(metered, acme, "calls", 9)
    denied = consume(metered, acme, "calls", 2)
    assert (denied["consumed"], denied["decision"]["reason"]) == (False, "limit_reached")
    assert consume(metered, acme, "calls", 1)["consumed"]
    assert counts(metered.check(acme, "calls")) == (10, 10, 0, 0)


def test_an_id_counts_once_and_gets_its_answer_again(metered: Api, acme: str) -> None:
    body = {"account": acme, "feature": "calls", "quantity": 3, "id": "once"}
    first = metered.ok("POST", "/v1/consume", json=body)
    consume(metered, acme, "calls", 5)
    again = metered.ok("POST", "/v1/consume", json=body)
    assert again["replayed"]
    assert again["consumed"]
    assert {**again["decision"], "value": None} == {**first["decision"], "value": None}
    assert metered.check(acme, "calls")["used"] == 8


def test_a_denied_id_stays_denied_though_there_is_room_by_now(metered: Api, acme: str) -> None:
    body = {"account": acme, "feature": "calls", "quantity": 11, "id": "too much"}
    assert not metered.ok("POST", "/v1/consume", json=body)["consumed"]
    metered.ok("PUT", f"/v1/accounts/{acme}/overrides/calls", json={"limit": 100, "reason": "goodwill"})
    assert metered.eventually(acme, "calls", allowed=True, quantity=11)
    again = metered.ok("POST", "/v1/consume", json=body)
    assert (again["consumed"], again["replayed"], again["decision"]["reason"]) == (False, True, "limit_reached")


def test_an_id_used_for_something_else_is_a_conflict(metered: Api, acme: str) -> None:
    body = {"account": acme, "feature": "calls", "quantity": 1, "id": "twice"}
    metered.ok("POST", "/v1/consume", json=body)
    told = metered.problem(409, "POST", "/v1/consume", json={**body, "quantity": 2})
    assert told["code"] == "id_conflict"
    assert metered.check(acme, "calls")["used"] == 1


def test_concurrent_requests_get_exactly_what_is_left(metered: Api, acme: str) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: consume(metered, acme, "calls", 3), range(32)))
    assert sum(answer["consumed"] for answer in answers) == 10 // 3
    assert counts(metered.check(acme, "calls")) == (10, 9, 0, 1)


def test_a_boolean_has_nothing_to_use_up(metered: Api, acme: str) -> None:
    body = {"account": acme, "feature": "exports", "id": "x"}
    assert metered.problem(409, "POST", "/v1/consume", json=body)["code"] == "not_countable"


def test_unknown_accounts_and_features_are_denials(metered: Api, acme: str) -> None:
    assert consume(metered, "nobody-at-all", "calls")["decision"]["reason"] == "unknown_account"
    assert consume(metered, acme, "teleport")["decision"]["reason"] == "unknown_feature"


def test_a_negative_quantity_is_refused_with_its_place(metered: Api, acme: str) -> None:
    body = {"account": acme, "feature": "calls", "quantity": -1, "id": "x"}
    assert metered.problem(400, "POST", "/v1/consume", json=body)["errors"][0]["pointer"] == "/quantity"


def test_what_is_held_counts_until_it_is_committed_or_given_back(metered: Api, acme: str) -> None:
    held = reserve(metered, acme, "calls", 8)["reservation"]
    assert counts(metered.check(acme, "calls")) == (10, 0, 8, 2)
    assert not consume(metered, acme, "calls", 3)["consumed"]
    path = f"/v1/reservations/{held['id']}"
    done = metered.ok("POST", f"{path}/commit", json={"account": acme, "quantity": 5})
    assert (done["reservation"]["state"], done["reservation"]["committed"]) == ("committed", 5)
    assert counts(metered.check(acme, "calls")) == (10, 5, 0, 5)
    again = metered.ok("POST", f"{path}/commit", json={"account": acme, "quantity": 5})
    assert again["replayed"]
    assert metered.problem(409, "POST", f"{path}/release", json={"account": acme})["code"] == "reservation_resolved"


def test_a_reservation_is_committed_piece_by_piece(metered: Api, acme: str) -> None:
    path = f"/v1/reservations/{reserve(metered, acme, 'calls', 8)['reservation']['id']}"
    for number in (1, 2):
        step = {"account": acme, "quantity": 2, "keep": True, "id": f"{path}-{number}"}
        metered.ok("POST", f"{path}/commit", json=step)
    assert counts(metered.check(acme, "calls")) == (10, 4, 4, 2)
    released = metered.ok("POST", f"{path}/release", json={"account": acme})
    assert released["reservation"]["held"] == 0
    assert counts(metered.check(acme, "calls")) == (10, 4, 0, 6)


def test_more_than_was_held_is_committed_only_if_it_is_allowed(metered: Api, acme: str) -> None:
    first = reserve(metered, acme, "calls", 4)["reservation"]["id"]
    metered.ok("POST", f"/v1/reservations/{first}/commit", json={"account": acme, "quantity": 6})
    assert counts(metered.check(acme, "calls")) == (10, 6, 0, 4)
    second = reserve(metered, acme, "calls", 4)["reservation"]["id"]
    told = metered.problem(409, "POST", f"/v1/reservations/{second}/commit", json={"account": acme, "quantity": 5})
    assert told["code"] == "exceeds_reservation"
    assert counts(metered.check(acme, "calls")) == (10, 6, 4, 0)


def test_an_hourly_cap_denies_before_the_monthly_limit(metered: Api, acme: str) -> None:
    consume(metered, acme, "capped", 5)
    denied = consume(metered, acme, "capped")["decision"]
    assert (denied["reason"], denied["limited_by"], denied["limit"]) == ("limit_reached", "hour", 5)
    assert metered.check(acme, "capped")["limited_by"] == "hour"


def test_a_member_uses_no_more_than_their_share(metered: Api, acme: str) -> None:
    assert consume(metered, acme, "shared", 4, member="ann")["consumed"]
    denied = consume(metered, acme, "shared", 1, member="ann")
    assert (denied["consumed"], denied["decision"]["limited_by"]) == (False, "member")
    assert consume(metered, acme, "shared", 4, member="bob")["consumed"]
    assert not consume(metered, acme, "shared", 3, member="cyd")["consumed"]
    assert metered.check(acme, "shared", member="cyd")["remaining"] == 2


def test_a_soft_limit_ends_where_the_spend_cap_does(metered: Api, acme: str) -> None:
    assert consume(metered, acme, "soft_calls", 15)["consumed"]
    denied = consume(metered, acme, "soft_calls", 1)
    assert (denied["consumed"], denied["decision"]["limited_by"]) == (False, "spend_cap")


def test_credits_are_rounded_on_the_running_sum(metered: Api, acme: str) -> None:
    for _ in range(10):
        assert consume(metered, acme, "tokens", 100)["consumed"]
    assert metered.check(acme, "ai_credits")["used"] == 1
    consume(metered, acme, "tokens", 1)
    assert metered.check(acme, "ai_credits")["used"] == 2
    assert metered.check(acme, "tokens")["remaining"] == 8_999


def test_a_dear_model_costs_more_credits(metered: Api, acme: str) -> None:
    assert consume(metered, acme, "tokens", 1000, properties={"model": "large"})["consumed"]
    assert metered.check(acme, "ai_credits")["used"] == 3
    assert metered.check(acme, "tokens", quantity=2334, properties={"model": "large"})["allowed"] is False


def test_granted_units_are_spent_after_the_plans_and_expire_apart(metered: Api, acme: str) -> None:
    grant = {"feature": "calls", "units": 5, "id": "g1", "kind": "purchase", "reason": "bought"}
    metered.ok("POST", f"/v1/accounts/{acme}/grants", json=grant)
    assert metered.ok("POST", f"/v1/accounts/{acme}/grants", json=grant)["grant"]["id"] == "g1"
    assert counts(metered.check(acme, "calls")) == (15, 0, 0, 15)
    answer = consume(metered, acme, "calls", 12)
    assert (answer["decision"]["reason"], counts(answer["decision"])) == ("credit", (15, 12, 0, 3))
    balance = metered.ok("GET", f"/v1/accounts/{acme}/balances/calls")
    assert [(g["grant"]["kind"], g["share"]["consumed"]) for g in balance["grants"]] == [
        ("window", 10),
        ("purchase", 2),
    ]
    voided = metered.ok("DELETE", f"/v1/accounts/{acme}/grants/calls/g1")
    assert voided["share"] == {
        "granted": 5, "available": 0, "reserved": 0, "consumed": 2, "expired": 0, "voided": 3
    }  # fmt: skip
    assert metered.check(acme, "calls")["remaining"] == 0


def test_what_was_voided_of_a_grant_is_explained_whatever_its_id_looks_like(metered: Api, acme: str) -> None:
    for id in ("order", "order:17"):
        grant = {"feature": "calls", "units": 5, "id": id, "reason": "bought"}
        metered.ok("POST", f"/v1/accounts/{acme}/grants", json=grant)
    metered.ok("DELETE", f"/v1/accounts/{acme}/grants/calls/order:17")
    then = metered.ok("GET", "/v1/sync/status")["clock"]
    explained = metered.ok("POST", f"/v1/accounts/{acme}/explain", json={"feature": "calls", "at": then})
    assert counts(explained["decision"]) == counts(metered.check(acme, "calls")) == (15, 0, 0, 15)


def test_a_grant_that_is_voided_twice_or_by_many_at_once_is_voided_once(metered: Api, acme: str) -> None:
    grant = {"feature": "calls", "units": 5, "id": "g1", "reason": "bought"}
    metered.ok("POST", f"/v1/accounts/{acme}/grants", json=grant)
    held = reserve(metered, acme, "calls", 12)["reservation"]["id"]
    path = f"/v1/accounts/{acme}/grants/calls/g1"
    with ThreadPoolExecutor(4) as many:
        voided = list(many.map(lambda _: metered.ok("DELETE", path)["share"], range(4)))
    assert voided == [share_of(granted=5, reserved=2, voided=3)] * 4
    assert voids(metered, acme) == [3]
    # What was held comes back after it was voided: only that is left to be voided.
    metered.ok("POST", f"/v1/reservations/{held}/release", json={"account": acme})
    for _ in range(2):
        assert metered.ok("DELETE", path)["share"] == share_of(granted=5, voided=5)
    assert voids(metered, acme) == [2, 3]
    assert counts(metered.check(acme, "calls")) == (10, 0, 0, 10)
    assert metered.ok("POST", f"/v1/accounts/{acme}/rebuild")["differences"] == []


def share_of(*, granted: int, reserved: int = 0, voided: int = 0) -> dict[str, int]:
    left = granted - reserved - voided
    return {
        "granted": granted, "available": left, "reserved": reserved, "consumed": 0, "expired": 0, "voided": voided
    }  # fmt: skip


def voids(metered: Api, acme: str) -> list[int]:
    """How many units each voiding took, the newest first."""
    entries = metered.ok("GET", f"/v1/accounts/{acme}/ledger/calls")["entries"]
    return [entry["quantity"] for entry in entries if entry["kind"] == "void"]


def test_usage_is_stated_as_it_should_have_been_counted(metered: Api, acme: str) -> None:
    consume(metered, acme, "seats", 2)
    stated = metered.ok("PUT", f"/v1/accounts/{acme}/usage/seats", json={"used": 1, "id": "recount"})
    assert stated["used"] == 1
    assert metered.check(acme, "seats")["remaining"] == 2


def test_what_is_held_of_a_grant_alone_is_released_and_runs_out_like_anything_held(metered: Api, acme: str) -> None:
    grant = {"feature": "calls", "units": 5, "id": "g1", "reason": "bought"}
    metered.ok("POST", f"/v1/accounts/{acme}/grants", json=grant)
    consume(metered, acme, "calls", 10)
    held = reserve(metered, acme, "calls", 4)["reservation"]["id"]
    released = metered.ok("POST", f"/v1/reservations/{held}/release", json={"account": acme})
    assert released["reservation"]["state"] == "released"
    reserve(metered, acme, "calls", 5, ttl_s=1)
    assert not consume(metered, acme, "calls", 1)["consumed"]
    metered.eventually(acme, "calls", allowed=True, quantity=5)
    assert consume(metered, acme, "calls", 5)["consumed"]
    assert counts(metered.check(acme, "calls")) == (15, 15, 0, 0)


def commit(api: Api, account: str, reservation: str, **more: Any) -> Any:
    body = {"account": account, "id": uuid.uuid4().hex, **more}
    return api.ok("POST", f"/v1/reservations/{reservation}/commit", json=body)


def test_a_reservation_sent_again_says_the_same_in_every_field(metered: Api, acme: str) -> None:
    body = {"account": acme, "feature": "calls", "quantity": 2, "id": "job", "ttl_s": 60}
    metered.ok("POST", "/v1/reservations", json=body)
    for other in ({"quantity": 3}, {"ttl_s": 61}, {"member": "ann"}, {"properties": {"model": "large"}}):
        assert metered.problem(409, "POST", "/v1/reservations", json={**body, **other})["code"] == "id_conflict"
    assert counts(metered.check(acme, "calls")) == (10, 0, 2, 8)


def test_a_commit_sent_again_says_the_same_in_every_field(metered: Api, acme: str) -> None:
    path = f"/v1/reservations/{reserve(metered, acme, 'calls', 4)['reservation']['id']}/commit"
    body = {"account": acme, "id": "step", "quantity": 1, "keep": True}
    first = metered.ok("POST", path, json=body)
    for other in ({"quantity": 2}, {"keep": False}, {"properties": {"model": "large"}}):
        assert metered.problem(409, "POST", path, json={**body, **other})["code"] == "id_conflict"
    assert metered.ok("POST", path, json=body)["reservation"] == first["reservation"]
    assert counts(metered.check(acme, "calls")) == (10, 1, 3, 6)


def test_credits_are_not_held_beyond_the_last_though_a_fraction_is_paid_ahead(metered: Api, acme: str) -> None:
    consume(metered, acme, "tokens", 9500)
    denied = reserve(metered, acme, "tokens", 400)
    assert (denied["reservation"], denied["decision"]["reason"]) == (None, "insufficient_credit")
    assert counts(metered.check(acme, "ai_credits")) == (10, 10, 0, 0)
    assert consume(metered, acme, "tokens", 500)["consumed"]


def test_the_last_piece_of_a_reservation_uses_up_the_fraction_that_the_first_one_paid(metered: Api, acme: str) -> None:
    held = reserve(metered, acme, "tokens", 400)["reservation"]["id"]
    commit(metered, acme, held, quantity=100, keep=True)
    commit(metered, acme, held)
    consume(metered, acme, "tokens", 600)
    assert metered.check(acme, "ai_credits")["used"] == 1
    consume(metered, acme, "tokens", 1)
    assert metered.check(acme, "ai_credits")["used"] == 2


def test_more_than_was_held_costs_what_was_held_costs(metered: Api, acme: str) -> None:
    held = reserve(metered, acme, "tokens", 1000, properties={"model": "large"})["reservation"]["id"]
    commit(metered, acme, held, quantity=3000)
    assert metered.check(acme, "ai_credits")["used"] == 9


def test_more_than_was_held_is_decided_after_what_was_held_is_paid(metered: Api, acme: str) -> None:
    consume(metered, acme, "tokens", 9000)
    held = reserve(metered, acme, "tokens", 500)["reservation"]["id"]
    commit(metered, acme, held, quantity=100, keep=True)
    consume(metered, acme, "tokens", 400)
    body = {"account": acme, "quantity": 600}
    told = metered.problem(409, "POST", f"/v1/reservations/{held}/commit", json=body)
    assert told["code"] == "exceeds_reservation"
    commit(metered, acme, held, quantity=500)
    assert counts(metered.check(acme, "ai_credits")) == (10, 10, 0, 0)


def test_credits_that_were_held_pay_for_their_share_once_the_feature_has_units_of_its_own(
    metered: Api, acme: str
) -> None:
    held = reserve(metered, acme, "tokens", 2000)["reservation"]["id"]
    metered.ok("PUT", f"/v1/accounts/{acme}/overrides/tokens", json={"limit": 5000, "reason": "goodwill"})
    metered.eventually(acme, "tokens", allowed=True, quantity=5000)
    commit(metered, acme, held, quantity=1000, keep=True)
    assert counts(metered.check(acme, "ai_credits")) == (10, 1, 1, 8)


def test_what_is_held_of_a_feature_that_is_sold_no_more_can_be_committed(metered: Api, acme: str) -> None:
    held = reserve(metered, acme, "calls", 4)["reservation"]["id"]
    features = {key: its for key, its in CATALOG["features"].items() if key != "calls"}
    entitlements = {key: its for key, its in CATALOG["plans"]["free"]["entitlements"].items() if key != "calls"}
    plans = {"free": {"default": True, "entitlements": entitlements}}
    metered.ok("PUT", "/v1/catalog", json={**CATALOG, "features": features, "plans": plans})
    try:
        assert commit(metered, acme, held, quantity=3)["reservation"]["committed"] == 3
    finally:
        metered.ok("PUT", "/v1/catalog", json=CATALOG)
    metered.eventually(acme, "calls", allowed=True)
    assert counts(metered.check(acme, "calls")) == (10, 3, 0, 7)


def test_no_id_that_is_chosen_stands_in_the_way_of_what_happens_by_itself(metered: Api, acme: str) -> None:
    held = reserve(metered, acme, "calls", 2, ttl_s=1)["reservation"]["id"]
    for id in (f"{held}:expire", f"{held}:commit", f"{held}:release", "grant:g1", "void:g1:5"):
        assert consume(metered, acme, "calls", 1, id=id)["consumed"]
    grant = {"feature": "calls", "units": 5, "id": "g1", "reason": "bought"}
    metered.ok("POST", f"/v1/accounts/{acme}/grants", json=grant)
    assert metered.ok("DELETE", f"/v1/accounts/{acme}/grants/calls/g1")["share"]["voided"] == 5
    metered.eventually(acme, "calls", allowed=True, quantity=5)
    assert consume(metered, acme, "calls", 5)["consumed"]


def test_a_reservation_committed_otherwise_than_before_was_resolved_before(metered: Api, acme: str) -> None:
    held = reserve(metered, acme, "calls", 5)["reservation"]["id"]
    path = f"/v1/reservations/{held}/commit"
    metered.ok("POST", path, json={"account": acme, "quantity": 2})
    told = metered.problem(409, "POST", path, json={"account": acme, "quantity": 3})
    assert told["code"] == "reservation_resolved"


@pytest.mark.parametrize("odd", ["", "m" * 201, "line\nbreak"])
def test_a_member_that_cannot_be_kept_is_refused_and_harms_nobody_else(metered: Api, acme: str, odd: str) -> None:
    body = {"account": acme, "feature": "shared", "id": "x", "member": odd}
    assert metered.problem(400, "POST", "/v1/consume", json=body)["code"] == "invalid_key"
    assert metered.problem(400, "POST", "/v1/reservations", json=body)["code"] == "invalid_key"


@pytest.mark.parametrize("odd", ["%00", "r" * 201, "%0A"])
def test_a_reservation_that_nobody_can_have_named_is_refused(metered: Api, acme: str, odd: str) -> None:
    for step in ("commit", "release", "extend"):
        told = metered.problem(400, "POST", f"/v1/reservations/{odd}/{step}", json={"account": acme})
        assert told["code"] == "invalid_key"
    assert metered.problem(400, "DELETE", f"/v1/accounts/{acme}/grants/{odd}/g1")["code"] == "invalid_key"


def test_a_reservation_extended_to_end_sooner_runs_out_sooner(metered: Api, acme: str) -> None:
    held = reserve(metered, acme, "calls", 10, ttl_s=3600)["reservation"]["id"]
    metered.ok("POST", f"/v1/reservations/{held}/extend", json={"account": acme, "ttl_s": 1})
    metered.eventually(acme, "calls", allowed=True, quantity=10)
    assert consume(metered, acme, "calls", 10)["consumed"]


def test_properties_say_the_same_in_whatever_order(metered: Api, acme: str) -> None:
    body = {"account": acme, "feature": "tokens", "quantity": 10, "id": "once"}
    metered.ok("POST", "/v1/consume", json={**body, "properties": {"model": "large", "region": "eu"}})
    again = metered.ok("POST", "/v1/consume", json={**body, "properties": {"region": "eu", "model": "large"}})
    assert again["replayed"]


def test_the_ledger_tells_what_each_entry_drew_and_how_it_burned_down(metered: Api, acme: str) -> None:
    grant = {"feature": "calls", "units": 5, "id": "g1", "kind": "purchase", "reason": "bought"}
    metered.ok("POST", f"/v1/accounts/{acme}/grants", json=grant)
    for id, quantity in (("a", 9), ("b", 3), ("c", 9)):
        metered.ok("POST", "/v1/consume", json={"account": acme, "feature": "calls", "quantity": quantity, "id": id})
    page = metered.ok("GET", f"/v1/accounts/{acme}/ledger/calls")
    told = [(e["id"].partition("\t")[0], e["denied"], [d[2] for d in e["draws"]]) for e in page["entries"]]
    assert told == [("c", "limit_reached", []), ("b", None, [1, 2]), ("a", None, [9]), ("grant", None, [])]
    assert [stretch["units"] for stretch in page["burn_down"]] == [10, 2]
    assert page["burn_down"][1]["slot"] == "grant:g1"
    first = metered.ok("GET", f"/v1/accounts/{acme}/ledger/calls", params={"limit": 1})
    rest = metered.ok("GET", f"/v1/accounts/{acme}/ledger/calls", params={"before": first["next"]})
    assert [*first["entries"], *rest["entries"]] == page["entries"]
    assert metered.problem(400, "GET", f"/v1/accounts/{acme}/ledger/calls?before=x")["code"] == "invalid_query"


def test_what_credits_pay_for_says_its_units_and_the_credits_apart(metered: Api, acme: str) -> None:
    consume(metered, acme, "tokens", 2500)
    told = metered.ok("GET", f"/v1/accounts/{acme}/balances/tokens")
    assert (told["used"], told["limit"], told["grants"]) == (2500, None, [])
    credits = told["credits"]
    assert (credits["pool"], credits["used"], credits["limit"]) == ("ai_credits", 3, 10)
    assert credits == metered.ok("GET", f"/v1/accounts/{acme}/balances/ai_credits")
    assert metered.ok("GET", f"/v1/accounts/{acme}/alerts")["alerts"] == []


def numbers(told: Any) -> Iterator[int]:
    """Every number of an answer."""
    if isinstance(told, dict | list):
        for each in told.values() if isinstance(told, dict) else told:
            yield from numbers(each)
    elif isinstance(told, int):
        yield told


def test_what_is_unlimited_ends_where_counting_does_and_never_breaks(metered: Api, acme: str) -> None:
    most = 2**53 - 1
    for turn in range(2):
        events = [
            {"id": f"{turn}-{n}", "account": acme, "feature": "blobs", "quantity": most} for n in range(510 + 3 * turn)
        ]
        assert metered.ok("POST", "/v1/events", json=events)["accepted"] == len(events)

    def use(number: int) -> Any:
        body = {"account": acme, "feature": "blobs", "quantity": most, "id": f"use {number}"}
        return metered.post("/v1/consume" if number % 2 else "/v1/reservations", json=body)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(use, range(8)))
    assert {answer.status_code for answer in answers} <= {200, 400}
    refused = [answer.json() for answer in answers if answer.status_code == 400]
    assert {problem["code"] for problem in refused} == {"too_much_usage"}
    assert len(refused) == 3, "1,024 uses of so much can be counted, and as many holds"
    assert consume(metered, acme, "blobs", 0)["consumed"]
    told = [
        metered.ok("GET", f"/v1/accounts/{acme}/{path}")
        for path in ("balances/blobs", "decisions", "usage", "ledger/blobs", "alerts")
    ]
    assert max(number for one in told for number in numbers(one)) == most
    (window,) = told[0]["grants"]
    assert (window["grant"]["units"], window["share"]["granted"], window["share"]["available"]) == (None, None, None)
