"""Metrics: a few honest numbers for Prometheus, with no account's name among the labels.

Law: of several processes behind one port, each counts under its own name (`worker`) and one scrape shows them all: a
sum over processes would fall when one of them begins anew, and what Prometheus takes for a restart would count twice.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from paygrade.decisions.decide import Decision
from paygrade.entitlements.model import Reason

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_BOUNDS_NS = [round(bound * 1e9) for bound in BOUNDS_S]


Others = Callable[[], Awaitable[Sequence[bytes]]]


class Tally:
    """Requests answered alike, by how long they took: plain numbers, since one thread counts all of a process."""

    __slots__ = ("counts", "ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS_NS) + 1)
        """By the least bound that was not passed; the last one has what took longer than any."""
        self.ns = 0

    def note(self, ns: int) -> None:
        """Count a request that took so many nanoseconds."""
        self.counts[bisect_left(_BOUNDS_NS, ns)] += 1
        self.ns += ns


class Requests(Collector):
    """Requests answered, by method, route and status; written out when somebody asks."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, int], Tally] = {}

    def of(self, method: str, route: str, status: int) -> Tally:
        """Where such requests are counted; it stays the same."""
        return self._tallies.setdefault((method, route, status), Tally())

    def collect(self) -> Iterator[Metric]:
        answered = CounterMetricFamily(
            "paygrade_http_requests", "HTTP requests answered.", labels=["method", "route", "status"]
        )
        took = HistogramMetricFamily(
            "paygrade_http_request_seconds", "Time from the first byte of a request to the end of its answer.",
            labels=["route"],
        )  # fmt: skip
        routes: dict[str, list[Tally]] = {}
        for (method, route, status), tally in self._tallies.items():
            answered.add_metric([method, route, str(status)], sum(tally.counts))
            routes.setdefault(route, []).append(tally)
        bounds = [*(str(float(bound)) for bound in BOUNDS_S), "+Inf"]
        for route, tallies in routes.items():
            counts = accumulate(map(sum, zip(*(tally.counts for tally in tallies), strict=True)))
            took.add_metric([route], list(zip(bounds, counts, strict=True)), sum(t.ns for t in tallies) / 1e9)
        yield from (answered, took)


class Decisions(Collector):
    """Decisions made by check, by what came out."""

    def __init__(self) -> None:
        self.counts: dict[tuple[bool, Reason], int] = defaultdict(int)

    def collect(self) -> Iterator[Metric]:
        made = CounterMetricFamily("paygrade_decisions", "Decisions made by check.", labels=["allowed", "reason"])
        for (allowed, reason), count in self.counts.items():
            made.add_metric([str(allowed).lower(), reason], count)
        yield made


class LoggedDecisions(Collector):
    """Decisions for the decision log, by what became of them."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = defaultdict(int)

    def collect(self) -> Iterator[Metric]:
        logged = CounterMetricFamily(
            "paygrade_logged_decisions", "Decisions for the decision log, by what became of them.", labels=["outcome"]
        )
        for outcome, count in self.counts.items():
            logged.add_metric([outcome], count)
        yield logged


class Sizes(Collector):
    """How many requests were saved together, by how many there were."""

    def __init__(self) -> None:
        self._counts = [0] * (len(SIZES) + 1)
        self._sum = 0

    def note(self, size: int) -> None:
        """Count a batch of so many requests."""
        self._counts[bisect_left(SIZES, size)] += 1
        self._sum += size

    def collect(self) -> Iterator[Metric]:
        sizes = HistogramMetricFamily(
            "paygrade_batch_requests", "Requests to use or hold units that were saved together."
        )
        bounds = [*(str(float(bound)) for bound in SIZES), "+Inf"]
        sizes.add_metric([], list(zip(bounds, accumulate(self._counts), strict=True)), self._sum)
        yield sizes


class IngestNumbers:
    """What is taken from a stream of usage events, and what waits there."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._messages = Counter(
            "paygrade_ingest_messages", "Messages taken from NATS, by what became of them.", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self._waiting = Gauge(
            "paygrade_ingest_waiting", "Messages in NATS that are not acknowledged yet.", ["consumer"],
            registry=registry,
        )  # fmt: skip
        self._lag = Gauge(
            "paygrade_ingest_lag_seconds", "How long the first of them has been there.", ["consumer"],
            registry=registry,
        )  # fmt: skip

    def note(self, outcome: str, count: int) -> None:
        """So many messages became this."""
        self._messages.labels(outcome=outcome).inc(count)

    def note_backlog(self, consumer: str, messages: int, lag_s: float) -> None:
        """So many messages wait, the first of them for so long."""
        self._waiting.labels(consumer=consumer).set(messages)
        self._lag.labels(consumer=consumer).set(lag_s)


class DatabaseNumbers(Struct, frozen=True):
    """What was measured of the database: see `DATABASE` for what each is."""

    dirty: int
    dirty_s: float
    unhandled: int
    inbox_lag_s: float
    drift: int
    differences: int
    queue: float
    updates_lag_s: float
    webhooks_lag_s: float
    failing: int
    audit_lag_s: float


DATABASE = {
    "dirty": ("paygrade_dirty_subjects", "Customers that wait to be read from the provider."),
    "dirty_s": ("paygrade_dirty_oldest_seconds", "How long the first of them has waited."),
    "unhandled": ("paygrade_inbox_unhandled", "Billing events whose customer was not read since."),
    "inbox_lag_s": ("paygrade_inbox_lag_seconds", "How long ago the first of them came."),
    "drift": ("paygrade_drift_open", "Fields that differ from the provider now."),
    "differences": ("paygrade_catalog_differences", "Differences between the catalog and what the provider sells."),
    "queue": ("paygrade_notification_queue_usage", "How full PostgreSQL's queue of notifications is, from 0 to 1."),
    "updates_lag_s": (
        "paygrade_updates_lag_seconds",
        "How long the first state update waits for its place in the log.",
    ),
    "webhooks_lag_s": ("paygrade_webhooks_waiting_seconds", "How long the first webhook has waited that is due."),
    "failing": ("paygrade_webhook_endpoints_failing", "Webhook endpoints that take nothing, or were disabled for it."),
    "audit_lag_s": ("paygrade_audit_waiting_seconds", "How long the first audit record waits for its receiver."),
}
"""The metric that each number is, and what it says."""


