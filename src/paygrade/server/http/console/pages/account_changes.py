"""What a person changes of an account: overrides, blocks, units. Asked for, previewed, then confirmed with a reason."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from paygrade.decisions.decide import Decision
from paygrade.server.http.console.access_view import told_of, whole_told
from paygrade.server.http.console.history import override_words
from paygrade.server.http.console.rendering import link, page, see_other
from paygrade.server.http.console.screens import Form, action, read_form, read_moment, read_units, screen
from paygrade.server.http.console.sending import Sending, make_key, send, try_out
from paygrade.server.http.console.wording import iso, words
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.problems import KINDS
from paygrade.server.operations.portrait import Portrait, portrait
from paygrade.server.operations.usage.grants import GRANT_KINDS
from paygrade.server.process.scopes import Scope
from paygrade.values.errors import Refused

DOES = (
    ("add", "adds"),
    ("limit", "sets the limit to"),
    ("unlimited", "makes it unlimited"),
    ("on", "turns it on"),
    ("off", "denies it"),
    ("value", "sets it to"),
)


class Change(Struct, frozen=True):
    """A change of an account. `read` makes the request of what was written, `fields` are the names of what is written,
    and `shows` is where on the account's page one sees that it was done."""

    path: str
    title: str
    verb: str
    lead: str
    scope: Scope
    fields: tuple[str, ...]
    shows: str
    takes: bool
    read: Callable[[str, Form], Sending]


class Difference(Struct, frozen=True):
    """A feature, before and after."""

    feature: str
    before: str
    after: str
    tone: str


def _override(account: str, form: Form) -> Sending:
    said: dict[str, Any] = {"reason": form.reason()}  # Any: JSON
    match form["does"]:
        case "add" | "limit" as does:
            said[does] = read_units(form["units"], name="units")
        case "unlimited":
            said["unlimited"] = True
        case "on" | "off" as does:
            said["value"] = does == "on"
        case _:
            value = form["units"]
            said["value"] = int(value) if value.lstrip("-").isdigit() else value
    return Sending("PUT", ("accounts", account, "overrides", _feature(form)), said | _ends(form))


def _end_override(account: str, form: Form) -> Sending:
    return Sending("DELETE", ("accounts", account, "overrides", _feature(form)), query={"reason": form.reason()})


def _block(account: str, form: Form) -> Sending:
    if not form["block"]:
        raise Refused("invalid_body", "name the block, for example `fraud`")
    return Sending("PUT", ("accounts", account, "blocks", form["block"]), {"reason": form.reason(), **_ends(form)})


def _lift(account: str, form: Form) -> Sending:
    return Sending("DELETE", ("accounts", account, "blocks", form["block"] or "-"), query={"reason": form.reason()})


def _grant(account: str, form: Form) -> Sending:
    body = {
        "feature": _feature(form),
        "units": read_units(form["units"], name="units", least=1),
        "kind": form["kind"] or "promotion",
        "reason": form.reason(),
        "id": form["key"] or make_key(),
        **_ends(form),
    }
    return Sending("POST", ("accounts", account, "grants"), body, key=form["key"])


def _contract(account: str, form: Form) -> Sending:
    if not form["contract"]:
        raise Refused("invalid_body", "name the contract, for example `acme-2026`")
    starts_at, ends_at = read_moment(form["starts"], name="starts"), read_moment(form["ends"], name="ends")
    body: dict[str, Any] = {  # Any: JSON
        "plan": form["plan"],
        "quantity": read_units(form["quantity"] or "1", name="quantity", least=1),
        "amount": read_units(form["amount"], name="amount"),
        "currency": form["currency"],
        "interval": form["interval"] or "year",
        "renews": form["renews"] == "yes",
        "reference": form["reference"],
        "reason": form.reason(),
    }
    for name, date in (("starts_at", starts_at), ("ends_at", ends_at)):
        body |= {name: iso(date)} if date is not None else {}
    return Sending("PUT", ("accounts", account, "contracts", form["contract"]), body)


def _invoice(account: str, form: Form) -> Sending:
    if not form["contract"] or not form["invoice"]:
        raise Refused("invalid_body", "name the contract and the invoice's number")
    status, field = _BECAME.get(form["became"], ("open", "issued_at"))
    when = read_moment(form["when"], name="when")
    if form["became"] == "overdue" and when is None:
        raise Refused("invalid_body", "say since when it is overdue")
    body = {"status": status, "reason": form.reason(), **({field: iso(when)} if field and when is not None else {})}
    return Sending("PUT", ("accounts", account, "contracts", form["contract"], "invoices", form["invoice"]), body)


