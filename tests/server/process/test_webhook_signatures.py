"""Signatures of webhooks: the stock verifier takes them, and what is wrong with one is said."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from paygrade.server.process.webhook_signatures import Verdict, diagnose, make_secret, signed_headers

NOW = int(time.time())
BODY = b'{"type":"account.plan_changed","data":{"before":"pro@1","rate":1.5}}'
OLD, NEW = make_secret(), make_secret()
HEADERS = signed_headers(BODY, id="upd_1", sent_at=NOW, secrets=[NEW, OLD])


@settings(max_examples=20)
@given(body=st.dictionaries(st.text(), st.text() | st.integers()).map(lambda told: json.dumps(told).encode()))
def test_stock_verifier_and_ours_take_the_same_with_every_live_secret(body: bytes) -> None:
    now = int(time.time())  # the stock verifier takes no other time
    headers = signed_headers(body, id="upd_1", sent_at=now, secrets=[NEW, OLD])
    for secret in (NEW, OLD):
        Webhook(secret).verify(body, headers)
        assert diagnose(body, headers, secret, now=now).verdict == "ok"
    assert diagnose(body, headers, make_secret(), now=now).verdict == "no_match"


CASES: list[tuple[Verdict, bytes, dict[str, str], str, int]] = [
    ("ok", BODY, {name.upper(): value for name, value in HEADERS.items()}, NEW, NOW),
    ("body_reserialized", json.dumps(json.loads(BODY)).encode(), HEADERS, NEW, NOW),
    ("body_reserialized", json.dumps(json.loads(BODY), indent=2).encode(), HEADERS, OLD, NOW),
    ("body_trimmed", BODY + b"\n", HEADERS, NEW, NOW),
    ("timestamp_too_old", BODY, HEADERS, NEW, NOW + 301),
    ("timestamp_in_the_future", BODY, HEADERS, NEW, NOW - 301),
    ("header_missing", BODY, {name: HEADERS[name] for name in ("webhook-id", "webhook-signature")}, NEW, NOW),
    ("timestamp_invalid", BODY, {**HEADERS, "webhook-timestamp": "today"}, NEW, NOW),
    ("signature_unknown", BODY, {**HEADERS, "webhook-signature": "v2,abc"}, NEW, NOW),
    ("secret_invalid", BODY, HEADERS, "whsec_not base64", NOW),
    ("no_match", BODY, HEADERS, make_secret(), NOW),
    ("no_match", BODY.replace(b"pro", b"max"), HEADERS, NEW, NOW),
    ("no_match", BODY, {**HEADERS, "webhook-id": "upd_2"}, NEW, NOW),
]


def test_the_debugger_names_what_is_wrong() -> None:
    for verdict, body, headers, secret, now in CASES:
        found = diagnose(body, headers, secret, now=now)
        assert (found.verdict, secret not in found.detail) == (verdict, True)
        if verdict in ("no_match", "body_reserialized", "body_trimmed"):
            with pytest.raises(WebhookVerificationError):
                Webhook(secret).verify(body, headers)
