"""With the database gone, what is known is answered at once; when it is back, that is noticed."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from paygrade.embedded_postgres import cluster as embedded
from paygrade.postgres.connections import DOUBT_S
from paygrade.postgres.migrate import migrate
from paygrade.postgres.store import Store
from paygrade.providers.stripe.signatures import sign
from paygrade.server.process.settings import Settings
from paygrade.values.errors import Unavailable
from support.server_process import Api, serving
from support.waiting import LOOK_S, eventually, in_time

GONE = "database_unavailable"
EVENT = b'{"id":"evt_1","object":"event","type":"a.b","created":1700000000,"data":{"object":{}}}'
SOON_S = DOUBT_S / 2
"""Less than any wait for a connection: who has to wait for one takes longer."""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder that the user PostgreSQL runs as can reach."""
    made = Path(tempfile.mkdtemp(prefix="paygrade-test-"))
    made.chmod(0o711)
    yield made / "data"
    shutil.rmtree(made)


def kill(data_dir: Path) -> None:
    """As a machine that is switched off: whoever of its processes is at something would still do that."""
    postmaster = int((data_dir / "cluster" / "postmaster.pid").read_text().split()[0])
    begun = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    for process in (postmaster, *map(int, begun)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def test_checks_are_answered_from_memory_and_again_from_the_database(data_dir: Path) -> None:
    with (
        embedded.start(data_dir, settings={"fsync": "off"}) as postgres,
        serving(Settings(), postgres.url) as api,
        Api(api.url) as hasty,
    ):
        api.ok("PUT", "/v1/accounts/acme", json={})
        assert not api.check("acme", "projects")["stale"]
        kill(data_dir)
        eventually(lambda: api.get("/readyz").status_code == 503)
        eventually(lambda: api.check("acme", "projects")["stale"])
        hasty.timeout = SOON_S
        for _ in range(3):
            assert hasty.check("acme", "projects")["stale"]
            use = {"account": "acme", "feature": "projects", "id": "lost"}
            assert not hasty.ok("POST", "/v1/consume", json=use)["consumed"]
            flags = api.ok("POST", "/ofrep/v1/evaluate/flags", json={"context": {"targetingKey": "acme"}})["flags"]
            assert all(flag["metadata"]["stale"] for flag in flags)
            assert {flag["reason"] for flag in flags if flag["key"] == "projects"} == {"UNKNOWN"}
            asked = {"X-Paygrade-Account": "acme", "X-Paygrade-Feature": "projects"}
            denied = api.get("/v1/authorize", headers=asked)
            assert (denied.status_code, denied.json()["code"], denied.headers["retry-after"]) == (
                503,
                "usage_unknown",
                "1",
            )
            assert hasty.get("/v1/accounts/acme").json()["code"] == GONE
            assert hasty.get("/healthz").is_success
        postgres.keep_alive(lost=lambda _: None, progress=lambda _: None)
        eventually(lambda: api.get("/readyz").is_success)
        eventually(lambda: not api.check("acme", "projects")["stale"])


def test_a_webhook_is_not_acknowledged_while_it_cannot_be_kept(data_dir: Path) -> None:
    settings = Settings(webhook_secrets=("whsec_test",))
    with embedded.start(data_dir, settings={"fsync": "off"}) as postgres, serving(settings, postgres.url) as api:
        kill(data_dir)
        eventually(lambda: api.get("/readyz").status_code == 503)
        at = str(int(time.time()))
        headers = {"Stripe-Signature": f"t={at},v1={sign(EVENT, 'whsec_test', at)}"}
        assert api.problem(503, "POST", "/webhooks/stripe", content=EVENT, headers=headers)["code"] == GONE


@pytest.mark.anyio
async def test_whoever_waits_for_a_connection_is_told_when_the_database_goes(data_dir: Path) -> None:
    postgres = await asyncio.to_thread(embedded.start, data_dir, settings={"fsync": "off"})
    await migrate(postgres.url)
    async with Store(postgres.url, connections_max=1) as store:
        taken, let_go = asyncio.Event(), asyncio.Event()

        async def take() -> None:
            async with store.transaction() as tx:
                taken.set()
                await let_go.wait()
                # A session notices a little later that its server is gone.
                while True:
                    await tx.catalogs.in_force()
                    await asyncio.sleep(LOOK_S)

        holding = asyncio.create_task(take())
        await taken.wait()
        waiting = asyncio.create_task(take())
        await asyncio.sleep(0)
        kill(data_dir)
        let_go.set()
        for outcome in await asyncio.wait_for(asyncio.gather(holding, waiting, return_exceptions=True), 10):
            assert isinstance(outcome, Unavailable)

        async def is_refused_at_once() -> bool:
            try:
                async with asyncio.timeout(SOON_S), store.transaction():
                    return False
            except Unavailable:
                return True

        await in_time(is_refused_at_once)
        postgres.keep_alive(lost=lambda _: None, progress=lambda _: None)

        async def answers() -> bool:
            return not await is_refused_at_once()

        await in_time(answers)
    await asyncio.to_thread(postgres.stop)
