"""Django and its REST framework beside a real Paygrade: what a view is given, and what a visitor is answered."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import AsyncClient, Client, override_settings

from support.server_process import KEY, Api

SETTINGS: dict[str, Any] = {
    "SECRET_KEY": "of a test",
    "ALLOWED_HOSTS": ["*"],
    "ROOT_URLCONF": "support.django_shop",
    "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    "INSTALLED_APPS": [
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "rest_framework",
        "paygrade.client.integrations.django",
    ],
    "MIDDLEWARE": ["paygrade.client.integrations.django.middleware.PaygradeMiddleware"],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }
    ],
    "PAYGRADE": {"GATE": "support.django_shop.gate"},
}


@pytest.fixture(scope="module", autouse=True)
def shop(api: Api) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "PAYGRADE_URL", api.url)
        patch.setitem(os.environ, "PAYGRADE_API_KEY", KEY)
        settings.configure(**SETTINGS)
        django.setup()
        from support.django_shop import gate

        yield
    gate.sdk.close()


def get(path: str, account: str | None, method: str = "GET", **more: str) -> Any:  # Any: Django has no types
    """What a visitor is answered under WSGI."""
    return Client().generic(method, path, headers=by(account, more))


def get_in_loop(path: str, account: str | None, method: str = "GET", **more: str) -> Any:
    """What a visitor is answered under ASGI."""
    return asyncio.run(AsyncClient().generic(method, path, headers=by(account, more)))


def by(account: str | None, more: dict[str, str]) -> dict[str, str]:
    return {**more, **({"x-visitor": account} if account is not None else {})}


EITHER = pytest.mark.parametrize("ask", [get, get_in_loop])


def promise(api: Api, account: str) -> None:
    api.ok("PUT", f"/v1/accounts/{account}/overrides/exports", json={"value": True, "reason": "a promise"})


@EITHER
@pytest.mark.parametrize("path", ["/export", "/export-in-loop", "/exports", "/by-itself", "/api/exports"])
def test_what_the_plan_lacks_is_a_402_that_says_where_to_buy_it(ask: Any, path: str, acme: str) -> None:
    answer = ask(path, acme)
    assert (answer.status_code, answer.headers["content-type"]) == (402, "application/problem+json")
    told = answer.json()
    assert (told["type"], told["status"], told["account"]) == ("/problems/payment_required", 402, acme)
    assert told["message"] == f"{acme} can't use exports: free@1 doesn't include it"
    assert told["upgrade_url"] == "https://example.com/billing"


@EITHER
@pytest.mark.parametrize("path", ["/export", "/export-in-loop", "/exports"])
def test_what_is_had_reaches_the_view(ask: Any, path: str, api: Api, acme: str) -> None:
    promise(api, acme)
    answer = ask(path, acme)
    assert (answer.status_code, answer.content) == (200, b"a file")


@EITHER
@pytest.mark.parametrize("path", ["/call", "/call-in-loop"])
def test_a_view_is_given_the_decision_and_the_visitor_the_rate_limit(ask: Any, path: str, acme: str) -> None:
    answer = ask(path, acme, "POST")
    assert answer.content == b"999"
    assert answer.headers["ratelimit"].startswith('"api_calls";r=999;t=')
    assert "retry-after" not in answer.headers


def test_a_limit_that_resets_says_when_to_come_back(acme: str) -> None:
    assert get("/call?calls=400", acme).content == b"600"
    denied = get("/call?calls=601", acme)
    assert (denied.status_code, denied.json()["code"]) == (429, "over_limit")
    assert int(denied.headers["retry-after"]) > 0


@EITHER
def test_what_has_one_id_counts_once(ask: Any, api: Api, acme: str) -> None:
    for _ in range(3):
        ask("/call-in-loop", acme, "POST", **{"idempotency-key": f"{acme} first"})
    assert api.check(acme, "api_calls")["used"] == 1


@EITHER
@pytest.mark.parametrize("path", ["/page", "/page-in-loop"])
def test_a_page_knows_what_the_visitor_may(ask: Any, path: str, api: Api, acme: str) -> None:
    assert b"t use exports: free@1 doesn&#x27;t include it</a>, limit_reached" in ask(path, acme).content
    promise(api, acme)
    version = api.ok("GET", f"/v1/accounts/{acme}/decisions")["version"]
    from support.django_shop import gate

    assert gate.sdk.check(acme, "exports", at_least=str(version))
    assert b"\nExport, limit_reached" in ask(path, acme).content
    assert b"<a></a>, " in ask(path, None).content


@EITHER
@pytest.mark.parametrize("account", [None, "", "x" * 300, "nobody-we-know"])
def test_a_request_of_nobody_is_not_permitted(ask: Any, account: str | None) -> None:
    for path in ("/export", "/export-in-loop", "/call", "/api/exports"):
        answer = ask(path, account)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted"), path


@EITHER
def test_a_permission_counts_nothing_and_its_answer_has_the_rate_limit(ask: Any, api: Api, acme: str) -> None:
    answer = ask("/api/calls", acme)
    assert (answer.json(), api.check(acme, "api_calls")["used"]) == ({"left": 1000}, 0)
    assert answer.headers["ratelimit"].startswith('"api_calls";r=1000;t=')


def test_a_view_of_the_rest_framework_counts_by_the_decorator(api: Api, acme: str) -> None:
    assert get("/api/calls", acme, "POST").json() == {"left": 995}
    assert api.check(acme, "api_calls")["used"] == 5


def test_a_denial_has_a_page_where_pages_are_asked_for(acme: str) -> None:
    answer = get("/api/exports", acme, accept="text/html")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (402, "text/html")
    # The page asks about every method that a form could send: it stands though one of them is denied.
    assert get("/api/calls", acme, accept="text/html").status_code == 200


def test_another_permission_may_allow_what_this_one_denies(acme: str) -> None:
    assert get("/api/either", acme).status_code == 200


def test_two_gates_on_one_view_both_have_a_say(acme: str) -> None:
    answer = get("/two-gates", acme)
    assert answer.content == b"both"
    assert answer.headers["ratelimit-policy"] == '"api_calls";q=1000, "api_calls";q=1000'
    assert get("/call?calls=600", acme).status_code == 200
    assert get("/two-gates", acme).status_code == 429


@pytest.mark.parametrize(
    ("named", "why"),
    [({}, "say where your DjangoGate is"), ({"GATE": "support.django_shop.PAGE"}, "is no DjangoGate")],
)
def test_a_gate_that_is_not_there_is_said_at_the_start(named: dict[str, str], why: str) -> None:
    with override_settings(PAYGRADE=named), pytest.raises(ImproperlyConfigured, match=why):
        get("/export", None)
