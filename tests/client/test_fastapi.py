"""FastAPI and plain ASGI beside a real Paygrade: what an endpoint is given, and what a visitor is answered."""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import httpx2
import pytest
import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from paygrade import Decision, Paygrade
from paygrade.client.integrations.asgi import App, AsgiGate, PaygradeMiddleware, Receive, Scope, Send
from paygrade.client.integrations.fastapi import FastAPIGate
from support.server_process import KEY, Api

START_S = 30.0


def account_of(request: Request) -> str | None:
    return request.headers.get("x-visitor")


async def member_of(request: Request) -> str | None:
    return request.headers.get("x-member")


async def asked_for(request: Request) -> int:
    return int((await request.json())["calls"])


def upgrade_url(decision: Decision) -> str | None:
    return f"https://example.com/billing?for={decision.feature}" if decision.reason != "blocked" else None


@pytest.fixture(scope="module")
def sdk(api: Api) -> Iterator[Paygrade]:
    with Paygrade(api.url, KEY, timeout_s=10) as made:
        yield made


@contextmanager
def running(app: Any) -> Iterator[httpx2.Client]:  # Any: uvicorn takes any ASGI application
    """The application in a server of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    give_up_at = time.monotonic() + START_S
    while not server.started:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False, timeout=START_S) as client:
        yield client
    server.should_exit = True
    thread.join(START_S)


def shop(sdk: Paygrade) -> FastAPI:
    gate = FastAPIGate(sdk, account=account_of, member=member_of, upgrade_url=upgrade_url)
    app = FastAPI()
    gate.install(app)

    @app.get("/export", dependencies=[Depends(gate.require("exports"))])
    async def export() -> str:
        return "a file"

    @app.get("/seats/{count}")
    async def seats(
        its: Annotated[Decision, Depends(gate.require("seats", lambda r: int(r.path_params["count"])))],
    ) -> str:
        return its.message

    @app.post("/calls")
    async def call(used: Annotated[Decision, Depends(gate.consume("api_calls"))]) -> dict[str, int | None]:
        return {"left": used.remaining}

    @app.post("/many-calls")
    async def call_often(used: Annotated[Decision, Depends(gate.consume("api_calls", asked_for))]) -> Response:
        return PlainTextResponse(str(used.remaining))

    once = gate.consume("api_calls", id=lambda request: request.headers.get("idempotency-key"))

    @app.post("/once", dependencies=[Depends(once)])
    def call_once() -> str:
        return "done"

    return app


@pytest.fixture(scope="module")
def client(sdk: Paygrade) -> Iterator[httpx2.Client]:
    with running(shop(sdk)) as found:
        yield found


def by(account: str, **more: str) -> Mapping[str, str]:
    return {"x-visitor": account, **more}


def test_what_the_plan_lacks_is_a_402_that_says_where_to_buy_it(client: httpx2.Client, acme: str) -> None:
    answer = client.get("/export", headers=by(acme))
    assert answer.status_code == 402
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (told["type"], told["status"], told["code"]) == ("/problems/payment_required", 402, "payment_required")
    assert (told["account"], told["feature"], told["reason"]) == (acme, "exports", "not_in_plan")
    assert told["message"] == f"{acme} can't use exports: free@1 doesn't include it"
    assert told["upgrade_url"] == "https://example.com/billing?for=exports"


def test_what_is_had_reaches_the_endpoint(api: Api, client: httpx2.Client, acme: str) -> None:
    api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True, "reason": "a promise"})
    answer = client.get("/export", headers=by(acme))
    assert (answer.status_code, answer.json()) == (200, "a file")
    assert "ratelimit" not in answer.headers


def test_an_endpoint_is_given_the_decision_and_the_visitor_the_rate_limit(client: httpx2.Client, acme: str) -> None:
    answer = client.post("/calls", headers=by(acme))
    assert answer.json() == {"left": 999}
    assert answer.headers["ratelimit-policy"] == '"api_calls";q=1000'
    assert answer.headers["ratelimit"].startswith('"api_calls";r=999;t=')
    assert "retry-after" not in answer.headers


def test_a_quantity_may_be_read_from_the_request_and_any_answer_has_the_fields(
    api: Api, client: httpx2.Client, acme: str
) -> None:
    answer = client.post("/many-calls", headers=by(acme), json={"calls": 400})
    assert (answer.text, answer.headers["ratelimit"].partition(";t=")[0]) == ("600", '"api_calls";r=600')
    denied = client.post("/many-calls", headers=by(acme), json={"calls": 601})
    assert (denied.status_code, denied.json()["code"]) == (429, "over_limit")
    assert int(denied.headers["retry-after"]) > 0
    assert denied.headers["ratelimit"].startswith('"api_calls";r=600;')
    assert client.post("/many-calls", headers=by(acme), json={"calls": 600}).text == "0"
    assert api.check(acme, "api_calls")["used"] == 1000


def test_a_quantity_that_is_none_is_a_fault_of_the_application(client: httpx2.Client, acme: str) -> None:
    # uvicorn ends the connection after it, which the next test should not be in the middle of.
    assert client.get("/seats/-7", headers=by(acme, connection="close")).status_code == 500


def test_what_has_one_id_counts_once(api: Api, client: httpx2.Client, acme: str) -> None:
    for _ in range(3):
        answer = client.post("/once", headers=by(acme, **{"idempotency-key": f"{acme} first"}))
        assert (answer.status_code, answer.json()) == (200, "done")
        assert answer.headers["ratelimit"].startswith('"api_calls";r=999;')
    assert api.check(acme, "api_calls")["used"] == 1


@pytest.mark.parametrize("account", [None, "", "x" * 300, "nobody-we-know"])
def test_a_request_of_nobody_is_not_permitted(client: httpx2.Client, account: str | None) -> None:
    for method, path in (("GET", "/export"), ("POST", "/calls")):
        answer = client.request(method, path, headers=by(account) if account is not None else {})
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
        assert answer.headers["content-type"] == "application/problem+json"


def test_an_account_may_come_from_a_dependency(sdk: Paygrade, acme: str) -> None:
    def logged_in(request: Request) -> str:
        return request.headers["authorization"].removeprefix("Bearer ")

    def workspace(user: Annotated[str, Depends(logged_in)]) -> str:
        return {"token_of_ann": acme}[user]

    gate = FastAPIGate(sdk, account=Depends(workspace), upgrade_url="https://example.com/billing")
    app = FastAPI()
    gate.install(app)

    @app.get("/export", dependencies=[Depends(gate.require("exports"))])
    def export() -> str:
        return "a file"

    with running(app) as client:
        answer = client.get("/export", headers={"authorization": "Bearer token_of_ann"})
    assert (answer.json()["account"], answer.json()["upgrade_url"]) == (acme, "https://example.com/billing")


def test_while_paygrade_is_away_an_application_answers_at_once(acme: str) -> None:
    with (
        Paygrade("http://127.0.0.1:9", KEY, timeout_s=1, on_error={"api_calls": "allow"}) as sdk,
        running(shop(sdk)) as client,
    ):
        denied = client.get("/export", headers=by(acme))
        assert (denied.status_code, denied.json()["code"]) == (503, "usage_unknown")
        assert denied.headers["retry-after"] == "1"
        assert client.post("/calls", headers=by(acme)).status_code == 200
        assert sdk.status().buffered == 1


def test_nobody_holds_the_loop_while_an_account_is_read(api: Api, acme: str) -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0)
            beats += 1

    async def play(sdk: Paygrade) -> None:
        gate = AsgiGate(sdk, account=lambda scope: acme)
        beating = asyncio.ensure_future(beat())
        await asyncio.sleep(0)
        before = beats
        decision = await gate.require({"type": "http"}, "api_calls")
        assert (decision.allowed, decision.stale) == (True, False)
        assert beats > before
        beating.cancel()

    with Paygrade(api.url, KEY, timeout_s=10) as sdk:
        asyncio.run(play(sdk))


def plain(sdk: Paygrade, acme: str) -> App:
    """An application that knows nothing of any framework."""
    gate = AsgiGate(sdk, account=lambda scope: acme if scope["path"] != "/health" else None, upgrade_url="/billing")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        match scope["path"]:
            case "/health":
                body = b"fine"
            case "/export":
                await gate.require(scope, "exports")
                body = b"a file"
            case "/calls":
                body = str((await gate.consume({**scope}, "api_calls")).remaining).encode()
            case _:
                # The account is known, though nobody waited for it in here.
                body = sdk.check(acme, "api_calls").reason.encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return PaygradeMiddleware(app, gate)


def test_a_plain_application_knows_the_account_before_it_runs(api: Api, acme: str) -> None:
    with Paygrade(api.url, KEY, timeout_s=10) as sdk, running(plain(sdk, acme)) as client:
        assert client.get("/health").text == "fine"
        assert client.get("/").text == "plan"


def test_a_plain_application_answers_denials_and_has_the_fields(api: Api, acme: str) -> None:
    with Paygrade(api.url, KEY, timeout_s=10) as sdk, running(plain(sdk, acme)) as client:
        denied = client.get("/export")
        assert (denied.status_code, denied.json()["upgrade_url"]) == (402, "/billing")
        used = client.get("/calls")
        assert (used.text, used.headers["ratelimit"].partition(";t=")[0]) == ("999", '"api_calls";r=999')
