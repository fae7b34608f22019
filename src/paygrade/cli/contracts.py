"""`paygrade contracts`: what was agreed with customers who pay by invoice, and what became of the invoices."""

from typing import Any

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import MOMENT, as_json, confirm, page_limit, say, show_json, table, yes
from paygrade.values.money import amount as priced

_STATES = {"sent": "open", "paid": "paid", "overdue": "open", "void": "void", "written-off": "uncollectible"}


@click.group()
def contracts() -> None:
    """Sell by contract, and say what became of its invoices."""


@contracts.command("set")
@click.argument("account")
@click.argument("contract")
@click.option("--plan", required=True, help="What the customer has.")
@click.option("--quantity", type=click.IntRange(1), default=1, show_default=True, help="How many of the plan.")
@click.option("--add-on", "add_ons", multiple=True, metavar="KEY=N", help="An add-on and how many; repeatable.")
@click.option("--amount", type=click.IntRange(0), required=True, help="Minor units without tax, for each period.")
@click.option("--currency", required=True, help="For example usd.")
@click.option("--every", default="year", show_default=True, metavar="PERIOD", help="`month`, `year`, or `3 months`.")
@click.option("--starts", type=MOMENT, required=True, help="When it begins.")
@click.option("--ends", type=MOMENT, help="When its first term ends.")
@click.option("--renews", is_flag=True, help="Another term follows, unless you say otherwise by then.")
@click.option("--reference", default="", help="The customer's order number.")
@click.option("--notes", default="", help="Anything else, for people.")
@click.option("--reason", default="", help="Why, for the timeline and the audit log.")
@as_json
def set_contract(
    account: str, contract: str, add_ons: tuple[str, ...], every: str, starts: str, ends: str | None, as_json: bool,
    **said: Any,
) -> None:  # fmt: skip
    """Agree on CONTRACT with ACCOUNT. Replaces all that was set for it. Any: the terms, as they are sent."""
    count, interval = _period(every)
    terms = {name: value for name, value in said.items() if value not in ("", False)}
    terms |= {"starts_at": starts, "interval": interval, "interval_count": count}
    terms |= {"ends_at": ends} if ends else {}
    terms |= {"add_ons": dict(map(_pair, add_ons))} if add_ons else {}
    told = call("PUT", path("v1", "accounts", account, "contracts", contract), body=terms)
    _show({"contracts": [told], "next": None}, told, as_json=as_json)


@contracts.command()
@click.argument("account")
@click.argument("contract")
@click.argument("number")
@click.option("--sent", "state", flag_value="sent", help="You sent it.")
@click.option("--paid", "state", flag_value="paid", help="It is paid.")
@click.option("--overdue", "state", flag_value="overdue", help="It wasn't paid in time; access goes down the ladder.")
@click.option("--void", "state", flag_value="void", help="It doesn't count.")
@click.option("--written-off", "state", flag_value="written-off", help="You no longer expect the money.")
@click.option("--at", "at", type=MOMENT, help="When it was sent, or paid, or since when it is overdue; now if absent.")
@click.option("--amount", type=click.IntRange(0), help="Minor units without tax; the contract's if absent.")
@click.option("--tax", type=click.IntRange(0), help="Minor units.")
@click.option("--due", "due_at", type=MOMENT, help="When it is due.")
@click.option("--from", "from_at", type=MOMENT, help="Where the time it is for begins.")
@click.option("--until", type=MOMENT, help="Where that ends.")
@click.option("--reason", help="Why, for the audit log.")
@as_json
def invoice(
    account: str, contract: str, number: str, state: str | None, at: str | None, as_json: bool, **said: Any
) -> None:
    """Say what became of the invoice NUMBER of CONTRACT. Any: amounts and dates, as they are sent."""
    if state is None:
        raise click.UsageError("say what became of it: --sent, --paid, --overdue, --void or --written-off")
    if state == "overdue" and at is None:
        raise click.UsageError("say since when it is overdue: --at")
    body = {"status": _STATES[state], **{name: value for name, value in said.items() if value is not None}}
    when = {"sent": "issued_at", "paid": "paid_at", "overdue": "overdue_since"}.get(state)
    if when is not None and at is not None:
        body[when] = at
    told = call("PUT", path("v1", "accounts", account, "contracts", contract, "invoices", number), body=body)
    _show({"contracts": [told], "next": None}, told, as_json=as_json)


@contracts.command()
@click.argument("account")
@click.argument("contract")
@click.option("--reason", default="", help="Why, for the audit log.")
@yes
@as_json
def remove(account: str, contract: str, reason: str, yes: bool, as_json: bool) -> None:
    """Withdraw CONTRACT of ACCOUNT, which was a mistake. To end one, set when it --ends."""
    confirm(f"{account} loses what {contract} gives it, as if it had never been. Continue?", yes=yes)
    told = call("DELETE", path("v1", "accounts", account, "contracts", contract), query={"reason": reason})
    if as_json:
        show_json(told)
    else:
        say(f"withdrew {contract} of {account}")


@contracts.command("list")
@click.argument("account")
@click.option("--after", help="The `next` of the page before.")
@page_limit(50)
@as_json
def list_contracts(account: str, after: str | None, limit: int, as_json: bool) -> None:
    """List the contracts of ACCOUNT with their terms and invoices."""
    query = {"limit": str(limit), **({"after": after} if after else {})}
    told = call("GET", path("v1", "accounts", account, "contracts"), query=query)
    _show(told, told, as_json=as_json)


def _period(every: str) -> tuple[int, str]:
    count, _, unit = every.rpartition(" ")
    unit = unit.removesuffix("s")
    if unit not in ("month", "year") or not (count or "1").isdecimal():
        raise click.UsageError(f"`{every}` is not a period; write `month`, `year` or `3 months`")
    return int(count or 1), unit


def _pair(text: str) -> tuple[str, int]:
    name, sign, value = text.partition("=")
    if not sign or not value.isdecimal():
        raise click.UsageError(f"`{text}` is not KEY=N with a whole number")
    return name, int(value)


# Any: decoded JSON, as the server sent it.
def _show(page: dict[str, Any], told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
        return
    table(
        ("contract", "state", "from", "until", "plan", "each period", "invoices"),
        (
            (
                one["contract"],
                one["state"],
                one["from_at"][:10],
                (one["until"] or "no end")[:10] + (", renews" if one["terms"].get("renews") else ""),
                f"{one['terms'].get('quantity', 1)} × {one['terms']['plan']}",
                priced(one["terms"]["amount"], one["terms"]["currency"]),
                [f"{each['id']} {_became(each)}" for each in one["invoices"]],
            )
            for one in page["contracts"]
        ),
    )
    if page["next"]:
        say(f"there are more: --after {page['next']}", style="dim")


def _became(invoice: dict[str, Any]) -> str:
    overdue = invoice["overdue_since"]
    return f"overdue since {overdue[:10]}" if overdue else str(invoice["status"])
