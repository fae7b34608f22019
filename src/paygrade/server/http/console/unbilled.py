"""What was not bought and what was not billed, in words: the reasons of top-ups and of usage reports."""

from paygrade.server.http.console.wording import number, plural
from paygrade.server.operations.accounts.provider_reports import UsageReport
from paygrade.usage.top_ups import TopUpPurchase

_TOP_UPS = {
    "no_customer": "nobody with a live subscription pays",
    "not_charged_in_time": "the invoice was not paid in time",
}
_REPORTS = {
    "no_customer": "nobody with a live subscription pays, so it is reported to nobody",
    "not_sold": "more was used than a limit allows, and nobody agreed to pay for that",
    "too_late": "the provider takes no usage that old any more",
    "more_at_provider": "the provider has more than was reported: something else reports to this meter, too",
}


def told_failure(top_up: TopUpPurchase) -> str:
    """Why a top-up failed."""
    return _TOP_UPS.get(top_up.reason or "", top_up.reason or top_up.error or "no reason is known")


def told_report(report: UsageReport) -> tuple[str, str, str]:
    """How a report stands in a word, its meaning, and the sentence about it."""
    if report.error is not None:
        return "Failing", "stop", report.error
    if report.reason is not None:
        return "Not reported", "wait", _REPORTS.get(report.reason, report.reason)
    if report.difference:
        more = "more" if report.difference > 0 else "less"
        return "Different", "wait", f"the provider has {number(abs(report.difference))} {more} than was reported"
    left = report.used - report.reported
    return ("Reported", "ok", "") if not left else ("On its way", "act", f"{plural(left, 'unit')} still to be reported")
