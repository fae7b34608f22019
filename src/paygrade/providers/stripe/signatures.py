"""The signature on a Stripe webhook, and its age.

Laws: a body is trusted only if one of the `v1` signatures is the HMAC-SHA256 of `t.body` under one of the secrets,
and `t` is not older than the tolerance; the bytes are those received, before any parsing; comparing takes the same
time whatever differs. Scheme: docs.stripe.com/webhooks#verify-manually. It is ours rather than the library's since
the clock is an argument: against the simulator time is the simulator's.
"""

import hmac
import re
from collections.abc import Sequence
from datetime import datetime

from paygrade.values.errors import Refused

_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


def look(header: str | None, at: datetime, tolerance_s: int = 300) -> None:
    """What can be said before the body is there: Refused where no body could fit this header."""
    if not header:
        raise Refused("signature_missing", "no `Stripe-Signature` header; only Stripe can send webhooks here")
    _refuse_old(_parse(header)[0], at, tolerance_s)


def verify(raw: bytes, header: str | None, secrets: Sequence[str], at: datetime, tolerance_s: int = 300) -> None:
    """Return if the body is Stripe's and fresh; else Refused `signature_missing`, `_invalid` or `_expired`.

    Several secrets are live while one is being rolled, and then one header carries several signatures.
    """
    if not header:
        raise Refused("signature_missing", "no `Stripe-Signature` header; only Stripe can send webhooks here")
    usable = [secret.strip() for secret in secrets if secret.strip()]
    if not usable:
        raise Refused("signature_invalid", "no webhook secret is set; set `PAYGRADE_STRIPE_WEBHOOK_SECRET`")
    signed_text, signatures = _parse(header)
    expected = [sign(raw, secret, signed_text).encode() for secret in usable]
    # All pairs are compared, so that the time taken tells nothing about which one matched.
    matches = [hmac.compare_digest(one, other.encode()) for one in expected for other in signatures]
    if not any(matches):
        raise Refused(
            "signature_invalid",
            "no signature matches the body; compare `PAYGRADE_STRIPE_WEBHOOK_SECRET` with the signing secret of this "
            "endpoint in Stripe's dashboard, and pass the body on unchanged",
        )
    _refuse_old(signed_text, at, tolerance_s)


def _refuse_old(signed_text: str, at: datetime, tolerance_s: int) -> None:
    age_s = int(at.timestamp()) - int(signed_text)
    if age_s > tolerance_s:
        raise Refused(
            "signature_expired",
            f"signed {age_s} s ago, {tolerance_s} s are allowed; check this machine's clock, or resend the event",
        )


def sign(raw: bytes, secret: str, signed_text: str) -> str:
    """The `v1` signature of a body sent at `signed_text` (whole seconds since 1970)."""
    return hmac.new(secret.encode(), signed_text.encode() + b"." + raw, "sha256").hexdigest()


def _parse(header: str) -> tuple[str, list[str]]:
    fields = [field.strip().partition("=") for field in header.split(",")]
    times = [value for key, _, value in fields if key == "t"]
    signatures = [value for key, _, value in fields if key == "v1"]
    if not times or not signatures or not _SECONDS.fullmatch(times[0]):
        raise Refused(
            "signature_invalid", "the `Stripe-Signature` header has no valid `t` or `v1`; pass it on unchanged"
        )
    return times[0], signatures
