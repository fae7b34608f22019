"""`paygrade usage`: what the provider was told of usage, and comparing it with what the provider says."""

import sys
import time
from typing import Any

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import as_json, page_limit, say, show_json, table
from paygrade.cli.wording import instant
from paygrade.values.errors import Unavailable

LOOK_S = 0.2
WAIT_S = 120.0


@click.group()
def usage() -> None:
    """Show and check the usage reported to Stripe."""


@usage.command()
@click.argument("account", required=False)
@click.option("--state", help="Of all accounts, only what is `failing`, `not_reported` or `different`.")
@page_limit()
@as_json
def reports(account: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """Show what was reported of ACCOUNT's usage; for all accounts, only what needs attention.

    Exit code 1 if anything fails, is not reported, or differs at the provider.
    """
    if account and state:
        raise click.UsageError("--state chooses among all accounts' reports; leave out ACCOUNT or --state")
    told = _reports(account, limit, state)
    _show(told, as_json=as_json)


@usage.command()
@click.argument("account", required=False)
@page_limit()
@as_json
def reconcile(account: str | None, limit: int, as_json: bool) -> None:
    """Compare what was reported with the provider's own sums, of ACCOUNT or of all.

    Usage missing at the provider is reported again automatically, once its sums have settled. Exit code 1 if anything
    differs.
    """
    call("POST", "/v1/usage/reconcile", body={"account": account})
    give_up_at = time.monotonic() + WAIT_S
    while (told := _reports(account, limit))["unchecked"]:
        if time.monotonic() > give_up_at:
            raise Unavailable("provider_unreachable", f"{told['unchecked']} windows could not be compared yet; "
                              "`paygrade usage reports` says why")  # fmt: skip
        time.sleep(LOOK_S)
    _show(told, as_json=as_json)


# Any: decoded JSON, as the server sent it.
def _reports(account: str | None, limit: int, state: str | None = None) -> dict[str, Any]:
    where = path("v1", "accounts", account, "usage", "reports") if account else "/v1/usage/reports"
    told: dict[str, Any] = call("GET", where, query={"limit": str(limit), **({"state": state} if state else {})})
    return told


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
    else:
        table(
            ("account", "feature", "from", "used", "reported", "customer", "told", "provider says", "checked", "note"),
            (
                (each["account"], each["feature"], instant(each["from_at"]), each["used"], each["reported"],
                 each["customer"], each["told"], each["said"],
                 instant(each["checked_at"]) if each["checked_at"] else None, each["error"] or each["reason"])
                for each in told["reports"]
            ),
        )  # fmt: skip
        if not told["reports"]:
            say("nothing to show", style="dim")
    sys.exit(1 if any(each["error"] or each["reason"] or each["difference"] for each in told["reports"]) else 0)
