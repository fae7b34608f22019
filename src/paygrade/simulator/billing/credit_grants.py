"""Billing credits: money granted in advance, which pays for metered prices before anything else does.

Laws. A grant's balance is what its transactions say, and never below zero. Credits are applied when an invoice is
finalized: to its lines of prices with a meter, after discounts and before taxes, in one total order (priority, expiry,
promotional before paid, effective instant, age). A void invoice gives back what it took. An expired or void grant
pays for nothing. (Stripe docs: billing credits.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import credits as shapes
from paygrade.simulator.world import World

KIND, TRANSACTION = "billing.credit_grant", "billing.credit_balance_transaction"
URL = "/v1/billing/credit_grants"
FIELDS = frozenset(
    {
        "amount",
        "applicability_config",
        "category",
        "customer",
        "effective_at",
        "expand",
        "expires_at",
        "metadata",
        "name",
        "priority",
    }
)
NAME_MAX, PRIORITY_MAX, PRIORITY = 100, 100, 50
GRANTS_MAX = 100  # Stripe docs: billing credits: unused grants of one customer
PRICES_MAX = 20
NEVER = 2**62


def create(world: World, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    customer = world.live_customer(forms.read_required(params, "customer"))
    value, currency = _read_amount(params)
    effective_at, expires_at = forms.read_int(params, "effective_at"), forms.read_int(params, "expires_at")
    starts = world.at if effective_at is None else effective_at
    if expires_at is not None and expires_at <= max(world.at, starts):
        raise errors.invalid("expires_at", "`expires_at` must be in the future, and after `effective_at`.")
    priority, name = forms.read_int(params, "priority"), forms.read_text(params, "name") or None
    if priority is not None and not 0 <= priority <= PRIORITY_MAX:
        raise errors.invalid("priority", f"The priority is a number from 0 to {PRIORITY_MAX}; 0 is used first.")
    if name and len(name) > NAME_MAX:
        raise errors.invalid("name", f"`name` can be at most {NAME_MAX} characters long.")
    held = [grant for grant in world.owned(KIND, customer["id"]) if balance(world, grant) > 0]
    if len(held) >= GRANTS_MAX:
        raise errors.invalid("customer", f"A customer can have at most {GRANTS_MAX} unused credit grants.")
    grant = shapes.credit_grant(
        id=world.new_id("credgr"),
        at=world.at,
        customer=customer,
        amount=shapes.money(value, currency),
        applicability_config={"scope": _read_scope(world, params)},
        category=forms.read_choice(params, "category", ("paid", "promotional")) or "paid",
        effective_at=starts,
        expires_at=expires_at,
        metadata=forms.merge_metadata({}, params),
        name=name,
        priority=PRIORITY if priority is None else priority,
    )
    world.emit("billing.credit_grant.created", world.put(grant, customer["id"]))
    _credit(world, grant, value, type="credits_granted", at=starts)
    if expires_at is not None:
        world.schedule(expires_at, "expire_credits", grant["id"])
    return grant


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand", "expires_at", "metadata"}))
    grant = _live(world, id)
    expires_at = forms.read_int(params, "expires_at")
    if expires_at is not None and expires_at <= world.at:
        raise errors.invalid("expires_at", "`expires_at` must be in the future.")
    with world.changing(grant):
        grant["metadata"] = forms.merge_metadata(grant["metadata"], params)
        if "expires_at" in params:
            grant["expires_at"] = expires_at
            if expires_at is not None:
                world.schedule(expires_at, "expire_credits", id)
        grant["updated"] = world.at
    return grant


def expire(world: World, id: str, params: Json) -> Json:
    """Let what is left of a grant expire now."""
    forms.check_known(params, frozenset({"expand"}))
    grant = _live(world, id)
    with world.changing(grant):
        grant.update(expires_at=world.at, updated=world.at)
    _debit(world, grant, balance(world, grant), type="credits_expired")
    return grant


def expire_due(world: World, grant: Json) -> None:
    if grant["expires_at"] == world.at and grant["voided_at"] is None:
        _debit(world, grant, balance(world, grant), type="credits_expired")


def void(world: World, id: str, params: Json) -> Json:
    """Take a grant back, which only works while nothing of it was used."""
    forms.check_known(params, frozenset({"expand"}))
    grant = _live(world, id)
    if any((one["debit"] or {}).get("type") == "credits_applied" for one in world.owned(TRANSACTION, id)):
        raise errors.invalid("id", "A credit grant that was applied to an invoice can't be voided; expire it instead.")
    with world.changing(grant):
        grant.update(voided_at=world.at, updated=world.at)
    _debit(world, grant, balance(world, grant), type="credits_voided")
    return grant


def summarize(world: World, params: Json) -> Json:
    """Give what a customer's credits come to now: of the grants of a scope, or of one."""
    forms.check_known(params, frozenset({"customer", "expand", "filter"}))
    customer = world.live_customer(forms.read_required(params, "customer"))
    wanted = forms.read_object(params, "filter")
    forms.check_known(wanted, frozenset({"applicability_scope", "credit_grant", "type"}), within="filter")
    kind = forms.read_choice(wanted, "type", ("applicability_scope", "credit_grant"), within="filter")
    if kind is None:
        raise errors.missing_parameter("filter[type]")
    grants = world.owned(KIND, customer["id"])
    if kind == "credit_grant":
        named = forms.read_required(wanted, "credit_grant")
        grants = [world.get(KIND, named, param="filter[credit_grant]")]
    else:
        scope = _read_scope_of(world, wanted, "applicability_scope", within="filter")
        grants = [grant for grant in grants if _covers(grant["applicability_config"]["scope"], scope)]
    balances: dict[str, int] = {}
    for grant in grants:
        currency = grant["amount"]["monetary"]["currency"]
        usable = balance(world, grant) if grant["effective_at"] <= world.at else 0
        balances[currency] = balances.get(currency, 0) + usable
    return shapes.summary(customer=customer["id"], balances=balances)


