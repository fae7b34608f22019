"""What is backed up can be restored: another PostgreSQL takes it, a server starts on it, and nothing is missing."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from operate.servers import Servers, environ_of, servers
from paygrade.catalog.parse import parse
from paygrade.cli.demo_company import Company
from paygrade.documents.catalog_file import read_catalog
from paygrade.simulator.http import serve as simulator
from support.cli_runner import Shell
from support.postgres_nodes import Node, Nodes, nodes
from support.server_process import KEY, SAMPLE, Api
from support.waiting import eventually


def commands(page: Path) -> list[str]:
    """The commands of a page, each with the lines that continue it, without remarks."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    joined = re.sub(r"\s*\\\n\s*", " ", "".join(blocks))
    return [re.sub(r"\s+# .*$", "", line) for line in joined.splitlines()]


PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
SHOWN = ("", "/entitlements", "/timeline", "/members", "/ledger/api_calls", "/balances/api_calls", "/usage")
ACCOUNTS = ("paying", "leaving", "granted")


class House(Struct):
    """Servers of PostgreSQL and a provider with customers, some of whom have used what they bought."""

    made: Nodes
    primary: Node
    archive: Path
    provider: simulator.Running

    def environ(self, node: Node) -> dict[str, str]:
        return {
            **environ_of(database_url=node.database_url),
            "PAYGRADE_STRIPE_API_KEY": self.provider.key,
            "PAYGRADE_STRIPE_API_BASE": self.provider.url,
            "PAYGRADE_STRIPE_WEBHOOK_SECRET": self.provider.secret,
        }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with nodes() as made, simulator.running() as provider:
        archive = made.folder_for("archive")
        primary = made.primary()
        house = House(made, primary, archive, provider)
        with servers(tmp_path_factory.mktemp("first"), house.environ(primary), count=1) as running:
            furnish(running, provider)
        yield house


def furnish(running: Servers, provider: simulator.Running) -> None:
    company = Company(url=provider.url, key=provider.key)
    company.stock(parse(read_catalog(SAMPLE)[0]))
    with Api(running.urls[0]) as api:
        for account in ACCOUNTS:
            company.welcome(account, account)
            api.ok("PUT", f"/v1/accounts/{account}", json={"links": {"stripe": [company.customers[account]]}})
        for account in ACCOUNTS[:2]:
            company.subscribe(account, "pro_monthly")
            api.ok("POST", f"/v1/accounts/{account}/refresh", params={"wait_s": 20})
        api.ok("PUT", "/v1/accounts/granted/overrides/exports", json={"value": True, "reason": "promised"})
        api.ok("PUT", "/v1/accounts/paying/members/ann", json={"role": "owner"})
        for number, account in enumerate(ACCOUNTS * 3):
            body = {"account": account, "feature": "api_calls", "quantity": number + 1, "id": f"use-{number}"}
            assert api.ok("POST", "/v1/consume", json=body)["consumed"]


def shown(api: Api) -> dict[str, Any]:
    """All that is known of everybody."""
    found = {
        f"{account}{path}": api.ok("GET", f"/v1/accounts/{account}{path}") for account in ACCOUNTS for path in SHOWN
    }
    # Entitlements and balances say as of when they are asked.
    return json.loads(json.dumps(found), object_hook=lambda its: {k: v for k, v in its.items() if k not in AS_OF})  # type: ignore[no-any-return]


AS_OF = {"as_of", "at", "clock"}


def whole(house: House, restored: Node, tmp_path: Path) -> dict[str, Any]:
    """Start a server on what was restored and compare it with the provider and with its own history; all it knows."""
    environ = house.environ(restored)
    assert Shell(tmp_path, PAYGRADE_ADMIN_KEY=KEY, **environ).json("migrate", "--dry-run") == {"pending": []}
    with servers(tmp_path, environ, count=1) as running:
        shell = Shell(tmp_path, PAYGRADE_URL=running.urls[0], PAYGRADE_API_KEY=KEY)
        shell.run("sync", "sweep")
        with Api(running.urls[0]) as api:
            eventually(lambda: api.ok("GET", "/v1/sync/status")["dirty"] == 0)
            status = api.ok("GET", "/v1/sync/status")
            assert status["repair"]["sweep"]["finished_at"] is not None
            assert status["repair"]["sweep"]["counts"]["different"] == 0
            assert status["repair"]["drift"] == {"open": 0, "found_within_a_day": 0}
            rebuilt = shell.json("accounts", "rebuild", "--all")["accounts"]
            assert [one["differences"] for one in rebuilt] == [[] for _ in ACCOUNTS]
            return shown(api)


def documented(begins: str, **places: Path) -> str:
    """The command of the manual that begins so, with our folders in place of its own."""
    (found,) = [command for command in commands(PAGE) if command.startswith(begins)]
    for name, place in places.items():
        found = found.replace(f"/{name}", str(place))
    return found


def test_a_dump_restored_into_another_server_has_everything_and_no_drift(house: House, tmp_path: Path) -> None:
    house.primary.shell(documented("pg_dump"))
    (tmp_path / "before").mkdir()
    with servers(tmp_path / "before", house.environ(house.primary), count=1) as running, Api(running.urls[0]) as api:
        before = shown(api)
    restored = house.made.node("restored")
    restored.create({})
    restored.sql("drop database paygrade")
    restored.shell(documented("createdb"))
    restored.shell(documented("pg_restore"))
    (tmp_path / "after").mkdir()
    assert whole(house, restored, tmp_path / "after") == before
    restored.stop()


def test_a_point_in_time_is_restored_from_the_archive_without_what_came_after(house: House, tmp_path: Path) -> None:
    house.primary.shell(documented("psql", archive=house.archive))
    house.primary.stop()
    house.primary.start()
    backup = house.made.folder_for("backup")
    house.primary.shell(documented("pg_basebackup", backup=backup))
    (before := tmp_path / "before").mkdir()
    with servers(before, house.environ(house.primary), count=1) as running, Api(running.urls[0]) as api:
        said(api, "before")
        (moment,) = house.primary.sql("select clock_timestamp()")[0]
        said(api, "a mistake")
    # A segment is archived when it is full, or when one asks for it.
    ((last,),) = house.primary.sql("select pg_walfile_name(pg_switch_wal())")
    eventually(lambda: (house.archive / str(last)).exists())
    recovered = house.made.node("recovered")
    house.primary.shell(f"cp -a {backup}/base {recovered.data}")
    recovered.shell(documented("touch", restored=recovered.data))
    options = shlex.split(documented("postgres", archive=house.archive, restored=recovered.data))
    settings = dict(each.split("=", 1) for each in options if "=" in each)
    recovered.start(settings | {"recovery_target_time": str(moment)})
    eventually(lambda: recovered.sql("select pg_is_in_recovery()") == [(False,)])
    (after := tmp_path / "after").mkdir()
    found = whole(house, recovered, after)
    assert found["granted"]["overrides"][0]["reason"] == "before"


def said(api: Api, reason: str) -> None:
    api.ok("PUT", "/v1/accounts/granted/overrides/exports", json={"value": True, "reason": reason})
