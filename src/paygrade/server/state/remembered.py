"""The accounts a process remembers, bounded in bytes: those used longest ago are forgotten first.

Law: what is remembered never weighs more than `bytes_max`, whatever accounts look like. Weights are estimates: what
objects of these kinds take in CPython, a shape once for all accounts that have it.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator

from paygrade.decisions.snapshots import Shape, Snapshot
from paygrade.usage.balances import Detail

ACCOUNT_BYTES, DATE_BYTES, NAME_BYTES, POOL_BYTES, BALANCE_BYTES = 400, 56, 88, 24, 190
PART_BYTES, MEMBER_BYTES = 250, 140
"""Of a grant, a hold or a counter beside a window; of a member."""
SHAPE_FACTOR = 6
"""How much larger a shape is than it is as JSON."""


class RememberedAccounts:
    """Accounts by their key, at most `bytes_max` of them."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max, self.bytes = bytes_max, 0
        self._accounts: OrderedDict[str, Snapshot] = OrderedDict()
        self._shapes: Counter[Shape] = Counter()

    def __len__(self) -> int:
        return len(self._accounts)

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(self._accounts.values())

    def get(self, account: str) -> Snapshot | None:
        """The account, if it is remembered."""
        return self._accounts.get(account)

    def use(self, account: str) -> None:
        """It was used just now."""
        self._accounts.move_to_end(account)

    def keep(self, made: Snapshot) -> None:
        """Remember it, and forget what that leaves no room for."""
        account, shape = made.account, made.shape
        self.forget(account)
        self._accounts[account] = made
        self.bytes += weight(made)
        self._shapes[shape] += 1
        if self._shapes[shape] == 1:
            self.bytes += _weight_of_shape(shape)
        while self.bytes > self.bytes_max and self._accounts:
            self.forget(next(iter(self._accounts)))

    def keep_as_oldest(self, made: Snapshot) -> None:
        """Remember it if nothing newer is known of it and there is room."""
        account = made.account
        if account not in self._accounts and self.bytes + weight(made) <= self.bytes_max:
            self.keep(made)
            self._accounts.move_to_end(account, last=False)

    def forget(self, account: str) -> None:
        """Have it read anew when it is asked for."""
        gone = self._accounts.pop(account, None)
        if gone is None:
            return
        shape = gone.shape
        self.bytes -= weight(gone)
        self._shapes[shape] -= 1
        if not self._shapes[shape]:
            del self._shapes[shape]
            self.bytes -= _weight_of_shape(shape)


def newest(older: RememberedAccounts, newer: RememberedAccounts) -> RememberedAccounts:
    """Both in one, where of an account the newer counts; in as many steps as the smaller has accounts, since there may
    be a million in the other."""
    if len(older) >= len(newer):
        for one in newer:
            older.keep(one)
        return older
    for one in older:
        newer.keep_as_oldest(one)
    return newer


def weight(its: Snapshot) -> int:
    """About how many bytes an account takes, its shape aside. Counts that are told of it later change nothing."""
    parts = sum(_parts(balance.detail) for balance in its.balances.values() if balance.detail is not None)
    return (
        ACCOUNT_BYTES
        + DATE_BYTES * len(its.dates)
        + NAME_BYTES * len(its.names)
        + POOL_BYTES * len(its.shape.pools)
        + BALANCE_BYTES * len(its.balances)
        + PART_BYTES * parts
        + MEMBER_BYTES * (len(its.roles) + len(its.seats))
    )


def _parts(detail: Detail) -> int:
    buckets = sum(len(tally.buckets) for tally in detail.tallies.values())
    return 1 + len(detail.grants) + len(detail.holds) + len(detail.tallies) + buckets


def _weight_of_shape(shape: Shape) -> int:
    return SHAPE_FACTOR * len(shape.written)