def balance(world: World, grant: Json) -> int:
    """Give what is left of a grant."""
    total = 0
    for one in world.owned(TRANSACTION, grant["id"]):
        side = one["credit"] or one["debit"]
        total += side["amount"]["monetary"]["value"] * (1 if one["credit"] else -1)
    return total


def apply(world: World, invoice: Json) -> dict[str, list[Json]]:
    """Let a customer's credits pay for an invoice's metered lines; give what each line is spared, by its id."""
    found: dict[str, list[Json]] = {}
    usable = _usable(world, invoice)
    for line in invoice["lines"]["data"] if usable else []:
        price = world.find("price", line["pricing"].get("price_details", {}).get("price"))
        if price is None or not (price["recurring"] or {}).get("meter"):
            continue
        left = line["amount"] - sum(off["amount"] for off in line["discount_amounts"])
        for grant in usable:
            prices = grant["applicability_config"]["scope"].get("prices")
            part = min(left, balance(world, grant))
            if part <= 0 or (prices is not None and all(one["id"] != price["id"] for one in prices)):
                continue
            where = {"invoice": invoice["id"], "invoice_line_item": line["id"]}
            made = _debit(world, grant, part, type="credits_applied", credits_applied=where)
            found.setdefault(line["id"], []).append(
                {"amount": part, "credit_balance_transaction": made["id"], "type": "credit_balance_transaction"}
            )
            left -= part
    return found


def reinstate(world: World, invoice: Json) -> None:
    """Give back what a void invoice took; what belongs to a grant that is over by now expires at once."""
    for entry in invoice["total_pretax_credit_amounts"]:
        if entry["type"] != "credit_balance_transaction":
            continue
        debit = world.objects[entry["credit_balance_transaction"]]
        grant, where = world.objects[debit["credit_grant"]], debit["debit"]["credits_applied"]
        value = debit["debit"]["amount"]["monetary"]["value"]
        _credit(world, grant, value, type="credits_application_invoice_voided", where=dict(where))
        if grant["expires_at"] is not None and grant["expires_at"] <= world.at:
            _debit(world, grant, value, type="credits_expired")


def _usable(world: World, invoice: Json) -> list[Json]:
    """Give the grants that may pay for an invoice, the one to use first at the front."""
    grants = [
        grant
        for grant in world.owned(KIND, invoice["customer"])[::-1]
        if grant["amount"]["monetary"]["currency"] == invoice["currency"]
        and grant["effective_at"] <= world.at
        and grant["voided_at"] is None
        and (grant["expires_at"] is None or grant["expires_at"] > world.at)
    ]
    return sorted(grants, key=_order)


