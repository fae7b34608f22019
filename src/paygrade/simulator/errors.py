"""What the simulated Stripe answers when it will not do what was asked, in Stripe's error shape.

A refusal is raised before anything changed: a request that is refused leaves the world as it was. The one
exception is a payment that was tried and declined (402), which leaves its attempt behind, as it does at
Stripe.
"""

from __future__ import annotations

from typing import Any

UNKNOWN_PARAMETER = "parameter_unknown"
NOT_SIMULATED = "not_simulated"  # a code of ours: Stripe would have taken the request


class RefusedByStripe(Exception):
    """One refused request: the HTTP status and the fields of Stripe's error object."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "invalid_request_error", **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {"type": kind, "message": message}
        self.error.update((name, value) for name, value in fields.items() if value is not None)
        if "code" in self.error:
            self.error["doc_url"] = doc_url(self.error["code"])


def doc_url(code: str) -> str:
    """Where Stripe explains a code, as its answers say it."""
    return f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"


# What Stripe advises after a decline (Stripe docs: advice codes).
ADVICE = {"expired_card": "confirm_card_data", "incorrect_cvc": "confirm_card_data", "lost_card": "do_not_try_again"}
ADVICE.update(stolen_card="do_not_try_again", fraudulent="do_not_try_again")


def payment_error(failure: dict[str, Any]) -> dict[str, Any]:
    """Give a payment's failure as the object that was to be paid tells it."""
    told = {"type": "card_error", **{name: value for name, value in failure.items() if value is not None}}
    if "decline_code" in told:
        told["advice_code"] = ADVICE.get(told["decline_code"], "try_again_later")
    return {**told, "doc_url": doc_url(told["code"])}


def missing(*, kind: str, id: str, param: str = "id") -> RefusedByStripe:
    """Tell that an object is unknown: 404 for the one a URL names (`param` is "id"), 400 for one a parameter names.

    Stripe answers so: its recorded sessions show 404 for `GET /v1/prices/{id}` and 400 for `items[0][price]`.
    """
    name = kind.replace("_", " ") if kind == "payment_method" else kind
    status = 404 if param == "id" else 400
    return RefusedByStripe(f"No such {name}: '{id}'", status=status, code="resource_missing", param=param)


def no_such_url(method: str, path: str) -> RefusedByStripe:
    return RefusedByStripe(
        f"Unrecognized request URL ({method}: {path}). The simulator may not know this part of Stripe's API.",
        status=404,
    )


def url_not_simulated(request: str) -> RefusedByStripe:
    message = f"documented, not simulated: `{request}`. Stripe has this request; the simulator does not."
    return RefusedByStripe(message, status=404, code=NOT_SIMULATED)


def unknown_parameter(name: str) -> RefusedByStripe:
    return RefusedByStripe(f"Received unknown parameter: {name}", code=UNKNOWN_PARAMETER, param=name)


def not_simulated(name: str, *, request: str) -> RefusedByStripe:
    """Tell that Stripe takes a parameter, or a value, that the simulator has no behavior for."""
    message = f"documented, not simulated: `{name}` of {request}. Stripe takes it; leave it out to use the simulator."
    return RefusedByStripe(message, code=NOT_SIMULATED, param=name)


def missing_parameter(name: str) -> RefusedByStripe:
    return RefusedByStripe(f"Missing required param: {name}.", code="parameter_missing", param=name)


def invalid(name: str, message: str, *, code: str | None = None) -> RefusedByStripe:
    return RefusedByStripe(message, code=code, param=name)


def not_one_of(name: str, *, value: object, choices: tuple[str, ...]) -> RefusedByStripe:
    return invalid(name, f"Invalid {name}: must be one of {', '.join(choices)}; received `{value}`.")


def declined(*, code: str, decline_code: str | None, message: str, **fields: Any) -> RefusedByStripe:
    advice = None if decline_code is None else ADVICE.get(decline_code, "try_again_later")
    told = {"code": code, "decline_code": decline_code, "advice_code": advice, **fields}
    return RefusedByStripe(message, status=402, kind="card_error", **told)


def wrong_key(key: str | None) -> RefusedByStripe:
    if not key:
        return RefusedByStripe(
            "You did not provide an API key. Use `Authorization: Bearer <key>` or basic auth.", status=401
        )
    return RefusedByStripe(f"Invalid API Key provided: {key[:7]}****{key[-4:]}", status=401)


def rate_limited() -> RefusedByStripe:
    message = "Request rate limit exceeded. Learn more about rate limits here https://docs.stripe.com/rate-limits."
    return RefusedByStripe(message, status=429, code="rate_limit")


def failed(status: int) -> RefusedByStripe:
    message = "An unknown error occurred. This is the simulator's weather: try again."
    return RefusedByStripe(message, status=status, kind="api_error")


def key_reused(key: str) -> RefusedByStripe:
    return RefusedByStripe(
        f"The idempotency key `{key}` was first used for another request. Keys can only be used again with "
        "the same method, path and parameters.",
        kind="idempotency_error",
    )
