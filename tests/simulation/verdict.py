"""A run and its audits in order, and how a failure is told."""

from msgspec import Struct

from .audit import LadderAuditor, audit_access, audit_differences, audit_ends, audit_record, audit_replay, audit_sweep
from .change_audit import audit_changes, audit_settlements
from .run import Run
from .tables import Dump

HAPPENINGS = 12


class Verdict(Struct, frozen=True):
    """What was wrong with a run, and what happened in it. `dump` is what it ended with."""

    seed: int
    wrong: tuple[str, ...]
    trace: tuple[str, ...]
    dump: Dump
    ladders: int
    """How often an access ladder was looked at."""

    def told(self) -> str:
        """For people: which audit failed, what happened before, and how to see it again."""
        return "\n".join(
            (
                f"seed {self.seed} ended wrong:",
                *(f"  {text}" for text in self.wrong),
                "what happened:",
                *(f"  {line}" for line in self.trace),
                f"again: make sim SEED={self.seed} RUNS=1",
            )
        )


def judge(run: Run, happenings: int = HAPPENINGS) -> Verdict:
    """Play a run under the right rule and audit it, before and after a sweep."""
    ladder = LadderAuditor()
    run.probe = lambda: ladder.look(run.database.backend.dump().accounts, run.loop.now())
    run.play(happenings)
    wrong = [*audit_record(run), *audit_changes(run), *audit_settlements(run)]
    if run.weather.swept_at_once:
        wrong += [*audit_access(run), *audit_differences(run)]
    elif not run.lost or run.weather.polls:
        # Answers that lag are asked for again only where an event says that a subscription ended.
        lagged = run.weather.network.lag_s > 0
        wrong += audit_ends(run) if lagged else [*audit_access(run), *audit_differences(run)]
    wrong += audit_replay(run)
    run.sweep()
    wrong += [f"after a sweep: {text}" for text in _all_of(run)]
    wrong += audit_sweep(run)
    wrong += ladder.wrong
    run.close()
    return Verdict(
        seed=run.seed,
        wrong=tuple(dict.fromkeys(wrong)),
        trace=tuple(run.trace),
        dump=run.database.backend.dump(),
        ladders=ladder.looked,
    )


def _all_of(run: Run) -> list[str]:
    return [*audit_access(run), *audit_differences(run), *audit_record(run), *audit_changes(run)]
