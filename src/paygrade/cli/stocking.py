"""Making what a catalog sells at the provider: look, take the steps that are left, look again.

Laws: nothing is done that was not agreed to; every round begins with a look, so what was done before an interruption is
not done again; it ends when no step is left that can be taken, or says why not.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from paygrade.catalog.model import Catalog
from paygrade.catalog.provider_catalog import ProviderCatalog
from paygrade.catalog.provider_check import Difference, differences, has_meters, whether_bought
from paygrade.catalog.provider_steps import Cannot, Doable, Nothing, Step, is_ready, steps
from paygrade.server.process.retries import pause_s
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.providers.stripe.shop import StripeShop

FAILURES_MAX = 8
"""How often in a row it is tried again: some five minutes."""
PERMISSIONS = (
    "`catalog push --to-stripe` needs write on Products, Prices and, for features with a meter, Billing meters"
)


def look(shop: "StripeShop", catalog: Catalog) -> ProviderCatalog:
    """What is sold, as far as this catalog asks. Unavailable."""
    return shop.read_catalog(tuple(catalog.stripe), whether_bought(catalog), meters=has_meters(catalog))


def compare(shop: "StripeShop", catalog: Catalog) -> tuple[Difference, ...]:
    """What is otherwise at the provider. Unavailable."""
    return differences(catalog, look(shop, catalog))


def plan_steps(shop: "StripeShop", catalog: Catalog, *, archive_old: bool) -> tuple[Step, ...]:
    """What a push would do. Unavailable."""
    return steps(catalog, look(shop, catalog), archive_old=archive_old)


def push_steps(
    shop: "StripeShop",
    catalog: Catalog,
    agreed: Sequence[Step],
    *,
    archive_old: bool,
    tell: Callable[[Step], None],
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Step, ...]:
    """Take the steps that were agreed to; gives what is left. `tell` is told of each that was taken.

    Refused `provider_changed` where others have come up, `provider_refused_step` where Stripe won't. Unavailable.
    """
    known, done = {_same(step) for step in agreed}, set[tuple[object, ...]]()
    failures = 0
    while True:
        try:
            left = plan_steps(shop, catalog, archive_old=archive_old)
            ready = [step for step in left if is_ready(step)]
            if not ready:
                return left
            _refuse_others(ready, known, done)
            for step in ready:
                shop.take(step, tries=failures)
                failures = 0
                done.add(_same(step))
                tell(step)
        except Unavailable as error:
            if error.code == "provider_refused_key":
                raise Unavailable(error.code, f"{error.detail}; {PERMISSIONS}") from error
            if failures >= FAILURES_MAX:
                raise
            sleep(pause_s(failures, error))
            failures += 1


def _refuse_others(ready: Sequence[Doable], known: set[tuple[object, ...]], done: set[tuple[object, ...]]) -> None:
    for step in ready:
        if _same(step) not in known:
            raise Refused("provider_changed", f"Stripe has changed since this was shown: it would now {step.detail}; "
                          "run the command again to see all of it")  # fmt: skip
        if _same(step) in done:
            raise Unavailable("provider_answer_invalid", f"Stripe took the step to {step.detail}, and does not show it "
                              "yet; run the command again")  # fmt: skip


def _same(step: Step) -> tuple[object, ...]:
    """What makes two steps one, whatever the ids of what steps before them made."""
    return type(step), step.pointer, step.detail


def is_left(step: Step) -> bool:
    """Whether a person has to do something about it."""
    return isinstance(step, Cannot)


def is_nothing(step: Step) -> bool:
    return isinstance(step, Nothing)
