"""Nodes as facts state them: the same tree in whatever order they arrive, and the limits that hold at a node."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Fact, Node, NodeLimit
from paygrade.billing.nodes import fold_nodes, is_path, limits_on, on_the_way, places
from paygrade.usage.balances import node_slot, parse_slot, rolling_slot, slot_of
from paygrade.values.errors import Refused

T0 = datetime(2026, 1, 31, 10, tzinfo=UTC)
STATED = st.lists(
    st.builds(
        Node,
        st.sampled_from(["a", "a/x", "a/x/1", "b"]),
        st.lists(st.builds(NodeLimit, st.just("calls"), st.none() | st.integers(0, 9)), max_size=1).map(tuple),
        open=st.booleans(),
        removed=st.booleans(),
    ),
    max_size=8,
)


def facts_of(stated: list[Node]) -> list[Fact]:
    return [Fact(number, f"node:{node.path}", number, T0, node) for number, node in enumerate(stated, start=1)]


@given(stated=STATED, data=st.data())
def test_facts_of_nodes_replay_in_any_order_and_number_to_the_same_tree(
    stated: list[Node], data: st.DataObject
) -> None:
    facts = facts_of(stated)
    again = data.draw(st.permutations(facts + facts[: len(facts) // 2]))
    assert fold_nodes(again) == fold_nodes(facts)
    assert {path: one.node for path, one in fold_nodes(facts).items()} == {node.path: node for node in stated}
    assert replay("acme", again) == Account("acme", version=len(stated)), "the account only counts them"


def test_a_node_has_its_own_limit_else_what_its_parent_gives_each() -> None:
    large = {"model": "large"}
    team = Node("team", (NodeLimit("calls", 100, 10), NodeLimit("calls", None, 3, large)))
    jane = Node("team/jane", (NodeLimit("calls", 50), NodeLimit("tokens", 7)))
    agent = Node("team/jane/agent")
    found = [(path, limit.feature, bool(limit.where), units) for path, limit, units in limits_on([team, jane, agent])]
    assert found == [
        ("team", "calls", False, 100),
        ("team/jane", "calls", False, 50),
        ("team/jane", "tokens", False, 7),
        ("team/jane", "calls", True, 3),
    ]


def test_a_node_stands_where_all_above_it_do_and_an_open_one_lets_others_come() -> None:
    nodes = {"a": Node("a", expires_at=T0 + timedelta(days=1)), "a/x": Node("a/x", open=True)}
    assert [node.path for node in on_the_way("acme", "a/x/new/below", nodes, T0)] == list(places("a/x/new/below"))
    for path, at in (("b", T0), ("a/y", T0), ("a/x", T0 + timedelta(days=1))):
        with pytest.raises(Refused, match="has no node"):
            on_the_way("acme", path, nodes, at)
    assert on_the_way("acme", "a/x", nodes, T0 + timedelta(days=1), ended=True)[-1] == nodes["a/x"]


def test_names_of_nodes_are_paths_and_sort_before_what_is_below_them() -> None:
    assert all(map(is_path, ("a", "team-a/jane@acme.com/7", "/".join("abcdefgh"))))
    assert not any(map(is_path, ("", "/a", "a/", "a//b", "a b", "a?b", "\u00e4", "/".join("abcdefghi"), "a" * 201)))
    window = slot_of(T0)
    parent, child = (node_slot(window, path) for path in ("a/x", "a/x/1"))
    assert window < parent < child
    where = node_slot(rolling_slot(60), "a/x", {"region": "eu & us", "model": "gpt=5"})
    assert where == "rolling 60s node:a/x?model=gpt%3D5&region=eu%20%26%20us"
    assert (parse_slot(where).length_s, parse_slot(where).pays, parse_slot(child).node) == (60, False, "a/x/1")
