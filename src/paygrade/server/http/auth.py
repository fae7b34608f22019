"""Who may ask: whoever holds a key (`Authorization: Bearer sk_…`), an account token or a session, for what it opens.

Laws: each route needs one scope, which it says itself; a key is looked up by its hash, never compared letter by letter;
two keys are none; without a valid key nothing of the request but its head is read. A route may name a header of its own
for the key, which goes first (`key_header`): what a gateway passes on as `Authorization` is its visitors'. Pages, with
an account token or a publishable key, open no route that does not say so (`for_pages`), a token its own account alone
(`allowed_member`). In an address only a token counts that opens nothing but streams: addresses are written down on the
way. A person's session stands in a cookie, which counts where no key is shown, and changes things from our own pages
alone.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from paygrade.server.http.context import Context, HttpRequest, context_of
from paygrade.server.http.problems import LACKING, TOLD, rate_fields
from paygrade.server.operations import people
from paygrade.server.operations.people import SignedIn
from paygrade.server.process import account_tokens
from paygrade.server.process.account_tokens import AccountToken
from paygrade.server.process.acting import Acting, Actor, set_acting
from paygrade.server.process.scopes import Scope, opened_by
from paygrade.server.state.api_keys import Bucket, KnownKey
from paygrade.values.errors import Refused

Connection = ASGIConnection[Any, Any, Any, Any]
"""Any: Litestar's own idea of handlers, users, keys and state, none of which is used here."""
KEY_HEADER = "key_header"
"""The `opt` of a route handler that names its own header."""
FOR_PAGES, TOKEN_PARAMETER = "for_pages", "token_parameter"
"""The `opt` of one that pages open; and of one that takes the token in its address, too: the parameter."""
SESSION = "paygrade_session"
"""The cookie of a person who has logged in."""
_CALLER = "caller"
AS = "as"
"""In the state of a request that comes from within: whose it is, whom nobody has to prove again."""
Caller = KnownKey | AccountToken | SignedIn


def for_pages(*, parameter: str | None = None) -> dict[str, Any]:
    """The `opt` of a route that pages open, with a token or key that has its scope. Any: of every kind."""
    return {FOR_PAGES: True, TOKEN_PARAMETER: parameter}


async def require_key(connection: Connection, handler: BaseRouteHandler) -> None:
    """A guard for the routes that need a key or a session; the others are simply not given it."""
    caller, in_address = await _caller(connection, handler, context_of(connection.scope))
    _require_scope(caller, handler, connection, in_address=in_address)
    account = connection.path_params.get("account")
    if isinstance(caller, AccountToken) and account not in (None, caller.account):
        raise _of_another_account()
    connection.scope["state"][_CALLER] = caller
    set_acting(Acting(_actor(caller), _address(connection), connection.scope["state"].get("request_id")))


async def let_in(connection: Connection, needed: Scope | None) -> SignedIn:
    """Let a person into one of our own pages, by their session alone. Refused `unauthenticated`, `cross_site`,
    `password_change_required`, `insufficient_scope`; the last two not where nothing is `needed`."""
    who = await _signed_in(connection.cookies.get(SESSION, ""), connection, context_of(connection.scope))
    connection.scope["state"][_CALLER] = who
    if needed is not None:
        _require_of_person(who, needed, connection)
    set_acting(Acting(who.actor, _address(connection), connection.scope["state"].get("request_id")))
    return who


async def caller_of(request: HttpRequest, context: Context) -> tuple[Caller, Actor, frozenset[Scope]]:
    """Who asks a route that needs no scope, and what they may do. Refused `unauthenticated`."""
    caller, _ = await _caller(request, request.route_handler, context)
    return caller, _actor(caller), _scopes(caller)


def person_before(request: HttpRequest) -> SignedIn | None:
    """The person whose session it is; None: there is none, or nobody has looked yet."""
    caller = request.scope["state"].get(_CALLER)
    return caller if isinstance(caller, SignedIn) else None


def caller_before(request: HttpRequest) -> Caller:
    """Whom the guard has let in."""
    caller: Caller = request.scope["state"][_CALLER]
    return caller


async def _caller(connection: Connection, handler: BaseRouteHandler, context: Context) -> tuple[Caller, bool]:
    """Who asks, and whether they say so in the address."""
    known: Caller | None = connection.scope["state"].get(AS)
    if known is not None:
        return known, False
    held = connection.cookies.get(SESSION)
    if held is not None and not _shows_a_key(connection, handler):
        return await _signed_in(held, connection, context), False
    shown, in_address = _shown(connection, handler)
    key = await context.keys.find(context.store, shown, context.clock.now) if not in_address else None
    if key is not None:
        _require_valid(key, connection, context)
        return key, False
    if account_tokens.looks_like_one(shown):
        return await _verified(shown, context), in_address
    raise Refused("unauthenticated", "this key is not valid; create one with `paygrade keys create`")


