"""What a provider says of somebody's groups, in whichever form: a role comes of a group that is named alone."""

from typing import Any

import pytest

from paygrade.server.process.oidc import GROUPS_MAX, identity, role_of
from paygrade.server.process.settings import OidcSettings

SETTINGS = OidcSettings(
    issuer="https://id.example.com", client_id="paygrade", client_secret="hush", public_url="https://paygrade.example.com",
    roles={"ops": "admin", "readers": "viewer", "7": "admin", "True": "admin", "None": "admin"},
)  # fmt: skip
OTHERS = [f"group {number}" for number in range(GROUPS_MAX)]


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["ops"], "admin"),
        (["readers", "ops"], "admin"),
        ("ops", "admin"),
        ([*OTHERS[1:], "ops"], "admin"),
        ([*OTHERS, "ops"], None),  # what is beyond any bound is not looked at
        ("ops,readers", None),
        ("ops readers", None),
        (["OPS", " ops", "ops ", "op", "ops\0"], None),
        (7, None),
        ([7, True, None], None),
        (True, None),
        (None, None),
        ({"ops": "ops"}, None),
        ({"groups": ["ops"]}, None),
        ([["ops"]], None),
        ([{"ops": True}, {"name": "ops"}], None),
        ([], None),
        ("", None),
    ],
)
def test_a_role_comes_of_groups_that_are_named_alone(groups: Any, role: str | None) -> None:
    who = identity({"sub": "dana", "groups": groups}, SETTINGS)
    assert role_of(who.groups or (), SETTINGS) == role


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"realm_access": {"roles": ["ops"]}}, "admin"),
        ({"realm_access.roles": ["readers"], "realm_access": {"roles": ["ops"]}}, "viewer"),
        ({"realm_access": ["ops"]}, None),
        ({"realm_access": "ops"}, None),
        ({"realm_access": {"roles": {"ops": 1}}}, None),
        ({"realm_access": {}}, None),
        ({"roles": ["ops"]}, None),
        ({}, None),
    ],
)
def test_groups_inside_of_another_claim_are_those_at_its_end(claims: dict[str, Any], role: str | None) -> None:
    settings = OidcSettings(**{name: getattr(SETTINGS, name) for name in SETTINGS.__struct_fields__
                               if name != "roles_claim"}, roles_claim="realm_access.roles")  # fmt: skip
    assert role_of(identity({"sub": "dana", **claims}, settings).groups or (), settings) == role
