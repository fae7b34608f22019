"""Stripe's own library at the simulator."""

from typing import Any

import stripe


def official_client(key: str, url: str, **more: Any) -> stripe.StripeClient:
    """A client for the API at `url`. As the library makes one by itself, it would read whom to trust, for nothing: that
    takes longer than most tests."""
    return stripe.StripeClient(key, base_addresses={"api": url}, http_client=stripe.RequestsClient(), **more)
