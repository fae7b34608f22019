"""The SDK in processes that fork, sleep, end and lose their network: real ones, beside a real server."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from paygrade import Paygrade
from paygrade.decisions.following import Hello, Views, remember
from paygrade.decisions.sending import views
from paygrade.decisions.take import snapshot_of
from paygrade.server.http import streams as http_streams
from support.server_process import KEY, Api

WAIT_S = 30.0
BEFORE = (
    "from paygrade import Paygrade\nimport os, sys, time, asyncio\nsdk, account = Paygrade(timeout_s=10), sys.argv[1]\n"
)


def run(api: Api, account: str, program: str, *, code: int = 0) -> str:
    """What such a program prints; it has the SDK as `sdk`."""
    environ = {**os.environ, "PAYGRADE_URL": api.url, "PAYGRADE_API_KEY": KEY}
    ended = subprocess.run(
        [sys.executable, "-c", BEFORE + program, account], env=environ, capture_output=True, text=True, timeout=WAIT_S
    )
    assert ended.returncode == code, ended.stderr
    return ended.stdout


def streams(api: Api) -> int:
    found = re.search(r"^paygrade_streams ([\d.]+)$", api.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def used(api: Api, account: str) -> int:
    return int(api.check(account, "api_calls")["used"])


def test_a_fork_has_threads_and_a_stream_of_its_own_and_the_parent_keeps_its(api: Api, acme: str) -> None:
    told = run(api, acme, """
assert sdk.check(account, "api_calls").allowed
while sdk.status().state != "connected": time.sleep(0.01)
child = os.fork()
if child == 0:
    # What the parent knew is known, and stale until the child's own stream runs.
    assert sdk.check(account, "api_calls").limit == 1000
    while sdk.check(account, "api_calls").stale: time.sleep(0.01)
    sdk.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert sdk.status().state == "connected" and not sdk.check(account, "api_calls").stale
print("both")
""")  # fmt: skip
    assert told == "both\n"


def test_what_a_parent_has_not_sent_is_sent_once(api: Api, acme: str) -> None:
    run(api, acme, """
sdk.track(account, "api_calls", 3)
if os.fork() == 0:
    assert sdk.status().buffered == 0
    sdk.track(account, "api_calls", 10)
    sys.exit(0)
os.wait()
""")  # fmt: skip
    assert used(api, acme) == 13


def test_workers_of_multiprocessing_each_decide(api: Api, acme: str) -> None:
    told = run(api, acme, """
import multiprocessing
def ask(number):
    return sdk.consume(account, "api_calls").allowed
if __name__ == "__main__":
    sdk.check(account, "api_calls")
    with multiprocessing.get_context("fork").Pool(4) as pool:
        print(sum(pool.map(ask, range(40))))
""")  # fmt: skip
    assert told == "40\n"
    # The pool ends its workers by a signal: what they had claimed and not used stays counted, and that is little.
    assert 40 <= used(api, acme) <= 40 + 4 * 20


def test_what_a_child_of_multiprocessing_has_not_sent_is_sent_when_it_ends(api: Api, acme: str) -> None:
    run(api, acme, """
import multiprocessing
def report():
    for _ in range(10): sdk.track(account, "api_calls")
if __name__ == "__main__":
    sdk.check(account, "api_calls")
    for _ in range(2):
        child = multiprocessing.get_context("fork").Process(target=report)
        child.start()
        child.join()
        assert child.exitcode == 0
""")  # fmt: skip
    assert used(api, acme) == 20


def test_fifty_event_loops_one_after_the_other_ask_one_sdk(api: Api, acme: str) -> None:
    told = run(api, acme, """
async def ask():
    return (await sdk.acheck(account, "api_calls")).allowed
print(sum(asyncio.run(ask()) for _ in range(50)), sdk.status().state in ("connected", "off"))
""")  # fmt: skip
    assert told == "50 True\n"


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not there")
def test_programs_started_under_uvloop_leave_the_stream_alone(api: Api, acme: str) -> None:
    told = run(api, acme, """
import uvloop
async def ask():
    await sdk.acheck(account, "api_calls")
    while sdk.status().state != "connected": await asyncio.sleep(0.01)
    since = sdk.status().since
    for _ in range(20):
        child = await asyncio.create_subprocess_exec("true")
        assert await child.wait() == 0
    assert not sdk.check(account, "api_calls").stale
    return sdk.status().since == since
