"""Webhook endpoints: who is sent what, and with which secret it is signed.

Laws: a secret is shown once, when it is made; an address is looked at whenever it is stated; an endpoint is sent what
happens while it is enabled, and is offered the rest.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import asdict

from paygrade.server.operations.audit.note import because, note
from paygrade.server.process.outbound import Attempt, Sender, parse_target
from paygrade.server.process.webhook_signatures import make_secret, signed_headers
from paygrade.updates.delivery import OFF_AFTER, WebhookSecret, live, test_body
from paygrade.updates.types import TYPES
from paygrade.values.errors import Mistake, Refused
from paygrade.values.text import describe

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.postgres.webhooks import SavedEndpoint

ENDPOINTS_MAX = 500
SECRETS_MAX = 5
"""As many signatures as a request may carry: more rotations than that at a time end the oldest secret early."""
OVERLAP_S, OVERLAP_MAX_S = 24 * 3600, 7 * 24 * 3600
COUNTED_MAX = 10_000
NAMES_MAX = 1000

Text = Annotated[str, Meta(max_length=500)]
Names = Annotated[tuple[str, ...], Meta(max_length=NAMES_MAX)]


class NewEndpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to send what. Without `types`, updates of every type; without `accounts`, of every account and of none."""

    url: str
    types: Names = ()
    accounts: Names = ()
    description: Text = ""


class EndpointChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be another; what is left out stays. An empty list of `types` or `accounts` means all. `reason`: why,
    for the audit log."""

    url: str | None = None
    types: Names | None = None
    accounts: Names | None = None
    description: Text | None = None
    state: Literal["enabled", "disabled"] | None = None
    reason: Text = ""


class SecretRotation(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the secrets before go on signing beside the new one."""

    overlap_s: Annotated[int, Meta(ge=0, le=OVERLAP_MAX_S)] = OVERLAP_S


class WebhookEndpoint(Struct, frozen=True, kw_only=True):
    """An endpoint. `types` and `accounts` None: all.

    `reason` says why it is disabled: `operator`, `gone` (it answered 410) or `failing`. `warning` says what needs
    attention. `waiting`: deliveries that will be sent; `undelivered`: those that were not delivered in time, or were
    missed, which a replay of the gap sends again. Neither counts further than 10,000.
    """

    id: str
    url: str
    types: tuple[str, ...] | None
    accounts: tuple[str, ...] | None
    description: str
    state: Literal["enabled", "disabled"]
    reason: str | None
    warning: str | None
    created_at: datetime
    delivered_at: datetime | None
    failing_since: datetime | None
    secrets: int
    """How many sign now."""
    waiting: int
    undelivered: int


class EndpointWithSecret(WebhookEndpoint, frozen=True, kw_only=True):
    """An endpoint, and the secret to verify its webhooks with. It is not shown again."""

    secret: str


class WebhookEndpoints(Struct, frozen=True):
    """Endpoints by id. `next`: show those after this one; None: there are no more."""

    endpoints: tuple[WebhookEndpoint, ...]
    next: str | None


class WebhookTest(Struct, frozen=True):
    """What came of a test. `answer` is the beginning of what the receiver answered, for those who have
    `webhooks:answers`."""

    delivered: bool
    status: int | None
    took_ms: int
    error: str | None
    answer: str | None


async def create_endpoint(store: "Store", sender: Sender, wanted: NewEndpoint, *, at: datetime) -> EndpointWithSecret:
    """Create a webhook endpoint.

    From now on, state updates are sent there as webhooks (Standard Webhooks), signed with the secret in the answer. It
    is shown this once. Refused `invalid_body` where the address is none, `private_address` where it is in a private
    network, `too_many_endpoints`.
    """
    _require_types(wanted.types)
    await _require_address(sender, wanted.url)
    id, secret = f"we_{secrets.token_hex(12)}", make_secret()
    async with store.transaction() as tx:
        if await tx.webhook_endpoints.count() >= ENDPOINTS_MAX:
            raise Refused("too_many_endpoints", f"there are {ENDPOINTS_MAX} endpoints already; remove one first")
        await tx.webhook_endpoints.add(
            id,
            url=wanted.url,
            description=wanted.description,
            types=wanted.types or None,
            accounts=wanted.accounts or None,
            secrets=[WebhookSecret(secret)],
            at=at,
        )
        _note(tx, "create", id, at, url=wanted.url, types=wanted.types, accounts=wanted.accounts)
        return await _with_secret(tx, id, secret)


