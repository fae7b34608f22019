"""A quote on one screen: what changes, when, for how much, and what to know before.

Law: everything that a person would want to be asked about before they agree stands on it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from paygrade.cli.wording import instant
from paygrade.entitlements.seats import NAMED_MAX
from paygrade.values.money import amount

# Any in this file: decoded JSON, as the server sent it.
Row = tuple[str, str, str]
"""A heading (empty: it goes on under the one above), a text, and a style of `output.say`."""

_STYLES = {"gains": "green", "loses": "red", "changes": ""}


def page(quote: Mapping[str, Any]) -> Iterator[Row]:
    """The rows to show, in order."""
    yield quote["account"], _headline(quote), "bold"
    rule = quote["matched"]["rule"]
    by = f"rule {quote['matched']['number']} of plan_change ({_rule(rule)})"
    yield "takes effect", f"{_WHEN[quote['when']]}, {instant(quote['effective_at'])}; {by}", ""
    for item in quote["items"]:
        yield "item", _item(item), "dim" if item["how"] == "kept" else ""
    yield from _money(quote["money"], quote["effective_at"])
    for delta in quote["deltas"]:
        yield delta["how"], f"{delta['feature']}: {delta['before']} → {delta['after']}", _STYLES[delta["how"]]
    for used in quote["usage"]:
        yield "counts as used", f"{used['feature']}: {used['used_before']} → {used['used_after']} ({used['how']})", ""
    for violation in quote["violations"]:
        yield "over the limit", _violation(violation), "yellow"
    if quote["trial"] is not None:
        effect = {"goes_on": "goes on until", "is_over": "is over by then, at", "ends": "ends"}[
            quote["trial"]["effect"]
        ]
        yield "trial", f"{effect} {instant(quote['trial']['ends_at'])}", ""
    for caveat in quote["warnings"]:
        yield "warning", f"{caveat['detail']} [{caveat['code']}]", "yellow"
    if not quote["executable"]:
        yield "refused", "the rule refuses the change while something is over the limit", "red"
    yield "quote", f"{quote['id']}, good until {instant(quote['expires_at'])}", "dim"


_WHEN = {"now": "now", "period_end": "at the end of the period", "date": "on the date you asked for"}


def _headline(quote: Mapping[str, Any]) -> str:
    before, after = quote["plan_before"] or "no plan", quote["plan_after"] or "no plan"
    plans = before if before == after else f"{before} → {after}"
    end = "; the subscription ends" if quote["ends"] else ""
    return f"{quote['direction']}, {plans}{end}"


def _rule(rule: Mapping[str, Any]) -> str:
    words = {
        "from": rule.get("from_plan"),
        "to": rule.get("to_plan"),
        **{word: rule.get(word) for word in ("direction", "when", "proration", "anchor", "usage", "seats")},
    }
    return ", ".join(f"{name}: {word}" for name, word in words.items() if word) or "any change"


def _item(item: Mapping[str, Any]) -> str:
    part = item.get("part", "quantity")
    before, after = (_counted(item[when], item[f"quantity_{when}"], part) for when in ("before", "after"))
    prices = "" if item["price_before"] == item["price_after"] else f" ({item['price_before']} → {item['price_after']})"
    match item["how"]:
        case "added":
            return f"+ {after}"
        case "removed":
            return f"- {before}"
        case "changed":
            return f"{before} → {after}{prices if item['before'] == item['after'] else ''}"
        case _:
            return f"{after} stays"


def _counted(what: str | None, quantity: int, part: str) -> str:
    """What is paid for each is counted; `pro (usage)` and `pro (flat)` are not."""
    return f"{quantity} × {what}" if part == "quantity" else f"{what} ({part})"


def _money(money: Mapping[str, Any], effective_at: str) -> Iterator[Row]:
    currency = money["currency"]
    if currency is None:
        return
    yield "due now", f"{amount(money['due_now'], currency)} (by the {money['source']})", "bold"
    if money["credit"] or money["charge"]:
        credit, charge = amount(money["credit"], currency), amount(money["charge"], currency)
        yield "", f"credit for unused time {credit}, charge {charge}", ""
    if money["invoice"] is not None and money["invoice"]["at"] == effective_at and not money["due_now"]:
        yield "invoice", _invoice(money["invoice"], currency), ""
    if money["next_invoice"] is not None:
        by = (
            "" if money["next_invoice"]["source"] == money["source"] else f" (by the {money['next_invoice']['source']})"
        )
        yield "next invoice", f"{_invoice(money['next_invoice'], currency)}{by}", ""
    else:
        yield "next invoice", "none", ""


def _invoice(invoice: Mapping[str, Any], currency: str) -> str:
    total = f" of {amount(invoice['total'], currency)}" if invoice["total"] != invoice["due"] else ""
    return f"{amount(invoice['due'], currency)}{total} due {instant(invoice['at'])}"


def _violation(violation: Mapping[str, Any]) -> str:
    what = "members with a seat" if violation["kind"] == "members" else "in use"
    until = instant(violation["until"]) if violation["until"] else ""
    consequence = {
        "refuse": "the change is refused until there is room",
        "block_new": "what is there stays, and nothing can be added",
        "grace": f"as before until {until}, then blocked",
        "keep": f"as before until {until}",
    }[violation["policy"]]
    if violation["kind"] == "members" and violation["policy"] != "refuse":
        consequence = _losing(violation, until)
    return f"{violation['feature']}: {violation['used']} {what}, {violation['limit']} allowed: {consequence}"


def _losing(violation: Mapping[str, Any], until: str) -> str:
    then = f"as before until {until}, then " if until else ""
    how = {
        "suspend": "can't use theirs",
        "owner_chooses": "can't use theirs until the owner chooses",
        "release_newest": "lose theirs (the newest)",
        "release_least_active": "lose theirs (the least active)",
    }[violation["seats"]]
    return f"{then}{', '.join(violation['members'][:NAMED_MAX])}{_more(violation['members'])} {how}"


def _more(members: Sequence[str]) -> str:
    return f" and {len(members) - NAMED_MAX} more" if len(members) > NAMED_MAX else ""
