"""Examples for the OpenAPI document; the tests hold them against the schemas."""

DECISION = {
    "allowed": True,
    "reason": "plan",
    "account": "acme",
    "feature": "exports",
    "quantity": 1,
    "limit": None,
    "used": None,
    "reserved": None,
    "remaining": None,
    "unlimited": False,
    "resets_at": None,
    "value": True,
    "plan": "pro@1",
    "sources": [{"kind": "plan", "reason": "plan", "plan": "pro@1", "subscription": "sub_1", "state": "active"}],
    "as_of": "2026-11-21T09:00:00Z",
    "version": "3.7",
    "stale": False,
    "limited_by": None,
    "message": "acme can use exports: pro@1 includes it",
    "exact": True,
}

DECISIONS = {
    "account": "acme",
    "version": "3.7",
    "as_of": "2026-11-21T09:00:00Z",
    "decisions": {"exports": DECISION},
    "until": {"exports": "2026-12-21T09:00:00Z"},
}

ACCOUNT_STATEMENT = {"name": "Acme", "links": {"stripe": ["cus_P1"]}, "traits": {"region": "eu"}}

REBUILT = {"account": "acme", "facts": 12, "entries": 840, "differences": [], "more": False}

OVERRIDE = {"limit": 250000, "reason": "goodwill after the outage", "expires_at": "2026-12-31T00:00:00Z"}

BLOCK = {"reason": "chargeback under review"}

MEMBER = {"role": "admin", "seat": True}

PIN = {"version": 1, "until": "2027-01-01T00:00:00Z", "reason": "promised until the contract ends"}

MIGRATION_REQUEST = {"plan": "pro", "from_version": 3, "to_version": 4, "accounts": ["acme"]}
MEMBER_STATEMENTS = [{"member": "ann", "role": "owner", "seat": True}, {"member": "bo", "role": "editor"}]

MEMBERS = {
    "account": "acme",
    "level": "seats",
    "units": 3,
    "taken": 1,
    "members": [
        {
            "member": "ann",
            "role": "owner",
            "seat": True,
            "since": "2026-11-01T09:00:00Z",
            "suspended": False,
            "active_at": "2026-11-21T08:59:12Z",
        },
        {"member": "bo", "role": "editor", "seat": False, "since": None, "suspended": False, "active_at": None},
    ],
}

SUBSCRIPTION = {
    "version": 4,
    "status": "active",
    "items": [{"id": "main", "plan": "pro", "quantity": 5}],
    "anchor_at": "2026-11-01T00:00:00Z",
}

GRANT = {
    "feature": "ai_credits",
    "units": 500,
    "id": "welcome_2026",
    "kind": "promotion",
    "reason": "welcome",
    "expires_at": "2027-01-01T00:00:00Z",
}

QUOTE_REQUEST = {"plan": "pro", "interval": "yearly", "quantities": {"seats": 12}, "when": "period_end"}

CHANGE_ASKED = {"quote_id": "quote_7f3a9c21d0e4b8a6f512"}

CHECKOUT_ASKED = {
    "plan": "pro",
    "interval": "yearly",
    "quantities": {"seats": 12},
    "success_url": "https://example.com/welcome?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://example.com/pricing",
}

CHECKOUT = {
    "account": "acme",
    "checkout": "checkout_7f3a9c21d0e4b8a6f512",
    "session": "cs_test_a1b2c3",
    "url": "https://checkout.stripe.com/c/pay/cs_test_a1b2c3",
    "expires_at": "2026-11-15T10:00:00Z",
    "plan": "pro@3",
    "trial_days": 14,
}

PORTAL_ASKED = {"return_url": "https://example.com/billing"}

PORTAL = {"account": "acme", "url": "https://billing.stripe.com/p/session/test_YWNjdF8x"}

CATALOG = {
    "version": 1,
    "features": {"exports": {"kind": "boolean"}, "api_calls": {"kind": "metered", "event": "api_call"}},
    "plans": {
        "free": {"default": True, "entitlements": {"api_calls": {"limit": 1000, "every": "month"}}},
        "pro": {
            "prices": {"monthly": {"amount": 9900, "currency": "usd", "interval": "month", "stripe": "pro_monthly"}},
            "entitlements": {"exports": True, "api_calls": {"limit": 100000, "every": "month"}},
        },
    },
}

