"""billing-e2e, unmodified, beside a running simulator: its own scenarios, as its own commands copy and run them.

Run with the Python of a virtual environment that has billing-e2e: `scenarios.py <url> <key> <folder>`. Ends with the
status of its command; the report is in <folder>/report.xml.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

URL, KEY, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])

import stripe  # noqa: E402
from stripe import _stripe_client  # noqa: E402

# Its command has no option for another address, so the official library's own default is another one here.
_stripe_client.DEFAULT_API_BASE = URL  # type: ignore[attr-defined]

from billing_e2e import cli, stripe_ops  # noqa: E402

os.chdir(FOLDER)
os.environ["STRIPE_TEST_KEY"] = KEY
client = stripe.StripeClient(KEY)


def price(amount: int) -> str:
    recurring: object = {"interval": "month"}
    wanted: object = {"name": f"For {amount}"}
    terms = {"currency": "usd", "product_data": wanted, "recurring": recurring, "unit_amount": amount}
    return str(client.v1.prices.create(terms).id)  # type: ignore[arg-type]


def command(*words: str) -> str | int:
    """Run a command of its own; give its exit status."""
    try:
        cli.main(list(words))
    except SystemExit as ended:
        return ended.code or 0
    return 0


assert command("init") == 0
config = Path("billing-e2e.yml")
told = config.read_text()
for placeholder, amount in (("price_your_monthly_plan", 2000), ("price_a_more_expensive_monthly_plan", 5000)):
    assert placeholder in told
    told = told.replace(placeholder, price(amount))
config.write_text(told)
status = command("run", "--junit", "report.xml")
assert stripe_ops.delete_all_clocks(client) == [], "what it made is gone"
sys.exit(status)
