"""Stripe's own library at the simulator."""

from typing import Any

import stripe

from paygrade.providers.stripe.transport import Sessions


def official_client(key: str, url: str, **more: Any) -> stripe.StripeClient:
    """A client for the API at `url`. As the library makes one by itself, it would read whom to trust, for nothing: that
    takes longer than most tests; and the environment for each request anew."""
    sessions: Any = Sessions(lambda: http.requests.Session())  # Any: it does what the library asks of a session
    http = stripe.RequestsClient(session=sessions)
    return stripe.StripeClient(key, base_addresses={"api": url}, http_client=http, **more)
