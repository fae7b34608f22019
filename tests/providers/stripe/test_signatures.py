"""Our signature check agrees with the official library's, and takes its time from the caller."""

import hashlib
import hmac
import time
from datetime import UTC, datetime, timedelta

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from paygrade.providers.stripe.signatures import verify
from paygrade.values.errors import Refused

SECRET, OTHER = "whsec_simulator", "whsec_rolled"
BODY = b'{"id": "evt_1", "name": "\xc3\x84cme"}'
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = int(NOW.timestamp())


def header(body: bytes = BODY, secret: str = SECRET, seconds: int = SECONDS) -> str:
    made: str = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, timestamp=seconds)
    return made


def refusal(header: str | None, *secrets: str, body: bytes = BODY, at: datetime = NOW) -> str:
    with pytest.raises(Refused) as refused:
        verify(body, header, secrets or (SECRET,), at)
    return refused.value.code


@given(
    body=st.text(st.characters(codec="utf-8")), secret=st.text("abcXYZ019_", min_size=1), seconds=st.integers(1, 2**33)
)
def test_what_the_library_signs_is_accepted(body: str, secret: str, seconds: int) -> None:
    signed = header(body.encode(), secret, seconds)
    verify(body.encode(), signed, [secret], datetime.fromtimestamp(seconds, UTC))


@given(body=st.binary(max_size=40), flipped=st.integers(0, 39))
def test_a_changed_byte_is_refused(body: bytes, flipped: int) -> None:
    signature = hmac.new(SECRET.encode(), f"{SECONDS}.".encode() + body, hashlib.sha256).hexdigest()
    verify(body, f"t={SECONDS},v1={signature}", [SECRET], NOW)
    changed = body[:flipped] + b"!" + body[flipped:]
    assert refusal(f"t={SECONDS},v1={signature}", body=changed) == "signature_invalid"


def test_the_library_accepts_what_we_accept_and_refuses_what_we_refuse() -> None:
    now_s = int(time.time())
    now = datetime.fromtimestamp(now_s, UTC)
    fresh, stale, foreign = header(seconds=now_s), header(seconds=now_s - 3600), header(secret=OTHER, seconds=now_s)
    verify(BODY, fresh, [SECRET], now)
    assert stripe.WebhookSignature.verify_header(BODY, fresh, SECRET, 300)
    for bad in (stale, foreign, "", "t=1", "v1=00", "nonsense", f"{fresh},v1=00"[:-40]):
        refusal(bad, at=now)
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.WebhookSignature.verify_header(BODY, bad, SECRET, 300)


def test_while_a_secret_is_rolled_either_signature_and_either_secret_will_do() -> None:
    both = header() + "," + header(secret=OTHER).split(",")[1]
    verify(BODY, both, [SECRET], NOW)
    verify(BODY, both, [OTHER], NOW)
    verify(BODY, header(secret=OTHER), [SECRET, OTHER], NOW)


def test_signatures_of_another_scheme_do_not_count() -> None:
    assert refusal(header().replace("v1=", "v0=")) == "signature_invalid"


@pytest.mark.parametrize(("age_s", "fresh"), [(0, True), (300, True), (301, False), (-3600, True)])
def test_age_is_measured_on_the_callers_clock(age_s: int, fresh: bool) -> None:
    at = NOW + timedelta(seconds=age_s)
    if fresh:
        verify(BODY, header(), [SECRET], at)
    else:
        assert refusal(header(), at=at) == "signature_expired"


@pytest.mark.parametrize("absent", [None, ""])
def test_no_header_is_named_as_such(absent: str | None) -> None:
    assert refusal(absent) == "signature_missing"


@pytest.mark.parametrize("bad", ["t=,v1=00", "t=１,v1=00", "t=-1,v1=00", "t=1,v1=", f"t={SECONDS},v1=ä", "=,=,="])
def test_a_header_that_cannot_be_read_is_invalid(bad: str) -> None:
    assert refusal(bad) == "signature_invalid"


def test_an_empty_secret_opens_nothing() -> None:
    assert refusal(header(secret=""), "", " ") == "signature_invalid"


def test_a_forged_old_body_is_invalid_rather_than_expired() -> None:
    assert refusal(header(secret=OTHER), at=NOW + timedelta(days=1)) == "signature_invalid"
