"""Memory: whatever is told and read in which order, in the end it knows what the server knows."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import ValidationError, structs

from paygrade.client.memory import Memory
from paygrade.decisions.following import News, Notification, Views, remember
from paygrade.decisions.sending import views
from paygrade.decisions.snapshots import Snapshot
from paygrade.decisions.take import snapshot_of
from paygrade.entitlements.model import Entitlement, Segment
from paygrade.usage.balances import Balance

AT = datetime(2026, 11, 1, tzinfo=UTC)
SLOT = "2026-11-01T00:00:00Z"
ACCOUNTS = ("a", "b")


class Server:
    """What it knows, and what it tells whoever follows it."""

    def __init__(self) -> None:
        self.catalog = 1
        self.accounts = dict.fromkeys(ACCOUNTS, 1)
        self.slots = dict.fromkeys(ACCOUNTS, SLOT)
        self.used = dict.fromkeys(ACCOUNTS, (0, 0))
        """How much, and its version."""
        self.news: list[News] = []

    def change(self, account: str) -> None:
        self.accounts[account] += 1
        self.news.append(News(accounts=(account,)))

    def count(self, account: str) -> None:
        used, version = self.used[account]
        self.used[account] = (used + 1, version + 1)
        told = Notification(account, "calls", self.slots[account], used + 1, 0, version + 1)
        self.news.append(News(balances=(told,)))

    def turn(self, account: str) -> None:
        """Another window begins, and is used."""
        self.slots[account] = f"2026-11-{1 + int(self.slots[account][8:10]):02}T00:00:00Z"
        self.used[account] = (1, 1)
        self.news.append(News(balances=(Notification(account, "calls", self.slots[account], 1, 0, 1),)))

    def publish(self) -> None:
        self.catalog += 1
        self.news.append(News(catalog=self.catalog))

    def read(self, accounts: list[str], *, catalog: int | None = None) -> Views:
        shapes, seen = views(self.known(accounts, catalog=catalog))
        return Views(now=AT, shapes=shapes, accounts=seen)

    def known(self, accounts: Iterable[str], *, catalog: int | None = None) -> list[Snapshot]:
        return [self._one(account, catalog or self.catalog) for account in accounts]

    def _one(self, account: str, catalog: int) -> Snapshot:
        from_at = datetime.fromisoformat(self.slots[account])
        its = Entitlement("calls", "metered", granted=True, reason="plan", limit=10, from_at=from_at)
        used, version = self.used[account]
        until = AT + timedelta(days=30)
        snapshot = snapshot_of(
            account,
            f"{catalog}.{self.accounts[account]}",
            AT,
            until,
            [Segment(AT, until, {"calls": its})],
            {"calls": Balance(used, 0, from_at)} if version else {},
        )
        return remember(snapshot, (version,))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["change", "count", "turn", "want"]), st.sampled_from(ACCOUNTS)),
        st.tuples(
            st.sampled_from(["publish", "hear", "begin", "take", "take an old one", "fail", "lose"]), st.just("")
        ),
    ),
    max_size=40,
)


@given(steps=STEPS)
@example([("publish", ""), ("lose", ""), ("begin", ""), ("take an old one", "")])
@example([("begin", ""), ("take", ""), ("begin", ""), ("change", "a"), ("hear", ""), ("take", "")])
@example([("begin", ""), ("take", ""), ("turn", "a"), ("hear", "")])
@example([("begin", ""), ("turn", "a"), ("hear", ""), ("take", "")])
def test_in_the_end_it_knows_what_the_server_knows(steps: list[tuple[str, str]]) -> None:
    server, memory, heard = Server(), Memory(10), 0
    under_way: list[tuple[list[str], Views]] = []
    for account in ACCOUNTS:
        memory.want(account)
    for step, account in steps:
        match step:
            case "change":
                server.change(account)
            case "count":
                server.count(account)
            case "turn" if server.slots[account] < "2026-11-28":
                server.turn(account)
            case "publish":
                server.publish()
            case "want":
                memory.want(account)
            case "hear" if heard < len(server.news):
                memory.hear(server.news[heard], 0.0)
                heard += 1
            case "begin" if not under_way:
                asked = memory.begin(10)
                under_way.append((asked, server.read(asked)))
            case "take" if under_way:
                memory.take(*under_way.pop())
            case "take an old one" if under_way and server.catalog > 1:
                # Read at a server that has not heard of the catalog.
                asked, _ = under_way.pop()
                memory.take(asked, server.read(asked, catalog=server.catalog - 1))
            case "fail" if under_way:
                memory.give_up(under_way.pop()[0], 1.0)
            case "lose":
                heard = len(server.news)
                memory.want_all(2.0, server.catalog)
    while heard < len(server.news):
        memory.hear(server.news[heard], 0.0)
        heard += 1
    for asked, read in under_way:
        memory.take(asked, read)
    for _ in range(5):
        asked = memory.begin(10)
        memory.take(asked, server.read(asked))
    assert not memory.to_read
    assert not memory.unsure
    assert memory.accounts == dict(zip(ACCOUNTS, server.known(ACCOUNTS), strict=True))


def test_what_was_answered_to_a_use_while_an_account_was_being_read_is_not_lost() -> None:
    server, memory = Server(), Memory(10)
    server.count("a")
    memory.want("a")
    memory.take(asked := memory.begin(10), server.read(asked))
    memory.want("a")
    read = server.read(asked := memory.begin(10))
    for used in (5, 7, 6):  # answers may overtake each other
        memory.count("a", "calls", used, 1, AT)
    memory.take(asked, read)
    its = memory.accounts["a"]
    assert its.counts is not None
    assert tuple(its.counts[:2]) == (7, 1)
    # What was read later has it, and counts as it says.
    server.used["a"] = (9, 9)
    memory.want("a")
    memory.take(asked := memory.begin(10), server.read(asked))
    its = memory.accounts["a"]
    assert its.counts is not None
    assert tuple(its.counts[:2]) == (9, 0)


def test_what_is_known_has_a_bound() -> None:
    server, memory = Server(), Memory(1)
    for account in ACCOUNTS:
        memory.want(account)
    memory.take(asked := memory.begin(10), server.read(asked))
    assert list(memory.accounts) == ["b"]


def test_what_does_not_fit_together_is_not_taken_in_and_is_read_again() -> None:
    server, memory = Server(), Memory(10)
    memory.want("a")
    read = server.read(asked := memory.begin(10))
    (view,) = read.accounts
    for broken in (
        structs.replace(view, shape=1),
        structs.replace(view, dates=()),
        structs.replace(view, counts=(1, 0)),
        structs.replace(view, counts=(2**64, 0, 1)),
    ):
        with pytest.raises(ValidationError):
            memory.take(asked, structs.replace(read, accounts=(broken,)))
    memory.give_up(asked, 1.0)
    assert memory.begin(10) == ["a"]
    assert not memory.accounts