_BECAME = {
    "sent": ("open", "issued_at"),
    "paid": ("paid", "paid_at"),
    "overdue": ("open", "overdue_since"),
    "void": ("void", ""),
    "uncollectible": ("uncollectible", ""),
}
"""What is said of an invoice: its status, and what its date is called."""
CHANGES = (
    Change("override", "Override a feature", "Add override", "More units, another limit, on or off: until it ends.",
           "overrides:write", ("feature", "does", "units", "reason", "ends"), "overrides", False, _override),
    Change("end-override", "End an override", "End override", "What was bought counts again.",
           "overrides:write", ("feature", "reason"), "overrides", True, _end_override),
    Change("block", "Block the account", "Block", "All access is suspended. Nothing is deleted, and billing goes on.",
           "overrides:write", ("block", "reason", "ends"), "access", True, _block),
    Change("lift", "Lift a block", "Lift block", "Access is what was bought, unless another block stands.",
           "overrides:write", ("block", "reason"), "access", False, _lift),
    Change("grant", "Grant units", "Grant units", "Units of a credit or a counted feature, beside what the plan gives.",
           "usage:adjust", ("feature", "units", "kind", "reason", "ends"), "credits", False, _grant),
    Change("contract", "Add or change a contract", "Save contract", "It replaces all terms of this contract.",
           "subscriptions:write",
           ("contract", "plan", "quantity", "amount", "currency", "interval", "starts", "renews", "reference",
            "reason", "ends"), "contracts", False, _contract),
    Change("invoice", "Update an invoice", "Save invoice", "While it is overdue, access goes down the ladder.",
           "subscriptions:write", ("contract", "invoice", "became", "when", "reason"), "contracts", False, _invoice),
)  # fmt: skip


def _screens(change: Change) -> tuple[HTTPRouteHandler, HTTPRouteHandler]:
    @screen(f"/accounts/{{account:str}}/{change.path}", scope=change.scope, name=f"show_{change.path}")
    async def show(account: FromPath[str], request: HttpRequest, context: InContext) -> Response[str]:
        form = Form(list(request.query_params.multi_items()))
        return await _page(request, context, change, account, form)

    @action(f"/accounts/{{account:str}}/{change.path}", scope=change.scope, name=f"make_{change.path}")
    async def make(account: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
        """Any: a way back to the account, or the page with what was refused."""
        form = await read_form(request)
        try:
            done = await send(request, change.read(account, form))
        except Refused as error:
            return await _page(request, context, change, account, form, error=error)
        return see_other(link("accounts", account, waits=done.waits) + f"#{change.shows}")

    return show, make


SCREENS = [handler for change in CHANGES for handler in _screens(change)]


@action("/accounts/{account:str}/refresh", scope="billing:sync")
async def refresh(account: FromPath[str], request: HttpRequest) -> Response[None]:
    done = await send(request, Sending("POST", ("accounts", account, "refresh")))
    return see_other(link("accounts", account, read="late" if done.answer["stale"] else "now"))


@action("/accounts/{account:str}/top-ups/{top_up:str}", scope="billing:write")
async def buy_again(account: FromPath[str], top_up: FromPath[str], request: HttpRequest) -> Response[None]:
    """Buy a top-up again that failed."""
    form = await read_form(request)
    path = ("accounts", account, "top-ups", top_up, "retry")
    done = await send(request, Sending("POST", path, key=form["key"]))
    return see_other(link("accounts", account, waits=done.waits) + "#top-ups")


async def _page(
    request: HttpRequest, context: Context, change: Change, account: str, form: Form, *, error: Refused | None = None
) -> Response[str]:
    now = context.clock.now()
    before = await portrait(context.store, account=account, at=now, now=now)
    differences: list[Difference] | None = None

    async def look() -> Portrait:
        then = context.clock.now()  # not before: what was granted counts from its own instant on
        return await portrait(context.store, account=account, at=then, now=then)

    if error is None and form["preview"]:
        try:
            after = await try_out(request, change.read(account, form), look)
            differences = _differences(before, after)
        except Refused as refused:
            error = refused
    return page(
        request,
        "account_change.html",
        status=KINDS[error.code].status if error is not None else 200,
        change=change,
        account=before.account,
        form=form,
        error=error,
        differences=differences,
        replaced=next((its for its in before.account.overrides if its.feature == form["feature"]), None),
        override_words=override_words,
        key=form["key"] or make_key(),
        features=[(key, words(key)) for key in _choices(change, before)],
        does=DOES,
        kinds=[(kind, words(kind)) for kind in GRANT_KINDS],
    )


def _choices(change: Change, found: Portrait) -> list[str]:
    if change.path == "end-override":
        return [override.feature for override in found.account.overrides]
    if change.path == "grant":
        return [key for key, each in found.features.items() if each.its.kind in ("metered", "credit")]
    return list(found.features)


def _differences(before: Portrait, after: Portrait) -> list[Difference]:
    """What one more unit of each feature is answered with, and how much of it there is."""
    found = []
    for key, each in after.features.items():
        was, will_be = whole_told(before.features[key].decision), whole_told(each.decision)
        if was != will_be:
            found.append(Difference(key, was, will_be, _tone(before.features[key].decision, each.decision)))
    return found


def _tone(before: Decision, after: Decision) -> str:
    if not after.allowed:
        return told_of(after)[1]
    lower = not after.unlimited and (before.unlimited or (after.limit or 0) < (before.limit or 0))
    return "wait" if before.allowed and lower and after.limit is not None else "ok"


def _feature(form: Form) -> str:
    if not form["feature"]:
        raise Refused("invalid_body", "choose a feature")
    return form["feature"]


def _ends(form: Form) -> dict[str, str]:
    ends_at: datetime | None = read_moment(form["ends"], name="ends")
    return {"expires_at": iso(ends_at)} if ends_at is not None else {}
