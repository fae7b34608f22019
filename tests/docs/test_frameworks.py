"""The snippets of the page on frameworks run as they are written, each beside a real Paygrade."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openfeature import api as openfeature
from openfeature.evaluation_context import EvaluationContext

from paygrade import Paygrade
from paygrade.client.integrations.celery import TaskDenied
from support.server_process import KEY, SAMPLE, Api
from support.waiting import eventually

PAGE = Path(__file__).resolve().parents[2] / "docs" / "frameworks.md"
TOKEN = {"authorization": "Bearer token_of_acme"}


def snippets(heading: str) -> list[str]:
    """The Python of one section, as it is written."""
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (section,) = (text for text in sections if text.startswith(f"{heading}\n"))
    return re.findall(r"^```py(?:thon)?\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def play(*headings: str) -> dict[str, Any]:  # Any: whatever the snippets name
    names: dict[str, Any] = {}
    for heading in headings:
        for text in snippets(heading):
            exec(compile(text, f"frameworks.md, {heading}", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def acme_of_the_page(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PAYGRADE_URL", api.url)
    monkeypatch.setenv("PAYGRADE_API_KEY", KEY)
    api.ok("PUT", "/v1/accounts/acme", json={"name": "Acme"})
    yield
    api.ok("DELETE", "/v1/accounts/acme")


def used(api: Api) -> int:
    """How many calls count at the server, those that a process has claimed ahead of use among them."""
    return int(api.check("acme", "api_calls")["used"])


async def asked(app: Any, method: str, path: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
        return await client.request(method, path, headers=TOKEN)


def test_the_snippet_of_fastapi_denies_and_counts(api: Api) -> None:
    app = play("FastAPI")["app"]
    denied = asyncio.run(asked(app, "GET", "/export"))
    assert (denied.status_code, denied.json()["upgrade_url"]) == (402, "https://example.com/billing")
    before = used(api)
    left = asyncio.run(asked(app, "POST", "/calls")).json()["left"]
    assert asyncio.run(asked(app, "POST", "/calls")).json() == {"left": left - 1}
    eventually(lambda: used(api) > before)


def test_the_snippet_of_flask_denies_and_counts(api: Api) -> None:
    client = play("Flask")["flask_app"].test_client()
    assert client.get("/export", headers=TOKEN).status_code == 402
    before = used(api)
    left = client.post("/calls", headers=TOKEN).get_json()["left"]
    assert client.post("/calls", headers=TOKEN).get_json() == {"left": left - 1}
    eventually(lambda: used(api) > before)


MORE_SETTINGS = """
SECRET_KEY, ALLOWED_HOSTS, ROOT_URLCONF = "of a test", ["*"], "shop.urls"
INSTALLED_APPS[:1] = ["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"]
MIDDLEWARE[:1] = ["shop.urls.log_in"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
"""
"""In place of each `...`, what a project has."""
URLS = """
from types import SimpleNamespace
from django.http import HttpResponse
from django.template import engines
from django.urls import path

def log_in(get_response):
    def logged_in(request):
        request.user = SimpleNamespace(workspace=SimpleNamespace(key="acme"), is_active=True)
        return get_response(request)
    return logged_in

def page(request):
    return HttpResponse(engines["django"].from_string(PAGE).render({"request": request}))

from shop import api, views
urlpatterns = [path("export", views.export), path("call", views.call), path("page", page),
               path("api/exports", api.Exports.as_view())]
"""
VISIT = """
import django
django.setup()
from django.test import Client
visitor = Client()
for path in ("/export", "/api/exports"):
    answer = visitor.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (402, "application/problem+json"), answer.content
left = visitor.post("/call").json()["left"]
assert visitor.post("/call").json() == {"left": left - 1}
assert b"acme can&#x27;t use exports" in visitor.get("/page").content
print("visited")
"""


def test_the_snippets_of_django_make_a_project_that_denies_and_counts(api: Api, tmp_path: Path) -> None:
    before = used(api)
    files = {text.partition("\n")[0].removeprefix("# "): text for text in snippets("Django")}
    files |= {text.partition("\n")[0].removeprefix("# "): text for text in snippets("Django REST framework")}
    (page,) = re.findall(r"^```html\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    files["shop/settings.py"] += MORE_SETTINGS
    files["shop/urls.py"] = f"PAGE = {page!r}\n{URLS}"
    (tmp_path / "shop").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    ended = subprocess.run(
        [sys.executable, "-c", VISIT],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "shop.settings"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (0, "visited\n"), ended.stderr
    assert used(api) > before


def test_the_snippet_of_an_asgi_application_denies() -> None:
    app = play("FastAPI", "Any ASGI application")["asgi_app"]
    denied = asyncio.run(asked(app, "GET", "/"))
    assert denied.status_code == 402


def test_the_snippet_of_celery_denies_and_counts(api: Api) -> None:
    names = play("FastAPI", "Celery")
    denied = names["export_rows"].apply(args=["acme"])
    assert isinstance(denied.result, TaskDenied)
    assert denied.result.problem["status"] == 402
    before = used(api)
    assert names["sync_rows"].apply(kwargs={"workspace": "acme"}).successful()
    assert used(api) > before


def test_the_snippet_of_openfeature_decides() -> None:
    try:
        flags = play("FastAPI", "OpenFeature")["flags"]
        found = flags.get_boolean_details("exports", True, EvaluationContext("acme"))
        assert (found.value, found.error_code) == (False, None)
    finally:
        openfeature.clear_providers()


def test_the_snippet_of_a_products_own_tests_passes(tmp_path: Path) -> None:
    (tmp_path / "paygrade.yaml").write_text(SAMPLE.read_text(encoding="utf-8"))
    (tmp_path / "shop.py").write_text("\n".join(snippets("Flask")))
    (tmp_path / "test_shop.py").write_text("\n".join(snippets("Your own tests")))
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", tmp_path, tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "2 passed" in ended.stdout, ended.stdout + ended.stderr


def test_the_document_of_the_page_is_what_is_answered() -> None:
    (shown,) = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    denied = asyncio.run(asked(play("FastAPI")["app"], "GET", "/export"))
    assert denied.json() == httpx2.Response(200, content=shown.encode()).json()


def test_the_sdk_of_the_page_finds_its_server_by_the_environment(api: Api) -> None:
    with Paygrade(timeout_s=10) as sdk:
        # What is read before the stream is connected is read once more.
        eventually(lambda: not sdk.check("acme", "exports").stale)
