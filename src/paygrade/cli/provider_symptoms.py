"""What `paygrade doctor` finds wrong between us and the provider: the key, its permissions, the clock, the webhooks."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx2

from paygrade.catalog.provider_check import has_meters
from paygrade.cli import wiring
from paygrade.cli.database_symptoms import clock_beside
from paygrade.cli.stocking import compare
from paygrade.cli.symptoms import Symptom, shown
from paygrade.server.process.settings import Settings
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.catalog.model import Catalog
    from paygrade.providers.stripe.client import StripeProvider
    from paygrade.providers.stripe.examination import Endpoint

STRIPE = "https://api.stripe.com"
WEBHOOKS = "/webhooks/stripe"
PATIENCE_S = 5.0


def examine_provider(settings: Settings, catalog: "Catalog | None") -> Iterator[Symptom]:
    """The provider these settings name; `catalog` says what is needed of it."""
    provider = wiring.stripe_provider(settings)
    if provider is None:
        yield Symptom("provider", "ok", "none: without PAYGRADE_STRIPE_API_KEY subscriptions are stated by hand")
        return
    try:
        yield from _permissions(settings, provider, catalog)
        if catalog is not None:
            yield _sold(provider, catalog)
        if settings.clock_url is None:
            yield from _clock(settings.stripe_api_base or STRIPE)
        yield from _webhooks(settings, provider)
    except Unavailable as error:
        yield Symptom("provider", "wrong", error.detail)


def _permissions(settings: Settings, provider: "StripeProvider", catalog: "Catalog | None") -> Iterator[Symptom]:
    from paygrade.billing.returned import has_consequences
    from paygrade.providers.stripe.examination import lacking, lacking_for_money, lacking_for_pages, lacking_to_sell

    where = settings.stripe_api_base or "Stripe"
    reports = catalog is not None and has_meters(catalog)
    top_ups = catalog is not None and bool(catalog.policies.top_ups)
    returned = catalog is not None and has_consequences(catalog.policies.returned)
    lacks = lacking(provider.connection, reports=reports, top_ups=top_ups, returned=returned)
    unread = [lack.what for lack in lacks if lack.verb == "read"]
    unwritten = [lack.what for lack in lacks if lack.verb == "write"]
    if unread:
        yield Symptom("provider", "wrong", f"the key may not read {shown(unread)}; give it read on them in Stripe's "
                      "dashboard (docs/stripe.md)")  # fmt: skip
    if unwritten:
        yield Symptom("provider", "note", f"the key may not write {shown(unwritten)}, so plans can't be changed "
                      f"from here; "
                      "give it write on them, or change plans at Stripe only")  # fmt: skip
    uncounted = [lack.what for lack in lacking_for_money(provider.connection) if lack.what not in unread]
    if uncounted:
        yield Symptom("provider", "note", f"the key may not read {shown(uncounted)}, so reports of money leave "
                      "customers out; give it read on them in Stripe's dashboard")  # fmt: skip
    unopened = [lack.what for lack in lacking_for_pages(provider.connection)]
    if unopened:
        yield Symptom("provider", "note", f"the key may not write {shown(unopened)}, so checkouts and billing portals "
                      "can't be opened from here; give it write on them in Stripe's dashboard, or open them "
                      "yourself")  # fmt: skip
    if not lacks and not uncounted and not unopened:
        yield Symptom("provider", "ok", f"{where} accepts the key, which has every permission")
    unsold = [lack.what for lack in lacking_to_sell(provider.connection, reports=reports)]
    if unsold:
        yield Symptom("provider", "ok", f"`catalog push --to-stripe` needs write on {shown(unsold)}, which this key "
                      "has not; better give that to a key of your own")  # fmt: skip


def _sold(provider: "StripeProvider", catalog: "Catalog") -> Symptom:
    """Whether Stripe sells what the catalog in force says."""
    found = compare(wiring.stripe_shop(provider), catalog)
    if not found:
        return Symptom("stripe", "ok", "sells what the catalog in force says")
    said = shown([f"{each.pointer or each.object}: {each.message}" for each in found], most=3)
    return Symptom("stripe", "note", f"{said}; `paygrade catalog check FILE` shows all with their lines")


def _clock(url: str) -> Iterator[Symptom]:
    before = datetime.now(UTC)
    try:
        told = httpx2.get(url, timeout=PATIENCE_S).headers.get("date")
        theirs = parsedate_to_datetime(told) if told else None
    except (httpx2.HTTPError, ValueError, TypeError):
        return
    if theirs is not None:
        yield clock_beside("the provider", theirs, before, datetime.now(UTC))


def _webhooks(settings: Settings, provider: "StripeProvider") -> Iterator[Symptom]:
    from paygrade.providers.stripe.examination import endpoints

    if not settings.webhook_secrets:
        advice = "changes arrive only by the poll, up to a minute late; set it to the endpoint's signing secret"
        yield Symptom("webhooks", "wrong", f"no PAYGRADE_STRIPE_WEBHOOK_SECRET: {advice}")
        return
    found = endpoints(provider.connection, WEBHOOKS)
    if found is None:
        yield Symptom("webhooks", "ok", f"a signing secret is set; Stripe sends to `{WEBHOOKS}`. Give the key read on "
                      "Webhook Endpoints to have this checked")  # fmt: skip
    elif not found:
        yield Symptom("webhooks", "wrong", f"Stripe has no webhook endpoint that ends with `{WEBHOOKS}`; add "
                      f"one, with the "
                      "events of docs/stripe.md")  # fmt: skip
    for each in found or ():
        yield _endpoint(each)


def _endpoint(endpoint: "Endpoint") -> Symptom:
    if not endpoint.is_enabled:
        return Symptom("webhooks", "wrong", f"Stripe has switched off {endpoint.url}; enable it in the dashboard")
    unreachable = _unreachable(endpoint.url)
    if unreachable is not None:
        return Symptom("webhooks", "wrong", f"{endpoint.url} {unreachable}")
    if endpoint.missing:
        return Symptom("webhooks", "note", f"{endpoint.url} is not sent {shown(list(endpoint.missing))}; add "
                       f"these events, "
                       "else the poll finds them, up to a minute late")  # fmt: skip
    return Symptom("webhooks", "ok", f"{endpoint.url} is sent every event, and answers")


def _unreachable(url: str) -> str | None:
    """Why what Stripe sends to this address does not arrive; None: it does. Unsigned, nothing comes of it."""
    try:
        answer = httpx2.post(url, content=b"{}", timeout=PATIENCE_S)
        code = answer.json().get("code")
    except (httpx2.HTTPError, ValueError, AttributeError) as error:
        reason = str(error) or type(error).__name__
        return f"does not answer as Paygrade does ({reason}); is it the right address, and does the proxy pass it on?"
    if code == "webhooks_not_configured":
        return "answers, but has no signing secret; set PAYGRADE_STRIPE_WEBHOOK_SECRET on that server, too"
    if code != "signature_missing":
        return f"answers {answer.status_code}, not as Paygrade does; is it the right address?"
    return None
