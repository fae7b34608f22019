"""Wrong rules of carrying plan changes out: kept to show that the auditor catches them.

`PYTHONPATH=tests python -m simulation.change_rules 300` prints how many of 300 worlds with owners end wrong under each.
A rule says something else to the database than ours does; everything else is as it is.
"""

import sys
from collections.abc import Callable
from typing import Literal

from msgspec.structs import replace

from .change_audit import audit_changes, audit_settlements
from .hostile import HostileTransaction, Statement
from .run import Run
from .verdict import HAPPENINGS
from .weather import has_owners

Rule = Literal["hasty_take_back", "settled_unlocked"]
RULES: dict[Rule, str] = {
    "hasty_take_back": "take a change back at once, though somebody may have a request for it under way",
    "settled_unlocked": "settle an account, or begin a change of it, without holding it",
}


def _hasty_take_back(_: HostileTransaction, said: Statement) -> Statement:
    match said:
        case ("plan_changes", "take_back", (change,), named):
            undone = replace(change, undo=True, done_fence=None, attempts=0, error=None)
            return "plan_changes", "save", (undone,), named
    return said


def _settled_unlocked(transaction: HostileTransaction, said: Statement) -> Statement:
    match said:
        # `follow_due_transitions` begins with this. So do those who ask for a change, and then two may begin at once.
        case ("accounts", "lock", ([_],) as args, named) if not transaction.calls:
            return "accounts", "find", args, named
    return said


_TWISTS: dict[Rule, Callable[[HostileTransaction, Statement], Statement]] = {
    "hasty_take_back": _hasty_take_back,
    "settled_unlocked": _settled_unlocked,
}


def tried(seed: int, rule: Rule | None) -> list[str]:
    """What the audit of plan changes says of a world under a rule (None: the right one)."""
    run = Run(seed)
    if rule is not None:
        run.database.instead = _TWISTS[rule]
    try:
        run.play(HAPPENINGS)
    except AssertionError as error:
        return [str(error)]
    finally:
        run.close()
    return [*audit_changes(run), *audit_settlements(run), *run.broken]


def _print_shares(seeds: int) -> None:
    worlds = [seed for seed in range(1, 4 * seeds) if has_owners(seed)][:seeds]
    for rule in (*RULES, None):
        wrong = [seed for seed in worlds if tried(seed, rule)]
        print(f"{len(wrong) / seeds:7.1%}  {RULES[rule] if rule else 'ours'}  first: {wrong[:5]}")


if __name__ == "__main__":
    _print_shares(int(sys.argv[1]))
