"""Traces of whoever uses the SDK: its requests belong to the span that is under way (W3C Trace Context).

Law: the SDK needs no library for it, and loads none: who traces has loaded OpenTelemetry.
"""

import sys


def headers() -> dict[str, str]:
    """What a request carries, so that the server's spans are below the caller's; nothing where nobody traces."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    carried = {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"}
    state = context.trace_state.to_header()
    return carried | ({"tracestate": state} if state else {})
