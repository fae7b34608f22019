"""The laws of leases: whoever holds and claims what, and dies, all that is used stays within the limit."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from paygrade.usage.balances import Row
from paygrade.usage.leases import LeaseMove, move_lease

few = st.integers(0, 12)
counts = st.integers(0, 10_000)


class Process:
    """What a process has: `held` and `claimed` as the server knows them, `unspent` of what was claimed, `used`."""

    def __init__(self) -> None:
        self.held = self.claimed = self.unspent = self.used = 0


class LeasedLimit(RuleBasedStateMachine):
    """Processes that share one limit, each with a lease; any of them may die at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.row, self.limit, self.consumed = Row(), 40, 0
        self.processes = [Process() for _ in range(3)]

    def step(self, number: int, *, good: bool = True, unused: int = 0, units: int = 0, claim: int = 0, end: bool = False
             ) -> LeaseMove:  # fmt: skip
        process, row = self.processes[number], self.row
        unused = min(unused, process.unspent)
        move = move_lease(
            row, self.limit, held=process.held, claimed=process.claimed, good=good, unused=unused, units=units,
            claim=claim, end=end,
        )  # fmt: skip
        self.row = Row(row.used + move.used, row.reserved + move.reserved)
        process.held, process.claimed = move.held, move.claimed
        process.unspent += move.claim - unused
        return move

    @rule(number=st.integers(0, 2), units=few, claim=few, unused=few, end=st.booleans())
    def take_a_step(self, number: int, units: int, claim: int, unused: int, end: bool) -> None:
        left = self.limit - self.row.used - self.row.reserved
        move = self.step(number, unused=unused, units=units, claim=claim, end=end)
        assert move.units <= min(units, max(1, (left + unused) // 4))
        assert move.claim <= claim

    @rule(number=st.integers(0, 2), units=few, claim=few, unused=few)
    def step_on_a_lease_that_is_over(self, number: int, units: int, claim: int, unused: int) -> None:
        move = self.step(number, good=False, unused=unused, units=units, claim=claim)
        assert (move.units, move.claim, move.held) == (0, 0, 0)

    @rule(number=st.integers(0, 2), units=few)
    def use_in_the_process(self, number: int, units: int) -> None:
        process = self.processes[number]
        taken = min(units, process.unspent)
        process.unspent -= taken
        process.used += taken

    @rule(units=few)
    def consume_on_the_server(self, units: int) -> None:
        if self.row.used + self.row.reserved + units <= self.limit:
            self.row = Row(self.row.used + units, self.row.reserved)
            self.consumed += units

    @rule(number=st.integers(0, 2))
    def die(self, number: int) -> None:
        process = self.processes[number]
        self.row = Row(self.row.used, self.row.reserved - process.held)  # as expiring gives back what is held
        self.consumed += process.claimed
        self.processes[number] = Process()

    @invariant()
    def all_that_is_used_and_held_is_counted_and_within_the_limit(self) -> None:
        assert self.row.reserved == sum(process.held for process in self.processes)
        assert self.row.used == self.consumed + sum(process.claimed for process in self.processes)
        assert all(process.used + process.unspent == process.claimed for process in self.processes)
        assert self.row.used + self.row.reserved <= self.limit


TestLeasedLimit = LeasedLimit.TestCase


@given(counts, counts, counts, counts, counts, counts, counts, st.booleans(), st.booleans())
def test_no_step_takes_a_window_further_over_its_limit_and_nothing_is_below_zero(
    used: int, others: int, held: int, limit: int, units: int, claim: int, unused: int, good: bool, end: bool
) -> None:
    move = move_lease(
        Row(used, others + held), limit, held=held, claimed=unused, good=good, units=units, claim=claim,
        unused=unused, end=end,
    )  # fmt: skip
    used_after, reserved_after = used + move.used, others + held + move.reserved
    assert used_after >= 0
    assert reserved_after == others + move.held
    assert 0 <= move.units <= units
    assert 0 <= move.claim <= claim
    assert move.held >= 0
    assert used_after + reserved_after <= max(limit, used + others - min(unused, used))
    if used - min(unused, used) + others >= limit:
        assert (move.claim, move.held) == (0, 0), "where the limit is reached without it, a lease holds nothing"


@given(counts, counts, counts, counts, counts)
def test_a_soft_limit_gives_all_that_is_asked_for(used: int, held: int, units: int, claim: int, unused: int) -> None:
    move = move_lease(Row(used, held), None, held=held, claimed=unused, good=True, units=units, claim=claim,
                      unused=unused)  # fmt: skip
    assert move.units == units
    assert move.claim == min(claim, held + units + min(used, unused))


@given(st.integers(1, 30))
def test_processes_that_ask_in_turn_share_what_is_left_down_to_single_units(limit: int) -> None:
    row, given_out = Row(), []
    while (move := move_lease(row, limit, good=True, units=1000)).units:
        row = Row(row.used, row.reserved + move.units)
        given_out.append(move.units)
    assert sum(given_out) == limit
    assert given_out == sorted(given_out, reverse=True)
    assert given_out[-1] == 1


def test_what_was_claimed_before_usage_was_set_to_less_never_takes_it_below_zero() -> None:
    move = move_lease(Row(5, 10), 100, held=10, claimed=20, good=True, unused=20, end=True)
    assert (move.used, move.reserved, move.claimed) == (-5, -10, 0)
