"""`paygrade mcp`, driven by the official client: over standard input and output, and once over HTTP."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from anyio.from_thread import start_blocking_portal
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from paygrade.cli.confirmation import HOLDS_S, Confirmations
from paygrade.cli.mcp_tools import ANSWER_MAX, fitting
from paygrade.values.errors import Refused
from support.cli_runner import ENDS_S, RUN, Shell
from support.server_process import KEY, Api
from support.waiting import eventually

WRITES = {"set_override", "remove_override", "grant_units", "change_plan"}


class Assistant:
    """A session of the official client. Any: what tools answer."""

    def __init__(self, call: Callable[..., Any], tools: Any) -> None:
        self._call, self.tools = call, tools

    def answer(self, tool: str, **arguments: object) -> Any:
        """What a tool answers, which must succeed."""
        result = self._call(tool, arguments)
        assert not result.is_error, result.content
        assert len(result.content[0].text) <= ANSWER_MAX
        return json.loads(result.content[0].text)

    def error(self, tool: str, **arguments: object) -> str:
        """What a tool says that does not succeed."""
        result = self._call(tool, arguments)
        assert result.is_error, result.content
        return str(result.content[0].text)

    def agree(self, tool: str, **arguments: object) -> Any:
        """What a tool answers once a person has agreed to its preview."""
        preview = self.answer(tool, **arguments)
        assert preview["done"] is False
        done = self.answer(tool, **arguments, confirm=preview["confirm"])
        assert done["done"] is True
        return done


@contextmanager
def assisting(transport: AbstractAsyncContextManager[Any]) -> Iterator[Assistant]:
    with ExitStack() as opened:
        portal = opened.enter_context(start_blocking_portal())
        read, write, *_ = opened.enter_context(portal.wrap_async_context_manager(transport))
        session = opened.enter_context(portal.wrap_async_context_manager(ClientSession(read, write)))
        portal.call(session.initialize)
        yield Assistant(
            lambda tool, given: portal.call(session.call_tool, tool, given), portal.call(session.list_tools).tools
        )


def started(api: Api, *arguments: str, key: str = KEY) -> StdioServerParameters:
    environ = {"PAYGRADE_URL": api.url, "PAYGRADE_API_KEY": key}
    return StdioServerParameters(command=RUN[0], args=[*RUN[1:], "mcp", *arguments], env=environ)


@pytest.fixture(scope="module")
def assistant(api: Api) -> Iterator[Assistant]:
    with assisting(stdio_client(started(api))) as made:
        yield made


@pytest.fixture
def buyer(api: Api, acme: str) -> str:
    """An account that pays for `pro` by hand."""
    items = [{"id": "main", "plan": "pro", "quantity": 5}]
    stated = {"version": 1, "status": "active", "items": items, "anchor_at": "2026-01-01T00:00:00Z"}
    api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/sub_{acme}", json=stated)
    return acme


def of(api: Api, account: str) -> list[Any]:
    found: list[Any] = api.ok("GET", f"/v1/accounts/{account}/audit")["records"]
    return found


def test_tools_say_whether_they_only_read_and_what_their_arguments_are(assistant: Assistant) -> None:
    reads = {tool.name for tool in assistant.tools if tool.annotations.read_only_hint}
    assert {tool.name for tool in assistant.tools} - reads == WRITES
    assert {tool.name for tool in assistant.tools if tool.annotations.destructive_hint} == WRITES - {"grant_units"}
    described = [of for tool in assistant.tools for of in tool.input_schema["properties"].values()]
    assert all(tool.description for tool in assistant.tools)
    assert len(reads) == 12
    assert sum("description" in each for each in described) > 40


def test_why_an_account_was_denied_is_answered_with_what_was_looked_at(assistant: Assistant, acme: str) -> None:
    found = assistant.answer("find_accounts", search=acme)["accounts"]
    assert [one["account"] for one in found] == [acme]
    denied = assistant.answer("explain", account=acme, feature="exports")
    assert denied["answer"].startswith(f"{acme} can't use exports")
    assert denied["decision"]["reason"] == "not_in_plan"
    assert denied["facts"]
    assert assistant.answer("check", account=acme, feature="seats", quantity=2)["reason"] == "limit_reached"
    shown = assistant.answer("show_account", account=acme)
    assert {"feature": "exports", "allowed": False}.items() <= shown["decisions"][0].items()


def test_who_gave_an_override_is_answered_by_the_audit_log(assistant: Assistant, api: Api, acme: str) -> None:
    api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True, "reason": "pilot"})
    (record,) = assistant.answer("audit", account=acme, action="override")["records"]
    assert record["actor"]["name"] == "the server's admin key"
    assert record["personal"] == {"reason": [None, "pilot"]}
    assert "override of `exports`" in assistant.answer("timeline", account=acme)["facts"][0]["summary"]


def test_everything_else_that_reads_is_answered(assistant: Assistant, api: Api, acme: str) -> None:
    api.ok("POST", "/v1/consume", json={"account": acme, "feature": "api_calls", "quantity": 3, "id": "u1"})
    assert assistant.answer("usage", account=acme, feature="api_calls")["windows"][0]["used"] == 3
    # Updates have their places a moment after they are written.
    eventually(lambda: assistant.answer("updates", account=acme)["updates"])
    assert assistant.answer("plan_changes", account=acme)["changes"] == []
    assert assistant.answer("catalog", part="features", key="exports")["features"]["exports"]["kind"] == "boolean"
    assert "it has" in assistant.error("catalog", part="plans", key="gold")
    assert assistant.answer("catalog")["version"] == 1
    assert assistant.answer("sync_status")["failing"] == []
    assert assistant.answer("drift", only_open=True)["drift"] == []


def test_refusals_are_told_in_the_words_of_the_api(assistant: Assistant, acme: str) -> None:
    assert "[unknown_account]" in assistant.error("show_account", account="nobody")
    assert "did you mean `exports`?" in assistant.error(
        "set_override", account=acme, feature="exportss", value=True, reason="pilot"
    )
    misfit = assistant.error("set_override", account=acme, feature="exports", limit=3, reason="pilot")
    assert "[invalid_override]" in misfit
    assert "[unknown_override]" in assistant.error("remove_override", account=acme, feature="exports", reason="over")
    assert "limit" in assistant.error("timeline", account=acme, limit=10_000)
    assert "reason" in assistant.error("remove_override", account=acme, feature="exports")


def test_an_override_is_previewed_then_set_then_removed_and_each_is_audited(
    assistant: Assistant, api: Api, acme: str
) -> None:
    said = {"account": acme, "feature": "exports", "value": True, "reason": "promised by support"}
    preview = assistant.answer("set_override", **said)
    assert (preview["done"], preview["now"]["allowed"], preview["then"]["allowed"]) == (False, False, True)
    assert [record["action"] for record in of(api, acme)] == ["account.put"]
    assert api.check(acme, "exports")["allowed"] is False
    done = assistant.answer("set_override", **said, confirm=preview["confirm"])
    assert done["decision"]["reason"] == "override"
    record = of(api, acme)[0]
    assert (record["action"], record["personal"]) == ("override.set", {"reason": [None, "promised by support"]})
    assert record["request"].startswith("mcp_")
    again = {"account": acme, "feature": "exports", "reason": "the pilot is over"}
    assert assistant.answer("remove_override", **again)["then"]["reason"] == "not_in_plan"
    assert api.check(acme, "exports")["allowed"] is True
    assert assistant.agree("remove_override", **again)["decision"]["allowed"] is False
    record = of(api, acme)[0]
    assert record["action"] == "override.remove"
    assert record["personal"]["reason"] == ["promised by support", "the pilot is over"]
    assert "(the pilot is over)" in assistant.answer("timeline", account=acme)["facts"][0]["summary"]


def test_a_confirmation_is_of_its_arguments_and_of_the_account_as_it_was(
    assistant: Assistant, api: Api, acme: str
) -> None:
    said = {"account": acme, "feature": "exports", "value": True, "reason": "promised"}
    confirm = assistant.answer("set_override", **said)["confirm"]
    for other in ({"reason": "no reason"}, {"value": False}, {"expires_at": "2030-01-01T00:00:00Z"}):
        assert "[confirmation_invalid]" in assistant.error("set_override", **{**said, **other}, confirm=confirm)
    assert "[confirmation_invalid]" in assistant.error("set_override", **said, confirm=confirm[:-1] + "~")
    assert "[confirmation_invalid]" in assistant.error("set_override", **said, confirm="yes")
    api.ok("PUT", f"/v1/accounts/{acme}/blocks/fraud", json={})
    assert "[account_changed]" in assistant.error("set_override", **said, confirm=confirm)
    assert [record["action"] for record in of(api, acme)] == ["block.set", "account.put"]


def test_units_are_granted_once_however_often_it_is_confirmed(assistant: Assistant, api: Api, acme: str) -> None:
    said = {"account": acme, "feature": "ai_credits", "units": 5, "reason": "sorry for the outage"}
    preview = assistant.answer("grant_units", **said)
    for _ in range(2):
        assert assistant.answer("grant_units", **said, confirm=preview["confirm"])["done"]
    grants = api.ok("GET", f"/v1/accounts/{acme}/balances/ai_credits")["grants"]
    assert [one["grant"]["units"] for one in grants if one["grant"]["kind"] == "adjustment"] == [5]
    assert [record["action"] for record in of(api, acme)].count("grant.give") == 1


def test_a_plan_changes_as_its_quote_said_with_the_reason_in_the_audit_log(
    assistant: Assistant, api: Api, buyer: str
) -> None:
    said = {"account": buyer, "plan": "business", "interval": "monthly", "when": "now"}
    said["reason"] = "asked for by phone"
    preview = assistant.answer("change_plan", **said)
    assert any("pro@1 → business@1" in line for line in preview["quote"])
    assert api.check(buyer, "exports")["plan"] == "pro@1"
    change = assistant.answer("change_plan", **said, confirm=preview["confirm"])["plan_change"]
    assert change["state"] == "applied"
    assert api.check(buyer, "exports")["plan"] == "business@1"
    (record,) = [record for record in of(api, buyer) if record["action"] == "plan_change.request"]
    assert record["personal"] == {"reason": "asked for by phone"}
    stale = assistant.answer("change_plan", **{**said, "plan": "pro"})["confirm"]
    api.ok("PUT", f"/v1/accounts/{buyer}/blocks/fraud", json={})
    assert "[account_changed]" in assistant.error("change_plan", **{**said, "plan": "pro"}, confirm=stale)


def test_over_http_the_key_decides_what_may_be_done(api: Api, acme: str, tmp_path: Path) -> None:
    key = api.ok("POST", "/v1/keys", json={"name": "assistant", "role": "viewer", "never_expires": True})["key"]
    environ = {"PAYGRADE_URL": api.url, "PAYGRADE_API_KEY": key, "PATH": ""}
    process = subprocess.Popen(
        [*RUN, "mcp", "--http", "--port", "0"], env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+/mcp", process.stderr.readline())
        with assisting(streamable_http_client(url)) as viewer:
            assert viewer.answer("check", account=acme, feature="exports")["allowed"] is False
            refused = viewer.error("set_override", account=acme, feature="exports", value=True, reason="pilot")
            assert "`overrides:write`" in refused
            assert "[insufficient_scope]" in refused
            assert "[insufficient_scope]" in viewer.error("audit", account=acme)
        for header in ({"Host": "rebound.example"}, {"Origin": "https://shop.example"}):
            answer = httpx2.post(
                url, headers={**header, "Content-Type": "application/json"}, json={}, trust_env=False, verify=False
            )
            assert answer.status_code in (403, 421), answer.text
        port = url.rpartition(":")[2].removesuffix("/mcp")
        assert "choose another port" in Shell(tmp_path).run("mcp", "--http", "--port", port, code=3)
    finally:
        process.terminate()
        process.wait(timeout=ENDS_S)


def test_read_only_offers_nothing_that_writes(api: Api, tmp_path: Path) -> None:
    shell = Shell(tmp_path, PAYGRADE_URL=api.url)
    assert WRITES.isdisjoint(tool["name"] for tool in shell.json("mcp", "--read-only")["tools"])
    assert "set_override\tOverride a feature" in shell.run("mcp", "--list")


def test_without_the_library_the_command_says_what_to_install() -> None:
    source = "import sys\nsys.modules['mcp'] = None\nsys.argv = ['paygrade', 'mcp']\n" + RUN[-1]
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=ENDS_S)
    assert ended.returncode == 1
    assert "pip install 'paygrade[mcp]'" in ended.stderr


def test_a_confirmation_ends_and_is_of_the_process_that_made_it() -> None:
    made = Confirmations()
    text = made.make("set_override", {"account": "acme"}, "1.7", at=100)
    assert made.read("set_override", {"account": "acme"}, text, at=100 + HOLDS_S - 1).state == "1.7"
    with pytest.raises(Refused, match="older than 10 minutes"):
        made.read("set_override", {"account": "acme"}, text, at=100 + HOLDS_S)
    for reader, tool, arguments in (
        (Confirmations(), "set_override", {"account": "acme"}),
        (made, "remove_override", {"account": "acme"}),
        (made, "set_override", {"account": "beta"}),
    ):
        with pytest.raises(Refused) as refusal:
            reader.read(tool, arguments, text, at=100)
        assert refusal.value.code == "confirmation_invalid"


def test_an_answer_is_cut_until_it_fits_and_says_so() -> None:
    told = msgspec.json.decode(fitting({"rows": ["x" * 100] * 2_000, "next": None}))
    assert 0 < len(told["rows"]) < 2_000
    assert told["left_out"]["rows"] == 2_000 - len(told["rows"])
    with pytest.raises(Refused, match="ask for less"):
        fitting({"document": {"x": "x" * ANSWER_MAX}})
