"""The auditor of plan changes notices what is planted: each audit is shown something it must find."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from paygrade.changes.plan_change import PlanChange

from .change_audit import Effect, audit_answers, audit_changes, audit_course, audit_effects, audit_settlements
from .hostile import Call, Committed
from .loop import START
from .run import Run
from .verdict import HAPPENINGS

SEED = 112


@pytest.fixture
def run() -> Iterator[Run]:
    """Give a run that ended right, in which owners were given what they asked for."""
    played = Run(SEED)
    played.play(HAPPENINGS)
    assert not [*audit_changes(played), *audit_settlements(played)]
    assert asked(played)
    yield played
    played.close()


def asked(run: Run) -> list[PlanChange]:
    return [each for each in run.database.backend.dump().changes if each.source == "request"]


def change(state: Any, **known: Any) -> PlanChange:
    return PlanChange(
        account="acme", id=known.pop("id", "chg_1"), key=known.pop("key", "k1"), source="request", act="change",
        state=state, subscription="sub_1", subject="stripe:cus_1", asked_at=START, **known,
    )  # fmt: skip


def saved(*changes: PlanChange) -> list[Committed]:
    return [Committed(START, (Call("plan_changes", "save", (each,), {}, None),)) for each in changes]


def test_a_change_that_comes_to_no_end_is_noticed(run: Run) -> None:
    changes = list(run.database.backend.dump().changes)
    stuck = replace(asked(run)[0], state="asked")
    dump = replace(run.database.backend.dump(), changes=(*changes, stuck))
    run.database.backend.dump = lambda: dump  # type: ignore[method-assign]  # planted
    assert any("is asked" in text for text in audit_changes(run))


def test_two_answers_under_one_key_are_noticed(run: Run) -> None:
    assert run.owners is not None
    some = asked(run)[0]
    run.owners.answered[some.account, some.key].add("chg_other")
    assert list(audit_answers(run.owners, asked(run)))


def test_a_change_that_nobody_asked_for_is_noticed(run: Run) -> None:
    assert run.owners is not None
    assert any("by nobody" in text for text in audit_answers(run.owners, [*asked(run), change("applied")]))


def test_what_is_done_or_paid_twice_is_noticed() -> None:
    done = Effect("chg_1", (), ())
    assert not list(audit_effects([change("applied")], [done], Counter({"chg_1": 1})))
    assert any("done 2 times" in text for text in audit_effects([change("applied")], [done, done], Counter()))
    assert any("paid 2 times" in text for text in audit_effects([change("applied")], [done], Counter({"chg_1": 2})))


@pytest.mark.parametrize("state", ["failed", "canceled"])
def test_what_is_bought_by_a_change_that_came_to_nothing_is_noticed(state: str) -> None:
    assert not list(audit_effects([change(state)], [], Counter()))
    assert list(audit_effects([change(state)], [Effect("chg_1", (), ())], Counter()))
    assert list(audit_effects([change(state)], [], Counter({"chg_1": 1})))


def test_something_else_than_was_quoted_is_noticed(run: Run) -> None:
    quoted = next(each for each in asked(run) if each.quoted is not None and not each.quoted.ends)
    assert quoted.quoted is not None
    applied = replace(quoted, state="applied", act="change")
    names = [(item.price_before, item.quantity_before) for item in quoted.quoted.items if item.before is not None]
    before = tuple(sorted((name, quantity) for name, quantity in names if name is not None))
    other = Effect(quoted.id, before, (("scale_monthly", 99),))
    assert any("not" in text for text in audit_effects([applied], [other], Counter()))


def test_two_changes_under_way_at_once_are_noticed() -> None:
    one, other = change("asked"), change("pending", id="chg_2", key="k2")
    assert not list(audit_course(saved(one, replace(one, state="applied"), other)))
    assert any("at once" in text for text in audit_course(saved(one, other)))
    later = [replace(each, state="scheduled") for each in (one, other)]
    assert any("are scheduled" in text for text in audit_course(saved(*later)))


def test_what_was_over_and_goes_on_is_noticed() -> None:
    assert list(audit_course(saved(change("canceled"), change("applied"))))
    step = Call("plan_changes", "step", ("acme", "chg_1", "applied", "", START), {}, None)
    assert any("2 times" in text for text in audit_course([*saved(change("applied")), Committed(START, (step, step))]))


def test_a_settlement_that_begins_elsewhere_than_the_last_one_ended_is_noticed(run: Run) -> None:
    settled = [each for each in run.database.backend.dump().changes if each.settlement is not None]
    last = settled[-1]
    assert last.settlement is not None
    leap = replace(last, id="chg_leap", settlement=replace(last.settlement, plan_before="pro@77"))
    run.database.committed += saved(leap)
    assert any("pro@77" in text for text in audit_settlements(run))
