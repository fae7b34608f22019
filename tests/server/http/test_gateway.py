"""The gateway: proxies ask it before they let a request through; nginx does so here, configured as the manual says."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest

from paygrade.documents.yaml import read_yaml
from paygrade.server.process.settings import Settings
from support.cluster import free_ports
from support.databases import migrated_database
from support.nginx import needs_nginx, nginx
from support.server_process import KEY, Api, serving

PAGE = (Path(__file__).parents[3] / "docs" / "gateway.md").read_text(encoding="utf-8")
ASK = "/v1/authorize"
PRO = {
    "version": 1,
    "status": "active",
    "items": [{"id": "main", "plan": "pro", "quantity": 3}],
    "anchor_at": "2026-01-31T00:00:00Z",
}


def ask(api: Api, account: str, feature: str, *, status: int, method: str = "GET", **more: str) -> httpx2.Response:
    headers = {"X-Paygrade-Account": account, "X-Paygrade-Feature": feature}
    answer = api.request(method, ASK, headers=headers | {f"X-Paygrade-{name}": value for name, value in more.items()})
    assert answer.status_code == status, answer.text
    return answer


def use(api: Api, account: str, feature: str, quantity: int) -> None:
    sent = {"account": account, "feature": feature, "quantity": quantity, "id": f"{feature}-{quantity}"}
    assert api.ok("POST", "/v1/consume", json=sent)["consumed"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_had_is_let_through_and_says_why(api: Api, acme: str, method: str) -> None:
    answer = ask(api, acme, "projects", status=200, method=method)
    assert answer.headers["x-paygrade-reason"] == "plan"
    assert answer.headers["x-paygrade-plan"] == "free@1"
    assert (answer.headers["x-paygrade-limit"], answer.headers["x-paygrade-remaining"]) == ("2", "2")
    assert answer.json()["allowed"] is True


def test_what_it_says_is_as_documented(api: Api, acme: str) -> None:
    document = api.ok("GET", "/openapi.json")
    told = document["paths"][ASK]["get"]
    assert {each["name"] for each in told["parameters"] if each["in"] == "header"} == {
        f"X-Paygrade-{name}" for name in ("Account", "Feature", "Member", "Quantity")
    } | {"Paygrade-Version"}
    for feature, status in (("projects", "200"), ("exports", "402"), ("teleport", "403")):
        (content,) = told["responses"][status]["content"].values()
        answer = ask(api, acme, feature, status=int(status))
        jsonschema.validate(answer.json(), {**content["schema"], "components": document["components"]})


def test_what_another_plan_has_is_a_402(api: Api, acme: str) -> None:
    answer = ask(api, acme, "exports", status=402)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["reason"]) == ("payment_required", "not_in_plan")
    assert problem["message"] == f"{acme} can't use exports: free@1 doesn't include it"
    assert problem["instance"] == answer.headers["x-request-id"]
    assert json.loads(answer.headers["x-paygrade-problem"]) == problem
    assert api.ok("GET", problem["type"])["status"] == 402


def test_a_limit_that_never_resets_is_a_402_and_one_that_does_a_429(api: Api, acme: str) -> None:
    use(api, acme, "projects", 2)
    assert ask(api, acme, "projects", status=402).json()["reason"] == "limit_reached"
    use(api, acme, "api_calls", 1000)
    answer = ask(api, acme, "api_calls", status=429)
    wait_s = int(answer.headers["retry-after"])
    assert 0 < wait_s <= 31 * 86400
    assert answer.headers["ratelimit"] == f'"api_calls";r=0;t={wait_s}'
    assert answer.headers["ratelimit-policy"] == '"api_calls";q=1000'
    assert answer.json()["limit"] == answer.json()["used"] == 1000


def test_what_is_not_permitted_is_a_403(api: Api, acme: str) -> None:
    assert ask(api, acme, "billing_admin", status=403).json()["reason"] == "role_not_permitted"
    api.ok("PUT", f"/v1/accounts/{acme}/members/ann", json={"role": "owner"})
    ask(api, acme, "billing_admin", status=200, Member="ann")
    assert ask(api, acme, "teleport", status=403).json()["reason"] == "unknown_feature"
    assert ask(api, "nobody", "projects", status=403).json()["reason"] == "unknown_account"
    api.ok("PUT", f"/v1/accounts/{acme}/blocks/fraud", json={})
    assert ask(api, acme, "projects", status=403).json()["reason"] == "blocked"


def test_a_request_of_nobody_is_not_permitted(api: Api) -> None:
    assert api.problem(403, "GET", f"{ASK}?feature=projects")["code"] == "not_permitted"
    assert ask(api, "", "projects", status=403).json()["code"] == "not_permitted"


def test_the_quantity_counts(api: Api, acme: str) -> None:
    ask(api, acme, "projects", status=200, Quantity="2")
    ask(api, acme, "projects", status=402, Quantity="3")
    for odd in ("-1", "1.5", "two", "²", "9" * 17):
        headers = {b"X-Paygrade-Account": acme.encode(), b"X-Paygrade-Quantity": odd.encode()}
        problem = api.problem(400, "GET", f"{ASK}?feature=projects", headers=headers)
        assert problem["code"] in ("invalid_query", "invalid_key")


def test_the_feature_may_be_in_the_address_and_a_header_goes_before(api: Api, acme: str) -> None:
    headers = {"X-Paygrade-Account": acme}
    assert api.get(f"{ASK}?feature=projects&quantity=2", headers=headers).status_code == 200
    assert api.get(f"{ASK}?feature=projects&quantity=3", headers=headers).status_code == 402
    headers["X-Paygrade-Feature"] = "exports"
    assert api.get(f"{ASK}?feature=projects", headers=headers).json()["feature"] == "exports"
    assert api.problem(400, "GET", ASK, headers={"X-Paygrade-Account": acme})["code"] == "invalid_query"


def test_a_key_of_its_own_goes_before_what_a_visitor_shows(api: Api, acme: str) -> None:
    asked = {"X-Paygrade-Account": acme, "X-Paygrade-Feature": "projects"}
    with Api(api.url, key=None) as proxy:
        assert proxy.get(ASK, headers=asked).status_code == 401
        assert proxy.get(ASK, headers={**asked, "X-Paygrade-Key": KEY}).status_code == 200
        visitors = {**asked, "Authorization": "Bearer visitor"}
        assert proxy.get(ASK, headers=visitors).status_code == 401
        assert proxy.get(ASK, headers={**visitors, "X-Paygrade-Key": KEY}).status_code == 200
        assert proxy.get(ASK, headers={**asked, "X-Paygrade-Key": "sk_other"}).status_code == 401
    assert api.get(ASK, headers={**asked, "X-Paygrade-Key": "sk_other"}).status_code == 401


def test_an_account_of_any_script_is_asked_about(api: Api) -> None:
    for account in ("zoë", "株式会社", 'quo"te', "🦉" * 200):
        api.ok("PUT", f"/v1/accounts/{account}", json={})
        headers = {b"X-Paygrade-Account": account.encode(), b"X-Paygrade-Feature": b"exports"}
        answer = api.get(ASK, headers=headers)
        assert (answer.status_code, answer.json()["account"]) == (402, account)
        told = answer.headers.get("x-paygrade-problem")
        assert (told is None) == (len(account) == 200)
        assert told is None or json.loads(told) == answer.json()
    odd = {b"X-Paygrade-Account": b"\xff\xfe", b"X-Paygrade-Feature": b"exports"}
    assert api.problem(400, "GET", ASK, headers=odd)["code"] == "invalid_key"


def test_it_answers_as_check_does(api: Api, acme: str) -> None:
    for feature in ("exports", "projects", "api_calls", "retention", "ai_credits", "billing_admin"):
        decision = api.check(acme, feature)
        answer = api.get(ASK, headers={"X-Paygrade-Account": acme, "X-Paygrade-Feature": feature})
        assert (answer.status_code == 200) == decision["allowed"]
        assert answer.json()["message"] == decision["message"]


# Proxies, configured as the manual says


def snippet(language: str, number: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[number])


def document(number: int) -> Any:
    """Any: plain YAML values."""
    return read_yaml(snippet("yaml", number))[0]


def headers_of(middleware: Any) -> dict[str, str]:
    return dict(middleware["headers"]["customRequestHeaders"])


def test_what_traefik_sends_is_understood(api: Api, acme: str) -> None:
    its = document(0)["http"]["middlewares"]
    # Its headers middleware sets headers, forwardAuth copies those named, and says in others what it asks for.
    visitor = {"X-Paygrade-Account": acme, "X-Paygrade-Feature": "projects", "Authorization": "Bearer visitor"}
    request = visitor | headers_of(its["show-key"]) | {"X-Paygrade-Key": KEY}
    gate = its["exports"]["forwardAuth"]
    sent = {name: request[name] for name in gate["authRequestHeaders"]} | {"X-Forwarded-Method": "DELETE"}
    address = gate["address"].replace("http://127.0.0.1:4710", api.url)
    with Api(api.url, key=None) as traefik:
        denied = traefik.get(address, headers=sent)
        assert (denied.status_code, denied.json()["feature"]) == (402, "exports")
        api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/main", json=PRO)
        allowed = traefik.get(address, headers=sent)
        assert allowed.status_code == 200
        assert set(gate["authResponseHeaders"]) >= {"X-Paygrade-Reason"}
        assert allowed.headers["x-paygrade-reason"] == "plan"
    assert headers_of(its["hide-key"]) == {"X-Paygrade-Key": ""}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_what_envoy_sends_is_understood(api: Api, acme: str, method: str) -> None:
    service = document(1)["http_filters"][0]["typed_config"]["http_service"]
    added = {each["key"]: each["value"] for each in service["authorization_request"]["headers_to_add"]}
    sent = {"x-paygrade-account": acme} | added | {"x-paygrade-key": KEY, "content-length": "0"}
    with Api(api.url, key=None) as envoy:
        # The visitor's own path and query stand behind the prefix.
        for path in ("/", "/orders/7?feature=projects", "/a%2Fb/%E2%9C%93"):
            denied = envoy.request(method, f"{service['path_prefix']}{path}", headers=sent)
            assert denied.status_code == 402, denied.text
            assert method == "HEAD" or denied.json()["feature"] == "exports"
        api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/main", json=PRO)
        assert envoy.request(method, f"{service['path_prefix']}/orders", headers=sent).status_code == 200
        counted = sent | {"x-paygrade-feature": "seats"}
        assert envoy.request(method, f"{service['path_prefix']}/?quantity=1000", headers=counted).status_code == 200
        assert envoy.get("/v1/authorizes").status_code == 404


class Backend(BaseHTTPRequestHandler):
    """The service that is gated."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"served")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def gated(folder: Path, *, paygrade: int) -> Iterator[str]:
    """nginx with what the manual says, in front of a service; gives its address."""
    service = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    (port,) = free_ports(1)
    said = snippet("nginx").replace("127.0.0.1:4710", f"127.0.0.1:{paygrade}").replace("sk_demo", KEY)
    said = said.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace(
        "127.0.0.1:8000", f"127.0.0.1:{service.server_port}"
    )
    said = said.replace('"Bearer token_of_acme"  acme;', "~^Bearer.token_of_(?<its>.+)$  $its;")
    try:
        with nginx(folder, said, port=port):
            yield f"http://127.0.0.1:{port}"
    finally:
        service.shutdown()
        service.server_close()


