"""Usage events in, and what they came to."""

from litestar import get, post
from litestar.params import FromPath, FromQuery

from paygrade.server.http.bodies import read_flag, read_instant, read_key
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.event_bodies import BYTES_MAX, CloudEvent, Events, parse_cloud_events, parse_events, unpacked
from paygrade.server.http.openapi import Query, Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.events import ingest as events
from paygrade.server.operations.usage import history as usage_reading
from paygrade.usage.meters import UsageEvent
from paygrade.values.errors import Mistake, Refused

_BODY = ("malformed_json", "invalid_body", "body_too_large", "unsupported_media_type", "too_many_events")


@post(
    "/v1/events",
    status_code=200,
    request_max_body_size=BYTES_MAX,
    opt=describe(
        "Tell usage events",
        "usage",
        sent=Sent(kind=UsageEvent, many=events.EVENTS_MAX, example=examples.USAGE_EVENTS),
        query=(
            Query("backfill", {"type": "boolean", "default": False}, "Take usage older than 34 days, in its window."),
        ),
        example=examples.INGESTED,
        problems=("invalid_query", *_BODY),
    ),
)
async def tell_events(
    request: HttpRequest, parts: InContext, backfill: FromQuery[str | None] = None
) -> events.Ingested:
    """Tell what was used: up to 5,000 events, each taken or refused by itself; 200 means that those accepted are
    durable. Every event needs an `id`: it makes it count once, so a batch whose answer was lost is simply sent again.
    An event counts in the window its `time` falls in, over a limit too. A negative `quantity` takes back; `amends`
    takes the place of an earlier event."""
    past = read_flag(backfill, name="backfill")
    raw = unpacked(await request.body(), request.headers.get("content-encoding", ""))
    return await _ingest(parts, parse_events(raw), backfill=past)


@post(
    "/api/v1/events",
    status_code=204,
    request_max_body_size=BYTES_MAX,
    opt=describe(
        "Tell usage as CloudEvents",
        "usage",
        sent=Sent(
            example=examples.CLOUD_EVENT,
            kind=CloudEvent,
            media_types=("application/cloudevents+json", "application/json"),
        ),
        problems=("events_rejected", *_BODY),
    ),
)
async def tell_cloud_events(request: HttpRequest, parts: InContext) -> None:
    """CloudEvents 1.0, as OpenMeter's clients send them: structured, a batch (`application/cloudevents-batch+json`),
    or binary with `ce-` headers; gzip too. `subject` is the account, `type` the event, `data` the properties; source
    and id together count once. Where some are refused, the others are taken all the same."""
    raw = unpacked(await request.body(), request.headers.get("content-encoding", ""))
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    read = parse_cloud_events(raw, media_type, request.headers)
    told = await _ingest(parts, read, backfill=False)
    if told.rejected:
        first = told.rejected[0]
        raise Refused(
            "events_rejected",
            f"{len(told.rejected)} of {len(read)} events are refused, the first because {first.detail} [{first.code}]; "
            "the others are taken",
            tuple(Mistake(f"/{each.index}", f"{each.code}: {each.detail}") for each in told.rejected),
        )


@get(
    "/v1/accounts/{account:str}/usage",
    opt=describe(
        "Read usage",
        "usage",
        query=(
            Query("feature", {"type": "string"}, "A feature's or credit's key; absent: all that is counted."),
            Query("from", {"type": "string", "format": "date-time"}, "Windows that end after this; 92 days ago."),
            Query("until", {"type": "string", "format": "date-time"}, "Windows that begin before this; now."),
            Query("group_by", {"type": "string"}, "`member`, or a property of usage events; needs `feature`."),
        ),
        problems=("invalid_key", "invalid_query", "unknown_account", "unknown_feature", "not_countable"),
    ),
)
async def read_usage(account: FromPath[str], request: HttpRequest, parts: InContext) -> usage_reading.UsageView:
    """What was used and held in each window, the newest first, with the limit it has today, and by whom or by what
    property if asked."""
    query = request.query_params
    return await usage_reading.read_usage(
        parts.store,
        account=read_key(account, pointer="", noun="account"),
        feature=query.get("feature"),
        from_at=read_instant(query.get("from"), name="from"),
        until=read_instant(query.get("until"), name="until"),
        group_by=query.get("group_by"),
        at=parts.clock.now(),
    )


async def _ingest(parts: Context, read: Events, *, backfill: bool) -> events.Ingested:
    told = await events.ingest(parts.store, parts.snapshots, read, parts.clock.now(), backfill=backfill)
    parts.metrics.note_events(told.accepted, told.duplicates, len(told.rejected))
    return told