class Database(Collector):
    """What all processes share: it has no `worker`. `numbers` None: the database could not be asked."""

    def __init__(self) -> None:
        self.numbers: DatabaseNumbers | None = None
        self.taken_at_s = -math.inf

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("paygrade_database_up", "Whether the database answers.", value=self.numbers is not None)
        for field, (name, meaning) in DATABASE.items():
            if self.numbers is not None:
                yield GaugeMetricFamily(name, meaning, value=getattr(self.numbers, field))


class Metrics:
    """The numbers of one application; each has its own registry, so several can live in one process. `worker`: which
    of the processes behind one port this is, and `others` what the others have rendered."""

    def __init__(self, *, worker: int | None = None, others: Others | None = None) -> None:
        self._worker, self._others = worker, others
        self.registry = CollectorRegistry()
        self.requests = Requests()
        self.registry.register(self.requests)
        self.decisions = Decisions()
        self.registry.register(self.decisions)
        self.batches = Sizes()
        self.registry.register(self.batches)
        self.database = Database()
        self._shared = CollectorRegistry()
        self._shared.register(self.database)
        self.billing_events = Counter(
            "paygrade_billing_events", "Billing events received, by what became of them.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip

        self.drift = Counter(
            "paygrade_drift", "Fields that differed from the provider, by what became of them.", ["what", "found_by"],
            registry=self.registry,
        )  # fmt: skip
        self.findings = Counter(
            "paygrade_findings", "What came to need a person's attention (found), and no longer does (gone).",
            ["what", "code"], registry=self.registry,
        )  # fmt: skip
        self.sweeps = Counter("paygrade_sweeps", "Sweeps started and finished.", ["what"], registry=self.registry)

        self.plan_changes = Counter(
            "paygrade_plan_changes", "Plan changes, by how they ended.", ["state", "source"], registry=self.registry
        )
        self.claims = Counter(
            "paygrade_claims", "Background work that was claimed, by what came of it.", ["queue", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.snapshot_age = Gauge(
            "paygrade_snapshot_age_seconds", "How old what a process decides on may be: 0 while it hears of changes.",
            registry=self.registry,
        )  # fmt: skip
        self.streams = Gauge("paygrade_streams", "Streams that are followed now.", registry=self.registry)
        self.alerts = Counter("paygrade_alerts", "Thresholds passed.", ["what"], registry=self.registry)

        self.usage_events = Counter(
            "paygrade_usage_events", "Usage events received, by what became of them.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip

        self.webhook_tries = Counter(
            "paygrade_webhook_tries", "Tries to send a webhook, by what became of the delivery.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.webhook_endpoints = Counter(
            "paygrade_webhook_endpoint_notices", "Endpoints that fail (failing), were disabled, or have recovered.",
            ["what"], registry=self.registry,
        )  # fmt: skip
        self.webhook_lag = Histogram(
            "paygrade_webhook_lag_seconds", "Time from what happened until its webhook was delivered.", ["tries"],
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600, 3600), registry=self.registry,
        )  # fmt: skip

        self.ingest = IngestNumbers(self.registry)
        self.logged_decisions = LoggedDecisions()
        self.registry.register(self.logged_decisions)

    def note_logged(self, outcome: str, count: int) -> None:
        self.logged_decisions.counts[outcome] += count

    def note_events(self, accepted: int, duplicates: int, rejected: int) -> None:
        for outcome, count in (("accepted", accepted), ("duplicate", duplicates), ("rejected", rejected)):
            self.usage_events.labels(outcome=outcome).inc(count)

    def note_claim(self, queue: str, outcome: str) -> None:
        self.claims.labels(queue=queue, outcome=outcome).inc()

    def note_decision(self, decision: Decision) -> None:
        self.decisions.counts[decision.allowed, decision.reason] += 1

    def render(self) -> bytes:
        """The numbers of this process."""
        return generate_latest(self.registry if self._worker is None else _Named(self.registry, self._worker))

    async def render_all(self) -> bytes:
        """The numbers of all processes behind this port, and those of the database."""
        others = await self._others() if self._others is not None else ()
        return together([self.render(), *others, generate_latest(self._shared)])


class _Named(CollectorRegistry):
    """What a registry has, under the name of a worker."""

    def __init__(self, registry: CollectorRegistry, worker: int) -> None:
        super().__init__()
        self._named, self._worker = registry, str(worker)

    def collect(self) -> Iterator[Metric]:
        for metric in self._named.collect():
            metric.samples = [
                sample._replace(labels={**sample.labels, "worker": self._worker}) for sample in metric.samples
            ]
            yield metric


def together(rendered: Iterable[bytes]) -> bytes:
    """What several processes have rendered, as one: the lines of a metric stand together (Prometheus' text format)."""
    found: dict[bytes, tuple[bytes, list[bytes]]] = {}
    for text in rendered:
        for part in text.split(b"# HELP ")[1:]:
            first, second, lines = part.split(b"\n", 2)
            _, parts = found.setdefault(first, (b"# HELP %b\n%b\n" % (first, second), []))
            parts.append(lines)
    return b"".join(head + b"".join(parts) for head, parts in found.values())
