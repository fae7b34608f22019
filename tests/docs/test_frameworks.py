"""The snippets of the page on web frameworks run as they are written, each beside a real Paygrade."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from paygrade import Paygrade
from support.server_process import KEY, Api

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


async def asked(app: Any, method: str, path: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
        return await client.request(method, path, headers=TOKEN)


def test_the_snippet_of_fastapi_denies_and_counts() -> None:
    app = play("FastAPI")["app"]
    denied = asyncio.run(asked(app, "GET", "/export"))
    assert (denied.status_code, denied.json()["upgrade_url"]) == (402, "https://example.com/billing")
    left = asyncio.run(asked(app, "POST", "/calls")).json()["left"]
    assert asyncio.run(asked(app, "POST", "/calls")).json() == {"left": left - 1}


def test_the_snippet_of_flask_denies_and_counts() -> None:
    client = play("Flask")["flask_app"].test_client()
    assert client.get("/export", headers=TOKEN).status_code == 402
    left = client.post("/calls", headers=TOKEN).get_json()["left"]
    assert client.post("/calls", headers=TOKEN).get_json() == {"left": left - 1}


def test_the_snippet_of_an_asgi_application_denies() -> None:
    app = play("FastAPI", "Any ASGI application")["asgi_app"]
    denied = asyncio.run(asked(app, "GET", "/"))
    assert denied.status_code == 402


def test_the_document_of_the_page_is_what_is_answered() -> None:
    (shown,) = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    denied = asyncio.run(asked(play("FastAPI")["app"], "GET", "/export"))
    assert denied.json() == httpx2.Response(200, content=shown.encode()).json()


def test_the_sdk_of_the_page_finds_its_server_by_the_environment(api: Api) -> None:
    with Paygrade(timeout_s=10) as sdk:
        assert not sdk.check("acme", "exports").stale
