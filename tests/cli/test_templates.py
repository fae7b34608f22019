"""The starter catalogs: each is written, sold at Stripe, published, bought, and gives what it says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from paygrade.cli.demo_company import Company
from paygrade.cli.demo_run import House, standing
from paygrade.cli.init import TEMPLATES
from paygrade.cli.main import paygrade
from support.cli_runner import Shell
from support.official_stripe import official_client

KEY = "sk_demo"
BOUGHT = {
    "free-pro": (["pro_monthly"], "exports", "seats", 5),
    "per-seat": (["team_monthly"], "editor", "seats", 5),
    "usage": (["scale_monthly", "scale_calls"], "webhooks", "api_calls", 1_000_000),
    "credits": (["plus_monthly"], "private_mode", "images", 100),
}
"""What is bought of each (five of what has a quantity), what that switches on, and how much there is of what then."""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with standing(key=KEY, ports=(0, 0)) as house:
        yield house


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_written_sold_bought_and_gives_what_it_says(
    template: str, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = house.provider
    environ = {
        "PAYGRADE_URL": house.api_url, "PAYGRADE_API_KEY": KEY,
        "PAYGRADE_STRIPE_API_KEY": provider.key, "PAYGRADE_STRIPE_API_BASE": provider.url,
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        ended = CliRunner().invoke(paygrade, arguments, env=environ)
        assert ended.exit_code == 0, ended.output
        return ended.output

    client: Any = official_client(provider.key, provider.url)
    for price in client.v1.prices.list({"active": True, "limit": 100}).data:  # of the template before
        client.v1.prices.update(price.id, {"active": False})
    for subscription in client.v1.subscriptions.list().data:
        client.v1.subscriptions.cancel(subscription.id)
    assert "paygrade catalog push --to-stripe" in run("init", "--template", template)
    assert "no mistakes" in run("catalog", "lint")
    for product in client.v1.products.list({"limit": 100}).data:
        # Two templates call a product alike.
        client.v1.products.update(product.id, {"metadata": {"paygrade_plan": "", "paygrade_add_on": ""}})
    assert "done" in run("catalog", "push", "--to-stripe", "--yes")
    assert "Stripe sells what it says" in run("catalog", "check")
    run("catalog", "push", "--yes")
    assert "Stripe sells what it says" in run("catalog", "plan")

    prices, switched, counted, limit = BOUGHT[template]
    account = f"buyer_of_{template.replace('-', '_')}"
    company = Company(url=provider.url, key=provider.key)
    company.welcome(account, "Ada")
    held = {price.lookup_key: price for price in client.v1.prices.list({"lookup_keys": prices}).data}
    items = [{"price": held[key].id} | ({} if held[key].recurring.usage_type == "metered" else {"quantity": 5})
             for key in prices]  # fmt: skip
    client.v1.subscriptions.create({"customer": company.customers[account], "items": items})
    house.stage.control("flush")
    house.stage.wait_until_known([account])
    ask = {"account": account, "feature": switched} | ({"member": "ann"} if switched == "editor" else {})
    if switched == "editor":
        house.stage.call(
            "PUT", f"/v1/accounts/{account}/members", json=[{"member": "ann", "role": "owner", "seat": True}]
        )
    assert house.stage.call("POST", "/v1/check", json=ask)["allowed"]
    told = house.stage.call("POST", "/v1/check", json={"account": account, "feature": counted})
    assert (told["allowed"], told["limit"]) == (True, limit)
    nobody = house.stage.call("POST", "/v1/check", json={"account": "nobody", "feature": switched})
    assert not nobody["allowed"]


def test_on_a_terminal_it_asks_which_and_a_script_gets_the_usual_one(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert "What do you sell?" in shell.on_terminal("init", "asked", typing="credits\n")
    assert "ai_credits" in (tmp_path / "asked" / "paygrade.yaml").read_text()
    assert shell.json("init", "script")["template"] == "free-pro"
    assert [each["template"] for each in shell.json("init", "--templates")["templates"]] == list(TEMPLATES)