def _order(grant: Json) -> tuple[int, int, bool, int]:
    expires_at = NEVER if grant["expires_at"] is None else grant["expires_at"]
    return grant["priority"], expires_at, grant["category"] == "paid", grant["effective_at"]


def _credit(
    world: World, grant: Json, value: int, *, type: str, at: int | None = None, where: Json | None = None
) -> None:
    currency = grant["amount"]["monetary"]["currency"]
    side: Json = {
        "amount": shapes.money(value, currency),
        "credits_application_invoice_voided": where,
        "type": type,
    }
    _keep(world, grant, "credit", side, at=world.at if at is None else at)


def _debit(world: World, grant: Json, value: int, *, type: str, credits_applied: Json | None = None) -> Json:
    if value == 0:
        return {}
    currency = grant["amount"]["monetary"]["currency"]
    side: Json = {"amount": shapes.money(value, currency), "credits_applied": credits_applied, "type": type}
    return _keep(world, grant, "debit", side, at=world.at)


def _keep(world: World, grant: Json, type: str, side: Json, *, at: int) -> Json:
    made = shapes.transaction(
        id=world.new_id("cbtxn"), at=world.at, grant=grant, type=type, effective_at=at, **{type: side}
    )
    world.emit("billing.credit_balance_transaction.created", world.put(made, grant["customer"], grant["id"]))
    return made


def _live(world: World, id: str) -> Json:
    grant = world.get(KIND, id)
    if grant["voided_at"] is not None or (grant["expires_at"] is not None and grant["expires_at"] <= world.at):
        over = "voided" if grant["voided_at"] is not None else "expired"
        raise errors.invalid("id", f"The credit grant is {over}: it can't change any more.")
    return grant


def _read_amount(params: Json) -> tuple[int, str]:
    wanted = forms.read_object(params, "amount")
    forms.check_known(wanted, frozenset({"monetary", "type"}), within="amount")
    if forms.read_choice(wanted, "type", ("monetary",), within="amount") is None:
        raise errors.missing_parameter("amount[type]")
    money = forms.read_object(wanted, "monetary")
    forms.check_known(money, frozenset({"currency", "value"}), within="amount[monetary]")
    for name in ("currency", "value"):
        if not money.get(name):
            raise errors.missing_parameter(f"amount[monetary][{name}]")
    value = forms.read_int(money, "value") or 0
    if value <= 0:
        raise errors.invalid("amount[monetary][value]", "The amount must be a positive integer.")
    return value, forms.read_currency(money)


def _read_scope(world: World, params: Json) -> Json:
    wanted = forms.read_object(params, "applicability_config")
    forms.check_known(wanted, frozenset({"scope"}), within="applicability_config")
    return _read_scope_of(world, wanted, "scope", within="applicability_config")


def _read_scope_of(world: World, params: Json, name: str, *, within: str) -> Json:
    """Read what credits are for: all metered prices, or some of them."""
    param = f"{within}[{name}]"
    wanted = forms.read_object(params, name)
    forms.check_known(wanted, frozenset({"price_type", "prices"}), within=param)
    if bool(wanted.get("price_type")) == bool(wanted.get("prices")):
        raise errors.invalid(param, "Give either `price_type` or `prices`.")
    if wanted.get("price_type"):
        forms.read_choice(wanted, "price_type", ("metered",), within=param)
        return {"price_type": "metered"}
    named = forms.read_objects(wanted, "prices")
    if len(named) > PRICES_MAX:
        raise errors.invalid(f"{param}[prices]", f"You may pass up to {PRICES_MAX} prices.")
    found = []
    for n, one in enumerate(named):
        price = world.get("price", forms.read_required(one, "id"), param=f"{param}[prices][{n}][id]")
        if not (price["recurring"] or {}).get("meter"):
            message = "Billing credits only apply to metered prices with a meter."
            raise errors.invalid(f"{param}[prices][{n}][id]", message)
        found.append({"id": price["id"]})
    return {"prices": found}


def _covers(scope: Json, wanted: Json) -> bool:
    """Tell whether a grant may pay for what is asked about."""
    if "prices" not in scope:
        return True
    asked = {one["id"] for one in wanted.get("prices", [])}
    return bool(asked) and asked <= {one["id"] for one in scope["prices"]}
