"""`paygrade catalog check`, `push --to-stripe` and `pull`, as people and scripts run them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from paygrade.cli.main import paygrade
from paygrade.simulator.http.serve import Running, running
from paygrade.values.errors import Refused, Unavailable
from support.cli_runner import Shell
from support.cluster import free_ports
from support.official_stripe import official_client

TEXT = """\
version: 1
features: {}
plans:
  pro:
    stripe: prod_pro
    prices:
      monthly: { amount: 2900, currency: usd, interval: month, stripe: pro_monthly }
"""


@pytest.fixture
def simulator() -> Iterator[Running]:
    with running() as served:
        yield served


class Here:
    """A folder with a catalog, and the Stripe account that is meant."""

    def __init__(self, folder: Path, url: str, key: str) -> None:
        self.file = folder / "paygrade.yaml"
        self.file.write_text(TEXT)
        self.environ = {"PAYGRADE_STRIPE_API_KEY": key, "PAYGRADE_STRIPE_API_BASE": url}

    def run(self, *arguments: str, code: int = 0) -> str:
        ended = CliRunner().invoke(paygrade, ["catalog", *arguments], env=self.environ)
        assert ended.exit_code == code, (ended.output, ended.exception)
        return ended.output

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))


@pytest.fixture
def here(tmp_path: Path, simulator: Running, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.chdir(tmp_path)
    return Here(tmp_path, simulator.url, simulator.key)


def test_check_names_the_line_and_push_mends_it_after_showing_a_plan(here: Here, simulator: Running) -> None:
    said = here.run("check", code=1)
    assert "paygrade.yaml:5:5: Stripe has no product `prod_pro`" in said
    assert "paygrade.yaml:7:64: Stripe has no price `pro_monthly`" in said
    found = here.json("check", code=1)["differences"]
    assert [(each["code"], each["pointer"], each["line"]) for each in found] == [
        ("missing", "/plans/pro/stripe", 5),
        ("missing", "/plans/pro/prices/monthly/stripe", 7),
    ]
    shown = here.run("push", "--to-stripe", "--dry-run")
    assert "+ paygrade.yaml:7:7: make a price of 2900 usd every month and give it the lookup key" in shown
    assert "2 to do; nothing was done" in shown
    assert "add --yes" in here.run("push", "--to-stripe", code=2)
    assert here.json("check", code=1)["differences"] == found
    done = here.json("push", "--to-stripe", "--yes")
    assert (done["taken"], done["left"], [step["step"] for step in done["steps"]]) == (
        2, [], ["create_product", "create_price"]
    )  # fmt: skip
    assert "Stripe sells what it says (1 prices)" in here.run("check")
    assert "there is nothing to do" in here.run("push", "--to-stripe", "--yes")
    # Another amount: a price is made, and the old one is archived as it is asked for.
    here.file.write_text(TEXT.replace("2900", "3900"))
    assert "(2900 usd every month) stays for who pays it" in here.run("push", "--to-stripe", "--yes", "--archive-old")
    client: Any = official_client(simulator.key, simulator.url)
    made = [(price.unit_amount, price.active) for price in client.v1.prices.list().data]
    assert made == [(3900, True), (2900, False)]
    # What nobody can make is left, and said.
    here.file.write_text(TEXT.replace("pro_monthly", "price_123"))
    assert "only Stripe chooses" in here.run("push", "--to-stripe", "--yes", code=1)
    # What was sold meanwhile comes back as a file; nothing is overwritten.
    pulled = here.json("pull", "pulled.yaml")
    assert (pulled["plans"], pulled["add_ons"]) == (1, 0)
    again = CliRunner().invoke(paygrade, ["catalog", "pull"], env=here.environ).exception
    assert isinstance(again, Refused)
    assert again.code == "file_exists"
    assert "no mistakes" in here.run("lint", "pulled.yaml")
    assert here.json("check", "pulled.yaml")["differences"] == []
    assert "stripe: pro_monthly" in here.run("pull", "-")


def test_a_live_key_wants_the_word_and_a_wrong_use_is_told(here: Here) -> None:
    for key, arguments, why in (
        ("sk_live_1", (), "add --live"),
        ("rk_test_1", ("--live",), "remove --live"),
        ("", (), "set PAYGRADE_STRIPE_API_KEY"),
    ):
        # Nothing else that a server needs has to be right.
        here.environ |= {"PAYGRADE_STRIPE_API_KEY": key, "PAYGRADE_CATALOG": "gone.yaml"}
        assert why in here.run("push", "--to-stripe", "--yes", *arguments, code=2)
    assert "go with --to-stripe" in here.run("push", "--dry-run", code=2)
    assert "leave them out" in here.run("push", "--to-stripe", "--existing", "keep", code=2)
    assert "is no file" in here.run("push", "plan_1", "--to-stripe", code=2)


def test_without_an_answer_it_is_unavailable_and_with_a_mistake_refused(here: Here) -> None:
    (nobody,) = free_ports(1)
    gone = {**here.environ, "PAYGRADE_STRIPE_API_BASE": f"http://127.0.0.1:{nobody}"}
    assert isinstance(CliRunner().invoke(paygrade, ["catalog", "check"], env=gone).exception, Unavailable)
    here.file.write_text("version: 1\n")
    assert isinstance(CliRunner().invoke(paygrade, ["catalog", "check"], env=here.environ).exception, Refused)


def test_on_a_terminal_it_asks_before_it_makes_anything(here: Here, tmp_path: Path) -> None:
    shell = Shell(tmp_path, **here.environ)
    push = ("catalog", "push", "--to-stripe")
    assert "Make this at Stripe (test mode)?" in shell.on_terminal(*push, typing="n\n", code=130)
    assert len(here.json("check", code=1)["differences"]) == 2
    assert "done: make a price" in shell.on_terminal(*push, typing="y\n")
    assert here.json("check")["differences"] == []
