"""Traces of a real server process that somebody watches: from webhook to facts and to the webhooks that are sent of
them, and from the SDK to a decision."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from paygrade import Paygrade
from paygrade.catalog.parse import parse
from paygrade.cli.demo_company import Company
from paygrade.client import tracing as client_tracing
from paygrade.documents.catalog_file import read_catalog
from paygrade.simulator.http import serve as simulator
from support.cluster import free_ports
from support.databases import migrated_database
from support.receiver import receiving
from support.server_process import KEY, SAMPLE, Api
from support.waiting import eventually

WATCHED = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
provider = TracerProvider()
out = open(sys.argv.pop(1), "a", buffering=1)
line = lambda span: span.to_json(indent=None) + "\\n"
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out, formatter=line)))
trace.set_tracer_provider(provider)
from paygrade.cli.main import main
main()
"""
TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7
HERS = f"00-{TRACE:032x}-{SPAN:016x}-01"


class Watched:
    """A server whose spans are written to a file."""

    def __init__(self, api: Api, shop: Company, spans: Path) -> None:
        self.api, self.shop, self._spans = api, shop, spans

    def spans(self, name: str = "", **attributes: Any) -> list[Any]:
        """Those of this name, and with these attributes."""
        found = [json.loads(line) for line in self._spans.read_text().splitlines() if line.endswith("}")]
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return [each for each in found if name in ("", each["name"]) and wanted.items() <= each["attributes"].items()]

    def by_id(self, span_id: str) -> Any:
        """The span that has this id, once it has ended."""
        return eventually(lambda: [each for each in self.spans() if each["context"]["span_id"] == span_id])[0]

    def seen(self, name: str, **attributes: Any) -> Any:
        return eventually(lambda: self.spans(name, **attributes))[-1]