def scope_of(handler: BaseRouteHandler) -> Scope:
    """What whoever calls this route must have: its `describe` says it."""
    needed: Scope | None = handler.opt["described"].scope
    assert needed is not None, f"`{handler.handler_name}` says no scope, and so is for everyone"
    return needed


def token_of(request: HttpRequest) -> AccountToken | None:
    """The account token that was shown; None: it was a key."""
    caller = request.scope["state"].get(_CALLER)
    return caller if isinstance(caller, AccountToken) else None


def scopes_of(request: HttpRequest) -> frozenset[Scope]:
    """All that whoever asks may do."""
    return _scopes(request.scope["state"][_CALLER])


def is_page(request: HttpRequest) -> bool:
    """Whether a page asks, with an account token or a publishable key."""
    return _is_page(request.scope["state"][_CALLER])


def sees_whole_accounts(request: HttpRequest) -> bool:
    """Whether whoever asks may see an account with all its members: not with a token for one member, nor with a key
    that everybody can read."""
    caller: Caller = request.scope["state"][_CALLER]
    return caller.member is None if isinstance(caller, AccountToken) else not _is_page(caller)


def still_counts(request: HttpRequest, context: Context) -> Callable[[], bool]:
    """Whether the key that a request was let in with counts still, for answers that go on. A token only ends."""
    caller: Caller = request.scope["state"][_CALLER]
    if isinstance(caller, AccountToken):
        return lambda: True
    if isinstance(caller, KnownKey):
        return lambda: context.keys.still(caller, context.clock.now())
    id, ends_at = caller.person.id, caller.ends_at
    changed = context.keys.last_change(id)
    return lambda: context.clock.now() < ends_at and context.keys.last_change(id) == changed


def allowed_member(request: HttpRequest, account: str, member: str | None) -> str | None:
    """For which member this account may be asked about: for whom it is asked, or for whom the token is. Refused
    `insufficient_scope`."""
    token = token_of(request)
    if token is None:
        return member
    if token.account != account:
        raise _of_another_account()
    if token.member is not None and member not in (None, token.member):
        raise Refused("insufficient_scope", "this token is for one member; ask for that one, or for none")
    return token.member or member


def bearer(headers: Sequence[str]) -> str:
    """The key in the Authorization header; Refused `unauthenticated` unless there is exactly one."""
    scheme, _, key = _only(headers or [""], "Authorization header").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refused("unauthenticated", "send a key as `Authorization: Bearer sk_…`")
    return key.strip()


def _shown(connection: Connection, handler: BaseRouteHandler) -> tuple[str, bool]:
    """The key or token, and whether it stands in the address."""
    own, parameter = handler.opt.get(KEY_HEADER), handler.opt.get(TOKEN_PARAMETER)
    keys = connection.headers.getall(own, []) if own is not None else []
    headers = connection.headers.getall("authorization", [])
    in_address = connection.query_params.getall(parameter, []) if parameter and not keys and not headers else []
    if in_address:
        return _only(in_address, f"`{parameter}`"), True
    return _only(keys, f"{own} header") if keys else bearer(headers), False


def _shows_a_key(connection: Connection, handler: BaseRouteHandler) -> bool:
    """Whether there is something else than a session to look at, which goes first."""
    own, parameter = handler.opt.get(KEY_HEADER), handler.opt.get(TOKEN_PARAMETER)
    named = any(connection.headers.get(name) is not None for name in ("authorization", own) if name)
    return named or (parameter is not None and connection.query_params.get(parameter) is not None)


async def _signed_in(held: str, connection: Connection, context: Context) -> SignedIn:
    if connection.scope.get("method") not in ("GET", "HEAD", "OPTIONS"):
        refuse_other_origin(connection)
    found = await people.signed_in(context.store, held, context.clock.now())
    if found is None:
        raise Refused("unauthenticated", "your session has ended; log in again")
    return found


def session_cookie(secret: str, lasts: timedelta, *, secure: bool) -> str:
    """The cookie that holds a session. An empty `secret` for no time ends it."""
    told = f"{SESSION}={secret}; Path=/; Max-Age={int(lasts.total_seconds())}; HttpOnly; SameSite=Lax"
    return told + ("; Secure" if secure else "")