USAGE_EVENTS = [
    {"id": "req_8231", "account": "acme", "event": "api_call", "time": "2026-11-21T09:00:00Z"},
    {"id": "chat_77", "account": "acme", "event": "completion", "properties": {"tokens": 512, "model": "large"}},
]

INGESTED = {
    "accepted": 1,
    "duplicates": 0,
    "rejected": [{"index": 1, "code": "unknown_event", "detail": "there is no event `completions`"}],
}

CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "5c10fade-1c9e-4d6c-8275-c52c36731d3c",
    "source": "my-service",
    "type": "completion",
    "subject": "acme",
    "time": "2026-11-21T09:00:00Z",
    "data": {"tokens": 512, "model": "large"},
}

BILLING_EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "customer.subscription.updated",
    "created": 1795251600,
    "data": {"object": {"id": "sub_1", "object": "subscription", "customer": "cus_P1"}},
}

SWEEP = {
    "id": 7,
    "dry_run": False,
    "started_at": "2026-11-21T09:00:00Z",
    "finished_at": None,
    "counts": {
        "requests": 12,
        "subscriptions": 1200,
        "customers": 1140,
        "different": 1,
        "doubtful": 9,
        "discovered": 0,
        "missing": 0,
    },
    "error": None,
    "report": None,
}

STARTED_SWEEP = {"started": True, "sweep": SWEEP}

DRIFT = {
    "drift": [
        {
            "id": 31,
            "account": "acme",
            "subject": "stripe:cus_P1",
            "subscription": "sub_1",
            "field": "status",
            "stored": "active",
            "provider": "past_due",
            "found_by": "sweep",
            "found_at": "2026-11-21T09:00:04Z",
            "healed_at": "2026-11-21T09:00:08Z",
        }
    ],
    "next": None,
}

USAGE_REPORTS = {
    "reports": [
        {
            "account": "acme",
            "feature": "api_calls",
            "from_at": "2026-11-01T00:00:00Z",
            "until": "2026-12-01T00:00:00Z",
            "used": 100250,
            "reported": 250,
            "pending": 0,
            "customer": "cus_P1",
            "meter": "api_calls_used",
            "told": 250,
            "said": 250,
            "difference": 0,
            "reason": None,
            "error": None,
            "sent_at": "2026-11-21T09:00:00Z",
            "checked_at": "2026-11-21T09:20:00Z",
        }
    ],
    "unchecked": 0,
}

TOP_UP = {
    "id": "top_5f0c2b9e8d7a4c3bb1f0a9e8",
    "account": "acme",
    "credit": "ai_credits",
    "units": 5000,
    "amount": 2000,
    "currency": "usd",
    "state": "failed",
    "balance": 412,
    "round": 1,
    "customer": "cus_P1",
    "invoice": "in_1",
    "reason": "insufficient_funds: Your card has insufficient funds.",
    "error": None,
    "asked_at": "2026-11-21T09:00:00Z",
    "resolved_at": "2026-11-21T09:00:03Z",
    "reversed": 0,
    "taken_back": 0,
    "session": None,
}

CONSUME = {"account": "acme", "feature": "api_calls", "quantity": 1, "id": "req_8231"}

RESERVE = {"account": "acme", "feature": "tokens", "quantity": 4000, "id": "chat_77"}

EVALUATION_REQUEST = {"context": {"targetingKey": "acme", "member": "ann"}}

EVALUATION = {
    "key": "exports",
    "reason": "TARGETING_MATCH",
    "variant": "on",
    "metadata": {
        "reasonCode": "plan",
        "message": "acme can use exports: pro@1 includes it",
        "allowed": True,
        "plan": "pro@1",
        "version": "3.7",
    },
    "value": True,
}

LEASE = {"account": "acme", "feature": "api_calls", "id": "worker_7_1", "units": 500, "claim": 100, "ttl_s": 60}

_LEASE = {
    "id": "worker_7_1",
    "account": "acme",
    "feature": "api_calls",
    "held": 400,
    "claimed": 100,
    "expires_at": "2026-11-21T09:01:00Z",
    "resets_at": "2026-12-01T00:00:00Z",
    "over": None,
}
_LEASED = DECISION | {
    "feature": "api_calls",
    "quantity": 500,
    "limit": 100_000,
    "used": 2_100,
    "reserved": 400,
    "remaining": 97_500,
    "resets_at": "2026-12-01T00:00:00Z",
    "value": None,
    "message": "acme can use 500 api_calls: pro@1 includes it",
}

