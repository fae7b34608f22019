"""`paygrade accounts`: see and state accounts, and what operators say of them."""

from typing import Any

import click

from paygrade.cli import checkouts, members, personal_data, plan_changes, rebuild, versions
from paygrade.cli.api import call, path
from paygrade.cli.output import MOMENT, as_json, confirm, page_limit, say, show_json, table, yes
from paygrade.cli.wording import instant, sentence
from paygrade.server.operations.usage.grants import GRANT_KINDS


@click.group()
def accounts() -> None:
    """Show and change accounts, overrides, blocks and plans."""


for _command in (
    *checkouts.COMMANDS,
    *plan_changes.COMMANDS,
    members.member,
    members.members,
    members.seats,
    rebuild.rebuild,
    versions.versions,
    personal_data.export,
    personal_data.erase,
):
    accounts.add_command(_command)


@accounts.command("list")
@click.option(
    "--search",
    default="",
    help="The beginning of the key or name, or a customer's or subscription's id at the provider.",
)
@click.option("--plan", help="Only accounts on this plan, in whichever version.")
@click.option("--state", help="Only accounts in this state, such as `past_due`.")
@click.option("--finding", help="Only accounts with this finding, such as `unmapped_price`; `any`: any.")
@page_limit()
@click.option("--after", default="", help="Show accounts after this key.")
@as_json
def list_accounts(limit: int, as_json: bool, **asked: str | None) -> None:
    """List accounts by key, a page at a time."""
    query = {"limit": str(limit), **asked}
    page = call("GET", "/v1/accounts", query={name: value for name, value in query.items() if value})
    if as_json:
        show_json(page)
        return
    table(
        ("account", "name", "customers", "subscriptions", "overrides", "blocks"),
        (
            (
                account["account"],
                account["name"] or None,
                account["customers"],
                [_subscription(subscription) for subscription in account["subscriptions"]],
                [override["feature"] for override in account["overrides"]],
                [block["key"] for block in account["blocks"]],
            )
            for account in page["accounts"]
        ),
    )
    if page["next"] is not None:
        click.echo(f"more: --after {page['next']}", err=True)


@accounts.command()
@click.argument("account")
@as_json
def show(account: str, as_json: bool) -> None:
    """Show ACCOUNT and what it can use now."""
    found = call("GET", path("v1", "accounts", account))
    decided = call("GET", path("v1", "accounts", account, "decisions"))
    if as_json:
        show_json({**found, "decisions": decided["decisions"]})
        return
    named = f" ({found['name']})" if found["name"] else ""
    say(found["account"] + named, style="bold")
    for label, value in (
        ("customers", ", ".join(found["customers"])),
        ("subscriptions", ", ".join(_subscription(subscription) for subscription in found["subscriptions"])),
        ("overrides", ", ".join(override["feature"] for override in found["overrides"])),
        ("blocks", ", ".join(block["key"] for block in found["blocks"])),
        ("members", ", ".join(f"{member['key']} ({member['role']})" for member in found["members"])),
        ("time zone", found["time_zone"]),
        ("traits", ", ".join(f"{name}={value}" for name, value in found["traits"].items())),
    ):
        if value:
            say(f"{label}: {value}")
    for its in found["subscriptions"]:
        if its.get("next_attempt_at"):
            tried = f"tried {its['attempts']} times" if its["attempts"] != 1 else "tried once"
            say(f"payment of {its['id']}: {tried}, tried again {instant(its['next_attempt_at'])}", style="yellow")
    for finding in found["findings"]:
        say(f"needs attention: {finding['subject']}: {finding['detail']}", style="yellow")
    say()
    table(
        ("feature", "allowed", "reason", "left", "limit", "value", "from"),
        (
            (
                feature,
                decision["allowed"],
                decision["reason"],
                "unlimited" if decision["unlimited"] else decision["remaining"],
                decision["limit"],
                decision["value"],
                decision["plan"],
            )
            for feature, decision in decided["decisions"].items()
        ),
    )


@accounts.command()
@click.argument("account")
@click.option("--name", default="", help="A name for people.")
@click.option("--link", "links", multiple=True, metavar="CUSTOMER", help="A Stripe customer it pays with; repeatable.")
@click.option("--trait", "traits", multiple=True, metavar="NAME=VALUE", help="Any other information; repeatable.")
@click.option("--time-zone", metavar="ZONE", help="Where its days begin, for example Europe/Berlin.")
@as_json
def put(
    account: str, name: str, links: tuple[str, ...], traits: tuple[str, ...], time_zone: str | None, as_json: bool
) -> None:
    """Create ACCOUNT or replace what you said about it; what you leave out is removed."""
    body: dict[str, Any] = {"name": name, "links": {"stripe": list(links)} if links else {}, "traits": _traits(traits)}
    body |= {"time_zone": time_zone} if time_zone else {}
    _show_outcome(call("PUT", path("v1", "accounts", account), body=body), f"stated {account}", as_json=as_json)


