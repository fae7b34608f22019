"""Webhooks: endpoints, what became of what was sent, sending again, and why a signature does not verify."""

from typing import Annotated, Any

from litestar import Response
from litestar.params import FromPath
from msgspec.structs import replace

from paygrade.server.http.auth import scopes_of
from paygrade.server.http.console.rendering import link, page, see_other
from paygrade.server.http.console.screens import Form, action, read_form, screen
from paygrade.server.http.console.sending import Sending, make_key, send
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.parameters import choice, number, read_choice, text
from paygrade.server.http.problems import KINDS
from paygrade.server.operations.webhooks import deliveries, endpoints
from paygrade.server.process.webhook_signatures import ID, SIGNATURE, TIMESTAMP, diagnose
from paygrade.updates.delivery import STATES
from paygrade.values.errors import Refused

SHOWN = 50
_NEW = ("url", "description", "types", "accounts")


@screen("/webhooks", scope="webhooks:read")
async def show_webhooks(
    request: HttpRequest, context: InContext, after: Annotated[str, text("Endpoints after this id.")] = ""
) -> Response[str]:
    found = await endpoints.list_endpoints(context.store, after=after, limit=SHOWN)
    return page(request, "webhooks.html", endpoints=found.endpoints, next=found.next, after=after)


@screen("/webhooks/new", scope="webhooks:write")
async def show_new_endpoint(request: HttpRequest) -> Response[str]:
    return page(request, "webhook_new.html", said=dict.fromkeys(_NEW, ""), error=None, key=make_key())


@action("/webhooks/new", scope="webhooks:write")
async def create_endpoint(request: HttpRequest) -> Response[str]:
    """The page that shows the secret, this once; or what was wrong."""
    form = await read_form(request)
    said = {name: form[name] for name in _NEW}
    body = {"url": form["url"], "description": form["description"]}
    lists = {name: _names(form[name]) for name in ("types", "accounts") if form[name]}
    try:
        done = await send(request, Sending("POST", ("webhook-endpoints",), body | lists, key=form["key"]))
    except Refused as error:
        status = KINDS[error.code].status
        return page(request, "webhook_new.html", status=status, said=said, error=error, key=make_key())
    answer = done.answer
    return page(
        request, "secret.html", status=200, title="Endpoint created", what="the secret that verifies its webhooks",
        secret=answer["secret"], on=link("webhooks", answer["id"]), back=(link("webhooks"), "Webhooks"),
    )  # fmt: skip


@screen("/webhooks/signature", scope="webhooks:read")
async def show_debugger(request: HttpRequest) -> Response[str]:
    fields = dict.fromkeys(("id", "timestamp", "signature", "body"), "")
    return page(request, "signature.html", said=fields, secret="", found=None)


@action("/webhooks/signature", scope="webhooks:read")
async def debug_signature(request: HttpRequest, context: InContext) -> Response[str]:
    """What is wrong with a webhook as its receiver has it. The secret is neither kept nor logged."""
    form = await read_form(request)
    said = {name: form[name] for name in ("id", "timestamp", "signature")} | {"body": _body(form)}
    headers = {ID: said["id"], TIMESTAMP: said["timestamp"], SIGNATURE: said["signature"]}
    found = diagnose(said["body"].encode(), headers, form["secret"], now=int(context.clock.now().timestamp()))
    return page(request, "signature.html", status=200, said=said, secret=form["secret"], found=found)


@screen("/webhooks/{endpoint:str}", scope="webhooks:read")
async def show_endpoint(
    endpoint: FromPath[str],
    request: HttpRequest,
    context: InContext,
    in_state: Annotated[str | None, choice("state", STATES, "Deliveries in this state.")] = None,
    account: Annotated[str, text("Deliveries about this account.")] = "",
    before: Annotated[int | None, number("Deliveries before this position.")] = None,
) -> Response[str]:
    state = read_choice(in_state or None, STATES, name="state")
    return await _endpoint(request, context, endpoint, state=state, account=account, before=before)


@action("/webhooks/{endpoint:str}", scope="webhooks:write")
async def act_on_endpoint(endpoint: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
    """Pause it, test it, send again, rotate its secret, remove it. Any: a page, or the way to one."""
    form = await read_form(request)
    try:
        done = await send(request, _wanted(endpoint, form))
    except Refused as error:
        return await _endpoint(request, context, endpoint, error=error)
    match form["do"]:
        case "remove":
            return see_other(link("webhooks"))
        case "rotate":
            return page(
                request, "secret.html", status=200, title="Secret rotated", what="the new secret",
                secret=done.answer["secret"], on=link("webhooks", endpoint), back=(link("webhooks"), "Webhooks"),
            )  # fmt: skip
        case "test":
            return await _endpoint(request, context, endpoint, tested=done.answer)
        case "replay":
            return see_other(link("webhooks", endpoint, replayed=done.answer["replayed"]))
        case _:
            return see_other(link("webhooks", endpoint))


def _wanted(endpoint: str, form: Form) -> Sending:
    """What a form of an endpoint asks for. Refused `invalid_body`."""
    path, key = ("webhook-endpoints", endpoint), form["key"]
    match form["do"]:
        case "pause":
            return Sending("PATCH", path, {"state": "disabled", "reason": form.reason()})
        case "enable":
            return Sending("PATCH", path, {"state": "enabled"})
        case "remove":
            return Sending("DELETE", path, query={"reason": form.reason()})
        case "test":
            return Sending("POST", (*path, "test"))
        case "rotate":
            return Sending("POST", (*path, "rotate"), {"overlap_s": 0 if form["at_once"] else 86_400}, key=key)
        case "replay":
            return Sending("POST", (*path, "replay"), _replay(form), key=key)
        case _:
            raise Refused("invalid_body", "choose what to do with the endpoint")


def _replay(form: Form) -> dict[str, Any]:
    """Any: JSON."""
    if form["id"]:
        return {"id": form["id"]}
    if not form["after"] and not form["until"]:
        return {"gap": True}
    said: dict[str, Any] = {}
    for name in ("after", "until"):
        if form[name]:
            if not form[name].isdecimal() or len(form[name]) > 15:
                raise Refused("invalid_body", f"a position is a number such as `1200`, not `{form[name][:40]}`")
            said[name] = int(form[name])
    return said


async def _endpoint(
    request: HttpRequest,
    context: InContext,
    endpoint: str,
    *,
    state: Any = None,  # one of STATES
    account: str = "",
    before: int | None = None,
    tested: dict[str, Any] | None = None,
    error: Refused | None = None,
) -> Response[str]:
    """Any: JSON."""
    held = await endpoints.get_endpoint(context.store, endpoint)
    found = await deliveries.list_deliveries(
        context.store, endpoint, state=state, account=account or None, before=before, limit=SHOWN
    )
    seen = "webhooks:answers" in scopes_of(request)
    return page(
        request,
        "webhook.html",
        status=KINDS[error.code].status if error is not None else 200,
        endpoint=held,
        deliveries=found.deliveries if seen else tuple(replace(one, answer=None) for one in found.deliveries),
        next=found.next,
        state=state or "",
        states=STATES,
        account=account,
        before=before,
        replayed=request.query_params.get("replayed", ""),
        tested=tested,
        error=error,
        key=make_key(),
    )


def _names(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _body(form: Form) -> str:
    """Byte for byte but for the line breaks, which browsers send as two characters."""
    return next(iter(form.every("body")), "").replace("\r\n", "\n")
