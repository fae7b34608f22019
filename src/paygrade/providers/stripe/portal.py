"""Stripe's billing portal: a page of its own, where a customer sees to their payments."""

from typing import Any

from paygrade.providers.port import PortalFlow
from paygrade.providers.stripe.client import belonging_to
from paygrade.providers.stripe.connection import StripeConnection, not_understood
from paygrade.providers.stripe.fields import Payload
from paygrade.values.errors import Refused


def portal_url(
    connection: StripeConnection,
    customer: str,
    *,
    return_url: str | None = None,
    flow: PortalFlow | None = None,
    subscription: str | None = None,
) -> str:
    """The address of a portal that was made just now; Stripe lets it go after five minutes if nobody comes.

    Without `return_url` a flow ends on a page of Stripe's. Raises NotTaken and Unavailable.
    """
    asked: dict[str, Any] = {**belonging_to(customer), **({"return_url": return_url} if return_url else {})}
    if flow is not None:
        about = {} if flow == "payment_method_update" else {flow: {"subscription": subscription}}
        back = {"type": "redirect", "redirect": {"return_url": return_url}}
        after = back if return_url else {"type": "hosted_confirmation"}
        asked["flow_data"] = {"type": flow, **about, "after_completion": after}
    try:
        made = connection.post("/v1/billing_portal/sessions", idempotency_key=None, **asked)
        return Payload(made, "portal").required_text("url")
    except Refused as refused:
        raise not_understood(refused.detail) from refused
