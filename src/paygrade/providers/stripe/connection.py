"""One Stripe account through one API key: requests at one pace, and errors as what they mean here.

Laws: every request carries the one API version this release was written for, whatever the account's default is;
whoever reads and whoever writes keep one pace together; of a request that changes something, a failure says whether
Stripe has refused it (`NotTaken`: nothing happened) or whether that is in doubt (`Unavailable`).
"""

import copy
from typing import TYPE_CHECKING, Any

from paygrade.providers.stripe.fields import Json
from paygrade.providers.stripe.rate_limiter import RateLimiter
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    import stripe

API_VERSION = "2026-10-28.endive"
REQUESTS_PER_SECOND, REQUESTS_PER_SECOND_ELSEWHERE = 20, 10_000
"""Stripe allows 25 a second on one endpoint; a stand-in at an address of its own has no such limit."""


class Gone(Exception):
    """Stripe has no such object."""


class NotTaken(Exception):
    """Stripe refused a request that would have changed something, and nothing changed. Of a payment that was declined
    (402) the attempt remains, and `code` is the bank's where there is one."""

    def __init__(self, status: int, code: str | None, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class StripeConnection:
    """Safe to share between threads; every call blocks."""

    def __init__(
        self,
        *,
        api_key: str,
        api_base: str | None = None,
        max_requests_per_second: float | None = None,
        timeout_s: float = 20,
    ) -> None:
        usual = REQUESTS_PER_SECOND_ELSEWHERE if api_base else REQUESTS_PER_SECOND
        self._pace = RateLimiter(max_requests_per_second or usual)
        self._api_key, self._api_base = api_key.strip(), api_base
        # One retry, for a kept connection that the other side has closed. Waiting longer is the caller's business.
        self._connect(timeout_s=timeout_s, retries=1)

    def within(self, seconds: float) -> "StripeConnection":
        """The same account at the same pace, for who waits no longer than this for an answer."""
        hasty = copy.copy(self)
        hasty._connect(timeout_s=seconds, retries=0)
        return hasty

    def _connect(self, *, timeout_s: float, retries: int) -> None:
        # Slow to load, which whoever runs without Stripe need not pay.
        import stripe

        from paygrade.providers.stripe.transport import Transport

        self._transport = Transport(timeout_s=timeout_s)
        self._stripe = stripe.StripeClient(
            self._api_key,
            stripe_version=API_VERSION,
            base_addresses={"api": self._api_base.rstrip("/")} if self._api_base else {},
            max_network_retries=retries,
            http_client=self._transport,
        )

    def get(self, path: str, **params: Any) -> Json:
        """Read. Raises Gone and Unavailable."""
        try:
            return self._ask("get", path, params)
        except NotTaken as refused:
            if refused.code == "resource_missing":
                raise Gone(refused.message) from refused
            raise not_understood(f"Stripe answered {refused.status}: {_first_line(refused.message)}") from refused

    def post(self, path: str, *, idempotency_key: str | None, **params: Any) -> Json:
        """Change something. With the same key and the same parameters it is done once, for at least 24 hours.

        `idempotency_key` None: what is sent tells by itself that it was sent before. Raises NotTaken and Unavailable.
        """
        # Not tried again by the library: whoever asked must know that a first attempt may have done it.
        options = {"max_network_retries": 0, **({"idempotency_key": idempotency_key} if idempotency_key else {})}
        return self._ask("post", path, {**params, **options})

    def delete(self, path: str, **params: Any) -> None:
        """Remove or end something; that it is gone already is fine. Raises NotTaken and Unavailable."""
        try:
            self._ask("delete", path, {**params, "max_network_retries": 0})
        except NotTaken as refused:
            if refused.code != "resource_missing":
                raise

    def _ask(self, method: str, path: str, params: dict[str, Any]) -> Json:
        self._pace.wait()
        import stripe

        try:
            self._stripe.raw_request(method, path, **params)
            answer = self._transport.take()
        except stripe.StripeError as error:
            raise _explained(error) from error
        except ValueError as error:
            raise not_understood(f"`{path}` did not answer with JSON") from error
        except (AttributeError, TypeError) as error:
            # The library stumbles over an error body it does not expect, such as a proxy's `{"error": "bad gateway"}`.
            raise not_understood(f"`{path}` answered with an error in an unknown form") from error
        if not isinstance(answer, dict):
            raise not_understood(f"`{path}` did not answer with an object")
        return answer


def not_understood(detail: str) -> Unavailable:
    return Unavailable("provider_answer_invalid", detail)


def _explained(error: "stripe.StripeError") -> Exception:
    """What the library raised, as what it means to the caller. Status decides; classes differ between versions."""
    import stripe

    message = error.user_message or "no message"
    if isinstance(error, stripe.APIConnectionError):
        return Unavailable("provider_unreachable", f"no answer from Stripe: {_first_line(message)}")
    status = error.http_status or 0
    if status in (401, 403):
        return Unavailable(
            "provider_refused_key",
            f"Stripe refused the key: {message}; check `PAYGRADE_STRIPE_API_KEY` and its read permissions "
            "on customers, subscriptions, invoices, prices and events, and its write permissions on meter events, "
            "invoices and invoice items where the catalog has meters of Stripe's or top-ups, and on subscriptions and "
            "invoices where plans are changed from here, and on customers, Checkout Sessions and the customer portal "
            "where pages are opened from here",
        )
    if isinstance(error, stripe.RateLimitError) or status == 429:
        return Unavailable(
            "provider_rate_limited",
            "Stripe asks for fewer requests; this is retried",
            retry_after_s=_retry_after_s(error),
        )
    if status >= 500:
        return Unavailable("provider_unreachable", f"Stripe answered {status}; this is retried")
    # The object exists, but not for this key: taking it for deleted would close every account.
    if error.code == "resource_missing" and "similar object exists in" in message:
        return Unavailable("provider_refused_key", f"{message} Set `PAYGRADE_STRIPE_API_KEY` to the key of that mode")
    if status == 409 or isinstance(error, stripe.IdempotencyError):
        # Another request has the object, or this key, at the moment: what became of that one is not known.
        return Unavailable("provider_busy", f"Stripe answered {status}: {_first_line(message)}")
    if not isinstance(error.json_body, dict) or not isinstance(error.json_body.get("error"), dict):
        return not_understood(f"Stripe answered {status}: {_first_line(message)}")
    return NotTaken(status, error.json_body["error"].get("decline_code") or error.code, message)


def _retry_after_s(error: "stripe.StripeError") -> int | None:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    value = str(headers.get("retry-after", ""))
    return int(value) if value.isascii() and value.isdigit() else None


def _first_line(message: str) -> str:
    return " ".join(message.split())[:300]
