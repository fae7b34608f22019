"""The command line, run as people run it."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import httpx2
import pytest

from paygrade.catalog.parse import json_schema, parse
from paygrade.cli import main as cli
from paygrade.cli.demo_company import Company
from paygrade.documents.yaml import read_yaml
from paygrade.server.process.settings import Settings
from paygrade.simulator.http.serve import running
from support.cli_runner import RUN, Shell
from support.cluster import free_ports
from support.databases import migrated_database
from support.server_process import KEY, SAMPLE, Api, serving
from support.waiting import eventually

START_S = 90.0


@pytest.fixture
def shell(api: Api, tmp_path: Path) -> Shell:
    return Shell(tmp_path, PAYGRADE_URL=api.url, PAYGRADE_API_KEY=KEY)


@pytest.fixture
def alone(tmp_path: Path) -> Shell:
    """A shell that knows of no server."""
    return Shell(tmp_path)


def commands(command: click.Command, name: str = "paygrade") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    for sub in command.list_commands(click.Context(command)):
        found = command.get_command(click.Context(command), sub)
        assert found is not None
        yield from commands(found, f"{name} {sub}")


def test_every_command_takes_json_and_says_what_it_does() -> None:
    found = dict(commands(cli.paygrade))
    assert len(found) > 20
    without_json = {
        name for name, command in found.items() if "--json" not in {o for p in command.params for o in p.opts}
    }
    assert without_json == set()
    assert {name for name, command in found.items() if not command.help} == set()


def test_help_loads_no_command_and_no_heavy_library() -> None:
    heavy = {"litestar", "uvicorn", "httpx2", "rich", "psycopg", "msgspec", "stripe", "structlog", "yaml"}
    source = (
        "import sys\nsys.argv = ['paygrade', '--help']\nfrom paygrade.cli.main import main\n"
        f"try: main()\nexcept SystemExit: pass\nprint(sorted(set(sys.modules) & {heavy!r}), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert ended.stderr.strip() == "[]"
    assert all(name in ended.stdout for name in ("demo", "serve", "explain", "catalog"))


def test_a_command_that_is_forked_for_a_test_does_what_one_that_is_started_does(shell: Shell, acme: str) -> None:
    for arguments, typed, code in [
        (["--help"], "", 0),
        (["check", acme, "seats"], "", 0),
        (["check", acme, "nothing"], "", 1),
        (["explain", acme, "seats", "--json"], "", 0),
        (["catalog", "lint", "-"], "plans: [", 1),
        (["explian"], "", 2),
    ]:
        started = subprocess.run(
            [*RUN, *arguments], cwd=shell.folder, env=shell.environ, input=typed, capture_output=True, text=True
        )
        assert started.returncode == code, started.stderr
        same = started.stdout if code in (0, 1) and started.stdout else started.stderr
        assert _timeless(shell.run(*arguments, typing=typed, code=code)) == _timeless(same)


def _timeless(said: str) -> str:
    """The text without its instants."""
    return re.sub(r"\d\d:\d\d:[\d.]+|\d{4}-\d\d-\d\dT[\d:.]+", "…", said)


def test_a_misspelt_command_is_usage_with_a_suggestion(alone: Shell) -> None:
    assert "did you mean `explain`?" in alone.run("explian", code=2)
    assert "Usage" in alone.run("check", code=2)


def test_check_exits_by_the_answer(shell: Shell, acme: str) -> None:
    assert f"{acme} can use seats: free@1 includes it [plan]" in shell.run("check", acme, "seats")
    assert "[not_in_plan]" in shell.run("check", acme, "exports", code=1)
    assert shell.json("check", acme, "seats", "-n", "2", code=1)["reason"] == "limit_reached"


def test_explain_shows_sources_facts_and_their_causes(shell: Shell, acme: str) -> None:
    shell.run("accounts", "override", acme, "exports", "--on", "--reason", "pilot until spring")
    told = shell.run("explain", acme, "exports")
    assert "an override allows it [override], “pilot until spring”" in told
    assert "decides\toverride\ton" in told
    assert "override of `exports`: on (pilot until spring)" in told
    assert shell.json("explain", acme, "exports")["decision"]["reason"] == "override"


def test_an_account_is_stated_shown_blocked_and_deleted(shell: Shell) -> None:
    shell.run("accounts", "put", "cli/account", "--name", "From the shell", "--trait", "size=3")
    assert "cli/account\tFrom the shell" in shell.run("accounts", "list", "--search", "cli/acc")
    shell.run("accounts", "block", "cli/account", "fraud", "--reason", "chargeback")
    assert "seats\tno\tblocked" in shell.run("accounts", "show", "cli/account")
    shell.run("accounts", "block", "cli/account", "fraud", "--lift")
    shell.run("accounts", "member", "cli/account", "ann", "--role", "owner")
    shell.run("check", "cli/account", "billing_admin", "--member", "ann")
    assert len(shell.run("accounts", "timeline", "cli/account").splitlines()) == 1 + 4
    shell.run("accounts", "delete", "cli/account")
    assert "unknown_account" in shell.run("accounts", "show", "cli/account", code=1)


def test_accounts_are_rebuilt_and_nothing_differs(shell: Shell, acme: str) -> None:
    one = shell.json("accounts", "rebuild", acme)["accounts"]
    assert [(its["account"], its["differences"]) for its in one] == [(acme, [])]
    everybody = shell.json("accounts", "rebuild", "--all")["accounts"]
    assert acme in {its["account"] for its in everybody}
    assert "nothing differed" in shell.run("accounts", "rebuild", acme)
    assert "--all" in shell.run("accounts", "rebuild", code=2)


def test_a_refusal_exits_1_and_keeps_its_code(shell: Shell, acme: str) -> None:
    assert "invalid_override" in shell.run("accounts", "override", acme, "exports", "--limit", "3", code=1)
    told = shell.json("accounts", "override", acme, "exportss", "--on", code=1)
    assert told["code"] == "unknown_feature"


def test_without_a_server_the_exit_code_is_3_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = Shell(tmp_path, PAYGRADE_URL=f"http://127.0.0.1:{taken.getsockname()[1]}", PAYGRADE_API_KEY="sk_x")
        told = nobody.run("check", "acme", "exports", code=3)
    assert "is the server running? start it with `paygrade serve`" in told


def test_with_a_wrong_key_the_variable_is_named(api: Api, tmp_path: Path) -> None:
    stranger = Shell(tmp_path, PAYGRADE_URL=api.url, PAYGRADE_API_KEY="sk_wrong")
    assert "PAYGRADE_API_KEY" in stranger.run("accounts", "list", code=1)


def test_bad_settings_are_all_named_at_once(tmp_path: Path) -> None:
    told = Shell(tmp_path, PAYGRADE_PORT="x", PAYGRADE_CATALOG="/no/file").run("serve", code=2)
    assert "PAYGRADE_PORT" in told
    assert "PAYGRADE_CATALOG" in told


def test_lint_names_every_mistake_with_its_line(alone: Shell) -> None:
    assert "no mistakes" in alone.run("catalog", "lint", str(SAMPLE))
    (alone.folder / "paygrade.yaml").write_text("version: 1\nfeatures: { a: { kind: x } }\nplans: { p: { y: 1 } }\n")
    assert alone.run("catalog", "lint", code=1).splitlines() == [
        "paygrade.yaml:2:18: unknown word `x`; write `boolean`, `config`, `level` or `metered`",
        "paygrade.yaml:3:15: unknown key `y`; write `default`, `trial`, `description`, `stripe`, `prices`, "
        "`quantity`, `entitlements` or `policies`",
    ]


def test_lint_reads_several_files_and_standard_input(alone: Shell) -> None:
    (alone.folder / "a.yaml").write_text("version: 2\nfeatures: {}\nplans: {}\n")
    (alone.folder / "b.json").write_text('{"version": 1, "features": {}}')
    told = alone.run("catalog", "lint", "a.yaml", str(SAMPLE), "-", "b.json", typing="version: 1\nplans: *x\n", code=1)
    assert told.splitlines() == [
        "a.yaml:1:1: expected a whole number, from 1 to 1, not `2`",
        f"{SAMPLE}: no mistakes",
        "<stdin>:1:1: `features` is missing; add for example `features: {}`",
        "<stdin>:2:8: `*x` refers to another place; write the value out",
        "b.json: `plans` is missing; add for example `plans: {}`",
    ]
    found = alone.json("catalog", "lint", "a.yaml", code=1)["mistakes"]
    assert [(it["file"], it["line"], it["column"], it["pointer"]) for it in found] == [("a.yaml", 1, 1, "/version")]


def test_the_schema_of_the_file_is_printed(alone: Shell) -> None:
    assert json.loads(alone.run("catalog", "schema")) == json_schema()


def test_a_plan_is_pushed_as_long_as_nothing_has_changed(shell: Shell, acme: str) -> None:
    document = shell.folder / "paygrade.yaml"
    document.write_text(SAMPLE.read_text().replace("retention: 7", "retention: 8"))
    planned = shell.json("catalog", "plan")
    assert planned["impact"]["affected"] >= 1
    assert "1 see another value" in shell.run("catalog", "plan") or planned["impact"]["changing"] > 1
    document.write_text(SAMPLE.read_text().replace("retention: 7", "retention: 9"))
    assert "catalog_plan_outdated" in shell.run("catalog", "push", planned["plan_id"], code=1)
    assert shell.json("catalog", "push")["published"]
    assert shell.json("check", acme, "retention")["value"] == 9
    assert shell.run("catalog", "versions").splitlines()[:2][1].startswith("2\t")
    document.write_text(SAMPLE.read_text())
    shell.run("catalog", "push")


def test_what_a_draft_would_have_meant_is_played_and_printed(shell: Shell, acme: str) -> None:
    shell.run("consume", acme, "api_calls", "--quantity", "700")
    (shell.folder / "draft.yaml").write_text(SAMPLE.read_text().replace("limit: 1000,", "limit: 500,"))
    told = shell.json("catalog", "simulate", "draft.yaml", "--since", "2d", "--account", acme)
    (row,) = [row for row in told["rows"] if row["feature"] == "api_calls"]
    assert (row["what"], row["denied_units_before"], row["denied_units"]) == ("loses denied", 0, 700)
    assert told["totals"]["accounts"]["denied"] == 1
    printed = shell.run("catalog", "simulate", "draft.yaml", "--what", "denied")
    assert "accounts that would have been denied more: " in printed
    assert f"{acme}\tapi_calls\tloses denied\t1000\t500\t" in printed
    lines = shell.run("catalog", "simulate", "draft.yaml", "--csv").splitlines()
    assert lines[0].startswith("account,feature,what,had,has,used_before,used,")
    assert any(line.startswith(f"{acme},api_calls,loses denied,1000,500,") for line in lines)
    assert "`since` must be" in shell.run("catalog", "simulate", "draft.yaml", "--since", "500d", code=1)


def test_a_document_named_is_what_is_pushed_and_a_plan_id_is_no_file(shell: Shell) -> None:
    document = shell.folder / "sold.yaml"
    document.write_text(SAMPLE.read_text().replace("retention: 7", "retention: 6"))
    assert shell.json("catalog", "push", "sold.yaml")["published"]
    assert "there is no file `gone.yaml`" in shell.run("catalog", "push", "gone.yaml", code=2)
    assert "name one document" in shell.run("catalog", "push", "sold.yaml", "--file", "sold.yaml", code=2)
    document.write_text(SAMPLE.read_text())
    shell.run("catalog", "push", "sold.yaml")


def test_on_a_terminal_a_push_shows_what_it_changes_and_takes_no_for_an_answer(shell: Shell, acme: str) -> None:
    document = shell.folder / "paygrade.yaml"
    document.write_text(SAMPLE.read_text().replace("retention: 7", "retention: 5"))
    before = shell.json("catalog", "versions")["versions"][0]["version"]
    seen = shell.on_terminal("catalog", "push", typing="n\n", code=130)
    assert "/plans/free/entitlements/retention" in seen
    assert f"Publish this as version {before + 1}? [y/N]" in seen
    assert shell.json("catalog", "versions")["versions"][0]["version"] == before
    assert "published version" in shell.on_terminal("catalog", "push", typing="y\n")
    document.write_text(SAMPLE.read_text())
    assert "Publish" not in shell.on_terminal("catalog", "push", "--yes")


@pytest.mark.parametrize(
    "taking",
    [
        ("accounts", "block", "{}", "fraud"),
        ("accounts", "override", "{}", "exports", "--off"),
        ("accounts", "delete", "{}"),
    ],
    ids=lambda words: words[1],
)
def test_on_a_terminal_nothing_is_taken_from_an_account_without_a_yes(
    shell: Shell, acme: str, taking: tuple[str, ...]
) -> None:
    before = shell.json("accounts", "show", acme)
    assert "[y/N]" in shell.on_terminal(*(word.format(acme) for word in taking), typing="n\n", code=130)
    assert shell.json("accounts", "show", acme)["version"] == before["version"]


def test_a_token_is_issued_for_a_page_and_their_key_is_rotated(shell: Shell, api: Api, acme: str) -> None:
    with Api(api.url, key=shell.run("tokens", "create", acme, "--member", "ann").strip().splitlines()[-1]) as page:
        assert page.ok("GET", f"/v1/accounts/{acme}/decisions")["account"] == acme
        shell.run("tokens", "rotate")
        page.ok("GET", f"/v1/accounts/{acme}/decisions")
        shell.on_terminal("tokens", "rotate", "--revoke", typing="n\n", code=130)
        page.ok("GET", f"/v1/accounts/{acme}/decisions")
        (key,) = json.loads(shell.run("tokens", "rotate", "--revoke", "--json"))["keys"]
        assert key["verifies_until"] is None
        page.problem(401, "GET", f"/v1/accounts/{acme}/decisions")


def test_a_key_is_made_listed_rotated_and_revoked(shell: Shell, api: Api, acme: str) -> None:
    def opens(secret: str) -> bool:
        with Api(api.url, key=secret) as client:
            return client.get(f"/v1/accounts/{acme}").is_success

    first = shell.run("keys", "create", "backend", "--scope", "accounts:read", "--expires", "2999-01-01").strip()
    assert opens(first)
    made = shell.json("keys", "create", "desk", "--role", "support", "--never-expires", "--ip", "127.0.0.0/8")
    assert (made["role"], made["expires_at"], made["ip_ranges"]) == ("support", None, ["127.0.0.0/8"])
    row = next(line.split("\t") for line in shell.run("keys", "list").splitlines() if "backend" in line)
    assert (row[2], row[3]) == (f"sk_test_…{first[-4:]}", "accounts:read")
    second = shell.run("keys", "rotate", row[0], "--overlap", "0").strip()
    assert (opens(first), opens(second)) == (False, True)
    shell.on_terminal("keys", "revoke", row[0], typing="n\n", code=130)
    assert opens(second)
    assert "revoked" in shell.run("keys", "revoke", row[0])
    assert not opens(second)
    assert row[0] not in shell.run("keys", "list")
    assert "127.0.0.0/8" in shell.run("keys", "show", made["id"])
    assert "scopes" in shell.run("keys", "create", "nothing", code=1)
    assert "is not one of" in shell.run("keys", "create", "odd", "--scope", "accounts:all", code=2)


def test_people_are_added_given_roles_reset_and_removed(shell: Shell, api: Api) -> None:
    def logs_in(password: str) -> bool:
        said = {"email": "dana@example.com", "password": password}
        with Api(api.url, key=None) as client:
            return client.post("/v1/login", json=said, headers={"origin": api.url}).is_success

    first = shell.run("people", "add", "dana@example.com", "--role", "support").strip()
    assert logs_in(first)
    (row,) = [line.split("\t") for line in shell.run("people", "list").splitlines() if "dana" in line]
    assert row[1:6] == ["dana@example.com", "dana@example.com", "support", "here", "no"]
    assert shell.json("people", "role", row[0], "viewer")["role"] == "viewer"
    third = shell.json("people", "reset", row[0], "--must-change")["password"]
    own = "correct horse battery staple"
    typed = f"{third}\n{own}\n{own}\n"
    assert "changed" in shell.run("people", "password", "dana@example.com", typing=typed)
    assert (logs_in(third), logs_in(own)) == (False, True)
    second = shell.json("people", "reset", row[0])
    assert (logs_in(first), logs_in(second["password"])) == (False, True)
    assert shell.json("people", "reset", row[0], "--totp")["totp_address"].startswith("otpauth://totp/")
    assert "removed" in shell.run("people", "remove", row[0], "--yes")
    assert "dana" not in shell.run("people", "list")


def test_a_command_says_what_its_key_lacks(shell: Shell, api: Api, acme: str) -> None:
    viewer = shell.run("keys", "create", "viewer", "--role", "viewer").strip()
    restricted = Shell(shell.folder, PAYGRADE_URL=api.url, PAYGRADE_API_KEY=viewer)
    assert restricted.json("accounts", "show", acme)["account"] == acme
    assert "`overrides:write`" in restricted.run("accounts", "block", acme, "fraud", code=1)
    wrong = Shell(shell.folder, PAYGRADE_URL=api.url, PAYGRADE_API_KEY="sk_wrong")
    assert "this key is not valid" in wrong.run("accounts", "show", acme, code=1)


def test_a_server_without_the_admin_key_starts_once_somebody_can_make_keys(
    empty_database_url: str, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    shell = Shell(tmp_path, PAYGRADE_DATABASE_URL=empty_database_url, PAYGRADE_PORT=str(port))
    assert "PAYGRADE_ADMIN_KEY" in shell.run("serve", code=1)
    with serving(Settings(), empty_database_url) as first:
        admin = first.ok("POST", "/v1/keys", json={"name": "operations", "role": "admin"})["key"]
    with (tmp_path / "log").open("w") as log:
        server = shell.start("serve", "--workers", "1", log=log)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: server.poll() is not None or _answers(f"{url}/readyz"))
        assert server.poll() is None, (tmp_path / "log").read_text()
        with Api(url, key=admin) as client:
            assert client.ok("GET", "/v1/accounts")["accounts"] == []
        with Api(url, key="admin") as stranger:
            stranger.problem(401, "GET", "/v1/accounts")
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(START_S) == 0


def test_a_day_alone_is_its_midnight_for_every_command(shell: Shell, acme: str) -> None:
    assert shell.json("check", acme, "exports", "--at", "2031-02-03", code=1)["as_of"] == "2031-02-03T00:00:00Z"
    assert shell.json("explain", acme, "exports", "--at", "2031-02-03T04:00:00+01:00")["decision"]["as_of"] == (
        "2031-02-03T03:00:00Z"
    )
    assert "is not a time; write `2027-01-31`" in shell.run("check", acme, "exports", "--at", "soon", code=2)


def test_lists_are_narrowed_by_what_an_account_has_and_by_time(shell: Shell, acme: str) -> None:
    def listed(*asked: str) -> set[str]:
        return {account["account"] for account in shell.json("accounts", "list", *asked)["accounts"]}

    (plan,) = {one["data"]["plan"] for one in plans_told(shell, acme)}
    assert acme in listed("--plan", plan.partition("@")[0])
    assert acme not in listed("--plan", plan.partition("@")[0], "--state", "paused")
    assert acme not in listed("--plan", "of_nobody") | listed("--finding", "any")
    assert "/catalog/plans/{plan}/accounts" in shell.run("accounts", "list", "--plan", plan, code=1)
    assert "`state` must be" in shell.run("accounts", "list", "--state", "odd", code=1)
    assert "`finding` must be" in shell.run("accounts", "list", "--finding", "odd", code=1)

    (told,) = plans_told(shell, acme)
    before = (datetime.fromisoformat(told["occurred_at"]) - timedelta(seconds=1)).isoformat()
    assert plans_told(shell, acme, "--from", told["occurred_at"]) == [told]
    assert plans_told(shell, acme, "--until", told["occurred_at"]) == []
    assert plans_told(shell, acme, "--from", before, "--until", "2090-01-01") == [told]
    assert plans_told(shell, acme, "--from", "2090-01-01") == []

    assert shell.json("usage", "reports", "--state", "failing")["reports"] == []
    assert "`state` must be" in shell.run("usage", "reports", "--state", "odd", code=1)
    assert "leave out ACCOUNT" in shell.run("usage", "reports", acme, "--state", "failing", code=2)


def plans_told(shell: Shell, account: str, *asked: str) -> list[Any]:
    def told() -> list[Any]:
        which = ("--account", account, "--type", "account.plan_changed")
        found: list[Any] = shell.json("updates", "list", *which, *asked)["updates"]
        return found

    return told() if asked else eventually(told)


def test_an_empty_list_says_so_and_a_pipe_has_a_header(shell: Shell) -> None:
    assert shell.run("accounts", "list", "--search", "nobody at all") == (
        "account\tname\tcustomers\tsubscriptions\toverrides\tblocks\n"
    )
    assert shell.on_terminal("accounts", "list", "--search", "nobody at all") == "none\n"


def test_check_and_explain_answer_alike_for_the_past(shell: Shell, acme: str) -> None:
    past = "2001-01-01"
    assert shell.json("check", acme, "exports", "--at", past, code=1)["reason"] == "unknown_account"
    assert shell.json("explain", acme, "exports", "--at", past)["decision"]["reason"] == "unknown_account"


def test_init_writes_a_catalog_without_mistakes_and_overwrites_nothing(alone: Shell) -> None:
    assert "paygrade dev" in alone.run("init", "shop")
    assert alone.json("catalog", "lint", "shop/paygrade.yaml")["mistakes"] == []
    kept = (alone.folder / "shop" / "paygrade.yaml").read_text()
    assert "file_exists" in alone.run("init", "shop", code=1)
    assert (alone.folder / "shop" / "paygrade.yaml").read_text() == kept


def test_sync_status_and_sweep_answer(shell: Shell) -> None:
    assert "subjects: 0" in shell.run("sync", "status")
    assert shell.json("sync", "drift") == {"drift": [], "next": None}
    assert "PAYGRADE_STRIPE_API_KEY" in shell.run("sync", "sweep", code=3)


def test_an_import_is_rehearsed_then_done_and_what_was_lost_shows_as_drift(postgres_url: str, tmp_path: Path) -> None:
    with running() as simulator, migrated_database(postgres_url) as database_url:
        shop = Company(url=simulator.url, key=simulator.key)
        document, lines = read_yaml(SAMPLE.read_bytes())
        shop.stock(parse(document, lines=lines))
        shop.welcome("acme", "Acme")
        shop.subscribe("acme", "pro_monthly")
        settings = Settings(stripe_api_key=simulator.key, stripe_api_base=simulator.url, sweep_every=None)
        with serving(settings, database_url) as api:
            shell = Shell(tmp_path, PAYGRADE_URL=api.url, PAYGRADE_API_KEY=KEY)
            rehearsed = shell.run("import", "stripe", "--dry-run")
            assert "customers: 1, subscriptions: 1 active" in rehearsed
            assert "1 accounts would gain, 0 would lose" in rehearsed
            assert api.check("acme", "exports")["reason"] == "unknown_account"
            assert "1 were not known" in shell.run("import", "stripe")
            api.eventually("acme", "exports", allowed=True)
            shop.change("acme", "pro_monthly", quantity=4)
            assert shell.json("sync", "sweep")["counts"]["different"] == 1
            api.eventually("acme", "seats", quantity=4, allowed=True)
            assert ".quantity\t1\t4\t" in shell.run("sync", "drift")
            assert shell.json("sync", "drift", "--open") == {"drift": [], "next": None}
            assert "1 customers differed" in shell.run("sync", "status")
            metrics = api.get("/metrics").text
            assert 'paygrade_drift_total{found_by="sweep",what="detected"} 1.0' in metrics
            assert 'paygrade_drift_total{found_by="",what="healed"} 1.0' in metrics


def test_the_simulator_is_served_as_its_options_say(alone: Shell) -> None:
    text = alone.run("simulator", "serve", "--help")
    for option in ("--start", "--key", "--secret", "--seed", "--port", "--webhook"):
        assert option in text
    assert "`tomorrow` is not a time" in alone.run("simulator", "serve", "--start", "tomorrow", code=2)


def test_the_simulators_clock_is_moved(alone: Shell) -> None:
    with running() as simulator:
        before = alone.json("simulator", "clock", "--url", simulator.url)["now"]
        assert alone.json("simulator", "advance", "3d", "--url", simulator.url)["now"] > before
        assert "duration" in alone.run("simulator", "advance", "soon", "--url", simulator.url, code=1)


def test_migrate_brings_the_schema_once(empty_database_url: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path, PAYGRADE_DATABASE_URL=empty_database_url, PAYGRADE_ADMIN_KEY="sk_1")
    pending = shell.json("migrate", "--dry-run")["pending"]
    assert pending == shell.json("migrate")["applied"] != []
    assert shell.json("migrate")["applied"] == []


def test_the_doctor_names_what_is_missing_and_what_to_do(empty_database_url: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path, PAYGRADE_DATABASE_URL=empty_database_url, PAYGRADE_ADMIN_KEY="sk_1")
    found = {symptom["what"]: symptom for symptom in shell.json("doctor", code=1)}
    assert found["schema"]["state"] == "wrong"
    assert "paygrade migrate" in found["schema"]["detail"]
    assert found["key"]["state"] == "note"


def test_serve_publishes_the_first_catalog_and_ends_when_told_to(empty_database_url: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    shell = Shell(
        tmp_path,
        PAYGRADE_DATABASE_URL=empty_database_url,
        PAYGRADE_ADMIN_KEY="sk_1",
        PAYGRADE_PORT=str(port),
        PAYGRADE_CATALOG=str(SAMPLE),
    )
    with (tmp_path / "log").open("w") as log:
        server = shell.start("serve", log=log)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: server.poll() is not None or _answers(f"{url}/readyz"))
        assert server.poll() is None, (tmp_path / "log").read_text()
        with Api(url, key="sk_1") as api:
            assert api.ok("GET", "/v1/catalog")["version"] == 1
        second = Shell(tmp_path, **{n: v for n, v in shell.environ.items() if n.startswith("PAYGRADE_")})
        assert "server_not_started" in second.run("serve", code=3)
        server.send_signal(signal.SIGTERM)
        assert server.wait(START_S) == 0, (tmp_path / "log").read_text()
    finally:
        server.kill()
        server.wait()


def test_every_command_module_defines_the_command_of_its_name() -> None:
    for name in cli.paygrade.list_commands(click.Context(cli.paygrade)):
        module = "imports" if name == "import" else name  # no module can be named like a word of Python's
        assert getattr(import_module(f"paygrade.cli.{module}"), module).name == name


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False, verify=False).is_success
    except httpx2.TransportError:
        return False


def test_a_snapshot_file_is_written_checked_and_shown(shell: Shell, acme: str) -> None:
    assert shell.json("snapshot", "write", "cache", "--account", acme, "--valid-for", "30d")["accounts"] == 1
    assert shell.json("snapshot", "show", "cache")["accounts"] == [acme]
    shell.run("snapshot", "write", "cache", "--all")
    assert acme in shell.json("snapshot", "show", "cache")["accounts"]
    shell.run("snapshot", "key", "licence.key")
    assert "exists" in shell.run("snapshot", "key", "licence.key", code=1)
    shell.run("snapshot", "write", "licence", "--account", acme, "--key", "licence.key")
    assert acme in shell.run("snapshot", "show", "licence", "--key", "licence.key.pub")
    assert "another way" in shell.run("snapshot", "show", "licence", code=1)
    assert "signs nothing" in shell.run(
        "snapshot", "write", "licence", "--account", acme, "--key", "licence.key.pub", code=2
    )
    assert "there is no account" in shell.run("snapshot", "write", "cache", "--account", "nobody", code=1)
    assert "at most 35d" in shell.run("snapshot", "write", "cache", "--all", "--valid-for", "36d", code=2)
    assert "or say --all" in shell.run("snapshot", "write", "cache", code=2)
