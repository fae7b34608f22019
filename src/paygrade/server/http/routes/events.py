"""Usage events in, and what they came to."""

from typing import Annotated

from litestar import get, post
from litestar.params import FromPath

from paygrade.server.http.bodies import read_flag, read_instant
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import flag, instant, text
from paygrade.server.http.routes import examples
from paygrade.server.operations.events import ingest as events
from paygrade.server.operations.events.bodies import (
    BYTES_MAX,
    CloudEvent,
    Events,
    parse_cloud_events,
    parse_events,
    unpacked,
)
from paygrade.server.operations.usage import history as usage_reading
from paygrade.usage.events import UsageEvent
from paygrade.values.errors import Mistake, Refused


@post(
    "/v1/events",
    status_code=200,
    request_max_body_size=BYTES_MAX,
    opt=describe(
        "usage",
        repeating="safe",
        sent=Sent(examples.USAGE_EVENTS, UsageEvent, many=events.EVENTS_MAX),
        example=examples.INGESTED,
        scope="usage:write",
    ),
)
async def tell_events(
    request: HttpRequest,
    context: InContext,
    backfill: Annotated[str | None, flag("Take usage older than 34 days, in its window.")] = None,
) -> events.Ingested:
    """Report usage events.

    Report up to 5,000 events, each accepted or refused on its own; 200 means that the accepted ones are durable.
    Every event needs an `id`, which makes it count once, so you can safely send a batch again. An event
    counts in the window its `time` falls in, even over a limit. A negative `quantity` takes back; `amends` replaces
    an earlier event. Refused `body_too_large`, `unsupported_media_type`, `too_many_events`.
    """
    past = read_flag(backfill, name="backfill")
    raw = unpacked(await request.body(), request.headers.get("content-encoding", ""))
    return await _ingest(context, parse_events(raw), backfill=past)


@post(
    "/api/v1/events",
    status_code=204,
    request_max_body_size=BYTES_MAX,
    opt=describe(
        "usage",
        repeating="safe",
        sent=Sent(examples.CLOUD_EVENT, CloudEvent, media_types=("application/cloudevents+json", "application/json")),
        scope="usage:write",
    ),
)
async def tell_cloud_events(request: HttpRequest, context: InContext) -> None:
    """Report usage as CloudEvents.

    CloudEvents 1.0, as OpenMeter's clients send them: structured, a batch (`application/cloudevents-batch+json`), or
    binary with `ce-` headers; gzip too. `subject` is the account, `type` the event, `data` the properties; source and
    id together count once. If some are refused, the others are accepted all the same. Refused `events_rejected`,
    `body_too_large`, `unsupported_media_type`, `too_many_events`.
    """
    raw = unpacked(await request.body(), request.headers.get("content-encoding", ""))
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    read = parse_cloud_events(raw, media_type, request.headers)
    told = await _ingest(context, read, backfill=False)
    if told.rejected:
        first = told.rejected[0]
        raise Refused(
            "events_rejected",
            f"{len(told.rejected)} of {len(read)} events were rejected, the first because {first.detail} "
            f"[{first.code}]; the others were accepted",
            tuple(Mistake(f"/{each.index}", f"{each.code}: {each.detail}") for each in told.rejected),
        )


@get("/v1/accounts/{account:str}/usage", opt=describe("usage", usage_reading.read_usage, scope="usage:read"))
async def read_usage(
    account: FromPath[str],
    context: InContext,
    feature: Annotated[str | None, text("A feature's or credit's key; by default, everything that is counted.")] = None,
    from_at: Annotated[str | None, instant("Windows that end after this; 92 days ago.", name="from")] = None,
    until: Annotated[str | None, instant("Windows that begin before this; now.")] = None,
    group_by: Annotated[str | None, text("`member`, `node`, or a property of usage events; needs `feature`.")] = None,
) -> usage_reading.UsageView:
    return await usage_reading.read_usage(
        context.store,
        account=account,
        feature=feature,
        from_at=read_instant(from_at, name="from"),
        until=read_instant(until, name="until"),
        group_by=group_by,
        at=context.clock.now(),
    )


async def _ingest(context: Context, read: Events, *, backfill: bool) -> events.Ingested:
    told = await events.ingest(context.store, context.snapshots, read, context.clock.now(), backfill=backfill)
    context.metrics.note_events(told.accepted, told.duplicates, len(told.rejected))
    return told
