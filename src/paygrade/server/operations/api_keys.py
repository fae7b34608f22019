"""API keys: create, list, rotate, revoke.

Laws: a secret is shown once, by whom it was made; nobody hands out a scope they lack, be it in a new key or in a new
secret of an old one; a key ends by itself unless somebody says that it never does; while a key is rotated, its earlier
secrets count, and a rotation that is asked for again ends none of them sooner.
"""

import secrets
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import structlog
from msgspec import Meta, Struct
from msgspec.structs import replace

from paygrade.server.operations.audit.note import because, note
from paygrade.server.process.acting import acting
from paygrade.server.process.api_keys import Mode, digest, hint, make_secret
from paygrade.server.process.scopes import PUBLISHABLE, Role, Scope, opened_by
from paygrade.server.state.api_keys import KEYS_MAX
from paygrade.updates.log import News
from paygrade.updates.types import KeyUpdate
from paygrade.values.errors import Mistake, Refused

if TYPE_CHECKING:
    from paygrade.postgres.api_keys import SavedApiKey
    from paygrade.postgres.store import Store, Transaction

log = structlog.get_logger("paygrade.keys")

LASTS = timedelta(days=365)
"""How long a key counts of which nobody says until when."""
OVERLAP_S, OVERLAP_MAX_S = 24 * 3600, 30 * 24 * 3600
SECRETS_MAX, IP_RANGES_MAX, RATE_MAX = 10, 50, 1_000_000

KeyState = Literal["active", "expired", "revoked"]
KEY_STATES: tuple[KeyState, ...] = get_args(KeyState)