async def list_endpoints(store: "Store", *, after: str, limit: int) -> WebhookEndpoints:
    """List webhook endpoints."""
    async with store.transaction() as tx:
        page = await tx.webhook_endpoints.page(after=after, limit=limit + 1)
        shown = tuple([await _shown(tx, each) for each in page[:limit]])
    return WebhookEndpoints(shown, shown[-1].id if len(page) > limit else None)


async def get_endpoint(store: "Store", id: str) -> WebhookEndpoint:
    """Retrieve a webhook endpoint.

    Refused `unknown_endpoint`.
    """
    async with store.transaction() as tx:
        return await _shown(tx, await load(tx, id))


async def update_endpoint(store: "Store", sender: Sender, id: str, change: EndpointChange) -> WebhookEndpoint:
    """Update a webhook endpoint.

    What is left out stays as it is. While an endpoint is disabled, nothing is sent to it. When it is enabled again,
    what happened meanwhile isn't sent by itself: `undelivered` counts it, and a replay of the gap sends it. Refused
    `unknown_endpoint`, `invalid_body`, `private_address`.
    """
    _require_types(change.types or ())
    if change.url is not None:
        await _require_address(sender, change.url)
    async with store.transaction() as tx:
        held = await load(tx, id, lock=True)
        columns: dict[str, object] = {}
        if change.url is not None:
            # Somebody else may be there: it is tried at once, and not blamed for what was before.
            columns |= {"url": change.url, "failing_since": None, "warned_at": None, "retry_at": None}
        if change.description is not None:
            columns["description"] = change.description
        for name in ("types", "accounts"):
            if (names := getattr(change, name)) is not None:
                columns[name] = names or None
        if change.state == "disabled" and held.state == "enabled":
            columns |= {"state": "disabled", "reason": "operator"}
        if columns:
            await tx.webhook_endpoints.change(id, **columns)
        if change.state == "enabled" and held.state == "disabled":
            await tx.webhook_deliveries.miss(id)
            await tx.webhook_endpoints.enable(id)
        said = {name: its for name, its in asdict(change).items() if its is not None and name != "reason"}
        _note(tx, "update", id, datetime.now(UTC), because(change.reason), **said)
        return await _shown(tx, await load(tx, id))


async def remove_endpoint(store: "Store", id: str, *, reason: str = "") -> None:
    """Remove a webhook endpoint.

    Nothing more is sent there; its deliveries are forgotten. `reason` says why, for the audit log. Refused
    `unknown_endpoint`.
    """
    async with store.transaction() as tx:
        if not await tx.webhook_endpoints.delete(id):
            raise unknown_endpoint(id)
        await tx.webhook_deliveries.delete(id)
        _note(tx, "remove", id, datetime.now(UTC), because(reason))


async def rotate_secret(store: "Store", id: str, rotation: SecretRotation) -> EndpointWithSecret:
    """Rotate the secret of a webhook endpoint.

    Make a new secret, shown this once. Webhooks are signed with it and with the one before, for `overlap_s` seconds (a
    day); so receivers can be given the new one at any time meanwhile. With 0, the one before counts no more. Refused
    `unknown_endpoint`.
    """
    at, secret = datetime.now(UTC), make_secret()
    async with store.transaction() as tx:
        held = await load(tx, id, lock=True)
        await tx.webhook_endpoints.change(id, secrets=rotated(held.secrets, secret, rotation.overlap_s, at))
        _note(tx, "rotate", id, at, overlap_s=rotation.overlap_s)
        return await _with_secret(tx, id, secret)


async def test_endpoint(store: "Store", sender: Sender, id: str) -> WebhookTest:
    """Send a test to a webhook endpoint.

    Send a signed webhook of type `webhook.test` now and answer what came back. It is sent once, and to a disabled
    endpoint, too. Refused `unknown_endpoint`.
    """
    async with store.transaction() as tx:
        held = await load(tx, id)
    attempt = await _send_test(sender, held, datetime.now(UTC))
    error = attempt.error
    if error is None and not attempt.succeeded:
        error = f"the receiver answered {attempt.status}; only 2xx counts"
    return WebhookTest(attempt.succeeded, attempt.status, attempt.took_ms, error, attempt.answer)


