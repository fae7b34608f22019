"""LiteLLM, the real one in a Python of its own, with models that are made up: tokens are held, committed, given back.
`make judges` installs it."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from support.server_process import KEY, Api
from support.worlds import JUDGES, ROOT

PYTHON = JUDGES / "bin" / "python"
PLAYER = """
import asyncio, json, sys, time, traceback
import litellm
from paygrade import Paygrade
from paygrade.client.integrations.litellm import PaygradeLogger, TokensDenied, estimated_tokens

litellm.suppress_debug_info = True
sdk = Paygrade(timeout_s=10)
named = lambda request: (request.get("metadata") or {}).get("account")
fixed = None
logger = PaygradeLogger(sdk, account=named, estimate=lambda request: fixed or estimated_tokens(request))
litellm.callbacks = [logger]
broken = litellm.InternalServerError("broken", "openai", "gpt-4o")

def counts():
    # By the server: with a use of nothing, which is exact.
    found = sdk.consume(account, "tokens", 0)
    return found.used, found.reserved

async def settled(*expected):
    # LiteLLM calls its loggers in the background.
    for _ in range(1000):
        sdk.flush()
        if await asyncio.to_thread(counts) == expected: return
        await asyncio.sleep(0.01)
    raise AssertionError((counts(), expected))

for line in sys.stdin:
    fixed, (account, program) = None, json.loads(line)
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "How are you?"}],
             "metadata": {"account": account}}
    try:
        exec(program)
    except BaseException:
        told = traceback.format_exc()
    print(json.dumps(told), flush=True)
"""

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="LiteLLM is not there; `make judges` installs it")


@pytest.fixture
def tokens(api: Api, acme: str) -> str:
    """An account with tokens of its own."""
    api.ok("PUT", f"/v1/accounts/{acme}/overrides/tokens", json={"limit": 10_000, "reason": "a promise"})
    return acme


class Player:
    """LiteLLM takes long to import: one process plays all scenes, each with an account of its own."""

    def __init__(self, running: "subprocess.Popen[str]") -> None:
        self._running = running

    def play(self, account: str, scene: str) -> Any:
        """What the scene left in `told`."""
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        self._running.stdin.write(json.dumps([account, scene]) + "\n")
        self._running.stdin.flush()
        told = json.loads(self._running.stdout.readline())
        assert not isinstance(told, str), told
        return told


@pytest.fixture(scope="module")
def player(api: Api) -> Iterator[Player]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ |= {"PAYGRADE_URL": api.url, "PAYGRADE_API_KEY": KEY, "PYTHONPATH": str(ROOT / "src")}
    environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
    with subprocess.Popen(
        [PYTHON, "-c", PLAYER], env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        yield Player(running)
        running.kill()


def test_a_program_holds_commits_and_gives_back_tokens(api: Api, tokens: str, player: Player) -> None:
    spent, streamed = player.play(tokens, """
async def main():
    answer = await litellm.acompletion(**asked, mock_response="Very well, thank you.")
    spent = answer.usage.total_tokens
    await settled(spent, 0)

    stream = await litellm.acompletion(**asked, mock_response="Very well, thank you.", stream=True,
                                       stream_options={"include_usage": True})
    held = (await asyncio.to_thread(counts))[1]
    streamed = [part.usage.total_tokens async for part in stream if getattr(part, "usage", None)][-1]
    assert held > streamed, held
    await settled(spent + streamed, 0)

    try:
        await litellm.acompletion(**asked, mock_response=broken)
        raise AssertionError("it did not fail")
    except litellm.InternalServerError: pass
    await settled(spent + streamed, 0)

    try:
        await litellm.acompletion(**asked, mock_response="never said", max_tokens=20_000)
        raise AssertionError("it was not denied")
    except TokensDenied as denied:
        assert denied.status_code == 402, denied.problem
        assert denied.problem["reason"] == "limit_reached"
    for metadata in ({}, None):
        try:
            await litellm.acompletion(**{**asked, "metadata": metadata}, mock_response="never said")
            raise AssertionError("it was not denied")
        except TokensDenied as denied:
            assert denied.status_code == 403
    await settled(spent + streamed, 0)
    assert not logger._held
    return spent, streamed
told = asyncio.run(main())
""")  # fmt: skip
    assert min(spent, streamed) > 10
    assert api.check(tokens, "tokens")["used"] == spent + streamed


def test_a_call_that_takes_more_than_was_held_is_counted_in_full(api: Api, tokens: str, player: Player) -> None:
    spent = player.play(tokens, """
fixed = 3
async def main():
    answer = await litellm.acompletion(**asked, mock_response="Very well, thank you.")
    await settled(answer.usage.total_tokens, 0)
    return answer.usage.total_tokens
told = asyncio.run(main())
""")  # fmt: skip
    assert api.check(tokens, "tokens")["used"] == spent > 3


def test_the_proxy_holds_once_however_many_deployments_are_tried(api: Api, tokens: str, player: Player) -> None:
    spent = player.play(tokens, """
from litellm.proxy._types import UserAPIKeyAuth
async def main():
    key = UserAPIKeyAuth(api_key="sk-1")
    sent = {**asked, "litellm_call_id": "chosen by a client"}
    request, again = [await logger.async_pre_call_hook(key, None, dict(sent), "acompletion") for _ in range(2)]
    assert request["litellm_call_id"] != again["litellm_call_id"]
    held = counts()[1] // 2
    for _ in range(2):
        try:
            await litellm.acompletion(**request, mock_response=broken)
        except litellm.InternalServerError: pass
    await settled(0, 2 * held)
    answer = await litellm.acompletion(**request, mock_response="Very well, thank you.")
    await settled(answer.usage.total_tokens, held)
    await logger.async_post_call_failure_hook(again, RuntimeError("broken"), key)
    await settled(answer.usage.total_tokens, 0)
    try:
        await logger.async_pre_call_hook(key, None, {**asked, "max_tokens": 20_000}, "acompletion")
        raise AssertionError("it was not denied")
    except TokensDenied as denied:
        assert (denied.status_code, denied.message) == (402, denied.problem["message"])
    return answer.usage.total_tokens
told = asyncio.run(main())
""")  # fmt: skip
    assert api.check(tokens, "tokens")["used"] == spent


def test_calls_that_nobody_can_hold_back_are_reported(api: Api, tokens: str, player: Player) -> None:
    spent = player.play(tokens, """
answer = litellm.completion(**asked, mock_response="Very well, thank you.")
while not sdk.status().buffered: time.sleep(0.01)  # LiteLLM calls its loggers in a thread
assert sdk.flush()
told = answer.usage.total_tokens
""")  # fmt: skip
    assert api.check(tokens, "tokens")["used"] == spent


def test_the_snippet_of_the_page_takes_its_place(tokens: str, player: Player) -> None:
    page = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^## LiteLLM\n\n```py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert player.play(tokens, f"{snippet}\ntold = [litellm.callbacks == [token_gate]]") == [True]