LEASED = {"decision": _LEASED, "lease": _LEASE, "replayed": False}

LEASE_STEPS = {
    "steps": [{"account": "acme", "lease": "worker_7_1", "id": "worker_7_2", "claim": 100, "units": 300, "ttl_s": 60}]
}

LEASE_RESULTS = {
    "results": [
        {
            "lease": _LEASE | {"held": 600, "claimed": 200, "expires_at": "2026-11-21T09:01:30Z"},
            "units": 300,
            "claim": 100,
            "decision": _LEASED
            | {
                "quantity": 100,
                "used": 2_200,
                "reserved": 600,
                "remaining": 97_200,
                "message": "acme can use 100 api_calls: pro@1 includes it",
            },
            "replayed": False,
            "problem": None,
        }
    ]
}

TOKEN = {
    "token": "eyJhbGciOiJFUzI1NiIsImtpZCI6…",
    "account": "acme",
    "member": "ann",
    "scopes": ["decisions:read"],
    "issued_at": "2026-11-21T09:00:00Z",
    "expires_at": "2026-11-21T09:15:00Z",
}

_KID = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

PUBLISHED_KEYS = {"keys": [{"kid": _KID, "signs_from": "2026-11-21T10:00:00Z", "verifies_until": None}]}

KEY_SET = {
    "keys": [
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            "kid": _KID,
            "use": "sig",
            "alg": "ES256",
        }
    ]
}

EVALUATIONS = {
    "flags": [EVALUATION],
    "metadata": {"account": "acme"},
    "eventStreams": [
        {
            "type": "sse",
            "endpoint": {"requestUri": "/ofrep/v1/stream?token=eyJhbGciOiJFUzI1NiIs…"},
            "inactivityDelaySec": 120,
        }
    ],
}

KEY_REQUEST = {"name": "the product's backend", "scopes": ["decisions:read", "usage:write"], "mode": "test"}
KEY = {
    "id": "key_019aa4c3f80a1b2c3d4",
    "name": "the product's backend",
    "state": "active",
    "publishable": False,
    "mode": "test",
    "scopes": ["decisions:read", "usage:write"],
    "role": None,
    "ip_ranges": [],
    "rate_limit": None,
    "created_at": "2026-11-01T09:00:00Z",
    "created_by": "admin",
    "expires_at": "2027-11-01T09:00:00Z",
    "revoked_at": None,
    "last_used_at": "2026-11-30T10:12:00Z",
    "secrets": [{"hint": "sk_test_…4fQz", "created_at": "2026-11-01T09:00:00Z", "ends_at": None}],
}
CREATED_KEY = {**KEY, "last_used_at": None, "key": "sk_test_… (shown this once)"}
ROTATED_KEY = {
    **KEY,
    "expires_at": "2027-11-30T10:00:00Z",
    "secrets": [
        {"hint": "sk_test_…4fQz", "created_at": "2026-11-01T09:00:00Z", "ends_at": "2026-12-01T10:00:00Z"},
        {"hint": "sk_test_…b7Xe", "created_at": "2026-11-30T10:00:00Z", "ends_at": None},
    ],
    "key": "sk_test_… (shown this once)",
}
REVOKED_KEY = {**KEY, "state": "revoked", "revoked_at": "2026-11-30T10:15:00Z"}