def _note(
    tx: "Transaction", what: str, id: str, at: datetime, personal: Mapping[str, object] | None = None, **changes: object
) -> None:
    targets = [("webhook_endpoint", id)]
    note(tx, f"webhook_endpoint.{what}", targets=targets, changes=changes, personal=personal or {}, at=at)


def rotated(before: Sequence[WebhookSecret], secret: str, overlap_s: int, at: datetime) -> tuple[WebhookSecret, ...]:
    """The secrets after a rotation: the new one signs for good, those before for the overlap at most."""
    ends_at = at + timedelta(seconds=overlap_s)
    older = [WebhookSecret(each.secret, ends_at if each.until is None else min(each.until, ends_at)) for each in before]
    return (WebhookSecret(secret), *live(older, at))[:SECRETS_MAX]


async def load(tx: "Transaction", id: str, *, lock: bool = False) -> "SavedEndpoint":
    """Refused `unknown_endpoint`."""
    found = await tx.webhook_endpoints.load(id, lock=lock)
    if found is None:
        raise unknown_endpoint(id)
    return found


def unknown_endpoint(id: str) -> Refused:
    return Refused("unknown_endpoint", f"there is no webhook endpoint `{id}`; `GET /v1/webhook-endpoints` lists them")


async def _send_test(sender: Sender, held: "SavedEndpoint", at: datetime) -> Attempt:
    body = test_body(at)
    secrets_now = [each.secret for each in live(held.secrets, at)]
    headers = signed_headers(body, id=f"msg_{secrets.token_hex(12)}", sent_at=int(at.timestamp()), secrets=secrets_now)
    return await sender.post(held.url, headers, body)


def _require_types(names: Sequence[str]) -> None:
    """Refused `invalid_body`: who waits for a type that there is not waits for ever."""
    for place, name in enumerate(names):
        if name not in TYPES:
            close = get_close_matches(name, TYPES, n=1)
            hint = f"did you mean `{close[0]}`?" if close else "the manual on webhooks lists them"
            message = f"there is no type {describe(name)}; {hint}"
            raise Refused("invalid_body", f"the body is invalid: {message}", (Mistake(f"/types/{place}", message),))


async def _require_address(sender: Sender, url: str) -> None:
    """Refused `invalid_body` or `private_address`."""
    try:
        parse_target(url)
    except ValueError as error:
        raise Refused("invalid_body", f"the body is invalid: `url` {error}", (Mistake("/url", str(error)),)) from None
    await sender.require_allowed(url)


async def _with_secret(tx: "Transaction", id: str, secret: str) -> EndpointWithSecret:
    shown = await _shown(tx, await load(tx, id))
    return EndpointWithSecret(secret=secret, **{name: getattr(shown, name) for name in shown.__struct_fields__})


async def _shown(tx: "Transaction", held: "SavedEndpoint") -> WebhookEndpoint:
    waiting, undelivered = await tx.webhook_deliveries.open(held.id, at_most=COUNTED_MAX)
    return WebhookEndpoint(
        id=held.id,
        url=held.url,
        types=None if held.types is None else tuple(held.types),
        accounts=None if held.accounts is None else tuple(held.accounts),
        description=held.description,
        state=held.state,
        reason=held.reason,
        warning=_warning(held),
        created_at=held.created_at,
        delivered_at=held.delivered_at,
        failing_since=held.failing_since,
        secrets=len(live(held.secrets, datetime.now(UTC))),
        waiting=waiting,
        undelivered=undelivered,
    )


def _warning(held: "SavedEndpoint") -> str | None:
    match held.state, held.reason:
        case "disabled", "gone":
            return "disabled: the receiver answered 410 (gone); change the address or remove the endpoint"
        case "disabled", "failing":
            return (
                f"disabled: it took nothing for {OFF_AFTER.days} days; repair the receiver, enable it, replay the gap"
            )
        case "enabled", _ if held.warned_at is not None and held.failing_since is not None:
            off_at = held.failing_since + OFF_AFTER
            return (
                f"it has taken nothing since {held.failing_since:%Y-%m-%d %H:%M} UTC; repair the receiver, or it is "
                f"disabled after {off_at:%Y-%m-%d %H:%M} UTC"
            )
        case _:
            return None
