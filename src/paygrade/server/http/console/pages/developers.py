"""Developers: keys, the people who may log in, and the addresses to paste."""

from typing import Annotated, Any

from litestar import Response
from litestar.params import FromPath

from paygrade.server.http.auth import scopes_of
from paygrade.server.http.console.asking import curl
from paygrade.server.http.console.rendering import link, page, see_other
from paygrade.server.http.console.screens import Form, action, read_form, screen
from paygrade.server.http.console.sending import Sending, make_key, send
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.parameters import text
from paygrade.server.http.problems import KINDS
from paygrade.server.operations import api_keys, people
from paygrade.server.operations.accounts.accounts import list_accounts
from paygrade.server.process.scopes import PUBLIC, ROLES, SCOPES, opened_by
from paygrade.values.errors import Refused

SHOWN = 50
ADDRESSES = (
    ("Check access", "POST", "/v1/check"),
    ("Count usage", "POST", "/v1/consume"),
    ("Usage events", "POST", "/v1/events"),
    ("Follow changes", "GET", "/v1/stream"),
    ("OpenFeature (OFREP)", "POST", "/ofrep/v1/evaluate/flags"),
    ("Stripe's webhooks", "POST", "/webhooks/stripe"),
    ("API description", "GET", "/openapi.json"),
    ("Metrics", "GET", "/metrics"),
)
_KEY_FIELDS = ("name", "role", "ip_ranges", "rate_limit", "publishable", "never_expires")


@screen("/developers", scope="catalog:read")
async def show_developers(
    request: HttpRequest, context: InContext, after: Annotated[str, text("Keys after this id.")] = ""
) -> Response[str]:
    return await _developers(request, context, after=after)


@screen("/developers/keys/new", scope="keys:write")
async def show_new_key(request: HttpRequest) -> Response[str]:
    return _new_key(request, None)


@action("/developers/keys/new", scope="keys:write")
async def create_key(request: HttpRequest, context: InContext) -> Response[str]:
    """The page that shows the key, this once, with a request to try it; or what was wrong."""
    form = await read_form(request)
    try:
        done = await send(request, Sending("POST", ("keys",), _key(form), key=form["key"]))
    except Refused as error:
        return _new_key(request, form, error)
    trial = await _trial(request, context, done.answer)
    kept = context.decision_log.kept if context.decision_log is not None else ""
    what = f"the key “{done.answer['name']}”"
    return _secret(request, "Key created", what, done.answer["key"], trial=trial, kept=kept)


