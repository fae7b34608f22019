"""What Stripe documents is taken, or told as documented and not simulated: never as unknown."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from paygrade.simulator import errors
from paygrade.simulator.api import documented, routes
from support import stripe_parameters

from .asking import Account


def test_the_list_of_documented_names_is_that_of_the_installed_library() -> None:
    kept = Path(documented.__file__).with_name("documented.json").read_text()
    assert kept == stripe_parameters.text(), "make it anew: see tests/support/stripe_parameters.py"


def simulated_requests() -> list[str]:
    found = []
    for request in documented.documented().requests:
        method, path = request.split(" ")
        try:
            routes.find(method, path.replace("{}", "x"))
        except errors.RefusedByStripe:
            continue
        found.append(request)
    return found


def test_every_documented_parameter_is_taken_or_named() -> None:
    account = Account()
    taken: Counter[str] = Counter()
    named: Counter[str] = Counter()
    lost = []
    for request in simulated_requests():
        method, path = request.split(" ")
        resource = path.split("/{}")[0].removeprefix("/v1/")
        for name in documented.parameters(request):
            answer = account.engine.request(method, path.replace("{}", "x"), {name: "x"}).body
            code = answer.get("error", {}).get("code")
            if code == errors.UNKNOWN_PARAMETER:
                lost.append(f"{request} {name}")
            elif code == errors.NOT_SIMULATED:
                named[resource] += 1
            else:
                taken[resource] += 1
    for resource in sorted(taken | named):
        of = taken[resource] + named[resource]
        print(f"{resource:40} {taken[resource]:4} taken, {named[resource]:4} named as not simulated, of {of}")
    assert lost == []
    assert sum(taken.values()) >= 0.6 * (sum(taken.values()) + sum(named.values()))


def test_a_parameter_the_simulator_lacks_is_told_as_documented_and_any_other_as_unknown() -> None:
    account = Account()
    customer, price = account.customer(), account.price(unit_amount=100)
    wanted: dict[str, Any] = {"customer": customer, "items": [{"price": price}]}
    refused = account.refused("subscriptions", **wanted, transfer_data={"destination": "acct_1"})
    assert refused["message"].startswith("documented, not simulated: `transfer_data` of POST /v1/subscriptions")
    assert (refused["status"], refused["code"], refused["param"]) == (400, "not_simulated", "transfer_data")
    items = [{"price": price, "billing_thresholds": {"usage_gte": 5}}]
    refused = account.refused("subscriptions", customer=customer, items=items)
    assert (refused["code"], refused["param"]) == ("not_simulated", "items[0][billing_thresholds]")
    refused = account.refused("subscriptions", **wanted, transfer_date="x")
    assert (refused["code"], refused["message"]) == ("parameter_unknown", "Received unknown parameter: transfer_date")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "radar/early_fraud_warnings", None),
        ("POST", "billing/alerts", "not_simulated"),
        ("POST", "ephemeral_keys", "not_simulated"),
        ("GET", "nothing", None),
    ],
)
def test_a_url_the_simulator_lacks_is_told_as_documented_and_any_other_as_unknown(
    method: str, path: str, code: str | None
) -> None:
    refused = Account().refused(path, method=method)
    assert (refused["status"], refused.get("code")) == (404, code)
    assert ("Unrecognized request URL" in refused["message"]) == (code is None)


def test_names_are_found_where_they_are_documented() -> None:
    tree = documented.parameters("POST /v1/prices")
    assert documented.is_in(tree, "currency_options[eur][tiers][3][up_to]")
    assert documented.is_in(tree, "metadata[anything]") is False, "metadata has no list of names: it is never refused"
    assert not documented.is_in(tree, "currency_options[eur][nothing]")
    assert documented.is_in(documented.parameters("POST /v1/payment_intents"), "payment_method_options[card][x]")
    assert documented.request_of("GET", "/v1/customers/search") == "GET /v1/customers/search"
