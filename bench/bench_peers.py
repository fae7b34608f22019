"""A check in the caller's own process, beside what else a product could ask there: ns a check.

Everyone answers for the same account on the same plan, about the same ten features, one after the other, from memory:
no network, no events. Five features are switches and five are counted, 1,000 of each used and 100,000 had. Who can't
count answers whether the plan has them: LaunchDarkly, OpenFeature's provider in memory, GrowthBook and Unleash. The
engine of Schematic is asked as its own client asks it, on an equal company. Rounds of all are interleaved, the first is
warm-up; medians and the best are printed. `make peers` installs them; who is missing is said.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

from paygrade.catalog.parse import parse
from paygrade.client.testing.accounts import TestAccounts

ACCOUNT, PLAN, USED, LIMIT = "acme", "pro", 1_000, 100_000
SWITCHES = [f"switch_{number}" for number in range(5)]
COUNTED = [f"counted_{number}" for number in range(5)]
FEATURES = [feature for pair in zip(SWITCHES, COUNTED, strict=True) for feature in pair]
ROUNDS, ROUND_S = 15, 0.1
Check = Callable[[str], object]


def main() -> None:
    # Behind what is installed here, so that nothing of it is another version than elsewhere.
    sys.path.append(str(Path(sys.prefix) / "peers"))
    logging.disable(logging.ERROR)
    with ExitStack() as stack:
        rows: dict[str, Check] = {}
        for package, name, made in PEERS:
            try:
                check = stack.enter_context(made())
                rows[f"{name} {version(package)}" if package else name] = check
            except (ImportError, PackageNotFoundError) as missing:
                print(f"  {name:46} is not here ({missing}); `make peers` installs it")
        for name, check in rows.items():
            assert all(check(feature) for feature in FEATURES), name
        seen: dict[str, list[float]] = {name: [] for name in rows}
        for number in range(ROUNDS + 1):
            for name, check in rows.items():
                figure = _ns_per_check(check)
                if number:
                    seen[name].append(figure)
    ours = median(seen[OURS])
    for name, figures in seen.items():
        share = f"{median(figures) / ours:9.1f} x ours"
        print(f"  {name:46} {median(figures):11,.0f} ns median   {min(figures):11,.0f} ns best {share}")


def _ns_per_check(check: Check) -> float:
    """As many turns over all features as fit into a round."""
    begun_ns, turns = perf_counter_ns(), 0
    until_ns = begun_ns + int(ROUND_S * 1e9)
    while (now_ns := perf_counter_ns()) < until_ns or not turns:
        for _ in range(10):
            for feature in FEATURES:
                check(feature)
        turns += 10
    return (now_ns - begun_ns) / (turns * len(FEATURES))


OURS = "Paygrade, check"


@contextmanager
def _paygrade() -> Iterator[Check]:
    kinds: dict[str, Any] = {key: {"kind": "boolean"} for key in SWITCHES}
    kinds |= {key: {"kind": "metered"} for key in COUNTED}
    had: dict[str, Any] = dict.fromkeys(SWITCHES, True)
    had |= {key: {"limit": LIMIT, "every": "month"} for key in COUNTED}
    document = {"version": 1, "features": kinds, "plans": {PLAN: {"default": True, "entitlements": had}}}
    accounts = TestAccounts(parse(document, version=1))
    accounts.account(ACCOUNT, usage=dict.fromkeys(COUNTED, USED))
    sdk = accounts.sdk
    assert not sdk.check(ACCOUNT, COUNTED[0]).stale
    # Time goes on, as with a server: reading the clock is a part of each check.
    sdk._connection.clock.standing = None
    yield lambda feature: sdk.check(ACCOUNT, feature)
    accounts.close()


@contextmanager
def _bare_dict() -> Iterator[Check]:
    table = {ACCOUNT: dict.fromkeys(FEATURES, True)}
    yield lambda feature: table[ACCOUNT][feature]


@contextmanager
def _launchdarkly() -> Iterator[Check]:
    from ldclient import Config, Context, LDClient
    from ldclient.integrations.test_data import TestData

    data = TestData.data_source()
    for key in FEATURES:
        flag = data.flag(key).if_match("plan", PLAN).then_return(True)
        data.update(flag.fallthrough_variation(False))
    client = LDClient(Config("sdk-of-nobody", update_processor_class=data, send_events=False))
    context = Context.builder(ACCOUNT).set("plan", PLAN).build()
    yield lambda feature: client.variation(feature, context, False)
    client.close()


@contextmanager
def _openfeature() -> Iterator[Check]:
    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.flag_evaluation import FlagResolutionDetails
    from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

    def evaluate(flag: Any, context: Any) -> Any:  # Any: as the provider calls it
        on = context.attributes.get("plan") == PLAN
        return FlagResolutionDetails(flag.variants["on" if on else "off"], variant="on" if on else "off")

    flag: Any = InMemoryFlag("off", {"on": True, "off": False}, context_evaluator=evaluate)
    api.set_provider(InMemoryProvider(dict.fromkeys(FEATURES, flag)))
    client, context = api.get_client(), EvaluationContext(ACCOUNT, {"plan": PLAN})
    yield lambda feature: client.get_boolean_value(feature, False, context)


@contextmanager
def _growthbook() -> Iterator[Check]:
    from growthbook import GrowthBook

    rule = {"defaultValue": False, "rules": [{"condition": {"plan": PLAN}, "force": True}]}
    client = GrowthBook(attributes={"id": ACCOUNT, "plan": PLAN}, features=dict.fromkeys(FEATURES, rule))
    yield client.is_on
    client.destroy()


@contextmanager
def _unleash() -> Iterator[Check]:
    from UnleashClient import UnleashClient
    from UnleashClient.cache import FileCache

    rule = {"contextName": "plan", "operator": "IN", "values": [PLAN]}
    strategy = {"name": "default", "parameters": {}, "constraints": [rule]}
    toggles = [{"name": key, "enabled": True, "strategies": [strategy]} for key in FEATURES]
    cache = FileCache("paygrade-bench")
    cache.bootstrap_from_dict({"version": 2, "features": toggles})
    client = UnleashClient("http://127.0.0.1:9", "bench", cache=cache, disable_metrics=True, disable_registration=True)
    client.initialize_client(fetch_toggles=False)
    context = {"userId": ACCOUNT, "properties": {"plan": PLAN}}
    yield lambda feature: client.is_enabled(feature, context)
    client.destroy()


@contextmanager
def _schematic() -> Iterator[Check]:
    from schematic.datastream.rules_engine import RulesEngineClient
    from schematic.types.rulesengine_company import RulesengineCompany
    from schematic.types.rulesengine_flag import RulesengineFlag

    where = {"account_id": "acct", "environment_id": "env"}
    rules: dict[str, Any] = {key: [_schematic_rule(where, key)] for key in FEATURES}
    flags = {
        key: RulesengineFlag(**where, id=f"flag_{key}", key=key, default_value=False, rules=rules[key])
        for key in FEATURES
    }
    metrics = [
        {**where, "company_id": "comp", "event_subtype": key, "period": "all_time", "month_reset": "first_of_month",
         "value": USED, "created_at": "2026-11-01T00:00:00Z", "valid_until": None}
        for key in COUNTED
    ]  # fmt: skip
    company = RulesengineCompany(
        **where, id="comp", base_plan_id=PLAN, plan_ids=[PLAN], plan_version_ids=[], billing_product_ids=[],
        credit_balances={}, keys={"id": ACCOUNT}, metrics=metrics, rules=[], traits=[],
    )  # type: ignore[call-arg, unused-ignore]  # fmt: skip
    engine = RulesEngineClient()
    asyncio.run(engine.initialize())
    yield lambda feature: engine.check_flag(flags[feature], company).value


def _schematic_rule(where: dict[str, str], key: str) -> dict[str, Any]:
    """On for the plan; where it is counted, while less than the limit is used."""
    on_plan = {**where, "id": f"plan_{key}", "condition_type": "plan", "operator": "eq", "resource_ids": [PLAN],
               "trait_value": ""}  # fmt: skip
    left = {**where, "id": f"left_{key}", "condition_type": "metric", "operator": "lt", "resource_ids": [],
            "trait_value": "", "event_subtype": key, "metric_value": LIMIT, "metric_period": "all_time"}  # fmt: skip
    return {**where, "id": f"rule_{key}", "name": key, "priority": 0, "value": True, "rule_type": "plan_entitlement",
            "condition_groups": [], "conditions": [on_plan, left] if key in COUNTED else [on_plan]}  # fmt: skip


PEERS: tuple[tuple[str, str, Callable[[], Any]], ...] = (
    ("", OURS, _paygrade),
    ("", "dict of dicts", _bare_dict),
    ("launchdarkly-server-sdk", "LaunchDarkly", _launchdarkly),
    ("openfeature-sdk", "OpenFeature, provider in memory", _openfeature),
    ("growthbook", "GrowthBook", _growthbook),
    ("UnleashClient", "Unleash", _unleash),
    ("schematichq", "Schematic, its engine", _schematic),
)
"""Package, name, and what makes its check. Any: a context with one."""
