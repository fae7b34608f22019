"""The catalog is held against what the provider sells, unasked: what differs is told once."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from paygrade.catalog.provider_catalog import ProviderCatalog, ProviderPrice
from paygrade.postgres.store import Store
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.measures import measure
from paygrade.server.operations.update_log import give_places
from paygrade.server.process.metrics import Metrics
from paygrade.server.workers.catalog_checks import check_catalog, checks_of
from paygrade.server.workers.claims import take
from paygrade.updates.log import Update
from paygrade.values.errors import Unavailable
from support.catalog_texts import read
from support.fake_provider import T0, SetClock
from support.provider_shop import Shop
from support.waiting import let_pass

pytestmark = pytest.mark.anyio

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {},
    "plans": {
        "pro": {
            "stripe": "prod_pro",
            "prices": {"monthly": {"amount": 2900, "currency": "usd", "interval": "month", "stripe": "pro_monthly"}},
        }
    },
}
TEXT = """\
version: 1
features: {}
plans:
  pro:
    stripe: prod_pro
    prices: { monthly: { amount: 2900, currency: usd, interval: month, stripe: pro_monthly } }
"""


class Broken(Shop):
    def read_catalog(
        self, names: Sequence[str], ask: Callable[[ProviderPrice], bool], *, meters: bool
    ) -> ProviderCatalog:
        raise Unavailable("provider_unreachable", "no answer")


async def check(store: Store, shop: Shop) -> str:
    let_pass(store._database_url, "catalog_checks")
    (claimed,) = await take(store, checks_of("stripe"), limit=1, at=T0)
    return await check_catalog(store, shop, SetClock(T0), claimed)


async def told(store: Store) -> list[tuple[str, str | None, str]]:
    """The findings among the updates: type, account and subject."""
    await give_places(store)
    async with store.transaction() as tx:
        found: Sequence[Update] = await tx.updates.after(0, limit=100)
    return [(each.type, each.account, each.data["subject"]) for each in found if each.type.startswith("finding.")]


async def test_what_differs_is_told_once_and_once_when_it_is_mended(store: Store) -> None:
    shop = Shop()
    assert await check(store, shop) == "nothing_sold"
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    assert await check(store, shop) == "differs"
    assert await check(store, shop) == "differs"
    product, price = "/plans/pro/stripe", "/plans/pro/prices/monthly/stripe"
    missing = [("finding.appeared", None, product), ("finding.appeared", None, price)]
    assert await told(store) == missing
    assert await check(store, Broken()) == "paused"
    metrics = Metrics()
    await measure(store, metrics, T0)
    assert b"paygrade_catalog_differences 2.0" in await metrics.render_all()
    shop.push(read(TEXT))
    assert await check(store, shop) == "same"
    mended = [("finding.gone", None, product), ("finding.gone", None, price)]
    assert await told(store) == [*missing, *mended]
    # Somebody archives it at the provider.
    shop.sold = replace(shop.sold, prices=tuple(replace(each, active=False) for each in shop.sold.prices))
    assert await check(store, shop) == "differs"
    assert await told(store) == [*missing, *mended, ("finding.appeared", None, price)]


async def test_who_was_overtaken_tells_nothing(store: Store) -> None:
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    (first,) = await take(store, checks_of("stripe"), limit=1, lease_s=0, at=T0)
    (second,) = await take(store, checks_of("stripe"), limit=1, at=T0)
    assert await check_catalog(store, Shop(), SetClock(T0), first) == "overtaken"
    assert await told(store) == []
    assert await check_catalog(store, Shop(), SetClock(T0), second) == "differs"
