"""Metrics: a few honest numbers for Prometheus, with no account's name among the labels.

Law: of several processes behind one port, each counts under its own name (`worker`) and one scrape shows them all: a
sum over processes would fall when one of them begins anew, and what Prometheus takes for a restart would count twice.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from paygrade.decisions.decide import Decision
from paygrade.entitlements.model import Reason

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
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
            "paygrade_webhook_lag_seconds", "Time from what happened until its webhook was delivered.",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600, 3600), registry=self.registry,
        )  # fmt: skip

    def note_events(self, accepted: int, duplicates: int, rejected: int) -> None:
        for outcome, count in (("accepted", accepted), ("duplicate", duplicates), ("rejected", rejected)):
            self.usage_events.labels(outcome=outcome).inc(count)

    def note_decision(self, decision: Decision) -> None:
        self.decisions.counts[decision.allowed, decision.reason] += 1

    def render(self) -> bytes:
        """The numbers of this process."""
        return generate_latest(self.registry if self._worker is None else _Named(self.registry, self._worker))

    async def render_all(self) -> bytes:
        """The numbers of all processes behind this port."""
        return together([self.render(), *await self._others()]) if self._others is not None else self.render()


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
