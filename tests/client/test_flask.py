"""Flask beside a real Paygrade: what a view is given, and what a visitor is answered."""

from collections.abc import Iterator

import pytest
from flask import Flask, Request, Response, g
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException

from paygrade import Paygrade
from paygrade.client.integrations.flask import FlaskGate
from support.server_process import KEY, Api


def account_of(request: Request) -> str | None:
    return request.headers.get("x-visitor")


def shop(sdk: Paygrade) -> Flask:
    gate = FlaskGate(
        sdk,
        account=account_of,
        member=lambda request: request.headers.get("x-member"),
        upgrade_url="https://example.com/billing",
    )
    app = Flask("shop")

    @app.errorhandler(HTTPException)
    def own_errors(_: HTTPException) -> tuple[str, int]:
        return "a page of the application's own", 418

    @app.get("/export")
    @gate.require("exports")
    def export() -> str:
        return "a file"

    @app.get("/seats/<int:count>")
    @gate.require("seats", lambda request: (request.view_args or {})["count"])
    def seats(count: int) -> str:
        return str(g.decision.message)

    @app.post("/calls")
    @gate.consume("api_calls", lambda request: int(request.args.get("calls", 1)))
    def call() -> Response:
        return Response(str(g.decision.remaining), headers={"x-mine": "kept"})

    @app.post("/once")
    @gate.consume("api_calls", id=lambda request: request.headers.get("idempotency-key"))
    async def call_once() -> str:
        return "done"

    @app.get("/admin")
    @gate.require("api_calls")
    @gate.require("billing_admin")
    def admin() -> str:
        return "the bills"

    return app


@pytest.fixture(scope="module")
def client(api: Api) -> Iterator[FlaskClient]:
    with Paygrade(api.url, KEY, timeout_s=10) as sdk:
        yield shop(sdk).test_client()


def by(account: str, **more: str) -> dict[str, str]:
    return {"x-visitor": account, **more}


def test_what_the_plan_lacks_is_a_problem_even_where_errors_have_a_page(client: FlaskClient, acme: str) -> None:
    answer = client.get("/export", headers=by(acme))
    assert (answer.status_code, answer.content_type) == (402, "application/problem+json")
    told = answer.get_json(force=True)
    assert told["message"] == f"{acme} can't use exports: free@1 doesn't include it"
    assert told["upgrade_url"] == "https://example.com/billing"
    assert client.get("/nowhere").status_code == 418


def test_what_is_had_reaches_the_view(api: Api, client: FlaskClient, acme: str) -> None:
    api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True, "reason": "a promise"})
    assert client.get("/export", headers=by(acme)).text == "a file"


def test_the_quantity_of_a_view_is_asked_for(client: FlaskClient, acme: str) -> None:
    assert client.get("/seats/1", headers=by(acme)).status_code == 200
    denied = client.get("/seats/9", headers=by(acme))
    # Waiting helps nobody here, and more can be bought.
    assert (denied.status_code, "retry-after" in denied.headers) == (402, False)


def test_the_view_is_given_the_decision_and_the_visitor_the_rate_limit(client: FlaskClient, acme: str) -> None:
    answer = client.post("/calls?calls=400", headers=by(acme))
    assert (answer.text, answer.headers["x-mine"]) == ("600", "kept")
    assert answer.headers["ratelimit"].startswith('"api_calls";r=600;t=')
    denied = client.post("/calls?calls=601", headers=by(acme))
    assert (denied.status_code, denied.get_json(force=True)["code"]) == (429, "over_limit")
    assert int(denied.headers["retry-after"]) > 0


def test_what_has_one_id_counts_once_in_asynchronous_views_too(api: Api, client: FlaskClient, acme: str) -> None:
    for _ in range(3):
        assert client.post("/once", headers=by(acme, **{"idempotency-key": f"{acme} first"})).text == "done"
    assert api.check(acme, "api_calls")["used"] == 1


def test_two_gates_on_one_view_both_have_a_say(api: Api, client: FlaskClient, acme: str) -> None:
    api.ok("PUT", f"/v1/accounts/{acme}/overrides/billing_admin", json={"value": True, "reason": "a promise"})
    api.ok("PUT", f"/v1/accounts/{acme}/members/ann", json={"role": "admin"})
    denied = client.get("/admin", headers=by(acme, **{"x-member": "bob"}))
    assert (denied.status_code, denied.get_json(force=True)["reason"]) == (403, "role_not_permitted")
    allowed = client.get("/admin", headers=by(acme, **{"x-member": "ann"}))
    assert (allowed.text, allowed.headers["ratelimit-policy"]) == ("the bills", '"api_calls";q=1000')


@pytest.mark.parametrize("account", [None, "", "x" * 300, "nobody-we-know"])
def test_a_request_of_nobody_is_not_permitted(client: FlaskClient, account: str | None) -> None:
    answer = client.get("/export", headers=by(account) if account is not None else {})
    assert (answer.status_code, answer.get_json(force=True)["code"]) == (403, "not_permitted")