class KeyRequest(Struct, frozen=True):
    """A key that is wanted: a name for people, and `scopes` or a `role`. `expires_at` None: after a year, unless it
    `never_expires`. `rate_limit`: requests a minute. `mode` None: that of this deployment."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    scopes: tuple[Scope, ...] = ()
    role: Role | None = None
    mode: Mode | None = None
    publishable: bool = False
    expires_at: datetime | None = None
    never_expires: bool = False
    ip_ranges: Annotated[tuple[str, ...], Meta(max_length=IP_RANGES_MAX)] = ()
    rate_limit: Annotated[int, Meta(ge=1, le=RATE_MAX)] | None = None


class KeyRevocation(Struct, frozen=True):
    """Why, for the audit log."""

    reason: Annotated[str, Meta(max_length=2000)] = ""


class KeyRotation(Struct, frozen=True):
    """How a key is rotated: for how long its earlier secrets still count."""

    overlap_s: Annotated[int, Meta(ge=0, le=OVERLAP_MAX_S)] = OVERLAP_S


class SecretView(Struct, frozen=True):
    """A secret that counts: what people may see of it. `ends_at` None: it has no successor."""

    hint: str
    created_at: datetime
    ends_at: datetime | None


class KeyView(Struct, frozen=True, kw_only=True):
    """A key, without its secrets. `last_used_at`: to the minute."""

    id: str
    name: str
    state: KeyState
    publishable: bool
    mode: str
    scopes: tuple[str, ...]
    role: str | None
    ip_ranges: tuple[str, ...]
    rate_limit: int | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    secrets: tuple[SecretView, ...]


class CreatedKey(KeyView, frozen=True, kw_only=True):
    """A key with a new secret, `key`: it is shown this once."""

    key: str


class KeyList(Struct, frozen=True):
    """A page of keys, the oldest first. `next` is the `after` of the next page; None: this is the last one."""

    keys: tuple[KeyView, ...]
    next: str | None


async def create(
    store: "Store", asked: KeyRequest, *, mode: Mode | None, granted: frozenset[Scope], at: datetime
) -> CreatedKey:
    """Create an API key.

    A secret key for a server, or a `publishable` one for a page, with `scopes` or a `role`. The answer holds the key
    itself, this once. It counts for a year if you don't say until when. You can't hand out a scope that your own key
    lacks. Refused `already_expired`, `other_mode`, `too_many_api_keys`, `insufficient_scope`.
    """
    _refuse_odd(asked, at)
    wanted = _scopes_of(asked)
    _refuse_more(opened_by(wanted, asked.role), granted)
    own = asked.mode or mode or "test"
    if mode not in (None, own):
        raise Refused("other_mode", f"this deployment is connected to Stripe's {mode} mode; create a `{mode}` key")
    secret = make_secret(publishable=asked.publishable, mode=own)
    async with store.transaction() as tx:
        await tx.api_keys.hold()
        if await tx.api_keys.count_live(at) >= KEYS_MAX:
            raise Refused("too_many_api_keys", f"{KEYS_MAX} keys count already; revoke those that nobody uses")
        made = await tx.api_keys.add(
            id=_new_id(at),
            name=asked.name,
            publishable=asked.publishable,
            mode=own,
            scopes=wanted,
            role=asked.role,
            ip_ranges=tuple([str(ip_network(text)) for text in asked.ip_ranges]),
            rate_limit=asked.rate_limit,
            created_at=at,
            created_by=acting().actor.id,
            expires_at=None if asked.never_expires else asked.expires_at or at + LASTS,
            secret_hash=digest(secret).hex(),
            hint=hint(secret),
        )
        await tx.tell("paygrade_key", made.id)
        opens = {"scopes": made.scopes, "role": made.role, "mode": made.mode, "expires_at": made.expires_at}
        note(tx, "key.create", targets=[("key", made.id)], changes={"name": made.name, **opens}, at=at)
        await _tell(tx, "created", made, at)
    _note("key_created", made)
    return _created(made, secret, at)


async def list_keys(store: "Store", *, after: str, limit: int, state: KeyState | None = None, at: datetime) -> KeyList:
    """List API keys.

    Those in a `state`, or all that ever were, the oldest first, with when each was used last; never their secrets.
    """
    async with store.transaction() as tx:
        found = await tx.api_keys.page(after=after, limit=limit, state=state, at=at)
    return KeyList(tuple([_view(key, at) for key in found]), found[-1].id if len(found) == limit else None)


async def get_key(store: "Store", *, id: str, at: datetime) -> KeyView:
    """Retrieve an API key.

    What it opens, until when, and when it was used last; never its secret. Refused `unknown_api_key`.
    """
    async with store.transaction() as tx:
        return _view(_known(await tx.api_keys.load(id), id), at)


async def rotate(store: "Store", asked: KeyRotation, *, id: str, granted: frozenset[Scope], at: datetime) -> CreatedKey:
    """Rotate an API key.

    Give the key another secret, which the answer holds this once. The earlier one counts for another `overlap_s`
    seconds, a day by default: enough to bring the new one to wherever the key is used. A key that expires lasts as long
    again as it was made for. Refused `unknown_api_key`, `api_key_over`, `insufficient_scope`.
    """
    async with store.transaction() as tx:
        key = _known(await tx.api_keys.lock(id), id)
        _refuse_ended(key, at)
        _refuse_more(opened_by(key.scopes, key.role), granted)
        until = at + timedelta(seconds=asked.overlap_s)
        # What was asked for before stays: an answer that got lost must not end the secret that is in use.
        left = [each for each in key.secrets if each.ends_at is None or each.ends_at > at][-(SECRETS_MAX - 1) :]
        ending = tuple([replace(each, ends_at=min(each.ends_at or until, until)) for each in left])
        lasts = None if key.expires_at is None else at + (key.expires_at - max(each.created_at for each in key.secrets))
        secret = make_secret(publishable=key.publishable, mode="live" if key.mode == "live" else "test")
        grown = await tx.api_keys.save(
            replace(key, secrets=ending, expires_at=lasts), secret_hash=digest(secret).hex(), hint=hint(secret), at=at
        )
        await tx.tell("paygrade_key", id)
        changes = {"expires_at": [key.expires_at, grown.expires_at], "overlap_s": asked.overlap_s}
        note(tx, "key.rotate", targets=[("key", id)], changes=changes, at=at)
        await _tell(tx, "rotated", grown, at, earlier_until=until)
    _note("key_rotated", grown)
    return _created(grown, secret, at)


async def revoke(store: "Store", *, id: str, reason: str = "", at: datetime) -> KeyView:
    """Revoke an API key.

    It counts no more, with all its secrets, on every server within a second; `reason` says why, for the audit log.
    Repeating it changes nothing. Refused `unknown_api_key`.
    """
    async with store.transaction() as tx:
        key = _known(await tx.api_keys.lock(id), id)
        if key.revoked_at is None:
            await tx.api_keys.revoke(id, at)
            await tx.tell("paygrade_key", id)
            key = replace(key, revoked_at=at)
            note(tx, "key.revoke", targets=[("key", id)], personal=because(reason), at=at)
            await _tell(tx, "revoked", key, at)
            _note("key_revoked", key)
    return _view(key, at)


def _refuse_odd(asked: KeyRequest, at: datetime) -> None:
    found = list(_odd_ranges(asked.ip_ranges))
    if asked.publishable and (asked.role is not None or not PUBLISHABLE.issuperset(asked.scopes)):
        listed = ", ".join(f"`{scope}`" for scope in sorted(PUBLISHABLE))
        found.append(Mistake("/scopes", f"everybody can read a publishable key, so it opens {listed} at most"))
    elif not asked.publishable and bool(asked.scopes) == (asked.role is not None):
        found.append(Mistake("/scopes", "say either what the key opens, in `scopes`, or a `role`"))
    if asked.never_expires and asked.expires_at is not None:
        found.append(Mistake("/never_expires", "contradicts `expires_at`; leave one of them out"))
    if not asked.name.isprintable() or not asked.name.strip():
        found.append(Mistake("/name", "is what people know the key by: printable characters"))
    if found:
        raise Refused("invalid_body", f"the body is invalid: {found[0].pointer}: {found[0].message}", tuple(found))
    if asked.expires_at is not None and asked.expires_at <= at:
        raise Refused("already_expired", "`expires_at` is in the past; name a later instant, or leave it out")


def _odd_ranges(ranges: tuple[str, ...]) -> list[Mistake]:
    found = []
    for place, text in enumerate(ranges):
        try:
            ip_network(text)
        except ValueError:
            found.append(Mistake(f"/ip_ranges/{place}", "is no address nor a range of them; write for example "
                                 "`203.0.113.7` or `203.0.113.0/24`"))  # fmt: skip
    return found


def _scopes_of(asked: KeyRequest) -> tuple[Scope, ...]:
    if asked.publishable and not asked.scopes:
        return ("decisions:read",)
    return tuple(dict.fromkeys(asked.scopes))


def _refuse_more(wanted: frozenset[Scope], granted: frozenset[Scope]) -> None:
    lacking = sorted(wanted - granted)
    if lacking:
        listed = ", ".join(f"`{scope}`" for scope in lacking)
        raise Refused("insufficient_scope", f"your own key lacks {listed}, so it can't hand that out; use a key that "
                      "has it")  # fmt: skip


def _known(key: "SavedApiKey | None", id: str) -> "SavedApiKey":
    if key is None:
        raise Refused("unknown_api_key", f"there is no key `{id}`; `paygrade keys list` shows those there are")
    return key


def _refuse_ended(key: "SavedApiKey", at: datetime) -> None:
    if _state(key, at) != "active":
        raise Refused("api_key_over", f"`{key.id}` is {_state(key, at)}; create another key")


def _state(key: "SavedApiKey", at: datetime) -> KeyState:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= at else "active"


def _view(key: "SavedApiKey", at: datetime) -> KeyView:
    counting = [each for each in key.secrets if each.ends_at is None or each.ends_at > at]
    told = {name: getattr(key, name) for name in key.__struct_fields__ if name != "secrets"}
    shown = tuple([SecretView(each.hint, each.created_at, each.ends_at) for each in counting])
    return KeyView(**told, state=_state(key, at), secrets=shown)


def _created(key: "SavedApiKey", secret: str, at: datetime) -> CreatedKey:
    view = _view(key, at)
    return CreatedKey(key=secret, **{name: getattr(view, name) for name in view.__struct_fields__})


def _new_id(at: datetime) -> str:
    """An id that sorts by when it was made."""
    return f"key_{int(at.timestamp() * 1000):011x}{secrets.token_hex(4)}"


async def _tell(
    tx: "Transaction",
    what: Literal["created", "rotated", "revoked"],
    key: "SavedApiKey",
    at: datetime,
    *,
    earlier_until: datetime | None = None,
) -> None:
    told = KeyUpdate(key.id, key.name, key.mode, key.publishable, key.expires_at, earlier_until)
    await tx.announce([News(None, f"api_key.{what}", told, at)], at)


def _note(event: str, key: "SavedApiKey") -> None:
    log.info(event, key=key.id, name=key.name, by=acting().actor.id)
