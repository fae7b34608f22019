"""Erasing facts: nothing personal is left in any kind of them, and the account may do what it could."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from paygrade.billing.accounts import replay
from paygrade.billing.erasure import erased_fact, erased_json, pseudonyms
from paygrade.billing.facts import Block, Body, Customer, Fact, Member, Override, Pin, Profile
from support.fake_provider import T0

BODIES: list[tuple[str, Body]] = [
    ("profile", Profile(T0, name="Ann", links={"stripe": ("cus_1",)}, traits={"mail": "Ann"})),
    ("stripe:cus_1", Customer("cus_1", T0, name="Ann", account="acme")),
    ("override:exports", Override("exports", reason="Ann", value=True)),
    ("block:fraud", Block("fraud", reason="Ann")),
    ("version:pro", Pin("pro", 1, reason="Ann")),
    ("member:Ann", Member("Ann", "owner", seat=True)),
]
FACTS = [Fact(number, subject, number, T0, body) for number, (subject, body) in enumerate(BODIES, start=1)]


def test_nothing_personal_is_left_in_any_kind_of_fact() -> None:
    names = pseudonyms(["Ann"], "m")
    for fact in FACTS:
        erased = erased_fact(fact, names)
        assert b"Ann" not in msgspec.json.encode(erased)
        assert (erased.number, erased.sequence, erased.as_of) == (fact.number, fact.sequence, fact.as_of)


def test_what_decides_stays_as_it_was() -> None:
    names = pseudonyms(["Ann"], "m")
    before, after = replay("acme", FACTS), replay("acme", [erased_fact(fact, names) for fact in FACTS])
    assert after.exists
    assert after.profile is not None
    assert after.profile.links == {"stripe": ("cus_1",)}
    assert after.overrides["exports"].value is True
    assert set(after.blocks) == {"fraud"}
    assert after.pins["pro"].version == 1
    assert list(after.seated.values()) == list(before.seated.values())
    assert list(after.seated) == [names["Ann"]]


@given(members=st.sets(st.text(min_size=1), max_size=120), mark=st.text("0123456789abcdef", min_size=8, max_size=8))
def test_new_keys_are_as_many_and_in_the_order_of_the_old_ones(members: set[str], mark: str) -> None:
    names = pseudonyms(members, mark)
    assert set(names) == members
    assert [names[member] for member in sorted(members)] == sorted(set(names.values()))
    assert all(name.startswith(f"erased-{mark}-") for name in names.values())


def test_json_has_members_by_their_new_keys_alone() -> None:
    names = {"ann": "p1"}
    kept = {
        "lost": [{"member": "ann", "how": "released"}],
        "members": ["ann", "ann"],
        "counted": [["api_calls", "2026-11-01T00:00:00Z member:ann"], ["api_calls", "2026-11-01T00:00:00Z"]],
        "sources": [{"kind": "override", "note": "for ann"}],
        "properties": {"user": "ann", "model": "large"},
        "units": 3,
    }
    assert erased_json(kept, names, without=frozenset({"user"})) == {
        "lost": [{"member": "p1", "how": "released"}],
        "members": ["p1", "p1"],
        "counted": [["api_calls", "2026-11-01T00:00:00Z member:p1"], ["api_calls", "2026-11-01T00:00:00Z"]],
        "sources": [{"kind": "override", "note": ""}],
        "properties": {"model": "large"},
        "units": 3,
    }
