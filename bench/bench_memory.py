"""What accounts take in memory, in SDK and server alike, and how fast an SDK takes them in: no server, no socket.

Accounts of one plan with ten features, four of them metered and used. What is printed is the growth of the process,
the processor time of reading them as they are sent, and a full collection of garbage with all of them there. Budgets:
<= 1,000 bytes an account, 1,000,000 taken in within 10 s, a collection <= 20 ms.
"""

import gc
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import perf_counter, process_time

import msgspec

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import Customer, Fact, Item, Profile, Subscription
from paygrade.catalog.parse import parse
from paygrade.client.memory import Memory
from paygrade.decisions.decide import decide
from paygrade.decisions.following import Views, remember
from paygrade.decisions.sending import views
from paygrade.decisions.snapshots import Snapshot, window_of
from paygrade.decisions.take import snapshot
from paygrade.usage.balances import Balance

ACCOUNTS, BATCH, CALLS, ROUNDS = 100_000, 200, 20_000, 20
AT = datetime(2026, 11, 15, tzinfo=UTC)
METERED = ("calls", "tokens", "pages", "messages")
DOCUMENT = {
    "version": 1,
    "features": {
        **{f"flag_{number}": {"kind": "boolean"} for number in range(4)},
        "retention": {"kind": "config", "type": "integer"},
        "seats": {"kind": "level"},
        **{key: {"kind": "metered"} for key in METERED},
    },
    "plans": {
        "pro": {
            "prices": {"monthly": {"amount": 9900, "currency": "usd", "interval": "month", "stripe": "price_pro"}},
            "entitlements": {
                **{f"flag_{number}": True for number in range(4)},
                "retention": 90,
                "seats": 5,
                **{key: {"limit": 1_000_000, "every": "month"} for key in METERED},
            },
        }
    },
}


def main() -> None:
    sent = [_written(begin) for begin in range(0, ACCOUNTS, BATCH)]
    each = sum(map(len, sent)) / ACCOUNTS
    memory, decode = Memory(ACCOUNTS), msgspec.json.Decoder(Views).decode
    gc.collect()
    gc.freeze()  # what is there before says nothing
    before, begun = _bytes(), process_time()
    for part in sent:
        memory.take((), decode(part))
    seconds = process_time() - begun
    taken = _bytes() - before
    gc.collect()  # the first finds out what cannot hold garbage
    begun = perf_counter()
    gc.collect()
    collected_ms = (perf_counter() - begun) * 1000
    print(f"  {'an account in memory':46} {taken / ACCOUNTS:9,.0f} bytes")
    print(f"  {'an account as it is sent':46} {each:9,.0f} bytes")
    print(f"  {'an account taken in':46} {seconds / ACCOUNTS * 1e6:9.1f} us")
    print(f"  {'garbage collected, all in memory':46} {collected_ms:9.1f} ms")
    found = decide(memory.accounts["acct_00000007"], "calls", 1, AT)
    assert (found.reason, found.limit) == ("plan", 1_000_000)
    assert found.used
    _show_decisions(memory.accounts)


def _show_decisions(accounts: dict[str, Snapshot]) -> None:
    """At random, where the processor's own memory decides."""
    for count in (1, 10_000, ACCOUNTS):
        drawn = Random(1).choices([*accounts][:count], k=CALLS)
        best = float("inf")
        for _ in range(ROUNDS):
            begun = perf_counter()
            for account in drawn:
                decide(accounts[account], "calls", 1, AT)
            best = min(best, perf_counter() - begun)
        print(f"  {f'decide, metered, {count:,} accounts at random':46} {best / CALLS * 1e6:9.3f} us best")


def _written(begin: int) -> bytes:
    shapes, accounts = views([_account(number) for number in range(begin, begin + BATCH)])
    return msgspec.json.encode(Views(now=AT, shapes=shapes, accounts=accounts))


def _account(number: int) -> Snapshot:
    key, born = f"acct_{number:08}", AT - timedelta(days=200, seconds=number)
    bought = Subscription(
        f"sub_{number:024}",
        "active",
        (Item(f"si_{number:024}", price="price_pro"),),
        anchor_at=AT - timedelta(days=10, seconds=number % 86_400),
        started_at=born,
    )
    account = Account(key=key)
    account = apply(account, Fact(1, "profile", 1, born, Profile(born, key)))
    account = apply(account, Fact(2, f"stripe:cus_{number}", 1, born, Customer(f"cus_{number}", born, (bought,))))
    taken = snapshot(account, _CATALOG, AT)
    used = Random(number)
    counts = {key: Balance(used.randrange(300, 900_000), 0, window_of(taken, key)) for key in METERED}
    versions = [used.randrange(300, 900_000) if pool in counts else 0 for pool in taken.shape.pools]
    return remember(msgspec.structs.replace(taken, balances=counts), versions)


def _bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if sys.platform == "linux" else 0
    return pages * 4096


_CATALOG = parse(DOCUMENT, version=1)

if __name__ == "__main__":
    main()
