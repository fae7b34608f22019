"""Billing that nobody is asked for: contracts and their invoices as operators state them, and what another system says
of its customer."""

from datetime import timedelta
from typing import Annotated, Any

from litestar import delete, get, put
from litestar.params import FromPath

from paygrade.billing.facts import Contract
from paygrade.server.http.bodies import decode_object, invalid, read_body, read_object
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import PageSize, Reason, text
from paygrade.server.operations.accounts import contracts, foreign_billing
from paygrade.values.errors import Mistake
from paygrade.values.periods import EARLIEST, parse_instant
from paygrade.values.text import QUANTITY_MAX, is_integer

_TERMS = {
    "plan": "business",
    "quantity": 50,
    "starts_at": "2026-01-01T00:00:00Z",
    "ends_at": "2027-01-01T00:00:00Z",
    "renews": True,
    "amount": 1200000,
    "currency": "usd",
    "interval": "year",
    "reference": "PO-4711",
}
_SENT = {"status": "open", "issued_at": "2026-01-02T09:00:00Z", "due_at": "2026-02-01T00:00:00Z"}
_CONTRACT: dict[str, Any] = {
    "contract": "acme-2026",
    "state": "active",
    "from_at": "2026-01-01T00:00:00Z",
    "until": "2027-01-01T00:00:00Z",
    "subscription": "contract:acme-2026",
    "terms": _TERMS,
    "invoices": [
        {
            "id": "INV-17",
            "status": "open",
            "currency": "usd",
            "created_at": "2026-01-02T09:00:00Z",
            "total": 1200000,
            "tax": 0,
            "remaining": 1200000,
            "due_at": "2026-02-01T00:00:00Z",
            "overdue_since": None,
            "paid_at": None,
            "went_back": [],
        }
    ],
}
_CONTRACTS = {"account": "acme", "contracts": [_CONTRACT], "next": None}
_BILLING = {
    "version": 7,
    "subscriptions": [
        {
            "id": "sub_1",
            "status": "active",
            "items": [{"id": "main", "plan": "pro", "quantity": 5}],
            "anchor_at": "2026-01-01T00:00:00Z",
        }
    ],
}
_STANDS = {"account": "acme", "source": "recurly", "stale": False, **_BILLING}


@get(
    "/v1/accounts/{account:str}/contracts",
    opt=describe("statements", contracts.list_contracts, example=_CONTRACTS, scope="billing:read"),
)
async def list_contracts(
    account: FromPath[str],
    context: InContext,
    after: Annotated[str | None, text("The `next` of the page before.")] = None,
    limit: PageSize = 50,
) -> contracts.ContractsView:
    return await contracts.list_contracts(
        context.store, account=account, after=after, limit=limit, at=context.clock.now()
    )


@put(
    "/v1/accounts/{account:str}/contracts/{contract:str}",
    opt=describe(
        "statements",
        contracts.put_contract,
        sent=Sent(_TERMS, Contract, closed=frozenset({"overdue"})),
        example=_CONTRACT,
        scope="subscriptions:write",
        second_person="subscriptions",
    ),
)
async def put_contract(
    account: FromPath[str], contract: FromPath[str], request: HttpRequest, context: InContext
) -> contracts.ContractView:
    terms = read_body(Contract, await request.body(), hidden={"overdue"})
    return await contracts.put_contract(
        context.store, account=account, contract=contract, terms=terms, at=context.clock.now()
    )


@delete(
    "/v1/accounts/{account:str}/contracts/{contract:str}",
    status_code=200,
    opt=describe(
        "statements",
        contracts.delete_contract,
        example={**_CONTRACTS, "contracts": []},
        scope="subscriptions:write",
        second_person="subscriptions",
    ),
)
async def delete_contract(
    account: FromPath[str], contract: FromPath[str], context: InContext, reason: Reason = ""
) -> contracts.ContractsView:
    return await contracts.delete_contract(
        context.store, account=account, contract=contract, reason=reason, at=context.clock.now()
    )


@put(
    "/v1/accounts/{account:str}/contracts/{contract:str}/invoices/{invoice:str}",
    opt=describe(
        "statements",
        contracts.put_invoice,
        sent=Sent(_SENT, contracts.InvoiceStatement),
        example=_CONTRACT,
        scope="subscriptions:write",
        second_person="subscriptions",
    ),
)
async def put_invoice(
    account: FromPath[str], contract: FromPath[str], invoice: FromPath[str], request: HttpRequest, context: InContext
) -> contracts.ContractView:
    stated = read_body(contracts.InvoiceStatement, await request.body())
    return await contracts.put_invoice(
        context.store, account=account, contract=contract, invoice=invoice, stated=stated, at=context.clock.now()
    )


@put(
    "/v1/accounts/{account:str}/billing/{source:str}",
    opt=describe(
        "statements",
        foreign_billing.put_billing,
        sent=Sent(
            _BILLING,
            foreign_billing.BillingStatement,
            extra={
                "version": {
                    "oneOf": [
                        {"type": "integer", "minimum": 0, "maximum": QUANTITY_MAX},
                        {"type": "string", "format": "date-time"},
                    ]
                }
            },
        ),
        example=_STANDS,
        scope="subscriptions:write",
        second_person="subscriptions",
    ),
)
async def put_billing(
    account: FromPath[str], source: FromPath[str], request: HttpRequest, context: InContext
) -> foreign_billing.BillingView:
    body = decode_object(await request.body())
    version = _version(body)
    stated = read_object(foreign_billing.BillingStatement, body)
    return await foreign_billing.put_billing(
        context.store, account=account, source=source, version=version, stated=stated, at=context.clock.now()
    )


def _version(body: dict[str, Any]) -> int:
    """A number that grows, or an instant, which becomes one: microseconds since 1970. Any: JSON."""
    said = body.pop("version", None)
    if isinstance(said, str):
        try:
            return (parse_instant(said) - EARLIEST) // timedelta(microseconds=1)
        except (ValueError, OverflowError) as error:
            raise invalid("invalid_body", "the body", [Mistake("/version", str(error))]) from None
    if not is_integer(said) or not 0 <= said <= QUANTITY_MAX:
        mistake = Mistake("/version", "must be a whole number or an instant that grows with each change")
        raise invalid("invalid_body", "the body", [mistake])
    return said
