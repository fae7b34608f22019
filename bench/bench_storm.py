"""A restart of the server under a thousand streams and a thousand pages: how long until everyone is fresh again.

Streams are SDKs, each a real one with its threads and one account, in processes of their own. Pages ask in bulk over
OFREP as the stock web provider does after it lost its connection: at once, then again after `Retry-After` or with full
jitter. The server is ended (SIGTERM) and started anew at once. Counted from when it is ready: until the last stream is
fresh and the last page answered; requests refused (429 and 5xx), by the server's own count; its processor time.
`STREAMS`, `PAGES`: how many of each. It is not run unless it is named.
"""

import asyncio
import os
import random
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from statistics import median

import httpx2
from room import KEY, PORT, account_key, cpu_s, database, fill, server

from paygrade import Paygrade

STREAMS, PAGES = (int(os.environ.get(name, "1000")) for name in ("STREAMS", "PAGES"))
PROCESSES, GIVE_UP_S = 8, 120.0
URL = f"http://127.0.0.1:{PORT}"
FIRST_S, LONGEST_S = 0.2, 30.0


def main() -> None:
    with database() as url:
        fill(url, max(STREAMS, PAGES))
        with ExitStack() as first:
            first.enter_context(server(url))
            clients = [_started("streams", STREAMS, number) for number in range(PROCESSES)]
            clients += [_started("pages", PAGES, number) for number in range(2)]
            for client in clients:
                _said(client, "fresh")
        with server(url) as process:
            ready_at = time.time()
            for client in clients:
                _tell(client)
            fresh_s = {"streams": list[float](), "pages": list[float]()}
            for number, client in enumerate(clients):
                kind = "streams" if number < PROCESSES else "pages"
                fresh_s[kind] += [float(at) - ready_at for at in _said(client, "fresh").split()]
            used_s = cpu_s(process)
            refused = _refused()
            for client in clients:
                client.terminate()
                client.wait(timeout=30)
    for kind, seen in fresh_s.items():
        ordered = sorted(max(0.0, at) for at in seen)
        print(f"  {f'{len(ordered):,} {kind} until they are fresh':46} {median(ordered):7.2f} s median  "
              f"{ordered[len(ordered) * 99 // 100]:7.2f} s p99  {ordered[-1]:7.2f} s the last")  # fmt: skip
    print(f"  {'requests refused, by status':46} {refused or 'none'}")
    print(f"  {'processor time of the server meanwhile':46} {used_s:7.2f} s, its start among it")


def _started(kind: str, count: int, number: int) -> "subprocess.Popen[str]":
    of = PROCESSES if kind == "streams" else 2
    run = [sys.executable, __file__, kind, str(number), str(of), str(count)]
    return subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _said(client: "subprocess.Popen[str]", word: str) -> str:
    assert client.stdout is not None
    said, _, rest = client.stdout.readline().strip().partition(" ")
    assert said == word, said
    return rest


def _tell(client: "subprocess.Popen[str]") -> None:
    assert client.stdin is not None
    client.stdin.write("\n")
    client.stdin.flush()


def _refused() -> str:
    with httpx2.Client(base_url=URL, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, verify=False) as http:
        told = http.get("/metrics").text
    counts: dict[str, int] = {}
    for status, count in re.findall(r'^paygrade_http_requests_total{.*status="(429|5\d\d)".*} ([\d.]+)$', told, re.M):
        counts[status] = counts.get(status, 0) + int(float(count))
    return ", ".join(f"{count} x {status}" for status, count in sorted(counts.items()))


# In the processes of clients


def _streams(accounts: list[str]) -> None:
    sdks = [Paygrade(URL, KEY, timeout_s=30, prefetch=[account]) for account in accounts]
    pairs = list(zip(sdks, accounts, strict=True))
    for sdk, _ in pairs:
        sdk._connection.start()
    _all_fresh(pairs)
    print("fresh", flush=True)
    sys.stdin.readline()
    print("fresh", *_all_fresh(pairs), flush=True)
    sys.stdin.readline()


def _all_fresh(pairs: list[tuple[Paygrade, str]]) -> list[float]:
    """When each of them was seen to be fresh, which is looked for ten times a second."""
    found: list[float] = []
    give_up_at = time.monotonic() + GIVE_UP_S
    while pairs:
        assert time.monotonic() < give_up_at
        left = [(sdk, account) for sdk, account in pairs if not _is_fresh(sdk, account)]
        found += [time.time()] * (len(pairs) - len(left))
        pairs = left
        time.sleep(0.1)
    return found


def _is_fresh(sdk: Paygrade, account: str) -> bool:
    its = sdk._connection
    return its.low <= time.time() < its.high and account in its.known


async def _pages(accounts: list[str]) -> None:
    etags = dict.fromkeys(accounts, "")
    await asyncio.gather(*(_page(account, etags) for account in accounts))
    print("fresh", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print("fresh", *await asyncio.gather(*(_page(account, etags) for account in accounts)), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def _page(account: str, etags: dict[str, str]) -> float:
    """Ask until there is an answer; when that was."""
    failures = 0
    while True:
        try:
            status, headers = await asyncio.wait_for(_ask(account, etags[account]), 30)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            status, headers = 0, {}
        if status in (200, 304):
            etags[account] = headers.get("etag", etags[account])
            return time.time()
        assert status in (0, 429) or status >= 500, status
        failures += 1
        longest = min(LONGEST_S, FIRST_S * 2 ** min(failures - 1, 10))
        await asyncio.sleep(float(headers.get("retry-after", 0)) + random.uniform(longest / 20, longest))


async def _ask(account: str, etag: str) -> tuple[int, dict[str, str]]:
    body = b'{"context":{"targetingKey":"%s"}}' % account.encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    try:
        writer.write(
            f"POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Type: application/json\r\nIf-None-Match: {etag}\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        await reader.read()
        return int(head[0].split()[1]), headers
    finally:
        writer.close()


if __name__ == "__main__":
    kind, number, of, count = sys.argv[1], *map(int, sys.argv[2:])
    mine = [account_key(each) for each in range(number, count, of)]
    if kind == "streams":
        _streams(mine)
    else:
        asyncio.run(_pages(mine))
