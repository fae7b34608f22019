"""`paygrade audit`, as people run it: list, export, keep heads, verify; and which commands note themselves."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from paygrade.server.process.settings import Settings
from support.cli_runner import Shell
from support.databases import migrated_database
from support.server_process import KEY, Api, serving


class Log(Shell):
    """A shell beside a server with some records, and its database."""

    database_url: str
    api: Api


@pytest.fixture
def log(served: tuple[Api, str], tmp_path: Path) -> Log:
    made = Log(tmp_path, PAYGRADE_URL=served[0].url, PAYGRADE_API_KEY=KEY)
    made.api, made.database_url = served
    return made


@pytest.fixture(scope="module")
def served(postgres_url: str) -> Iterator[tuple[Api, str]]:
    with migrated_database(postgres_url) as database_url, serving(Settings(), database_url) as api:
        for account in ("acme", "globex"):
            api.ok("PUT", f"/v1/accounts/{account}", json={"name": account.title()})
            api.ok("PUT", f"/v1/accounts/{account}/overrides/exports", json={"value": True, "reason": "=1+1"})
        yield api, database_url


def test_who_gave_an_override_is_listed(log: Log) -> None:
    shown = log.run("audit", "list", "acme", "--action", "override")
    assert (
        "override.set\toverride exports\tthe server's admin key\t127.0.0.1\tvalue: - → true, reason: - → =1+1" in shown
    )
    assert {one["account"] for one in log.json("audit", "list")["records"]} == {"acme", "globex", ""}
    shown = log.run("audit", "list", "--limit", "1")
    assert len(shown.splitlines()) == 2


def test_an_export_is_whole_and_whoever_reads_it_can_verify_it(log: Log) -> None:
    lines = log.run("audit", "export").splitlines()
    (log.folder / "export.jsonl").write_text("\n".join(lines))
    assert [(one["account"], one["number"]) for one in map(json.loads, lines)] == [
        ("", 1), ("acme", 1), ("acme", 2), ("globex", 1), ("globex", 2),
    ]  # fmt: skip
    assert log.run("audit", "verify", "export.jsonl").startswith("5 records in 3 chains: nothing was changed")
    assert log.json("audit", "verify", "export.jsonl", "--account", "acme")["records"] == 2
    (log.folder / "cut.jsonl").write_text("\n".join(line for line in lines if '"number":2' not in line))
    assert log.json("audit", "verify", "cut.jsonl")["faults"] == []
    log.run("audit", "export", "--account", "acme", "-o", "acme.jsonl")
    assert len((log.folder / "acme.jsonl").read_text().splitlines()) == 2
    (log.folder / "odd.jsonl").write_text("[]\n")
    assert "audit_unreadable" in log.run("audit", "verify", "odd.jsonl", code=1)


def test_a_spreadsheet_takes_no_text_for_a_formula(log: Log) -> None:
    rows = list(csv.DictReader(io.StringIO(log.run("audit", "export", "--csv"))))
    assert [row["action"] for row in rows if row["account"] == "acme"] == ["account.put", "override.set"]
    assert not any(cell[:1] in "=+-@" for row in rows for cell in row.values() if cell)


def test_heads_kept_elsewhere_find_what_was_cut_off(log: Log) -> None:
    heads = log.run("audit", "head")
    (log.folder / "heads.jsonl").write_text(heads)
    assert log.json("audit", "verify", "--heads", "heads.jsonl") == {"chains": 3, "records": 5, "faults": []}
    cut = log.run("audit", "export", "--account", "acme").splitlines()[0]
    (log.folder / "cut.jsonl").write_text(cut)
    found = log.json("audit", "verify", "cut.jsonl", "--account", "acme", "--heads", "heads.jsonl", code=1)
    assert found["faults"][0] | {"detail": ""} == {"account": "acme", "number": 2, "detail": ""}
    found = log.json("audit", "verify", "cut.jsonl", "--heads", "heads.jsonl", code=1)
    assert {one["account"] for one in found["faults"]} == {"acme", "globex", ""}


def test_an_edited_row_is_named_with_what_is_wrong(log: Log) -> None:
    assert log.run("audit", "verify").startswith("5 records in 3 chains: nothing was changed")
    with psycopg.connect(log.database_url) as connection:
        connection.execute("""update audit set targets = '[]' where account = 'globex' and number = 2""")
    try:
        said = log.run("audit", "verify", code=1)
        assert said == "globex: record 2: it was edited: its hash is not that of its content\n"
        assert log.run("audit", "verify", "--account", "acme").startswith("2 records in 1 chains")
    finally:
        with psycopg.connect(log.database_url) as connection:
            old = json.dumps([{"kind": "override", "id": "exports"}])
            connection.execute("update audit set targets = %s where account = 'globex' and number = 2", (old,))


def test_the_hash_of_a_record_needs_nothing_of_ours(log: Log) -> None:
    record = json.loads(log.run("audit", "export", "--account", "acme").splitlines()[0])
    hash, _ = record.pop("hash"), record.pop("salts")
    for name in ("actor", "address", "personal"):
        del record[name]
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == hash


def test_the_verifier_of_the_manual_finds_what_ours_finds(log: Log) -> None:
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    edits: list[dict[str, Any]] = [
        {"action": "x"}, {"personal": {"a": 1}}, {"actor": None}, {"previous": "1"}, {"salts": {}},
    ]  # fmt: skip
    lines = log.run("audit", "export").splitlines()
    assert names["first_fault"](lines) is None
    for place, line in enumerate(lines):
        record = json.loads(line)
        where = record["account"], record["number"]
        assert names["first_fault"](lines[:place] + lines[place + 1 :]) in (None, (record["account"], 2))
        for edit in edits:
            edited = json.dumps({**record, **edit})
            assert names["first_fault"]([*lines[:place], edited, *lines[place + 1 :]]) == where, edit
    log.api.ok("PUT", "/v1/accounts/hooli", json={"name": "Hooli"})
    log.api.ok("POST", "/v1/accounts/hooli/erase", json={"confirm": "hooli"})
    erased = log.run("audit", "export", "--account", "hooli").splitlines()
    assert json.loads(erased[0])["personal"] is None
    assert names["first_fault"](erased) is None


WITH_A_DATABASE = {
    "doctor": "it changes nothing",
    "database_symptoms": "a part of it",
    "provider_symptoms": "a part of it",
    "demo_run": "its server does all that is done",
    "dev": "its server does all that is done",
    "ingest": "usage is in the ledger, as that of `POST /v1/events` is",
    "migrate": "notes `schema.migrate` as whoever runs it",
    "serve": "notes `schema.migrate` as whoever runs it; the rest is done by requests or by the server itself",
    "worker": "one process of `serve`",
    "supervisor": "starts those processes",
}
"""The commands that come to a database other than by HTTP, and what they write down there."""


def test_every_command_that_writes_asks_the_server_or_is_known_here() -> None:
    folder = Path(__file__).parents[2] / "src" / "paygrade" / "cli"
    reach = re.compile(r"\bwiring\.|from paygrade\.(postgres|cli\.wiring)|from paygrade\.cli import wiring")
    found = {file.stem for file in folder.glob("*.py") if reach.search(file.read_text())} - {"wiring"}
    assert found <= set(WITH_A_DATABASE), "does it write? then note it, and say so here"


def test_migrating_is_noted_as_done_by_whoever_did_it(empty_database_url: str, tmp_path: Path) -> None:
    shell = Shell(
        tmp_path, PAYGRADE_DATABASE_URL=empty_database_url, PAYGRADE_ADMIN_KEY="sk_x", LOGNAME="ann", USER="ann"
    )
    shell.run("migrate")
    with psycopg.connect(empty_database_url) as connection:
        rows = connection.execute("select account, action, actor, changes -> 'applied' ->> 0 from audit").fetchall()
    assert rows == [
        ("", "schema.migrate", {"kind": "command_line", "id": "ann", "name": "ann"}, "0001_foundation"),
    ]  # fmt: skip
