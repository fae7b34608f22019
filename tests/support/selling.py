"""A company whose plan changes: it publishes `pro` with other seats, and accounts buy it by hand."""

from copy import deepcopy
from typing import Any

import pytest

from paygrade.billing.facts import Item, Subscription
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import check
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.statements import put_subscription
from paygrade.server.operations.catalog.publish import CatalogPlan, publish_catalog
from paygrade.server.state.snapshots import Snapshots
from paygrade.values.errors import Refused
from support import cli_runner
from support.fake_provider import DOCUMENT, T0
from support.server_process import KEY, Api


def selling(seats: int, plan: str = "pro") -> dict[str, Any]:
    # Any: a catalog document.
    document = deepcopy(DOCUMENT)
    document["plans"][plan]["entitlements"]["seats"] = seats
    return document


async def publish(store: Store, document: dict[str, Any] = DOCUMENT, **known: Any) -> CatalogPlan:
    # Any: the keywords of publish_catalog that a test cares about.
    given = {"lines": {}, "dry_run": False, "at": T0, "by": "ann", **known}
    return await publish_catalog(store, document=document, **given)


async def buyer(store: Store, account: str, at: Any = T0) -> None:
    # Any: an instant.
    await put_account(store, account=account, name="", links={}, traits={}, at=at)
    stated = Subscription(f"sub_{account}", "active", (Item("main", plan="pro"),), at)
    await put_subscription(store, account=account, subscription=stated, version=1, at=at)


async def seats(store: Store, account: str, at: Any) -> tuple[int | None, str | None]:
    # Any: an instant.
    found = await check(store, Snapshots(), account=account, feature="seats", at=at)
    return found.limit, found.plan


async def refused(asked: Any) -> str:
    # Any: whatever is awaited.
    with pytest.raises(Refused) as refusal:
        await asked
    return refusal.value.code


def paygrade(api: Api, *arguments: str, code: int = 0) -> str:
    environ = {"PATH": "", "PAYGRADE_URL": api.url, "PAYGRADE_API_KEY": KEY}
    return cli_runner.paygrade(arguments, environ=environ, code=code)
