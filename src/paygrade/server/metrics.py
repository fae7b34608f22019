"""Metrics: a few honest numbers for Prometheus, with no account's name among the labels."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from paygrade.decisions import Decision

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The numbers of one application; each has its own registry, so several can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "paygrade_http_requests", "HTTP requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "paygrade_http_request_seconds",
            "Time from the first byte of a request to the end of its answer.",
            ["route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=self.registry,
        )
        self.decisions = Counter(
            "paygrade_decisions", "Decisions made by check.", ["allowed", "reason"], registry=self.registry
        )
        self.billing_events = Counter(
            "paygrade_billing_events", "Billing events received, by what became of them.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip

        self.drift = Counter(
            "paygrade_drift", "Fields that differed from the provider, by what became of them.", ["what", "found_by"],
            registry=self.registry,
        )  # fmt: skip
        self.sweeps = Counter("paygrade_sweeps", "Sweeps started and finished.", ["what"], registry=self.registry)

        self.alerts = Counter("paygrade_alerts", "Thresholds passed.", ["what"], registry=self.registry)

        self.usage_events = Counter(
            "paygrade_usage_events", "Usage events received, by what became of them.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip
        # Looked up for each request, and there are few.
        self._decided = cache(lambda allowed, reason: self.decisions.labels(str(allowed).lower(), str(reason)))

    def note_events(self, accepted: int, duplicates: int, rejected: int) -> None:
        for outcome, count in (("accepted", accepted), ("duplicate", duplicates), ("rejected", rejected)):
            self.usage_events.labels(outcome=outcome).inc(count)

    def note_decision(self, decision: Decision) -> None:
        self._decided(decision.allowed, decision.reason).inc()

    def render(self) -> bytes:
        return generate_latest(self.registry)