def visit(url: str, path: str, account: str) -> httpx2.Response:
    sent = {"Authorization": f"Bearer token_of_{account}", "X-Paygrade-Account": "pro", "X-Paygrade-Key": "guess"}
    return httpx2.get(f"{url}{path}?feature=projects", headers=sent, trust_env=False, verify=False, timeout=20)


@needs_nginx
def test_nginx_lets_through_and_denies_and_survives_a_restart(postgres_url: str, tmp_path: Path) -> None:
    with migrated_database(postgres_url) as database_url:
        with serving(Settings(), database_url) as api:
            port = int(api.url.rpartition(":")[2])
            for account in ("free", "pro", "banned"):
                api.ok("PUT", f"/v1/accounts/{account}", json={})
            api.ok("PUT", "/v1/accounts/pro/subscriptions/main", json=PRO)
            api.ok("PUT", "/v1/accounts/banned/blocks/fraud", json={})
            use(api, "free", "api_calls", 1000)
        with gated(tmp_path, paygrade=port) as url:
            assert visit(url, "/exports", "pro").status_code == 503
            with serving(Settings(), database_url, port=port):
                look_at_every_answer(url)
            assert visit(url, "/exports", "pro").status_code == 503
            with serving(Settings(), database_url, port=port):
                look_at_every_answer(url)


def look_at_every_answer(url: str) -> None:
    served = visit(url, "/exports", "pro")
    assert (served.status_code, served.text) == (200, "served")
    assert visit(url, "/api", "pro").text == "served"
    for path, account, status, reason in (
        ("/exports", "free", 402, "not_in_plan"),
        ("/api", "banned", 403, "blocked"),
        ("/api", "free", 429, "limit_reached"),
        ("/exports", "", 403, None),
        ("/exports", "nobody", 403, "unknown_account"),
    ):
        denied = visit(url, path, account)
        assert denied.status_code == status, (path, account, denied.text)
        assert denied.headers["content-type"] == "application/problem+json"
        assert account == "" or (denied.json()["status"], denied.json().get("reason")) == (status, reason)
        assert ("retry-after" in denied.headers) == ("ratelimit" in denied.headers) == (status == 429)
