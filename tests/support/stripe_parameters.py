"""What Stripe documents that each of its requests takes, read from the official library's own types.

    python -m tests.support.stripe_parameters src/paygrade/simulator/api/documented.json

writes the list the simulator answers from; a test compares the two. Names only, in a grammar of ours: names are
separated by spaces, `name(…)` has parts, `name[…]` is a list of such, `name{…}` maps keys of the caller's own to such.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from functools import cache
from pathlib import Path

import stripe

FOLDER = Path(stripe.__file__).parent
# Families of paths the simulator has, or means to have.
FAMILIES = re.compile(
    r"/v1/(account$|accounts/\{\}$|(balance_transactions|billing|billing_portal|charges|checkout|coupons|credit_notes"
    r"|customers|disputes|entitlements|events|invoice_payments|invoiceitems|invoices|payment_intents|payment_links"
    r"|payment_methods|plans|prices|products|promotion_codes|radar/early_fraud_warnings|refunds|setup_intents"
    r"|subscription_items|subscription_schedules|subscriptions|tax_rates|tax_ids|test_helpers/test_clocks"
    r"|webhook_endpoints)(/|$))"
)
# Their options of every payment method there is fill most of the list, and the simulator's methods have few.
ANY_BELOW = frozenset({"payment_method_data", "payment_method_options", "evidence", "shipping_details"})
DEEPEST = 6


def operations() -> dict[str, str]:
    """Give each request as `POST /v1/customers/{}` with the names of what it takes."""
    found = {}
    for path in sorted(FOLDER.rglob("*_service.py")):
        tree = ast.parse(path.read_text())
        modules = _modules(tree)
        for node in ast.walk(tree):
            request = _request(node) if isinstance(node, ast.FunctionDef) else None
            if request is None:
                continue
            assert isinstance(node, ast.FunctionDef)
            parameters = _parameters(node)
            # Of what the simulator has nothing of, it is enough to know what is asked for.
            depth = 1 if FAMILIES.match(request.split(" ")[1]) else DEEPEST
            found[request] = _names(parameters, _classes(modules[parameters]), depth=depth) if parameters else ""
    return dict(sorted(found.items(), key=lambda one: (one[0].split(" ")[1], one[0])))


def _modules(tree: ast.Module) -> dict[str, str]:
    """Tell from which module each class of parameters comes: several have one name."""
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module)
    return {name.name: str(node.module) for node in imports for name in node.names}


@cache
def _classes(module: str) -> dict[str, dict[str, str]]:
    """Give the classes of a module, each as its fields and their annotations."""
    path = FOLDER.parent.joinpath(*module.split(".")).with_suffix(".py")
    classes: dict[str, dict[str, str]] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            fields = {}
            for base in node.bases:
                fields.update(classes.get(ast.unparse(base), {}))
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    fields[line.target.id] = ast.unparse(line.annotation)
            classes[node.name] = fields
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and len(node.value.args) == 2:
            # Fields that are words of Python, such as `from`, stand in `_XBase = TypedDict("_XBase", {…})`.
            names = node.value.args[1]
            assert isinstance(names, ast.Dict)
            pairs = zip(names.keys, names.values, strict=True)
            classes[ast.unparse(node.targets[0])] = {
                str(key.value): ast.unparse(value) for key, value in pairs if isinstance(key, ast.Constant)
            }
    return classes


def _request(function: ast.AST) -> str | None:
    """Find `self._request("post", "/v1/…")`, whose path may be formatted with ids."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "_request":
            method, path = node.args[:2]
            if isinstance(path, ast.Call) and isinstance(path.func, ast.Attribute):
                path = path.func.value  # "…".format(…)
            if isinstance(method, ast.Constant) and isinstance(path, ast.Constant):
                return f"{str(method.value).upper()} {re.sub(r'{[^}]*}', '{}', str(path.value))}"
    return None


def _parameters(function: ast.FunctionDef) -> str | None:
    for argument in function.args.args:
        if argument.arg == "params" and argument.annotation is not None:
            found = re.findall(r"(\w+Params)\b", ast.unparse(argument.annotation))
            return found[0] if found else None
    return None


def _names(of: str, classes: dict[str, dict[str, str]], *, depth: int = 1) -> str:
    return " ".join(_shape(name, kind, classes, depth=depth) for name, kind in sorted(classes[of].items()))


def _shape(name: str, annotation: str, classes: dict[str, dict[str, str]], *, depth: int) -> str:
    inner = [word for word in re.findall(r"\w+", annotation) if word in classes]
    if not inner or name in ANY_BELOW or depth == DEEPEST:
        return f"{name}(*)" if inner else name
    parts = _names(inner[0], classes, depth=depth + 1)
    if "List[" in annotation:
        return f"{name}[{parts}]"
    return f"{name}{{{parts}}}" if "Dict[str" in annotation else f"{name}({parts})"


def text() -> str:
    version = stripe.api_version
    made_from = f"stripe {stripe.VERSION} for Python, which speaks {version}"
    return json.dumps({"made_from": made_from, "requests": operations()}, indent=1) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text())
