"""Snapshot files: what is known before a server was heard, for how long, and from whom."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygrade import Decision, Paygrade, PaygradeError
from paygrade.catalog.offers import OnError
from paygrade.client import snapshot_file
from paygrade.client.snapshot_file import VALID_MAX, Head, Key, Secret, Unusable, key_of, make_pair
from paygrade.decisions.following import Views, remember, remembered
from paygrade.decisions.sending import views
from paygrade.decisions.snapshots import Snapshot
from paygrade.decisions.take import snapshot_of
from paygrade.entitlements.derive import HORIZON
from paygrade.entitlements.model import Entitlement, Segment
from support.server_process import KEY, Api, Restartable

NOWHERE = "http://127.0.0.1:9"
WAIT_S = 20.0
PRIVATE, PUBLIC = make_pair()
SECRET = "a secret of sixteen"
MINUTE = timedelta(minutes=1)


def account(key: str, at: datetime, *, trial: timedelta = 10 * MINUTE) -> Snapshot:
    """It has `exports` for the time of a trial, and 1,000 `calls`."""
    calls = Entitlement("calls", "metered", granted=True, reason="plan", limit=1000, from_at=at)
    had = Entitlement("exports", "boolean", granted=True, reason="trial")
    over = Entitlement("exports", "boolean", granted=False, reason="not_in_plan")
    trial_ends, until = at + trial, at + timedelta(days=35)
    segments = (
        Segment(at, trial_ends, {"exports": had, "calls": calls}),
        Segment(trial_ends, until, {"exports": over, "calls": calls}),
    )
    return remember(snapshot_of(key, "3.7", at, until, segments), (0,))


def signed(head: Head, accounts: Sequence[Snapshot], key: Key, **on_error: OnError) -> bytes:
    """Two accounts a line."""
    sent = (views(accounts[at : at + 2]) for at in range(0, len(accounts), 2))
    lines = (Views(now=head.made_at, shapes=shapes, accounts=some, on_error=on_error) for shapes, some in sent)
    return snapshot_file.encode(head, lines, key)


def written(
    path: Path, key: Key, *, made_ago: timedelta = MINUTE, valid_for: timedelta = timedelta(days=30), **more: Any
) -> Path:
    made_at = datetime.now(UTC) - made_ago
    some = [account("acme", made_at, **more), account("globex", made_at, **more)]
    head = Head(made_at, made_at + valid_for, len(some))
    snapshot_file.write(path, signed(head, some, key, calls="allow"))
    return path


@pytest.fixture
def made() -> Iterator[Callable[..., Paygrade]]:
    """Makes SDKs that find no server, and closes them."""
    all_made: list[Paygrade] = []

    def make(path: Path, *, key: str | None = KEY, **more: Any) -> Paygrade:
        all_made.append(Paygrade(NOWHERE, key, snapshot_file=path, **more))
        return all_made[-1]

    yield make
    for sdk in all_made:
        sdk.close(0.1)


Made = Callable[..., Paygrade]


def test_without_a_server_the_file_answers_and_says_how_old_it_is(tmp_path: Path, made: Made) -> None:
    sdk = made(written(tmp_path / "file", Secret(KEY), made_ago=5 * MINUTE))
    found = sdk.check("acme", "exports")
    assert (found.allowed, found.reason, found.stale, found.exact) == (True, "trial", True, False)
    assert 300 <= found.age < 330
    # What is counted is answered by its failure mode, which the file says.
    counted = sdk.check("globex", "calls")
    assert (counted.allowed, counted.stale, counted.limit) == (True, True, 1000)
    assert sdk.check("nobody", "exports").age == float("inf")
    assert sdk.status().file.state == "valid"


def test_in_a_running_loop_the_file_answers_at_once(tmp_path: Path, made: Made) -> None:
    sdk = made(written(tmp_path / "file", Secret(KEY)))

    async def ask() -> Decision:
        return sdk.check("acme", "exports")

    assert asyncio.run(ask()).allowed


def test_dates_in_a_file_happen_on_time(tmp_path: Path, made: Made) -> None:
    sdk = made(written(tmp_path / "file", Secret(KEY), made_ago=11 * MINUTE))
    assert sdk.check("acme", "exports").reason == "not_in_plan"


def test_a_file_ends_while_it_is_used_and_its_failure_modes_stay(tmp_path: Path, made: Made) -> None:
    sdk = made(written(tmp_path / "file", Secret(KEY), valid_for=MINUTE + timedelta(seconds=1)))
    assert sdk.check("acme", "exports").allowed
    until(lambda: not sdk.check("acme", "exports").allowed)
    ended = sdk.check("acme", "exports")
    assert (ended.reason, ended.age, sdk.snapshot("acme")) == ("stale", float("inf"), None)
    assert sdk.check("acme", "calls").allowed
    assert sdk.decisions("acme") == {}
    assert sdk.status().file.state == "ended"


def test_a_file_that_has_ended_gives_nothing(tmp_path: Path, made: Made) -> None:
    sdk = made(written(tmp_path / "file", Secret(KEY), made_ago=2 * MINUTE, valid_for=MINUTE))
    assert sdk.status().file.state == "ended"
    assert (sdk.check("acme", "exports").allowed, sdk.snapshot("acme")) == (False, None)
    assert not sdk.consume("acme", "exports").allowed


def test_a_clock_that_was_set_back_brings_nothing_back(
    tmp_path: Path, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    # As if this machine's clock were an hour behind: its trial had ended when the file was made.
    made_at = datetime.now(UTC) + timedelta(hours=1)
    some = account("acme", made_at - 11 * MINUTE)
    head = Head(made_at, made_at + MINUTE, 1)
    snapshot_file.write(tmp_path / "file", signed(head, [some], Secret(KEY)))
    sdk = made(tmp_path / "file")
    assert sdk.check("acme", "exports").reason == "not_in_plan"
    assert "behind" in caplog.text


def test_in_one_process_time_only_goes_on() -> None:
    from paygrade.client.clock import ServerClock

    clock, at = ServerClock(), datetime(2026, 11, 1, tzinfo=UTC)
    clock.floor = at
    assert clock.now((at + 2 * MINUTE).timestamp()) == at + 2 * MINUTE
    assert clock.now((at - 2 * MINUTE).timestamp()) == at + 2 * MINUTE


def test_the_server_takes_the_place_of_the_file_at_once(api: Api, acme: str, tmp_path: Path) -> None:
    made_at = datetime.now(UTC) - MINUTE
    head = Head(made_at, made_at + timedelta(days=1), 2)
    some = [account(acme, made_at), account("gone", made_at)]
    snapshot_file.write(tmp_path / "file", signed(head, some, Secret(KEY)))
    with Paygrade(api.url, KEY, timeout_s=10, snapshot_file=tmp_path / "file") as sdk:
        assert not sdk.check(acme, "exports").allowed
        until(lambda: sdk.check("gone", "exports").reason == "unknown_account")
        until(lambda: not sdk.check(acme, "exports").stale)


def test_the_sdk_keeps_a_file_from_which_the_next_process_begins(restartable: Restartable, tmp_path: Path) -> None:
    restartable.api.ok("PUT", "/v1/accounts/acme", json={"name": "Acme"})
    path = tmp_path / "kept"
    with Paygrade(restartable.url, KEY, timeout_s=10, snapshot_file=path, snapshot_every_s=0.05) as sdk:
        assert sdk.status().file.state == "none"
        assert not sdk.check("acme", "exports")
        until(path.exists)
        # What changes is in the file that is written at the end.
        restartable.api.ok("PUT", "/v1/accounts/acme/overrides/exports", json={"value": True, "reason": "a promise"})
        until(lambda: sdk.check("acme", "exports").allowed)
    assert path.stat().st_mode & 0o077 == 0
    assert [its.name for its in tmp_path.iterdir()] == ["kept"]
    restartable.stop()
    with Paygrade(restartable.url, KEY, timeout_s=10, snapshot_file=path, snapshot_every_s=60) as sdk:
        found = sdk.check("acme", "exports")
        assert (found.allowed, found.stale) == (True, True)
        assert found.age < WAIT_S
        before = path.read_bytes()
    # Nothing newer is known: the file stays as old as it is.
    assert path.read_bytes() == before


def test_a_licence_needs_no_server_and_no_key_but_the_makers_public_one(
    tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAYGRADE_API_KEY", raising=False)
    path = written(tmp_path / "licence", key_of(PRIVATE))
    sdk = made(path, key=None, snapshot_key=PUBLIC)
    assert sdk.check("acme", "exports").allowed
    assert "a snapshot file answers" in sdk.status().detail
    assert sdk.consume("acme", "calls").stale
    with pytest.raises(PaygradeError, match="there is no API key"):
        made(path, key=None)
    with pytest.raises(PaygradeError, match="needs a secret"):
        made(path, snapshot_key=PUBLIC, snapshot_every_s=60)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("short", "is short"),
        ("-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----", "can't be read"),
        (
            "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEmB3DWr8gWzqrkQe0cGo6j7TiYq9R"
            "xcGhFCPSO4bBzbFv8mhbjHGtDsAQBZwwMwZyS8LhwLoqVBGyZVcsHRXyiA==\n-----END PUBLIC KEY-----",
            "is not an Ed25519 key|can't be read",
        ),
    ],
)
def test_a_key_that_is_none_is_refused_at_once(tmp_path: Path, made: Made, key: str, why: str) -> None:
    with pytest.raises(PaygradeError, match=why):
        made(tmp_path / "file", snapshot_key=key)


def test_a_public_key_signs_nothing(tmp_path: Path) -> None:
    with pytest.raises(PaygradeError, match="signs nothing"):
        written(tmp_path / "licence", key_of(PUBLIC))


@pytest.mark.parametrize("shown", [SECRET, PRIVATE], ids=["secret", "pair"])
@given(where=st.integers(0, 10_000), how=st.sampled_from(["flip", "cut", "add", "insert"]))
def test_a_file_that_was_touched_anywhere_is_none(shown: str, where: int, how: str) -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    data = signed(Head(at, at + MINUTE, 1), [account("acme", at)], key_of(shown))
    where %= len(data)
    match how:
        case "flip":
            touched = data[:where] + bytes([data[where] ^ 1]) + data[where + 1 :]
        case "cut":
            touched = data[:where]
        case "add":
            touched = data + b"\n"
        case _:
            touched = data[:where] + b"x" + data[where:]
    with pytest.raises(Unusable):
        snapshot_file.decode(touched, key_of(PUBLIC if shown == PRIVATE else SECRET))


@pytest.mark.parametrize(
    ("maker", "shown", "why"),
    [
        (SECRET, "another secret of it", "with another key"),
        (SECRET, PUBLIC, "in another way"),  # whoever has the secret of a cache can't make a licence with it
        (PUBLIC, PUBLIC, "in another way"),  # nor whoever takes the public key for a secret
        (make_pair()[0], PUBLIC, "with another key"),
        (PRIVATE, SECRET, "in another way"),
    ],
)
def test_a_file_signed_with_another_key_is_refused_and_nobody_is_kept_from_starting(
    tmp_path: Path, made: Made, caplog: pytest.LogCaptureFixture, maker: str, shown: str, why: str
) -> None:
    path = written(tmp_path / "file", Secret(maker) if maker == PUBLIC else key_of(maker))
    with caplog.at_level(logging.ERROR, "paygrade"):
        sdk = made(path, snapshot_key=shown)
    assert sdk.status().file.state == "refused"
    assert why in sdk.status().file.detail
    assert len(caplog.records) == 1
    assert (sdk.check("acme", "exports").allowed, sdk.snapshot("acme")) == (False, None)
    assert not sdk.check("acme", "calls").allowed


@pytest.mark.parametrize("data", [b"", b"\n", b"{}", b"paygrade-snapshot-2 ed25519 x\n", b"\xff" * 5000])
def test_what_is_no_snapshot_file_is_none(tmp_path: Path, made: Made, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert made(tmp_path / "file").status().file.state == "refused"


def test_a_folder_is_no_snapshot_file(tmp_path: Path, made: Made) -> None:
    assert made(tmp_path).status().file.state == "refused"


@pytest.mark.parametrize("count", [0, 1, 401])
def test_all_accounts_come_back_as_they_were(count: int) -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    some = [account(f"account {number}", at) for number in range(count)]
    data = signed(Head(at, at + MINUTE, count), some, Secret(SECRET))
    head, lines = snapshot_file.decode(data, Secret(SECRET))
    back = [its for line in lines for its in remembered(line)]
    assert head.accounts == len(back)
    assert back == some


def test_no_file_is_valid_for_longer_than_its_dates_reach() -> None:
    assert VALID_MAX <= HORIZON


def until(what: Callable[[], Any]) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < give_up_at, what
        time.sleep(0.01)
