"""Traces, by OpenTelemetry: what a request or a piece of background work did, and what had led to it.

Laws: without a provider of traces nothing is done here but one look at a flag; nothing of a body, and no key, is in a
span. Whoever starts the server brings the provider (`opentelemetry-instrument`), which names its exporter.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Literal

from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.trace import Link, NonRecordingSpan, ProxyTracerProvider, Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from paygrade.decisions.decide import Decision
from paygrade.decisions.flags import REASONS

_w3c = TraceContextTextMapPropagator()
_off = NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)
_KINDS = {"request": SpanKind.SERVER, "work": SpanKind.CONSUMER, "part": SpanKind.INTERNAL, "sent": SpanKind.CLIENT}


@cache
def is_on() -> bool:
    """Whether somebody takes traces: found out once, when the first asks."""
    return not isinstance(trace.get_tracer_provider(), ProxyTracerProvider | trace.NoOpTracerProvider)


@contextmanager
def span(
    name: str,
    kind: Literal["request", "work", "part", "sent"] = "part",
    *,
    sent: Mapping[str, str] | None = None,
    led_by: Iterable[str] = (),
    **attributes: str | int | bool,
) -> Iterator[Span]:
    """A span around the block. `sent`: the headers of a request, which may name the span it comes from; `led_by`: the
    `traceparent` of others that led to this, each a link. Attributes: `_` for `.`."""
    if not is_on():
        yield _off
        return
    links = [Link(context) for text in led_by if (context := _context(text)).is_valid]
    with _tracer().start_as_current_span(
        name,
        context=extract(sent) if sent is not None else None,
        kind=_KINDS[kind],
        links=links,
        attributes={f"paygrade.{key}": value for key, value in attributes.items()},
        record_exception=False,
    ) as made:
        yield made


def traceparent() -> str | None:
    """The span that is under way, as W3C Trace Context writes it; None: there is none."""
    return headers().get("traceparent")


def headers() -> dict[str, str]:
    """The headers that name the span that is under way to whom we ask; none: there is no span."""
    carrier: dict[str, str] = {}
    if is_on():
        _w3c.inject(carrier)
    return carrier


def note_decision(decision: Decision) -> None:
    """Add a decision to the span that is under way, as OpenTelemetry names what is decided of a flag
    (https://opentelemetry.io/docs/specs/semconv/feature-flags/feature-flags-events/)."""
    if not is_on():
        return
    under_way = trace.get_current_span()
    if under_way.is_recording():
        under_way.add_event(
            "feature_flag.evaluation",
            {
                "feature_flag.key": decision.feature,
                "feature_flag.provider.name": "paygrade",
                "feature_flag.context.id": decision.account,
                "feature_flag.result.value": decision.allowed,
                "feature_flag.result.reason": REASONS[decision.reason].lower(),
                "feature_flag.version": decision.version,
                "paygrade.reason": decision.reason,
            },
        )


@cache
def _tracer() -> Tracer:
    return trace.get_tracer("paygrade")


def _context(text: str) -> trace.SpanContext:
    return trace.get_current_span(_w3c.extract({"traceparent": text})).get_span_context()
