"""Webhook endpoints: where state updates are sent, a test, what became of each, and sending some once more."""

from typing import Annotated, Any

from litestar import delete, get, patch, post
from litestar.params import FromPath
from msgspec.structs import replace

from paygrade.server.http.auth import scopes_of
from paygrade.server.http.bodies import invalid, read_body, read_key
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import PageSize, Reason, choice, number, read_choice, text
from paygrade.server.http.routes import examples
from paygrade.server.operations.webhooks import deliveries, endpoints
from paygrade.server.operations.webhooks.deliveries import ReplayRequest
from paygrade.server.operations.webhooks.endpoints import EndpointChange, NewEndpoint, SecretRotation
from paygrade.updates.delivery import STATES
from paygrade.values.errors import Mistake

# Any: headers as Litestar takes them.
SECRET: dict[str, Any] = {"cache-control": "no-store"}


@post(
    "/v1/webhook-endpoints",
    status_code=200,
    response_headers=SECRET,
    opt=describe(
        "webhooks",
        endpoints.create_endpoint,
        sent=Sent(examples.NEW_ENDPOINT, NewEndpoint),
        example={**examples.ENDPOINT, "secret": examples.ENDPOINT_SECRET},
        problems=("invalid_key",),
        scope="webhooks:write",
    ),
)
async def create_webhook_endpoint(request: HttpRequest, context: InContext) -> endpoints.EndpointWithSecret:
    wanted = read_body(NewEndpoint, await request.body())
    _require_keys(wanted.accounts)
    return await endpoints.create_endpoint(context.store, context.sender, wanted, at=context.clock.now())


@get("/v1/webhook-endpoints", opt=describe("webhooks", endpoints.list_endpoints, scope="webhooks:read"))
async def list_webhook_endpoints(
    context: InContext,
    after: Annotated[str, text("Show endpoints after this id.")] = "",
    limit: PageSize = 100,
) -> endpoints.WebhookEndpoints:
    return await endpoints.list_endpoints(context.store, after=after, limit=limit)


@get(
    "/v1/webhook-endpoints/{endpoint:str}",
    opt=describe("webhooks", endpoints.get_endpoint, example=examples.ENDPOINT, scope="webhooks:read"),
)
async def get_webhook_endpoint(endpoint: FromPath[str], context: InContext) -> endpoints.WebhookEndpoint:
    return await endpoints.get_endpoint(context.store, endpoint)


@patch(
    "/v1/webhook-endpoints/{endpoint:str}",
    opt=describe(
        "webhooks",
        endpoints.update_endpoint,
        sent=Sent({"state": "disabled"}, EndpointChange),
        problems=("invalid_key",),
        scope="webhooks:write",
    ),
)
async def update_webhook_endpoint(
    endpoint: FromPath[str], request: HttpRequest, context: InContext
) -> endpoints.WebhookEndpoint:
    change = read_body(EndpointChange, await request.body())
    _require_keys(change.accounts or ())
    return await endpoints.update_endpoint(context.store, context.sender, endpoint, change)


@delete(
    "/v1/webhook-endpoints/{endpoint:str}", opt=describe("webhooks", endpoints.remove_endpoint, scope="webhooks:write")
)
async def remove_webhook_endpoint(endpoint: FromPath[str], context: InContext, reason: Reason = "") -> None:
    await endpoints.remove_endpoint(context.store, endpoint, reason=reason)


@post(
    "/v1/webhook-endpoints/{endpoint:str}/rotate",
    status_code=200,
    response_headers=SECRET,
    opt=describe(
        "webhooks", endpoints.rotate_secret, sent=Sent({"overlap_s": 86400}, SecretRotation), scope="webhooks:write"
    ),
)
async def rotate_webhook_secret(
    endpoint: FromPath[str], request: HttpRequest, context: InContext
) -> endpoints.EndpointWithSecret:
    rotation = read_body(SecretRotation, await request.body() or b"{}")
    return await endpoints.rotate_secret(context.store, endpoint, rotation)


@post(
    "/v1/webhook-endpoints/{endpoint:str}/test",
    status_code=200,
    opt=describe(
        "webhooks", endpoints.test_endpoint, example=examples.WEBHOOK_TEST, scope="webhooks:write", repeating="safe"
    ),
)
async def test_webhook_endpoint(
    endpoint: FromPath[str], request: HttpRequest, context: InContext
) -> endpoints.WebhookTest:
    found = await endpoints.test_endpoint(context.store, context.sender, endpoint)
    return found if _sees_answers(request) else replace(found, answer=None)


@post(
    "/v1/webhook-endpoints/{endpoint:str}/replay",
    status_code=200,
    opt=describe(
        "webhooks",
        deliveries.replay,
        sent=Sent({"gap": True}, ReplayRequest),
        problems=("invalid_body",),
        scope="webhooks:write",
    ),
)
async def replay_webhooks(endpoint: FromPath[str], request: HttpRequest, context: InContext) -> deliveries.Replay:
    wanted = read_body(ReplayRequest, await request.body())
    _require_one_way(wanted)
    return await deliveries.replay(context.store, endpoint, wanted)


@get(
    "/v1/webhook-endpoints/{endpoint:str}/deliveries",
    opt=describe("webhooks", deliveries.list_deliveries, scope="webhooks:read"),
)
async def list_webhook_deliveries(
    endpoint: FromPath[str],
    request: HttpRequest,
    context: InContext,
    in_state: Annotated[str | None, choice("state", STATES, "Only deliveries in this state.")] = None,
    account: Annotated[str | None, text("Only deliveries that are about this account.")] = None,
    before: Annotated[int | None, number("Show deliveries before this position.")] = None,
    limit: PageSize = 100,
) -> deliveries.WebhookDeliveries:
    known = read_choice(in_state, STATES, name="state")
    found = await deliveries.list_deliveries(
        context.store, endpoint, state=known, account=account, before=before, limit=limit
    )
    if _sees_answers(request):
        return found
    return replace(found, deliveries=tuple([replace(one, answer=None) for one in found.deliveries]))


def _sees_answers(request: HttpRequest) -> bool:
    """Whether whoever asks may read what receivers answered: it may be what nobody else should see."""
    return "webhooks:answers" in scopes_of(request)


def _require_keys(accounts: tuple[str, ...]) -> None:
    """Refused `invalid_body` where one of them is no name that anything could have."""
    for place, name in enumerate(accounts):
        read_key(name, pointer=f"/accounts/{place}", noun="account")


def _require_one_way(wanted: ReplayRequest) -> None:
    """Refused `invalid_body`."""
    by_range = wanted.after is not None or wanted.until is not None
    if sum((wanted.id is not None, by_range, wanted.gap)) != 1:
        mistake = Mistake("", "name one of `id`, a range (`after`, `until`) and `gap`")
        raise invalid("invalid_body", "the body", [mistake])
    if by_range and (wanted.after is None or (wanted.until is not None and wanted.until < wanted.after)):
        mistake = Mistake("/after", "must be a position before `until`; `GET /v1/updates` lists positions")
        raise invalid("invalid_body", "the body", [mistake])
    if wanted.until is not None and wanted.until - (wanted.after or 0) > deliveries.REPLAYED_MAX:
        mistake = Mistake("/until", f"is more than {deliveries.REPLAYED_MAX} after `after`; replay the rest after that")
        raise invalid("invalid_body", "the body", [mistake])