print(uvloop.run(ask()))
""")  # fmt: skip
    assert told == "True\n"


def test_what_is_buffered_at_exit_is_sent(api: Api, acme: str) -> None:
    run(api, acme, 'for n in range(100): sdk.track(account, "api_calls")')
    assert used(api, acme) == 100


def test_an_exit_does_not_wait_for_a_server_that_is_not_there(acme: str) -> None:
    began_s = time.monotonic()
    environ = {**os.environ, "PAYGRADE_URL": "http://127.0.0.1:9", "PAYGRADE_API_KEY": KEY}
    program = BEFORE + 'sdk.track(account, "api_calls"); assert not sdk.check(account, "api_calls").allowed'
    subprocess.run([sys.executable, "-c", program, acme], env=environ, check=True, timeout=WAIT_S)
    assert time.monotonic() - began_s < WAIT_S


def test_there_is_one_stream_a_process_and_none_when_it_ends(api: Api, acme: str) -> None:
    assert streams(api) == 0
    with Paygrade(api.url, KEY) as sdk:
        for _ in range(20):
            sdk.check(acme, "api_calls")
        until(lambda: streams(api) == 1)
    until(lambda: streams(api) == 0)


def test_a_process_that_slept_knows_that_it_knows_nothing(api: Api, acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_streams, "BEAT_S", 0.1)
    api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True, "reason": "a promise"})
    environ = {**os.environ, "PAYGRADE_URL": api.url, "PAYGRADE_API_KEY": KEY}
    program = (
        BEFORE
        + """
sdk.check(account, "exports")
while sdk.status().state != "connected": time.sleep(0.01)
print("asleep", flush=True)
for line in sys.stdin:
    found = sdk.check(account, "exports")
    print(found.allowed, found.stale, flush=True)
"""
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, acme], env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "asleep\n"
        process.send_signal(signal.SIGSTOP)
        api.ok("DELETE", f"/v1/accounts/{acme}/overrides/exports")
        time.sleep(1.0)  # ten beats long
        process.stdin.write("\n")
        process.stdin.flush()
        process.send_signal(signal.SIGCONT)
        # Whoever asks first is told what was known, as stale, or what is true.
        assert process.stdout.readline() in ("True True\n", "False False\n", "False True\n")
        give_up_at, told = time.monotonic() + WAIT_S, ""
        while told != "False False\n":
            assert time.monotonic() < give_up_at
            process.stdin.write("\n")
            process.stdin.flush()
            told = process.stdout.readline()
        process.stdin.close()


class Relay:
    """Passes bytes on to a server, until it swallows them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.swallows = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                for here, there in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(here, there), daemon=True).start()

    def _pass(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while part := here.recv(65536):
                if not self.swallows:
                    there.sendall(part)
            there.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listening.close()


@contextmanager
def relayed(api: Api) -> Iterator[Relay]:
    made = Relay(int(api.url.rpartition(":")[2]))
    yield made
    made.close()


def test_a_network_that_swallows_everything_is_noticed_and_survived(
    api: Api, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_streams, "BEAT_S", 0.1)
    api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True, "reason": "a promise"})
    with relayed(api) as relay, Paygrade(relay.url, KEY, timeout_s=1) as sdk:
        sdk.check(acme, "exports")
        until(lambda: sdk.status().state == "connected")
        relay.swallows = True
        until(lambda: sdk.check(acme, "exports").stale)
        assert sdk.check(acme, "exports").allowed
        until(lambda: sdk.status().state == "interrupted")
        api.ok("DELETE", f"/v1/accounts/{acme}/overrides/exports")
        relay.swallows = False
        until(lambda: not sdk.check(acme, "exports").stale)
        assert not sdk.check(acme, "exports").allowed


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: hello\ndata: nonsense\n\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: news\ndata: {\"accounts\": 7}\n\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"\x00\xff" * 100,
        b"",
    ],
)  # fmt: skip
def test_garbage_instead_of_an_answer_is_no_answer(garbage: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    with client:
                        client.recv(65536)
                        client.sendall(garbage)

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with Paygrade(url, KEY, timeout_s=5, on_error={"api_calls": "allow"}) as sdk:
            assert not sdk.check("acme", "exports")
            assert sdk.check("acme", "api_calls")
            assert sdk.consume("acme", "api_calls").stale
            assert sdk.status().state != "connected"
            sdk.flush(0.1)
        listening.shutdown(socket.SHUT_RDWR)


def test_whoever_hears_the_server_again_asks_it_at_once() -> None:
    asked: list[str] = []

    class Busy(BaseHTTPRequestHandler):
        """Asks to be left alone for five minutes, and then is there: its streams begin, and end again."""

        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            now = datetime.now(UTC)
            nobody = remember(snapshot_of("acme", "1.1", now, now + timedelta(days=1), (), known=False), ())
            shapes, accounts = views([nobody])
            body = msgspec.json.encode(Views(now=now, shapes=shapes, accounts=accounts))
            self.send_response(503 if len(asked) == 1 else 200)
            self.send_header("retry-after", "300")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            hello = Hello(now=datetime.now(UTC), resumed="full", beat_s=5, catalog=1)
            self.wfile.write(b"event: hello\ndata: " + msgspec.json.encode(hello) + b"\n\n")

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Paygrade(f"http://127.0.0.1:{server.server_port}", KEY, timeout_s=5) as sdk:
            sdk.prefetch(["acme"])
            until(lambda: sdk.status().accounts == 1)
        server.shutdown()
    assert len(asked) >= 2


def until(what: object) -> None:
    assert callable(what)
    give_up_at = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