@accounts.command()
@click.argument("account")
@yes
@as_json
def delete(account: str, yes: bool, as_json: bool) -> None:
    """Delete ACCOUNT; refused while it has a live subscription."""
    confirm(f"Delete {account}? It loses all access.", yes=yes)
    call("DELETE", path("v1", "accounts", account))
    _show_outcome({"deleted": account}, f"deleted {account}", as_json=as_json)


@accounts.command()
@click.argument("account")
@click.argument("feature")
@click.option("--on/--off", "on", default=None, help="Allow or deny the feature.")
@click.option("--value", help="The value of a config feature.")
@click.option("--limit", type=int, help="A limit instead of that of the plan.")
@click.option("--add", type=int, help="Units in addition to the plan's.")
@click.option("--unlimited", is_flag=True, help="No limit.")
@click.option("--spend-cap", type=int, help="The spend cap on overage, in minor units, instead of the plan's.")
@click.option("--reason", default="", help="Why; shown in explanations.")
@click.option("--code", help="Why, as a word that reports can count by, for example `goodwill`.")
@click.option("--from", "begins", type=MOMENT, help="When it begins, for example 2026-12-01T00:00:00Z; now if absent.")
@click.option("--until", type=MOMENT, help="When it ends, for example 2026-12-31T00:00:00Z.")
@click.option("--review", type=MOMENT, help="When somebody is to look whether it is still needed.")
@click.option("--withdraw", is_flag=True, help="Remove the override.")
@yes
@as_json
def override(
    account: str,
    feature: str,
    on: bool | None,
    value: str | None,
    limit: int | None,
    add: int | None,
    unlimited: bool,
    spend_cap: int | None,
    reason: str,
    code: str | None,
    begins: str | None,
    until: str | None,
    review: str | None,
    withdraw: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Override FEATURE for ACCOUNT, whatever it bought, or remove the override."""
    if withdraw or on is False or limit is not None:
        confirm(f"{account} may lose access to part of {feature}. Continue?", yes=yes)
    where = path("v1", "accounts", account, "overrides", feature)
    if withdraw:
        decision = call("DELETE", where, query={"reason": reason} if reason else None)
    else:
        said: dict[str, Any] = {"value": _value(value) if on is None else on, "limit": limit, "add": add}
        said |= {
            "unlimited": True if unlimited else None,
            "spend_cap": spend_cap,
            "reason": reason or None,
            "code": code,
            "starts_at": begins,
            "expires_at": until,
            "review_at": review,
        }
        decision = call("PUT", where, body={name: what for name, what in said.items() if what is not None})
    _show_outcome(decision, sentence(decision), as_json=as_json)


@accounts.command()
@click.argument("account")
@click.argument("key")
@click.option("--reason", default="", help="Why; shown in explanations.")
@click.option("--until", type=MOMENT, help="When it ends, for example 2026-12-31T00:00:00Z.")
@click.option("--lift", is_flag=True, help="Lift the block.")
@yes
@as_json
def block(account: str, key: str, reason: str, until: str | None, lift: bool, yes: bool, as_json: bool) -> None:
    """Suspend all access of ACCOUNT under KEY (`fraud`, `payment`…), or lift that block."""
    where = path("v1", "accounts", account, "blocks", key)
    if lift:
        _show_outcome(call("DELETE", where), f"lifted {key} of {account}", as_json=as_json)
        return
    confirm(f"Suspend all access of {account}?", yes=yes)
    body = {name: what for name, what in {"reason": reason, "expires_at": until}.items() if what}
    _show_outcome(call("PUT", where, body=body), f"blocked {account}: {key}", as_json=as_json)


@accounts.command()
@click.argument("account")
@click.argument("plan")
@click.option("--version", type=click.IntRange(min=1), help="The version to keep; without it, the newest.")
@click.option("--until", type=MOMENT, help="When it ends, for example 2026-12-31T00:00:00Z.")
@click.option("--then", help="The version from then on, or `newest`; without it the catalog decides again.")
@click.option("--reason", default="", help="Why; shown in explanations.")
@click.option("--withdraw", is_flag=True, help="Remove the pin.")
@yes
@as_json
def pin(account: str, plan: str, withdraw: bool, yes: bool, as_json: bool, **said: str | int | None) -> None:
    """Pin ACCOUNT to a version of PLAN (or an add-on), or remove the pin."""
    confirm(f"{account} may lose part of what {plan} gives. Continue?", yes=yes)
    where = path("v1", "accounts", account, "versions", plan)
    if withdraw:
        told = call("DELETE", where)
    else:
        then = _value(str(said["then"])) if said["then"] else None
        told = call("PUT", where, body={name: what for name, what in {**said, "then": then}.items() if what})
    had = ", ".join(f"{one['key']}@{one['version']} ({one['why']})" for one in told["versions"])
    _show_outcome(told, f"{account} has {had or 'nothing'}", as_json=as_json)


@accounts.command("top-ups")
@click.argument("account")
@click.option("--retry", metavar="ID", help="Try this failed top-up again.")
@page_limit()
@as_json
def top_ups(account: str, retry: str | None, limit: int, as_json: bool) -> None:
    """List ACCOUNT's top-ups, or retry a failed one."""
    where = path("v1", "accounts", account, "top-ups")
    if retry is not None:
        _show_outcome(call("POST", where + path(retry, "retry")), f"{retry} is tried again", as_json=as_json)
        return
    told = call("GET", where, query={"limit": str(limit)})
    if as_json:
        show_json(told)
        return
    table(
        ("id", "asked", "credit", "units", "left then", "price", "state", "invoice", "note"),
        (
            (each["id"], instant(each["asked_at"]), each["credit"], each["units"], each["balance"],
             f"{each['amount']} {each['currency']}", each["state"], each["invoice"], each["reason"] or each["error"])
            for each in told["top_ups"]
        ),
    )  # fmt: skip


def _show_outcome(told: object, line: str, *, as_json: bool) -> None:
    if as_json:
        show_json(told)
    else:
        say(line)


# Any: decoded JSON, as the server sent it.
def _subscription(subscription: dict[str, Any]) -> str:
    items = " + ".join(
        str(next(item[name] for name in ("plan", "lookup_key", "product", "price", "id") if item.get(name)))
        for item in subscription["items"]
    )
    return f"{subscription['id']} {subscription['status'] or subscription.get('provider_status')} ({items})"


def _value(text: str | None) -> int | str | None:
    """Values of config features are whole numbers or texts; `true` and `false` are said with --on and --off."""
    if text is None or not text.removeprefix("-").isdecimal():
        return text
    return int(text)


def _traits(pairs: tuple[str, ...]) -> dict[str, int | str]:
    traits: dict[str, int | str] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise click.UsageError(f"`{pair}` is not NAME=VALUE")
        value = _value(text)
        traits[name] = "" if value is None else value
    return traits


@accounts.command()
@click.argument("account")
@click.argument("feature")
@as_json
def balance(account: str, feature: str, as_json: bool) -> None:
    """Show ACCOUNT's balance of FEATURE (or a credit), grant by grant in the order they are spent."""
    found = call("GET", path("v1", "accounts", account, "balances", feature))
    if as_json:
        show_json(found)
    else:
        _show_balance(found)


def _show_balance(found: dict[str, Any]) -> None:
    resets = f", resets {instant(found['resets_at'])}" if found["resets_at"] else ""
    of = f"{found['account']} {found['pool']}"
    say(f"{of}: {found['used']} used, {found['reserved']} held in this window{resets}", style="bold")
    if found["credits"]:
        say(f"paid in {found['credits']['pool']}:")
        _show_balance(found["credits"])
        return
    table(
        ("grant", "kind", "granted", "left", "held", "used", "expired", "voided", "until"),
        (
            (
                one["grant"]["id"],
                one["grant"]["kind"] + (" (asleep)" if one.get("asleep") else ""),
                _units(one["share"]["granted"]),
                _units(one["share"]["available"]),
                one["share"]["reserved"],
                one["share"]["consumed"],
                one["share"]["expired"],
                one["share"]["voided"],
                instant(one["grant"]["until"]) if one["grant"].get("until") else None,
            )
            for one in found["grants"]
        ),
    )


@accounts.command("usage")
@click.argument("account")
@click.option("--feature", help="Only this feature or credit.")
@click.option("--from", "from_at", type=MOMENT, help="Windows that end after this instant; 92 days ago.")
@click.option("--until", type=MOMENT, help="Windows that begin before this instant; now.")
@click.option("--group-by", help="`member`, or a property of usage events; needs --feature.")
@as_json
def show_usage(
    account: str, feature: str | None, from_at: str | None, until: str | None, group_by: str | None, as_json: bool
) -> None:
    """Show what ACCOUNT used in each window, newest first."""
    said = {"feature": feature, "from": from_at, "until": until, "group_by": group_by}
    query = {name: value for name, value in said.items() if value is not None}
    told = call("GET", path("v1", "accounts", account, "usage"), query=query)
    if as_json:
        show_json(told)
        return
    columns = ("feature", "from", "until", "used", "held", "limit", *((group_by,) if group_by else ()))
    table(columns, (row for window in told["windows"] for row in _usage_rows(window, grouped=group_by is not None)))
    if told["more"]:
        click.echo("there is more: ask for less with --from and --until", err=True)


# Any: decoded JSON, as the server sent it.
def _usage_rows(window: dict[str, Any], *, grouped: bool) -> list[tuple[object, ...]]:
    """A window's row, and one for each of its groups."""
    from_at, until = (instant(window[name]) if window[name] else None for name in ("from_at", "until"))
    limit = "unlimited" if window["unlimited"] else window["limit"]
    head = (window["feature"], from_at, until)
    whole = (*head, window["used"], window["reserved"], limit, *((None,) if grouped else ()))
    return [whole, *((*head, group["used"], None, None, group["value"]) for group in window["groups"] or ())]


@accounts.command()
@click.argument("account")
@click.argument("feature")
@page_limit(50)
@click.option("--before", help="The next page: the value that the page before printed.")
@as_json
def ledger(account: str, feature: str, limit: int, before: str | None, as_json: bool) -> None:
    """Show the entries behind ACCOUNT's balance of FEATURE, newest first."""
    query = {"limit": str(limit), **({"before": before} if before else {})}
    page = call("GET", path("v1", "accounts", account, "ledger", feature), query=query)
    if as_json:
        show_json(page)
        return
    table(
        ("recorded", "id", "what", "of", "quantity", "member", "drew", "denied"),
        (
            (
                instant(entry["recorded_at"]),
                entry["id"].replace("\t", " "),
                entry["kind"],
                entry["feature"],
                entry["quantity"],
                entry["member"],
                [f"{slot} {used:+d}{f' held {held:+d}' if held else ''}" for _, slot, used, held, *_ in entry["draws"]],
                entry["denied"],
            )
            for entry in page["entries"]
        ),
    )
    say()
    table(
        ("burned down from", "units", "since", "until"),
        (
            (stretch["slot"], stretch["units"], instant(stretch["from_at"]), instant(stretch["until"]))
            for stretch in page["burn_down"]
        ),
    )
    if page["next"] is not None:
        click.echo(f"more: --before '{page['next']}'", err=True)


@accounts.command()
@click.argument("account")
@click.argument("feature")
@click.argument("units", type=click.IntRange(min=1))
@click.option("--id", required=True, help="Each id grants once, so you can safely retry.")
@click.option("--kind", type=click.Choice(GRANT_KINDS), default="promotion", show_default=True)
@click.option("--reason", default="", help="Why.")
@click.option("--until", type=MOMENT, help="When what is left of it expires, for example 2026-12-31T00:00:00Z.")
@click.option("--priority", type=click.IntRange(0, 100), default=50, show_default=True, help="Lower is spent first.")
@as_json
def grant(account: str, feature: str, units: int, id: str, kind: str, reason: str, until: str | None,
          priority: int, as_json: bool) -> None:  # fmt: skip
    """Grant ACCOUNT UNITS of FEATURE (or a credit) on top of its plan."""
    body = {"feature": feature, "units": units, "id": id, "kind": kind, "reason": reason, "priority": priority}
    made = call(
        "POST", path("v1", "accounts", account, "grants"), body={**body, **({"expires_at": until} if until else {})}
    )
    _show_outcome(made, f"granted {account} {units} of {feature} as {id}", as_json=as_json)


@accounts.command()
@click.argument("account")
@click.argument("feature")
@click.argument("id")
@yes
@as_json
def void(account: str, feature: str, id: str, yes: bool, as_json: bool) -> None:
    """Take back what is left of the grant ID."""
    confirm(f"Take back what {account} has left of {id}?", yes=yes)
    told = call("DELETE", path("v1", "accounts", account, "grants", feature, id))
    _show_outcome(told, f"voided {told['share']['voided']} of {id}", as_json=as_json)


@accounts.command()
@click.argument("account")
@as_json
def alerts(account: str, as_json: bool) -> None:
    """List the thresholds ACCOUNT's usage has passed."""
    found = call("GET", path("v1", "accounts", account, "alerts"))
    if as_json:
        show_json(found)
        return
    table(
        ("feature", "percent", "used", "of", "raised", "resolved"),
        (
            (a["pool"], a["percent"], a["used"], a["units"], instant(a["raised_at"]),
             instant(a["resolved_at"]) if a["resolved_at"] else None)
            for a in found["alerts"]
        ),
    )  # fmt: skip


def _units(number: int | None) -> int | str:
    return "unlimited" if number is None else number
