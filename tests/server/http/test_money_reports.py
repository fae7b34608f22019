"""Reports of money over HTTP and by command, against the invoices of the Stripe they were read from."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow
import pytest
from pyarrow import parquet

from support.pages import Browsers
from support.stack import House
from support.stack import house as empty_house
from support.waiting import eventually

SPAN = {"from": "2026-01", "until": "2027-03"}


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[House]:
    """Two who pay, one of them refunded, and one whom nobody bills; three months have gone by."""
    with empty_house(postgres_url) as house:
        for account in ("acme", "bolt"):
            house.shop.welcome(account, account.title())
            house.shop.subscribe(account, "pro_monthly")
        house.control("clock", {"advance": "40d"})
        house.shop.refund("bolt", 1000)
        house.control("clock", {"advance": "30d"})
        eventually(lambda: whole(house), within_s=60)
        house.api.ok("PUT", "/v1/accounts/crow", json={"name": "Crow"})
        override = {"feature": "exports", "value": True, "reason": "promised"}
        house.api.ok("PUT", "/v1/accounts/crow/overrides/exports", json={k: override[k] for k in ("value", "reason")})
        for id in ("g_1", "g_2"):
            grant = {"feature": "ai_credits", "id": id, "units": 500, "kind": "promotion", "reason": "launch"}
            house.api.ok("POST", "/v1/accounts/acme/grants", json=grant)
        yield house


def report(house: House, name: str = "revenue", **said: Any) -> Any:
    return house.api.ok("GET", f"/v1/reports/{name}", params=said)


def whole(house: House) -> bool:
    """Whether everything that was paid so far has been read."""
    read = report(house, **SPAN)
    paid = sum(row["paid"] for row in read["rows"])
    return read["unread"] == {"waiting": 0, "failing": 0} and paid == billed(house) and refunded(read) == 1000


def billed(house: House) -> int:
    return sum(each.total for each in house.stripe.v1.invoices.list({"limit": 100, "status": "paid"}).data)


def refunded(read: Any) -> int:
    return sum(int(row["refunded"]) for row in read["rows"])


def test_totals_are_those_of_stripes_own_invoices(house: House) -> None:
    read = report(house, **SPAN)
    assert {row["account"] for row in read["rows"]} == {"acme", "bolt"}
    assert sum(row["paid"] for row in read["rows"]) == billed(house) > 0
    assert sum(row["recognized"] for row in read["rows"]) == billed(house) - 1000
    assert [row["deferred"] for row in read["rows"] if row["month"] >= "2026-05"] == []
    for row in read["rows"]:
        before = [one for one in read["rows"] if one["account"] == row["account"] and one["month"] <= row["month"]]
        assert row["deferred"] == sum(one["paid"] - one["refunded"] - one["recognized"] for one in before)


def test_pages_are_accounts_and_a_file_is_all_of_them(house: House) -> None:
    first = report(house, **SPAN, limit=1)
    assert {row["account"] for row in first["rows"]} == {first["next"]} == {"acme"}
    second = report(house, **SPAN, limit=1, after=first["next"])
    assert (second["next"], {row["account"] for row in second["rows"]}) == (None, {"bolt"})
    answer = house.api.get("/v1/reports/revenue", params={**SPAN, "format": "csv", "limit": 1})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["account"] for row in rows] == [row["account"] for row in (*first["rows"], *second["rows"])]
    assert sum(int(row["paid"]) for row in rows) == billed(house)


def test_a_file_for_a_warehouse_holds_the_same_rows_with_their_types(house: House, tmp_path: Path) -> None:
    answer = house.api.get("/v1/reports/revenue", params={**SPAN, "format": "parquet"})
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    table = parquet.read_table(pyarrow.BufferReader(answer.content))
    assert table.to_pylist() == report(house, **SPAN)["rows"]
    assert {name: str(table.schema.field(name).type) for name in ("account", "paid")} == {
        "account": "string",
        "paid": "int64",
    }
    house.paygrade("reports", "leakage", "--parquet", str(tmp_path / "leakage.parquet"))
    leaks = parquet.read_table(tmp_path / "leakage.parquet")
    assert msgspec.to_builtins(leaks.to_pylist()) == report(house, "leakage")["rows"]
    assert str(leaks.schema.field("since").type) == "timestamp[us, tz=UTC]"


def test_a_snapshot_of_all_accounts_is_written_alike_in_each_format(house: House, tmp_path: Path) -> None:
    at = "2026-02-01T00:00:00Z"
    for kind in ("csv", "json", "parquet"):
        house.paygrade("snapshot", "export", "--at", at, "--format", kind, "-o", str(tmp_path / kind))
    lines = [json.loads(line) for line in (tmp_path / "json").read_text().splitlines()]
    rows = [{**row, "as_of": at} for row in report(house, "entitlements", at=at)["rows"]]
    assert lines == rows != []
    table = parquet.read_table(tmp_path / "parquet")
    assert [
        {**row, "value": row["value"] and json.loads(row["value"])} for row in msgspec.to_builtins(table.to_pylist())
    ] == [{name: row[name] for name in table.column_names} for row in rows]
    with (tmp_path / "csv").open(newline="") as file:
        kept = list(csv.DictReader(file))
    assert list(kept[0]) == table.column_names
    assert kept == [{name: "" if row[name] is None else str(row[name]) for name in kept[0]} for row in rows]


def test_access_beside_money_names_the_cause(house: House) -> None:
    read = report(house, "leakage")
    causes = {(row["account"], row["cause"], row["feature"]) for row in read["rows"]}
    assert ("crow", "override", "exports") in causes
    assert not any(account in ("acme", "bolt") and cause != "open_invoice" for account, cause, _ in causes)


def test_recurring_revenue_moves_by_the_prices_of_the_catalog(house: House) -> None:
    rows = report(house, "mrr", **SPAN)["rows"]
    assert {(row["account"], row["month"], row["new"], row["before"]) for row in rows if row["new"]} == {
        (account, "2026-01", 9900, 0) for account in ("acme", "bolt")
    }
    assert all(row["after"] == 9900 for row in rows)
    assert house.paygrade("reports", "mrr", "--from", "2026-01", "--until", "2026-02").splitlines() == [
        "month\tbefore\tnew\texpansion\tcontraction\tchurn\treactivation\tafter",
        "2026-01\t0.00 USD\t198.00 USD\t0.00 USD\t0.00 USD\t0.00 USD\t0.00 USD\t198.00 USD",
    ]
    assert house.paygrade("reports", "mrr", "--csv").startswith("account,month,currency,before")


def test_credits_are_pages_of_grants_and_usage_is_by_line(house: House) -> None:
    first = report(house, "credits", limit=1)
    second = report(house, "credits", limit=1, after=first["next"])
    (one,), (other,) = first["rows"], second["rows"]
    assert (one["grant"], other["grant"], second["next"]) == ("g_1", "g_2", None)
    assert (one["account"], one["units"], one["available"], one["price"]) == ("acme", 500, 500, None)
    assert house.api.problem(400, "GET", "/v1/reports/credits", params={"after": "x"})["code"] == "invalid_query"
    answer = house.api.get("/v1/reports/credits", params={"format": "csv"})
    assert [row["grant"] for row in csv.DictReader(io.StringIO(answer.text))] == ["g_1", "g_2"]
    assert report(house, "usage", **SPAN)["rows"] == []
    assert house.paygrade("reports", "credits").splitlines()[1].startswith("acme\tai_credits\tg_1\t500")
    assert house.paygrade("reports", "usage", "--csv").startswith("account,month,currency,invoice")


def test_finance_sees_the_same_in_the_console_and_a_viewer_nothing(house: House) -> None:
    with Browsers(house.api) as browsers:
        finance = browsers["finance"]
        page = finance.page("/console/reports?begin=2026-01&until=2027-03")
        deferred = report(house, **SPAN, limit=1)["rows"][0]["deferred"]
        assert all(figure in page.text for figure in ("Reports", "2026-01", f"${deferred / 100:.2f}"))
        where = page.one("a", download="revenue.csv")["href"]
        assert finance.get(where).text == house.api.get("/v1/reports/revenue", params={**SPAN, "format": "csv"}).text
        assert "promised" not in finance.page("/console/reports/leakage").text
        assert "Override" in finance.page("/console/reports/leakage").text
        assert "$198.00" in finance.page("/console/reports/recurring?begin=2026-01").text
        assert "No revenue" in finance.page("/console/reports?begin=1990-01&until=1990-02").text
        finance.page("/console/reports?begin=tomorrow", 400)
        viewer = browsers["viewer"]
        assert viewer.get("/console").text.count("/console/reports") == 0
        viewer.page("/console/reports", 403)
        viewer.page("/console/reports/leakage", 403)


def test_what_cannot_be_a_span_is_refused(house: House) -> None:
    for said in ({"from": "2026-13"}, {"from": "2026"}, {"until": "x"}, {"from": "2026-02", "until": "2026-02"},
                 {"from": "1990-01", "until": "2026-01"}, {"from": "²026-01"}, {"format": "pdf"}, {"limit": "101"},
                 {"from": "0000-01"}, {"until": "1970-01", "from": "1970-01"}):  # fmt: skip
        problem = house.api.problem(400, "GET", "/v1/reports/revenue", params=said)
        assert problem["code"] == "invalid_query"


def test_the_command_shows_months_and_writes_rows_and_a_journal_that_balances(house: House) -> None:
    span = ("--from", SPAN["from"], "--until", SPAN["until"])
    months = [line.split("\t") for line in house.paygrade("reports", "revenue", *span).splitlines()]
    assert months[0] == ["month", "paid", "refunded", "recognized", "usage", "deferred"]
    assert months[1][0] == "2026-01"
    rows = list(csv.DictReader(io.StringIO(house.paygrade("reports", "revenue", *span, "--csv"))))
    assert sum(int(row["recognized"]) for row in rows) == billed(house) - 1000
    entries = list(csv.DictReader(io.StringIO(house.paygrade("reports", "revenue", *span, "--journal"))))
    assert sum(int(one["debit"]) for one in entries) == sum(int(one["credit"]) for one in entries) > 0
    as_json = json.loads(house.paygrade("reports", "revenue", *span, "--json"))
    assert as_json["rows"] == report(house, **SPAN)["rows"]
    assert "override" in house.paygrade("reports", "leakage")
    assert json.loads(house.paygrade("reports", "leakage", "--json"))["rows"] == report(house, "leakage")["rows"]
    assert house.paygrade("reports", "leakage", "--csv").startswith("account,kind,cause")