@action("/developers/keys/{api_key:str}", scope="keys:write")
async def act_on_key(api_key: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
    """Rotate or revoke it. Any: a page, or the way back."""
    form = await read_form(request)
    try:
        if form["do"] == "rotate":
            body = {"overlap_s": 0 if form["at_once"] else api_keys.OVERLAP_S}
            done = await send(request, Sending("POST", ("keys", api_key, "rotate"), body, key=form["key"]))
            return _secret(request, "Key rotated", f"the new secret of “{done.answer['name']}”", done.answer["key"])
        if form["do"] != "revoke":
            raise Refused("invalid_body", "choose what to do with the key: rotate or revoke")
        await send(request, Sending("POST", ("keys", api_key, "revoke"), {"reason": form.reason()}, key=form["key"]))
    except Refused as error:
        return await _developers(request, context, error=error)
    return see_other(link("developers"))


@screen("/developers/people", scope="people:read")
async def show_people(
    request: HttpRequest, context: InContext, after: Annotated[str, text("People after this id.")] = ""
) -> Response[str]:
    return await _people(request, context, after=after)


@action("/developers/people", scope="people:write")
async def add_person(request: HttpRequest, context: InContext) -> Response[str]:
    """The page that shows the first password, this once; or what was wrong."""
    form = await read_form(request)
    body = {"email": form["email"], "name": form["name"], "role": form["role"], "must_change": True}
    try:
        done = await send(request, Sending("POST", ("people",), body, key=form["key"]))
    except Refused as error:
        return await _people(request, context, error=error, said=form)
    return _password(request, f"{form['name']} can sign in", done.answer)


@action("/developers/people/{person:str}", scope="people:write")
async def act_on_person(person: FromPath[str], request: HttpRequest, context: InContext) -> Response[Any]:
    """Another role, another password, or no log-in any more. Any: a page, or the way back."""
    form = await read_form(request)
    try:
        match form["do"]:
            case "role":
                await send(request, Sending("PUT", ("people", person, "role"), {"role": form["role"]}))
            case "reset":
                body = {"must_change": True, "totp": bool(form["totp"])}
                done = await send(request, Sending("POST", ("people", person, "reset"), body, key=form["key"]))
                return _password(request, "Log-in reset", done.answer)
            case "remove":
                await send(request, Sending("DELETE", ("people", person), query={"reason": form.reason()}))
            case _:
                raise Refused("invalid_body", "choose what to do: another role, a reset, or remove")
    except Refused as error:
        return await _people(request, context, error=error)
    return see_other(link("developers", "people"))


async def _developers(
    request: HttpRequest, context: InContext, *, after: str = "", error: Refused | None = None
) -> Response[str]:
    found = None
    if "keys:read" in scopes_of(request):
        found = await api_keys.list_keys(context.store, after=after, limit=SHOWN, at=context.clock.now())
    return page(
        request,
        "developers.html",
        status=KINDS[error.code].status if error is not None else 200,
        keys=found.keys if found is not None else (),
        next=found.next if found is not None else None,
        after=after,
        origin=_origin(request),
        addresses=ADDRESSES,
        error=error,
        key=make_key(),
    )


def _new_key(request: HttpRequest, form: Form | None, error: Refused | None = None) -> Response[str]:
    granted = scopes_of(request)
    return page(
        request,
        "key_new.html",
        status=KINDS[error.code].status if error is not None else 200,
        said={name: form[name] if form is not None else "" for name in _KEY_FIELDS},
        chosen=form.every("scope") if form is not None else [],
        scopes=[(name, told) for name, told in SCOPES.items() if name in granted],
        public=PUBLIC,
        roles=[("", "The scopes below"), *((role, role) for role in ROLES if opened_by((), role) <= granted)],
        error=error,
        key=make_key(),
    )


def _key(form: Form) -> dict[str, Any]:
    """Any: JSON."""
    said: dict[str, Any] = {"name": form["name"], "scopes": form.every("scope")}
    if form["role"]:
        said |= {"role": form["role"], "scopes": []}
    if form["ip_ranges"]:
        said["ip_ranges"] = form["ip_ranges"].replace(",", " ").split()
    if form["rate_limit"]:
        if not form["rate_limit"].isdecimal() or len(form["rate_limit"]) > 9:
            raise Refused("invalid_body", "a rate is a number of requests a minute, such as `600`")
        said["rate_limit"] = int(form["rate_limit"])
    return said | {name: bool(form[name]) for name in ("publishable", "never_expires")}


async def _people(
    request: HttpRequest,
    context: InContext,
    *,
    after: str = "",
    error: Refused | None = None,
    said: Form | None = None,
) -> Response[str]:
    found = await people.list_people(context.store, after=after, limit=SHOWN)
    return page(
        request,
        "people.html",
        status=KINDS[error.code].status if error is not None else 200,
        people=found.people,
        next=found.next,
        after=after,
        roles=[(role, role) for role in ROLES],
        said={name: said[name] if said is not None else "" for name in ("email", "name", "role")},
        error=error,
        key=make_key(),
    )


async def _trial(request: HttpRequest, context: Context, made: dict[str, Any]) -> str:
    """A command that checks a feature of an account there is; empty where the key doesn't open that. Any: the route's
    answer."""
    if "decisions:read" not in opened_by(made["scopes"], made["role"]):
        return ""
    listed = await list_accounts(context.store, limit=1, at=context.clock.now())
    catalog = await context.snapshots.catalog(context.store)
    asked = {
        "account": next((each.account for each in listed.accounts), "acme"),
        "feature": next(iter((*catalog.features, *catalog.credits)), "exports"),
    }
    return curl(f"{_origin(request)}/v1/check", asked, made["key"])


def _origin(request: HttpRequest) -> str:
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


def _secret(
    request: HttpRequest, title: str, what: str, secret: str, *, trial: str = "", kept: str = ""
) -> Response[str]:
    on = link("developers")
    return page(
        request, "secret.html", title=title, what=what, secret=secret, on=on, back=(on, "Developers"), trial=trial,
        kept=kept,
    )  # fmt: skip


def _password(request: HttpRequest, title: str, answer: dict[str, Any]) -> Response[str]:
    """Any: the route's answer."""
    on = link("developers", "people")
    what = f"the password of {answer['email']} until they choose their own"
    told = answer["password"] + (f"\n{answer['totp_address']}" if answer.get("totp_address") else "")
    return page(request, "secret.html", title=title, what=what, secret=told, on=on, back=(on, "People"))
