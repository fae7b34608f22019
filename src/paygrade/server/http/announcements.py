"""Announcements: what needs a person's attention, what repair found and did, limits that were passed, and how plan
changes ended, in the log and in the metrics.

Law: only what is saved is announced, and by the process that saved it alone.
"""

from collections.abc import Callable

import msgspec
import structlog

from paygrade.billing.audit_chain import AuditRecord, public
from paygrade.server.operations.accounts.change_trail import PlanChangeNotice
from paygrade.server.operations.balances.alerts import ToldAlert
from paygrade.server.operations.sync.repair import RepairNotice
from paygrade.server.operations.updates.finding_notices import FindingNotice
from paygrade.server.process.metrics import Metrics

log = structlog.get_logger("paygrade.announcements")


def announcer(metrics: Metrics) -> Callable[[str, str], None]:
    """Something that hears what a store's own transactions tell."""

    def hear(channel: str, payload: str) -> None:
        if channel == "paygrade_alert":
            _hear_alert(metrics, msgspec.json.decode(payload, type=ToldAlert))
        if channel == "paygrade_change":
            _hear_change(metrics, msgspec.json.decode(payload, type=PlanChangeNotice))
        if channel == "paygrade_finding":
            _hear_finding(metrics, msgspec.json.decode(payload, type=FindingNotice))
        if channel != "paygrade_repair":
            return
        told = msgspec.json.decode(payload, type=RepairNotice)
        match told.what:
            case "drift_detected":
                metrics.drift.labels(what="detected", found_by=told.found_by or "").inc(told.fields)
                log.warning("drift_detected", subjects=told.subjects, fields=told.fields, found_by=told.found_by)
            case "drift_healed" | "drift_explained":
                metrics.drift.labels(what=told.what.removeprefix("drift_"), found_by="").inc(told.fields)
                log.info(told.what, subjects=told.subjects, fields=told.fields)
            case _:
                metrics.sweeps.labels(what=told.what.removeprefix("sweep_")).inc()
                log.info(told.what)

    return hear


def announce_record(record: AuditRecord) -> None:
    """Log an audit record."""
    log.info("audit", **public(record))


def _hear_finding(metrics: Metrics, told: FindingNotice) -> None:
    metrics.findings.labels(what=told.what, code=told.code).inc()
    note = log.warning if told.what == "found" else log.info
    note(f"finding_{told.what}", account=told.account, code=told.code, subject=told.subject, detail=told.detail)


def _hear_change(metrics: Metrics, told: PlanChangeNotice) -> None:
    metrics.plan_changes.labels(state=told.state, source=told.source).inc()
    log.info(f"plan_change_{told.state}", account=told.account, change=told.change, act=told.act, source=told.source,
             before=told.plan_before, after=told.plan_after)  # fmt: skip
    for loss in told.lost:
        log.info(f"seat_{loss.how}", account=told.account, change=told.change, member=loss.member, level=loss.level)


def _hear_alert(metrics: Metrics, told: ToldAlert) -> None:
    metrics.alerts.labels(what=told.what).inc()
    log.info(f"limit_{told.what}", account=told.account, feature=told.feature, percent=told.percent,
             used=told.used, units=told.units)  # fmt: skip