@pytest.fixture(scope="module")
def watched(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    spans = tmp_path_factory.mktemp("traces") / "spans"
    spans.touch()
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with (
        simulator.running(start=datetime(2026, 1, 31, 12, tzinfo=UTC)) as provider,
        migrated_database(postgres_url) as database_url,
        serving(spans, port, {
            "PAYGRADE_DATABASE_URL": database_url,
            "PAYGRADE_ADMIN_KEY": KEY,
            "PAYGRADE_CATALOG": str(SAMPLE),
            "PAYGRADE_STRIPE_API_KEY": provider.key,
            "PAYGRADE_STRIPE_API_BASE": provider.url,
            "PAYGRADE_STRIPE_WEBHOOK_SECRET": provider.secret,
            "PAYGRADE_CLOCK_URL": provider.url,
            "PAYGRADE_WEBHOOK_ALLOW": "127.0.0.0/8",
        }),
        Api(url) as api,
    ):  # fmt: skip
        eventually(lambda: is_ready(api), within_s=90)
        hooks = httpx2.post(
            f"{provider.url}/_simulator/webhooks", json={"url": f"{url}/webhooks/stripe"}, trust_env=False, verify=False
        )
        assert hooks.is_success
        shop = Company(url=provider.url, key=provider.key)
        shop.stock(parse(read_catalog(SAMPLE)[0]))
        yield Watched(api, shop, spans)


@contextmanager
def serving(spans: Path, port: int, settings: dict[str, str]) -> Iterator[None]:
    command = [sys.executable, "-c", WATCHED, str(spans), "serve", "--port", str(port)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PAYGRADE_")}
    process = subprocess.Popen(command, env=kept | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def is_ready(api: Api) -> bool:
    try:
        return api.get("/readyz").is_success
    except httpx2.HTTPError:
        return False


def test_a_webhook_leads_by_a_link_to_the_reading_that_it_asked_for(watched: Watched) -> None:
    watched.shop.welcome("acme", "Acme")
    watched.shop.subscribe("acme", "pro_monthly", quantity=3)
    watched.api.eventually("acme", "exports", allowed=True)

    def linked() -> list[tuple[Any, Any]]:
        received = {each["context"]["span_id"]: each for each in watched.spans("POST /webhooks/stripe")}
        read = watched.spans("sync subject", paygrade__outcome="saved")
        return [(received[id], each) for each in read for id in link_ids(each) if id in received]

    hook, read = eventually(linked)[0]
    assert hook["kind"] == "SpanKind.SERVER"
    assert hook["attributes"]["http.response.status_code"] == 200
    assert read["context"]["trace_id"] != hook["context"]["trace_id"]
    assert read["attributes"]["paygrade.subject"].startswith("stripe:")
    parts = {each["name"] for each in watched.spans() if each["parent_id"] == read["context"]["span_id"]}
    assert parts == {"fetch from provider", "save facts in a transaction"}


def test_one_goes_from_the_webhook_that_came_to_the_webhook_that_is_sent(watched: Watched) -> None:
    with receiving() as receiver:
        wanted = {"url": receiver.url, "types": ["account.plan_changed"], "accounts": ["gamma"]}
        endpoint = watched.api.ok("POST", "/v1/webhook-endpoints", json=wanted)
        watched.shop.welcome("gamma", "Gamma")
        watched.shop.subscribe("gamma", "pro_monthly", quantity=3)
        (arrived,) = receiver.got(1)
    sent = watched.seen("send webhook", paygrade__update=arrived.id)
    _, trace_id, span_id, _ = arrived.headers["traceparent"].split("-")
    assert {name: sent["context"][name] for name in ("trace_id", "span_id")} == {
        "trace_id": f"0x{trace_id}",
        "span_id": f"0x{span_id}",
    }
    assert (sent["kind"], sent["parent_id"]) == ("SpanKind.CLIENT", None)
    told = {name.removeprefix("paygrade."): value for name, value in sent["attributes"].items()}
    assert told == {
        "endpoint": endpoint["id"],
        "update": arrived.id,
        "type": "account.plan_changed",
        "account": "gamma",
        "version": arrived.json["state_version"],
        "attempt": 1,
        "http.response.status_code": 204,
    }

    (fact,) = [each for each in watched.spans("record fact") if each["context"]["span_id"] in link_ids(sent)]
    assert fact["attributes"]["paygrade.account"] == "gamma"
    assert fact["attributes"]["paygrade.version"] == arrived.json["state_version"]
    assert fact["attributes"]["paygrade.subject"].startswith("stripe:cus_")
    saved = watched.by_id(fact["parent_id"])
    read = watched.by_id(saved["parent_id"])
    assert (saved["name"], read["name"]) == ("save facts in a transaction", "sync subject")
    hooks = [watched.by_id(id) for id in link_ids(read)]
    assert {each["name"] for each in hooks} == {"POST /webhooks/stripe"}


def test_a_request_leads_to_what_is_sent_of_it_and_names_no_member(watched: Watched) -> None:
    path = "/v1/accounts/delta/members/ann@example.com"
    watched.api.ok("PUT", "/v1/accounts/delta", json={})
    watched.api.ok("PUT", path, json={"role": "admin"}, headers={"traceparent": HERS})
    fact = watched.seen("record fact", paygrade__account="delta", paygrade__version=2)
    assert (fact["context"]["trace_id"], fact["attributes"]["paygrade.subject"]) == (f"0x{TRACE:032x}", "member")
    assert "ann@example.com" not in json.dumps(watched.spans())


def link_ids(span: Any) -> list[str]:
    return [link["context"]["span_id"] for link in span["links"]]


def test_a_decision_is_named_on_the_span_of_its_request(watched: Watched) -> None:
    asked = {"account": "nobody", "feature": "exports"}
    for path, body in (("/v1/check", asked), ("/v1/check", {**asked, "member": "ann"})):
        answer = watched.api.post(path, json=body, headers={"traceparent": HERS})
        assert answer.json()["reason"] == "unknown_account"
        span = watched.seen(f"POST {path}", paygrade__request_id=answer.headers["x-request-id"])
        assert span["context"]["trace_id"] == f"0x{TRACE:032x}"
        assert span["parent_id"] == f"0x{SPAN:016x}"
        (event,) = span["events"]
        assert event["name"] == "feature_flag.evaluation"
        assert event["attributes"]["feature_flag.key"] == "exports"
        assert event["attributes"]["feature_flag.context.id"] == "nobody"
        assert event["attributes"]["feature_flag.result.value"] is False
        assert event["attributes"]["feature_flag.result.reason"] == "default"
        assert event["attributes"]["paygrade.reason"] == "unknown_account"


def test_the_sdk_s_requests_belong_to_the_span_of_who_uses_it(watched: Watched) -> None:
    watched.api.ok("PUT", "/v1/accounts/beta", json={})
    with Paygrade(url=watched.api.url, api_key=KEY) as sdk, trace.use_span(hers()):
        assert sdk.consume("beta", "api_calls", 1, id="traced")
    span = watched.seen("POST /v1/consume", http__route="/v1/consume")
    assert (span["context"]["trace_id"], span["parent_id"]) == (f"0x{TRACE:032x}", f"0x{SPAN:016x}")
    assert span["events"][0]["attributes"]["feature_flag.key"] == "api_calls"


def test_a_request_that_says_nonsense_of_its_trace_begins_one_of_its_own(watched: Watched) -> None:
    for odd in ("", "x", "00-0-0-00", HERS + HERS, "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        answer = watched.api.get("/v1/accounts/beta-odd", headers={"traceparent": odd})
        assert answer.status_code == 404
        span = watched.seen("GET /v1/accounts/{account}", paygrade__request_id=answer.headers["x-request-id"])
        assert span["parent_id"] is None


def hers() -> NonRecordingSpan:
    return NonRecordingSpan(SpanContext(TRACE, SPAN, is_remote=False, trace_flags=TraceFlags(1)))


def test_the_sdk_says_nothing_where_nobody_traces() -> None:
    assert client_tracing.headers() == {}
    with trace.use_span(hers()):
        assert client_tracing.headers() == {"traceparent": HERS}


def test_neither_the_sdk_nor_a_server_without_a_provider_pays_for_traces() -> None:
    script = (
        "import sys, paygrade; from paygrade.client import transport; assert 'opentelemetry' not in sys.modules;"
        "from paygrade.server.process import tracing; assert not tracing.is_on(); assert tracing.traceparent() is None"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