def refuse_other_origin(connection: Connection) -> None:
    """Refused `cross_site` unless one of our own pages asks: browsers say so themselves, and no page can make them lie
    (https://fetch.spec.whatwg.org/#origin-header)."""
    origin, host = connection.headers.get("origin", ""), connection.headers.get("host", "")
    if not host or urlsplit(origin).netloc != host:
        raise Refused("cross_site", "log in from a page of this server, and change things there; programs use a key "
                      "(or send `Origin` with this server's address)")  # fmt: skip


def _actor(caller: Caller) -> Actor:
    if isinstance(caller, AccountToken):
        return Actor("account_token", caller.account, caller.member or "")
    return caller.actor


def _scopes(caller: Caller) -> frozenset[Scope]:
    return opened_by(caller.scopes) if isinstance(caller, AccountToken) else caller.scopes


def _require_of_person(who: SignedIn, needed: Scope, connection: Connection) -> None:
    if who.person.must_change:
        raise Refused("password_change_required", "choose a password of your own first: `POST /v1/me/password`")
    if needed not in who.scopes:
        connection.scope["state"][LACKING] = needed
        raise Refused("insufficient_scope", f"your role `{who.person.role}` lacks the scope `{needed}`; ask an admin "
                      "for another role")  # fmt: skip


def _is_page(caller: Caller) -> bool:
    return isinstance(caller, AccountToken) or (isinstance(caller, KnownKey) and caller.publishable)


def _address(connection: Connection) -> str | None:
    return connection.client.host if connection.client is not None else None


def _require_valid(key: KnownKey, connection: Connection, context: Context) -> None:
    """Refused unless this key counts now, here, and from where it is shown, and is not shown too often."""
    if key.ends_at is not None and context.clock.now() >= key.ends_at:
        raise Refused("unauthenticated", f"this key ended at {key.ends_at:%Y-%m-%dT%H:%M:%SZ}; use its successor, "
                      "or create one with `paygrade keys create`")  # fmt: skip
    if not key.of_this_mode:
        raise Refused("unauthenticated", f"this is a {key.mode} key, and this deployment is {context.keys.mode}; use "
                      "one that was created here")  # fmt: skip
    address = _address(connection)
    if not key.allows(address):
        raise Refused("address_not_allowed", f"this key does not count from `{address}`; send the request from one of "
                      "its `ip_ranges`, or create a key for this address")  # fmt: skip
    if key.bucket is not None:
        _take(key.bucket, connection)


def _take(bucket: Bucket, connection: Connection) -> None:
    """Count this request; Refused `rate_limited`. Its answer says how many are left."""
    taken, left, wait_s = bucket.take()
    connection.scope["state"][TOLD] = rate_fields("key", bucket.rate_limit, left=left, wait_s=wait_s, refused=not taken)
    if not taken:
        raise Refused("rate_limited", f"this key makes at most {bucket.rate_limit} requests a minute; try again in "
                      f"{wait_s} seconds")  # fmt: skip


async def _verified(text: str, context: Context) -> AccountToken:
    key = await context.signing_keys.named(context.store, account_tokens.key_named_by(text))
    return account_tokens.verify(text, key, context.clock.now())


def _require_scope(
    caller: Caller,
    handler: BaseRouteHandler,
    connection: Connection,
    *,
    in_address: bool,
) -> None:
    if connection.scope.get("method") == "OPTIONS":
        return  # it only says which methods an address has
    needed = scope_of(handler)
    if isinstance(caller, SignedIn):
        _require_of_person(caller, needed, connection)
    if needed not in _scopes(caller):
        connection.scope["state"][LACKING] = needed
        what = "token" if isinstance(caller, AccountToken) else "key"
        raise Refused("insufficient_scope", f"this {what} lacks the scope `{needed}`; use a key that has it")
    if _is_page(caller) and not handler.opt.get(FOR_PAGES):
        connection.scope["state"][LACKING] = needed
        raise Refused("insufficient_scope", f"pages don't open this; use a secret key with the scope `{needed}`")
    if in_address and isinstance(caller, AccountToken) and caller.scopes != ("stream:read",):
        raise Refused("insufficient_scope", "only a token for `stream:read` alone may stand in an address; "
                      "send this one as `Authorization: Bearer …`")  # fmt: skip


def _of_another_account() -> Refused:
    return Refused("insufficient_scope", "this token is for another account")


def _only(shown: Sequence[str], what: str) -> str:
    if len(shown) > 1:
        raise Refused("unauthenticated", f"there is more than one {what}; send one")
    return shown[0]