LOG_IN = {"email": "dana@example.com", "password": "correct horse battery staple", "code": "123456"}
PERSON_REQUEST = {"email": "dana@example.com", "name": "Dana", "role": "support", "totp": True}
PERSON = {
    "id": "person_019aa4c3f80a1b2c3d4",
    "email": "dana@example.com",
    "name": "Dana",
    "role": "support",
    "totp": True,
    "created_at": "2026-11-01T09:00:00Z",
    "created_by": "admin",
    "seen_at": "2026-11-30T10:12:00Z",
    "issuer": None,
    "must_change": False,
}
PASSWORD_CHANGE = {"old": "… (shown once)", "new": "correct horse battery staple"}
PEOPLE = {"people": [PERSON], "next": None}
ADDED_PERSON = {
    **PERSON,
    "seen_at": None,
    "password": "… (shown this once)",
    "totp_address": "otpauth://totp/Paygrade:dana%40example.com?secret=…&issuer=Paygrade",
}
ME = {
    "kind": "person",
    "id": "person_019aa4c3f80a1b2c3d4",
    "name": "Dana",
    "scopes": ["accounts:read", "decisions:read"],
    "person": PERSON,
}
NEW_ENDPOINT = {
    "url": "https://example.com/webhooks",
    "types": ["account.plan_changed"],
    "description": "what acme's app hears",
}
ENDPOINT_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENDPOINT = {
    "id": "we_5d1f0c3b9a7e4f2d8c6b1a09",
    "url": "https://example.com/webhooks",
    "types": ["account.plan_changed"],
    "accounts": None,
    "description": "what acme's app hears",
    "state": "enabled",
    "reason": None,
    "warning": None,
    "created_at": "2026-11-21T09:00:00Z",
    "delivered_at": "2026-11-21T09:04:12Z",
    "failing_since": None,
    "secrets": 1,
    "waiting": 0,
    "undelivered": 0,
}
WEBHOOK_TEST = {"delivered": True, "status": 204, "took_ms": 41, "error": None, "answer": ""}
UPDATES = {
    "updates": [
        {
            "id": "upd_5e1c07a2d94bb86f03d1a7e4",
            "type": "account.plan_changed",
            "account": "acme",
            "position": 812,
            "sequence": 7,
            "state_version": 12,
            "occurred_at": "2026-11-21T09:00:00Z",
            "data": {"plan_before": "pro@1", "plan": "business@1", "add_ons_before": {}, "add_ons": {}},
        }
    ],
    "next": 812,
    "end": 812,
}
EXPORT_PAGE = {
    "account": "acme",
    "section": "facts",
    "rows": [{"account": "acme", "number": 1, "subject": "profile", "body": {"type": "profile", "name": "Acme"}}],
    "next": "links",
}

ERASURE = {"confirm": "acme", "reason": "asked for by the customer"}

ERASED = {"account": "acme", "facts": 3, "members": 2, "records": 5}

AUDIT_HEAD = {"account": "acme", "number": 1, "hash": "7d1c" + "0" * 60}

AUDIT_RECORD = {
    "account": "acme",
    "version": 1,
    "action": "override.set",
    "occurred_at": "2026-11-21T09:00:00.000000Z",
    "request": "9b1d2c",
    "targets": [{"kind": "override", "id": "exports"}],
    "changes": {"value": [None, True]},
    "actor": {"kind": "key", "id": "admin", "name": "the server's admin key"},
    "address": "10.0.0.7",
    "personal": {"reason": [None, "promised by support"]},
    "erasable": ["personal"],
    "salts": {"actor": "0f" * 16, "address": "1e" * 16, "personal": "2d" * 16},
    "number": 1,
    "commitments": {"actor": "a1" * 32, "address": "b2" * 32, "personal": "c3" * 32},
    "previous": "0" * 64,
    "hash": "7d1c" + "0" * 60,
}

AUDIT_LIST = {"records": [AUDIT_RECORD], "next": None}

AUDIT_CHAINS = {"chains": [{"account": "acme", "head": AUDIT_HEAD, "records": [AUDIT_RECORD]}], "next": None}

AUDIT_HEADS = {"heads": [AUDIT_HEAD], "next": None}

APPROVAL = {
    "id": "appr_019aa4c3f80a1b2c3d4",
    "account": "acme",
    "kind": "grants",
    "state": "waiting",
    "request": "POST /v1/accounts/acme/grants",
    "body": GRANT,
    "preview": None,
    "scope": "usage:adjust",
    "asked_by": {"kind": "person", "id": "person_019aa4c3f80a1b2c3d4", "name": "Dana"},
    "asked_at": "2026-11-30T10:12:00Z",
    "expires_at": "2026-12-07T10:12:00Z",
    "resolved_by": None,
    "resolved_at": None,
    "reason": "",
}
APPROVALS = {"approvals": [APPROVAL], "next": None}
APPROVED = {"approval": {**APPROVAL, "state": "approved"}, "answer": {}}
